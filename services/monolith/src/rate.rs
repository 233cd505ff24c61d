//! How often a key may be used: the generic cell rate algorithm (ITU-T I.371),
//! a bucket that is told from one point in time.
//!
//! Each replica counts for itself. The headers are those of
//! draft-ietf-httpapi-ratelimit-headers: a bucket of `q` requests that fills
//! up within `w` seconds, of which `r` are left, and which is full in `t`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is allowed.
pub const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// What is left of it.
pub const LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// Buckets beyond so many are looked through for those that are full again.
const BUCKETS: usize = 4096;
const NANOSECONDS_OF_A_MINUTE: u64 = 60_000_000_000;

/// How often a key may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// Requests a minute, in the long run: 1 to 1,000,000.
    #[schema(minimum = 1, maximum = 1_000_000, example = 600)]
    pub requests_per_minute: u32,
    /// Requests at once after a pause: 1 to 1,000,000; those of a minute if left out.
    #[schema(minimum = 1, maximum = 1_000_000, example = 60)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}

impl RateLimit {
    /// Most requests at once and a minute.
    pub const MOST: u32 = 1_000_000;

    /// Whether both numbers are ones that can be kept to.
    #[must_use]
    pub fn is_possible(self) -> bool {
        [self.requests_per_minute, self.burst()].iter().all(|number| (1..=Self::MOST).contains(number))
    }

    fn burst(self) -> u32 {
        self.burst.unwrap_or(self.requests_per_minute)
    }

    /// The time for which one request counts.
    fn interval(self) -> u64 {
        NANOSECONDS_OF_A_MINUTE / u64::from(self.requests_per_minute.clamp(1, Self::MOST))
    }

    /// The time for which as many requests count as may be made at once.
    fn window(self) -> u64 {
        self.interval().saturating_mul(u64::from(self.burst().max(1)))
    }
}

/// Whether a request may be made, and what that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    limit: RateLimit,
    /// Further requests that may be made at once.
    pub left: u64,
    /// Until the bucket is full.
    pub full_in: Duration,
    /// When to come again, if this one may not be made.
    pub wait: Option<Duration>,
}

impl Allowance {
    /// Tells the caller.
    pub fn write(&self, headers: &mut HeaderMap) {
        let policy = format!(
            "\"default\";q={};w={}",
            self.limit.burst().max(1),
            seconds(Duration::from_nanos(self.limit.window()))
        );
        let left = format!("\"default\";r={};t={}", self.left, seconds(self.full_in));
        for (name, value) in [(POLICY, policy), (LEFT, left)] {
            // Digits and ASCII.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
}

/// Whole seconds, and never too few.
fn seconds(duration: Duration) -> u128 {
    duration.as_millis().div_ceil(1000)
}

/// The buckets of all keys.
#[derive(Debug)]
pub struct Limiter {
    begun: Instant,
    /// When each bucket is full again, in nanoseconds after `begun`.
    full_at: Mutex<HashMap<String, u64>>,
}

impl Default for Limiter {
    fn default() -> Self {
        Self { begun: Instant::now(), full_at: Mutex::default() }
    }
}

impl Limiter {
    /// Takes one request out of the bucket of a key, if there is one in it.
    pub fn take(&self, key: &str, limit: RateLimit) -> Allowance {
        let now = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.take_at(key, limit, now)
    }

    fn take_at(&self, key: &str, limit: RateLimit, now: u64) -> Allowance {
        let (interval, window) = (limit.interval(), limit.window());
        let mut buckets = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS && !buckets.contains_key(key) {
            buckets.retain(|_, full_at| *full_at > now);
        }
        // A limit that was lowered does not keep a key waiting for the old one.
        let before = buckets.get(key).copied().unwrap_or(now).clamp(now, now.saturating_add(window));
        let after = before.saturating_add(interval);
        let wait = after.saturating_sub(now.saturating_add(window));
        let full_at = if wait == 0 { after } else { before };
        match buckets.get_mut(key) {
            Some(bucket) => *bucket = full_at,
            None => {
                buckets.insert(key.to_owned(), full_at);
            }
        }
        drop(buckets);
        Allowance {
            limit,
            left: (window - (full_at - now).min(window)) / interval,
            full_in: Duration::from_nanos(full_at - now),
            wait: (wait > 0).then(|| Duration::from_nanos(wait)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit { requests_per_minute: 10, burst: None };
    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let limiter = Limiter::default();
        let at = |now: u64| limiter.take_at("key", LIMIT, now);
        for left in (0..10).rev() {
            let allowance = at(0);
            assert_eq!((allowance.left, allowance.wait), (left, None));
        }
        let refused = at(0);
        assert_eq!((refused.left, refused.wait), (0, Some(Duration::from_secs(6))));
        assert_eq!(refused.full_in, Duration::from_secs(60));
        // A refused request costs nothing: after its wait there is room for one, and for one only.
        assert_eq!(at(6 * SECOND).wait, None);
        assert_eq!(at(6 * SECOND).wait, Some(Duration::from_secs(6)));
        assert_eq!(limiter.take_at("other", LIMIT, 6 * SECOND).left, 9);
    }

    #[test]
    fn a_full_bucket_stays_full() {
        let limiter = Limiter::default();
        assert_eq!(limiter.take_at("key", LIMIT, 0).left, 9);
        assert_eq!(limiter.take_at("key", LIMIT, 1000 * SECOND).left, 9);
    }

    #[test]
    fn the_headers_are_those_of_the_draft() {
        let mut headers = HeaderMap::new();
        Limiter::default().take_at("key", LIMIT, 0).write(&mut headers);
        assert_eq!(headers[POLICY], "\"default\";q=10;w=60");
        assert_eq!(headers[LEFT], "\"default\";r=9;t=6");
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let limiter = Limiter::default();
        for key in 0..BUCKETS {
            limiter.take_at(&key.to_string(), LIMIT, 0);
        }
        limiter.take_at("new", LIMIT, 1000 * SECOND);
        assert_eq!(limiter.full_at.lock().unwrap().len(), 1);
    }
}
