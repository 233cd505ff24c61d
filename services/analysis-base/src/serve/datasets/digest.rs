//! What a client says of the bytes that it sends: `Content-Digest` and
//! `Repr-Digest` (RFC 9530).

use axum::http::{HeaderMap, HeaderName, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use service_kit::Problem;

/// Of a body that is not encoded both are the same.
const NAMES: [HeaderName; 2] =
    [HeaderName::from_static("content-digest"), HeaderName::from_static("repr-digest")];

/// The SHA-256 that the bytes have to have, in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpectedDigest(Option<String>);

impl ExpectedDigest {
    /// What the headers say. Digests of other kinds are passed over (RFC 9530, section 3).
    ///
    /// # Errors
    /// 400, if a SHA-256 cannot be read, or there are two that differ.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut expected = None;
        for value in NAMES.iter().flat_map(|name| headers.get_all(name)) {
            let text = value.to_str().unwrap_or_default();
            for member in text.split(',').map(str::trim) {
                let Some((name, value)) = member.split_once('=') else { continue };
                if !name.trim().eq_ignore_ascii_case("sha-256") {
                    continue;
                }
                let found = hexadecimal(value.trim()).ok_or_else(|| {
                    Problem::bad_request(format!(
                        "`{member}` is no digest: send `sha-256=:BASE64:` (RFC 9530)."
                    ))
                })?;
                if expected.replace(found.clone()).is_some_and(|before| before != found) {
                    return Err(Problem::bad_request("Two digests of the same bytes differ."));
                }
            }
        }
        Ok(Self(expected))
    }

    /// For fingerprints.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default().as_bytes()
    }

    /// Whether the bytes that came are those that were sent.
    ///
    /// # Errors
    /// 400, if they are not.
    pub fn check(&self, sha256: &str) -> Result<(), Problem> {
        match &self.0 {
            Some(expected) if expected != sha256 => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "digest-mismatch",
                "Digest mismatch",
                format!(
                    "The bytes that came have the SHA-256 {sha256}, and {expected} was announced. Send them again."
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// `:BASE64:` (RFC 8941, section 3.3.5) as hexadecimal digits.
fn hexadecimal(value: &str) -> Option<String> {
    let bytes = STANDARD.decode(value.strip_prefix(':')?.strip_suffix(':')?).ok()?;
    (bytes.len() == 32).then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A digest as a header says it.
#[must_use]
pub fn header_value(sha256: &str) -> String {
    let digits = sha256.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
    let bytes: Vec<u8> = digits.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect();
    format!("sha-256=:{}:", STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn of(name: &'static str, value: &str) -> Result<ExpectedDigest, Problem> {
        let name = HeaderName::from_static(name);
        ExpectedDigest::of(&HeaderMap::from_iter([(name, value.parse().expect("header"))]))
    }

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        for name in ["content-digest", "repr-digest"] {
            let expected = of(name, &header_value(EMPTY)).expect("digest");
            assert!(expected.check(EMPTY).is_ok());
            assert!(expected.check(&EMPTY.replace('e', "f")).is_err());
        }
        let several = of("content-digest", &format!("sha-512=:AA==:, {}", header_value(EMPTY)));
        assert!(several.expect("digest").check("other").is_err());
    }

    #[test]
    fn other_digests_are_passed_over_and_wrong_ones_are_not() {
        assert_eq!(of("content-digest", "md5=:AA==:").expect("none"), ExpectedDigest::default());
        for wrong in ["sha-256=AA==", "sha-256=:AA==:", "sha-256=:?:"] {
            assert!(of("content-digest", wrong).is_err(), "{wrong}");
        }
    }
}
