//! Times as the database keeps them, in milliseconds since 1970, and as
//! people and programs read them (RFC 3339).

use jiff::Timestamp;

/// A time that was kept.
#[must_use]
pub fn at(milliseconds: i64) -> Timestamp {
    // What the gateway writes is always within the years 1970 to 9999.
    Timestamp::from_millisecond(milliseconds).unwrap_or_default()
}
