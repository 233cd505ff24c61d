//! How long to wait before an object is tried again: longer with each
//! failure of this object, regardless of all others, and never in step with
//! them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::Rng;

/// The wait after a first failure.
const FIRST: Duration = Duration::from_millis(500);
/// No wait is longer. An object is then tried often enough for a person who
/// has mended its cause, and seldom enough for the API server.
const LONGEST: Duration = Duration::from_secs(120);

/// The failures in a row of each object, by its uid.
#[derive(Debug, Default)]
pub struct Backoffs {
    failures: Mutex<HashMap<String, u32>>,
}

impl Backoffs {
    /// Counts a failure and tells how long to wait: doubled with each failure
    /// in a row, and spread over half to the whole of it.
    pub fn failed(&self, uid: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(uid.to_owned()).or_insert(0);
        let wait = longest_wait(*count);
        *count = count.saturating_add(1);
        wait.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// How many failures there were in a row.
    #[must_use]
    pub fn in_a_row(&self, uid: &str) -> u32 {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).get(uid).copied().unwrap_or(0)
    }

    /// Forgets the failures of an object: it succeeded, or is gone.
    pub fn succeeded(&self, uid: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

fn longest_wait(failures: u32) -> Duration {
    FIRST.saturating_mul(2_u32.saturating_pow(failures.min(16))).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_in_a_row_waits_longer_up_to_a_bound() {
        let backoffs = Backoffs::default();
        for failures in 0..40 {
            let wait = backoffs.failed("a");
            assert!(
                wait <= longest_wait(failures) && wait >= longest_wait(failures) / 2,
                "{failures}: {wait:?}"
            );
        }
        assert_eq!(longest_wait(40), LONGEST);
    }

    #[test]
    fn objects_do_not_wait_for_one_another() {
        let backoffs = Backoffs::default();
        for _ in 0..10 {
            backoffs.failed("a");
        }
        assert!(backoffs.failed("b") <= FIRST);
        backoffs.succeeded("a");
        assert!(backoffs.failed("a") <= FIRST);
    }
}
