use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

/// What every key begins with, so that people and scanners for leaked secrets
/// know one when they see it.
const PREFIX: &str = "aisaas_";
/// 32 random bytes as base64url.
const CHARACTERS: usize = 43;
/// So many of them are not secret: they tell which key it is. The others still
/// have 184 bits.
const OF_ID: usize = 12;

/// An API key: `aisaas_` and 43 characters.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(String);

impl fmt::Debug for KeyText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyText({})", self.id())
    }
}

impl KeyText {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        let bytes: [u8; 32] = rand::random();
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// Reads one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let random = text.trim().strip_prefix(PREFIX)?;
        let is_good = random.len() == CHARACTERS
            && random.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        is_good.then(|| Self(text.trim().to_owned()))
    }

    /// What may be known of it.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.get(PREFIX.len()..PREFIX.len() + OF_ID).unwrap_or_default()
    }

    /// All of it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    #[must_use]
    pub fn digest(&self) -> KeyDigest {
        KeyDigest(Sha256::digest(&self.0).into())
    }
}

/// What is kept of a key. A hash that is slow on purpose is for passwords,
/// which people choose: 32 random bytes cannot be found by trying.
#[derive(Clone, Copy, Debug)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// Reads one that was written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// As it is kept.
    #[must_use]
    pub fn to_text(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Whether they are of the same key. Takes the same time either way.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_made() {
        let key = KeyText::random();
        assert_eq!(key.reveal().len(), 50);
        assert_eq!(key.id().len(), 12);
        assert_eq!(KeyText::parse(&format!("{}\n", key.reveal())), Some(key.clone()));
        assert_ne!(KeyText::random(), key);
        let kept = KeyDigest::parse(&key.digest().to_text()).unwrap();
        assert!(kept.matches(&key.digest()));
        assert!(!kept.matches(&KeyText::random().digest()));
    }

    #[test]
    fn what_is_no_key_is_told_without_asking_anybody() {
        let key = KeyText::random();
        for wrong in [
            "",
            "aisaas_",
            &key.reveal()[7..],
            &key.reveal()[..49],
            &format!("{}x", key.reveal()),
            &format!("{}é", &key.reveal()[..48]),
        ] {
            assert_eq!(KeyText::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_key_is_not_in_the_log() {
        let key = KeyText::random();
        assert!(!format!("{key:?}").contains(&key.reveal()[20..]));
    }
}
