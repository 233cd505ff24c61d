//! How long a client wants to wait: the header `Prefer` (RFC 7240).

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

const PREFER: HeaderName = HeaderName::from_static("prefer");
/// What was done of what was preferred.
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How long a client waits that does not say.
const USUAL_WAIT: Duration = Duration::from_secs(20);
/// No client waits longer: the answer has to leave before the limits of what is
/// in between, which are often half a minute.
pub const LONGEST_WAIT: Duration = Duration::from_secs(25);

/// What a client prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// It did not say.
    None,
    /// Not to wait.
    RespondAsync,
    /// To wait for so long, as far as anybody may.
    Wait(Duration),
}

impl Preference {
    /// What the headers say. What cannot be understood counts as not said.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        let mut preferences = values.flat_map(|value| value.split([',', ';'])).map(str::trim);
        let given = preferences.find_map(|preference| {
            if preference.eq_ignore_ascii_case("respond-async") {
                return Some(Self::RespondAsync);
            }
            let (name, value) = preference.split_once('=')?;
            let seconds = value.trim().trim_matches('"').parse().ok()?;
            let wait = Duration::from_secs(seconds).min(LONGEST_WAIT);
            name.trim().eq_ignore_ascii_case("wait").then_some(Self::Wait(wait))
        });
        given.unwrap_or(Self::None)
    }

    /// So long it waits for the end.
    #[must_use]
    pub const fn wait(self) -> Duration {
        match self {
            Self::None => USUAL_WAIT,
            Self::RespondAsync => Duration::ZERO,
            Self::Wait(wait) => wait,
        }
    }

    /// The value of `Preference-Applied`.
    #[must_use]
    pub fn applied(self) -> Option<HeaderValue> {
        match self {
            Self::None => None,
            Self::RespondAsync => Some(HeaderValue::from_static("respond-async")),
            Self::Wait(wait) => HeaderValue::try_from(format!("wait={}", wait.as_secs())).ok(),
        }
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
            ("wait=0", 0, Some("wait=0")),
            ("Wait = \"7\"", 7, Some("wait=7")),
            ("wait=600", 25, Some("wait=25")),
            ("respond-async", 0, Some("respond-async")),
            ("respond-async, wait=10", 0, Some("respond-async")),
            ("return=representation, wait=5", 5, Some("wait=5")),
            ("return=minimal; wait=3", 3, Some("wait=3")),
            ("wait=soon", 20, None),
            ("wait=soon, wait=4", 4, Some("wait=4")),
            ("return=minimal", 20, None),
        ] {
            let preference = of(value);
            assert_eq!(preference.wait(), Duration::from_secs(seconds), "{value}");
            let text = preference.applied();
            assert_eq!(text.as_ref().and_then(|text| text.to_str().ok()), applied, "{value}");
        }
    }

    #[test]
    fn a_client_that_says_nothing_waits_for_a_while() {
        let preference = Preference::of(&HeaderMap::new());
        assert_eq!((preference.wait(), preference.applied()), (Duration::from_secs(20), None));
    }
}
