//! Values that Kubernetes will not refuse, because they were checked when
//! they were made. What is built from them needs no further checks.

use std::fmt;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Longer than Kubernetes allows.
    #[error("`{value}` has more than {limit} characters")]
    TooLong {
        /// The text.
        value: String,
        /// The longest that is allowed.
        limit: usize,
    },
    /// Not of the form of a DNS label or subdomain (RFC 1123).
    #[error("`{0}` is not a lower-case name of letters, digits, `-` and `.`")]
    Malformed(String),
}

/// A name of an object with at most `LIMIT` characters (RFC 1123 subdomain).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name<const LIMIT: usize>(String);

/// A name that can be the value of a label, or the name of a Job: 63
/// characters.
pub type LabelName = Name<63>;
/// A name of an object of most kinds: 253 characters.
pub type ObjectName = Name<253>;

impl<const LIMIT: usize> Name<LIMIT> {
    /// Checks a text.
    ///
    /// # Errors
    /// If it is too long or of another form.
    pub fn parse(value: impl Into<String>) -> Result<Self, NameError> {
        let value = value.into();
        if value.len() > LIMIT {
            return Err(NameError::TooLong { value, limit: LIMIT });
        }
        let alphanumeric = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
        let well_formed = value.chars().all(|c| alphanumeric(c) || c == '-' || c == '.')
            && value.starts_with(alphanumeric)
            && value.ends_with(alphanumeric);
        if well_formed { Ok(Self(value)) } else { Err(NameError::Malformed(value)) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const LIMIT: usize> fmt::Display for Name<LIMIT> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_when_they_are_made() {
        assert_eq!(LabelName::parse("penguins-2").unwrap().as_str(), "penguins-2");
        assert_eq!(ObjectName::parse("a.b").unwrap().to_string(), "a.b");
        for malformed in ["", "-a", "a-", "A", "a_b", "a b", "ä"] {
            assert_eq!(LabelName::parse(malformed), Err(NameError::Malformed(malformed.to_owned())));
        }
        assert!(LabelName::parse("a".repeat(63)).is_ok());
        assert!(matches!(LabelName::parse("a".repeat(64)), Err(NameError::TooLong { limit: 63, .. })));
    }
}
