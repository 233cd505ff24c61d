use std::time::Duration;

/// How long it is waited between two attempts: doubled with each, up to a
/// bound, and spread over half to the whole of it, so that jobs that failed
/// together are not tried again together.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// No wait is longer.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(10 * 60) }
    }
}

impl Backoff {
    /// The wait after this many failures in a row.
    #[must_use]
    pub fn wait(self, failures: u32) -> Duration {
        self.longest_wait(failures).mul_f64(rand::random_range(0.5..=1.0))
    }

    fn longest_wait(self, failures: u32) -> Duration {
        let doubled = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(2_u32.saturating_pow(doubled)).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_waits_longer_up_to_a_bound() {
        let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) };
        assert_eq!(backoff.longest_wait(0), Duration::from_secs(1));
        assert_eq!(backoff.longest_wait(1), Duration::from_secs(1));
        assert_eq!(backoff.longest_wait(4), Duration::from_secs(8));
        for failures in 0..1000 {
            let wait = backoff.wait(failures);
            let longest = backoff.longest_wait(failures);
            assert!(wait <= longest && wait >= longest / 2, "{failures}: {wait:?}");
            assert!(longest <= Duration::from_secs(60));
        }
    }
}
