//! Which media type a client wants: the header `Accept` (RFC 9110, section 12.5.1).

use axum::http::{HeaderMap, StatusCode, header};
use service_kit::Problem;

/// The offer that the client likes best; of those that it likes equally, the first.
///
/// # Errors
/// 406, if it wants none of them.
pub fn negotiate<T: Copy>(headers: &HeaderMap, offers: &[(&'static str, T)]) -> Result<T, Problem> {
    let accept: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let ranges: Vec<Range<'_>> = accept.iter().flat_map(|value| value.split(',')).map(Range::new).collect();
    let mut best: Option<(u32, T)> = None;
    for (media_type, offer) in offers {
        let quality = if ranges.is_empty() { 1000 } else { quality(&ranges, media_type) };
        if quality > best.map_or(0, |(best, _)| best) {
            best = Some((quality, *offer));
        }
    }
    best.map(|(_, offer)| offer).ok_or_else(|| {
        let names: Vec<&str> = offers.iter().map(|(media_type, _)| *media_type).collect();
        Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "not-acceptable",
            "Not acceptable",
            format!("This can be given as {}, and `Accept` names none of these.", names.join(", ")),
        )
    })
}

/// Of the ranges that include the media type, the most specific one decides.
fn quality(ranges: &[Range<'_>], media_type: &str) -> u32 {
    let matching = ranges.iter().filter_map(|range| Some((range.specificity(media_type)?, range.quality)));
    matching.max_by_key(|(specificity, _)| *specificity).map_or(0, |(_, quality)| quality)
}

struct Range<'a> {
    media_type: &'a str,
    /// In thousandths.
    quality: u32,
}

impl<'a> Range<'a> {
    fn new(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let quality = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .map_or(1000, |(_, value)| thousandths(value.trim()));
        Self { media_type, quality }
    }

    fn specificity(&self, media_type: &str) -> Option<u32> {
        if self.media_type.eq_ignore_ascii_case(media_type) {
            return Some(2);
        }
        if self.media_type == "*/*" || self.media_type == "*" {
            return Some(0);
        }
        let prefix = self.media_type.strip_suffix('*').filter(|prefix| prefix.ends_with('/'))?;
        media_type.get(..prefix.len())?.eq_ignore_ascii_case(prefix).then_some(1)
    }
}

/// `0.5` as 500. What is no quality counts as 1.
fn thousandths(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction:0<3}");
    match digits.parse::<u32>() {
        Ok(quality) if fraction.len() <= 3 => quality.min(1000),
        _ => 1000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERS: [(&str, u8); 3] = [("application/json", 0), ("text/csv", 1), ("text/html", 2)];

    fn chosen(accept: &[&'static str]) -> Result<u8, Problem> {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, value.parse().expect("header"));
        }
        negotiate(&headers, &OFFERS)
    }

    #[test]
    fn the_best_liked_offer_is_chosen() {
        for (accept, expected) in [
            (&[][..], 0),
            (&["*/*"], 0),
            (&["text/csv"], 1),
            (&["TEXT/CSV; charset=utf-8"], 1),
            (&["text/*"], 1),
            (&["text/*;q=0.5, text/html"], 2),
            (&["application/json;q=0.9, text/html;q=0.95"], 2),
            (&["application/json;q=0, */*;q=0.1"], 1),
            (&["image/png", "text/html"], 2),
            (&["*/*, text/csv;q=0.2"], 0),
        ] {
            assert_eq!(chosen(accept).expect("offer"), expected, "{accept:?}");
        }
    }

    #[test]
    fn what_there_is_is_told() {
        let problem = chosen(&["image/png, text/csv;q=0"]).expect_err("none");
        assert_eq!(problem.status, StatusCode::NOT_ACCEPTABLE);
        assert!(problem.detail.contains("application/json, text/csv, text/html"), "{}", problem.detail);
    }
}
