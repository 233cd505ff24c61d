//! How long a client wants to wait: the header `Prefer` (RFC 7240).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

const PREFER: HeaderName = HeaderName::from_static("prefer");
/// What was done of what was preferred.
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How long a client waits that does not say.
const WAIT: Duration = Duration::from_secs(20);
/// No client waits longer: the answer has to leave before the limits of what is in between.
pub const LONGEST_WAIT: Duration = Duration::from_secs(25);

/// What a client prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preference {
    /// So long it waits for the end.
    pub wait: Duration,
    /// Whether it said so.
    pub is_given: bool,
}

impl Preference {
    /// What the headers say.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        let mut preferences = values.flat_map(|value| value.split([',', ';'])).map(str::trim);
        let given = preferences.find_map(|preference| {
            if preference.eq_ignore_ascii_case("respond-async") {
                return Some(Duration::ZERO);
            }
            let (name, value) = preference.split_once('=')?;
            let seconds = value.trim().trim_matches('"').parse().ok()?;
            name.trim().eq_ignore_ascii_case("wait").then(|| Duration::from_secs(seconds))
        });
        Self { wait: given.unwrap_or(WAIT).min(LONGEST_WAIT), is_given: given.is_some() }
    }

    /// The value of `Preference-Applied`.
    #[must_use]
    pub fn applied(&self) -> Option<HeaderValue> {
        let text = match self.wait.as_secs() {
            _ if !self.is_given => return None,
            0 => "respond-async".to_owned(),
            seconds => format!("wait={seconds}"),
        };
        HeaderValue::try_from(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &'static str) -> Preference {
        Preference::of(&HeaderMap::from_iter([(PREFER, HeaderValue::from_static(value))]))
    }

    #[test]
    fn a_client_says_how_long_it_waits() {
        for (value, seconds, applied) in [
            ("wait=5", 5, Some("wait=5")),
            ("Wait = \"7\"", 7, Some("wait=7")),
            ("wait=600", 25, Some("wait=25")),
            ("respond-async", 0, Some("respond-async")),
            ("respond-async, wait=10", 0, Some("respond-async")),
            ("return=minimal; wait=3", 3, Some("wait=3")),
            ("wait=soon", 20, None),
            ("return=minimal", 20, None),
        ] {
            let preference = of(value);
            assert_eq!(preference.wait, Duration::from_secs(seconds), "{value}");
            let text = preference.applied();
            assert_eq!(text.as_ref().and_then(|text| text.to_str().ok()), applied, "{value}");
        }
    }
}
