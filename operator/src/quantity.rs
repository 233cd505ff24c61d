//! Comparing quantities of Kubernetes, such as `500m` and `1`, or `1Gi` and
//! `1024Mi` (the grammar is that of `resource.Quantity` in apimachinery).

use std::cmp::Ordering;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Compares two quantities; `None` if one of them cannot be read, which the
/// API server then says in its own words.
#[must_use]
pub fn compare(one: &Quantity, other: &Quantity) -> Option<Ordering> {
    value(&one.0)?.partial_cmp(&value(&other.0)?)
}

/// The value as a floating-point number: exact enough to tell which of two is
/// larger, for all that a person writes.
fn value(text: &str) -> Option<f64> {
    let text = text.trim();
    // `1e3` and `1E3` have an exponent; a lone `E` behind the digits is exa.
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then_some(number);
    }
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: f64 = digits.parse().ok()?;
    let factor = match &text[digits.len()..] {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
        "Ei" => 1_152_921_504_606_846_976.0,
        _ => return None,
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_compared_by_value_and_not_by_text() {
        let check = |one: &str, other: &str, expected: Option<Ordering>| {
            let quantity = |text: &str| Quantity(text.to_owned());
            assert_eq!(compare(&quantity(one), &quantity(other)), expected, "{one} and {other}");
        };
        check("500m", "1", Some(Ordering::Less));
        check("1000m", "1", Some(Ordering::Equal));
        check("1Gi", "1024Mi", Some(Ordering::Equal));
        check("1Gi", "1G", Some(Ordering::Greater));
        check("1e3", "1k", Some(Ordering::Equal));
        check("2E", "2e18", Some(Ordering::Equal));
        check("0.5", "500m", Some(Ordering::Equal));
        check("lots", "1", None);
        check("1Zi", "1", None);
    }
}
