//! Who waits for something in this process learns of it at once. What happens
//! in other processes is not told: it is found out by looking.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Changes that a listener may be late for. With more it just looks.
const BACKLOG: usize = 1024;

/// Tells of changes in this process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Changes(broadcast::Sender<Arc<str>>);

impl Default for Changes {
    fn default() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }
}

impl Changes {
    /// Something about this id has changed, and can be read.
    pub fn tell(&self, id: &str) {
        // Nobody may listen.
        let _ = self.0.send(id.into());
    }

    /// Listens from now on.
    #[must_use]
    pub fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

/// Somebody who waits.
#[derive(Debug)]
pub struct Listener(broadcast::Receiver<Arc<str>>);

impl Listener {
    /// Waits until it is time to look at this id: something has changed, or may
    /// have, or `most` has passed. Nothing is missed if it is not waited for to
    /// the end.
    pub async fn changed(&mut self, id: &str, most: Duration) {
        let look = Instant::now() + most;
        loop {
            match timeout_at(look, self.0.recv()).await {
                Ok(Ok(changed)) if changed.as_ref() != id => {}
                Ok(Err(broadcast::error::RecvError::Closed)) => return sleep_until(look).await,
                // What was missed may have been it.
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_is_woken_by_its_own_changes() {
        const LONG: Duration = Duration::from_secs(1);
        let changes = Changes::default();
        let mut listener = changes.listen();
        let begun = Instant::now();
        changes.tell("other");
        changes.tell("mine");
        listener.changed("mine", LONG).await;
        assert!(begun.elapsed() < LONG);
        changes.tell("other");
        listener.changed("mine", LONG).await;
        assert!(begun.elapsed() >= LONG);
    }

    #[tokio::test]
    async fn a_listener_that_has_missed_changes_looks() {
        const LONG: Duration = Duration::from_secs(60);
        let changes = Changes::default();
        let mut listener = changes.listen();
        changes.tell("mine");
        for _ in 0..BACKLOG {
            changes.tell("other");
        }
        let begun = Instant::now();
        listener.changed("mine", LONG).await;
        assert!(begun.elapsed() < LONG);
    }
}
