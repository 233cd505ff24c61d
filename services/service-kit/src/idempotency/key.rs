use std::fmt;

use axum::http::{HeaderMap, HeaderName};
use sha2::{Digest, Sha256};

use super::IdempotencyError;

/// Most characters of a key.
pub(super) const MOST_KEY_CHARACTERS: usize = 255;

/// The header with the key.
const HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// A key as a sender gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(pub(super) String);

impl IdempotencyKey {
    /// The key of a request, if it has one.
    ///
    /// # Errors
    /// [`IdempotencyError::InvalidKey`] if what it has is none.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, IdempotencyError> {
        let Some(value) = headers.get(HEADER) else { return Ok(None) };
        // What is not ASCII is no key.
        Self::parse(value.to_str().unwrap_or_default()).map(Some)
    }

    /// Reads the value of the header: a string in double quotes, or, as many
    /// clients send it, without them.
    ///
    /// # Errors
    /// [`IdempotencyError::InvalidKey`] if it is none.
    pub fn parse(value: &str) -> Result<Self, IdempotencyError> {
        let value = value.trim();
        let key = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
        let is_valid = (1..=MOST_KEY_CHARACTERS).contains(&key.len())
            && key
                .chars()
                .all(|character| matches!(character, ' '..='~') && !matches!(character, '"' | '\\'));
        if is_valid { Ok(Self(key.to_owned())) } else { Err(IdempotencyError::InvalidKey) }
    }
}

/// Within what a key is unique: one principal and one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(pub(super) String);

impl Scope {
    /// The keys that a principal uses for a route. Only a digest is stored.
    #[must_use]
    pub fn new(principal: &str, route: &str) -> Self {
        Self(digest(&[principal.as_bytes(), route.as_bytes()]))
    }
}

/// What tells a request from another one.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint(pub(super) String);

impl Fingerprint {
    /// Of all that the request consists of: method, path with query, body.
    #[must_use]
    pub fn new(parts: &[&[u8]]) -> Self {
        Self(digest(parts))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// SHA-256, in hexadecimal. The lengths keep the parts apart.
fn digest(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    format!("{:x}", digest.finalize())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn keys_are_short_and_printable() {
        let parse = |value: &str| IdempotencyKey::parse(value).map(|key| key.0).ok();
        assert_eq!(parse("\"8e03978e-40d5\"").as_deref(), Some("8e03978e-40d5"));
        assert_eq!(parse(" 8e03978e-40d5 ").as_deref(), Some("8e03978e-40d5"));
        assert_eq!(parse(&"k".repeat(255)).map(|key| key.len()), Some(255));
        for value in ["", "\"\"", "\"", "a\"b", "a\\b", "a\nb", "é", &"k".repeat(256)] {
            assert_eq!(parse(value), None, "{value}");
        }
    }

    #[test]
    fn a_request_need_not_have_a_key() {
        let of = |value: &[u8]| {
            let value = HeaderValue::from_bytes(value).unwrap();
            IdempotencyKey::of(&HeaderMap::from_iter([(HEADER, value)]))
        };
        assert!(matches!(IdempotencyKey::of(&HeaderMap::new()), Ok(None)));
        assert!(matches!(of(b"\"k\""), Ok(Some(IdempotencyKey(key))) if key == "k"));
        assert!(matches!(of(b""), Err(IdempotencyError::InvalidKey)));
        assert!(matches!(of("\u{e9}".as_bytes()), Err(IdempotencyError::InvalidKey)));
    }

    #[test]
    fn the_parts_of_a_request_are_kept_apart() {
        let one = Fingerprint::new(&[b"POST", b"/a", b"b"]);
        assert_eq!(one, Fingerprint::new(&[b"POST", b"/a", b"b"]));
        assert_ne!(one, Fingerprint::new(&[b"POST", b"/ab", b""]));
        assert_ne!(Scope::new("a", "bc"), Scope::new("ab", "c"));
    }
}
