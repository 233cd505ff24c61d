//! What a client prefers: to wait, or to ask again (RFC 7240).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};

/// The header.
pub const PREFER: HeaderName = HeaderName::from_static("prefer");
/// What of it was done.
pub const APPLIED: HeaderName = HeaderName::from_static("preference-applied");

const USUAL_WAIT: u64 = 20;
/// Most proxies give up after half a minute.
pub const LONGEST_WAIT: u64 = 25;

/// How long a client waits for the end of a request, and what to tell it of that.
pub fn wait(headers: &HeaderMap) -> (Duration, Option<String>) {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    for preference in values.flat_map(|value| value.split([',', ';'])).map(str::trim) {
        if preference.eq_ignore_ascii_case("respond-async") {
            return (Duration::ZERO, Some("respond-async".to_owned()));
        }
        let seconds = preference
            .split_once('=')
            .filter(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
            .and_then(|(_, seconds)| seconds.trim().trim_matches('"').parse::<u64>().ok());
        if let Some(seconds) = seconds {
            let seconds = seconds.min(LONGEST_WAIT);
            return (Duration::from_secs(seconds), Some(format!("wait={seconds}")));
        }
    }
    (Duration::from_secs(USUAL_WAIT), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_client_may_wait_or_not() {
        let of = |value: &'static str| {
            wait(&HeaderMap::from_iter([(PREFER, HeaderValue::from_static(value))])).0.as_secs()
        };
        assert_eq!(of("respond-async"), 0);
        assert_eq!(of("return=representation, wait=5"), 5);
        assert_eq!(of("wait=1000"), 25);
        assert_eq!(of("wait=soon"), 20);
        assert_eq!(wait(&HeaderMap::new()).0.as_secs(), 20);
    }
}
