//! What benchmarks make of their figures.

/// The value in the middle; of an even number of them, the higher one. NaN of none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which this share of all lies (nearest rank). NaN of none.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a place in a list of figures, which is short"
)]
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// The geometric mean, which is the one for ratios. NaN of none.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts are small")]
pub fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_that_of_the_sorted_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_high_quantile_is_near_the_end() {
        let values: Vec<f64> = (0..1000).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.99).to_bits(), 990.0_f64.to_bits());
        assert_eq!(quantile(&values, 1.0).to_bits(), 999.0_f64.to_bits());
    }

    #[test]
    fn ratios_and_their_inverses_are_one_in_the_mean() {
        assert!((geometric_mean(&[0.5, 2.0]) - 1.0).abs() < 1e-12);
    }
}
