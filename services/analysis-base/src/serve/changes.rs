//! Who waits for something learns of it at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Changes that a listener may be late for. With more it just looks.
const BACKLOG: usize = 256;
/// Changes by other processes are not told: they are looked for.
const LOOK: Duration = Duration::from_secs(1);

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
    /// have, or `until` has come.
    pub async fn changed(&mut self, id: &str, until: Instant) {
        let look = until.min(Instant::now() + LOOK);
        loop {
            match timeout_at(look, self.0.recv()).await {
                Ok(Ok(changed)) if changed.as_ref() != id => {}
                Ok(Err(broadcast::error::RecvError::Closed)) => return sleep_until(look).await,
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
        let changes = Changes::default();
        let mut listener = changes.listen();
        let begun = Instant::now();
        changes.tell("other");
        changes.tell("mine");
        listener.changed("mine", begun + Duration::from_secs(9)).await;
        assert!(begun.elapsed() < LOOK);
        changes.tell("other");
        listener.changed("mine", begun + Duration::from_secs(9)).await;
        assert!(begun.elapsed() >= LOOK);
    }
}
