//! How slow a client may be.

use std::time::Duration;

/// Bytes that a client has to take in a second, while others wait.
const BYTES_PER_SECOND: u32 = 1 << 20;
/// So much a client may be behind that. It is less than the others wait.
const SLACK: Duration = Duration::from_secs(4);

/// What a client has taken, against the time that others have waited for it.
/// Alone, it may be as slow as it likes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    behind: Duration,
}

impl Pace {
    /// Others have waited for the client.
    pub fn waited(&mut self, time: Duration) {
        self.behind += time;
    }

    /// The client has taken something.
    pub fn took(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let time = Duration::from_secs_f64(f64::from(bytes) / f64::from(BYTES_PER_SECOND));
        self.behind = self.behind.saturating_sub(time);
    }

    /// Whether the others have waited for long enough.
    #[must_use]
    pub fn is_too_slow(&self) -> bool {
        self.behind >= SLACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many seconds a client is too slow that takes so much every second.
    fn ends(bytes_per_second: usize) -> Option<u32> {
        let mut pace = Pace::default();
        (1..=600).find(|_| {
            pace.waited(Duration::from_secs(1));
            pace.took(bytes_per_second);
            pace.is_too_slow()
        })
    }

    #[test]
    fn who_is_slow_is_ended_and_who_keeps_up_is_not() {
        assert_eq!(ends(0), Some(4));
        assert_eq!(ends(1 << 19), Some(8));
        assert_eq!(ends(1 << 20), None);
        assert_eq!(ends(100 << 20), None);
    }

    #[test]
    fn what_was_taken_before_is_no_credit() {
        let mut pace = Pace::default();
        pace.took(1 << 30);
        pace.waited(SLACK);
        assert!(pace.is_too_slow());
    }
}
