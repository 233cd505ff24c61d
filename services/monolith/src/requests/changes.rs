//! Who waits for something to happen to a request, in this process. What
//! happens at other replicas is found out by looking.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Changes that somebody may be behind.
const BEHIND: usize = 1024;

/// Tells of changes.
#[derive(Debug)]
pub struct Changes(broadcast::Sender<Arc<str>>);

impl Default for Changes {
    fn default() -> Self {
        Self(broadcast::Sender::new(BEHIND))
    }
}

impl Changes {
    /// Something has happened to a request.
    pub fn tell(&self, id: &str) {
        // Nobody may be waiting.
        let _ = self.0.send(id.into());
    }

    /// What happens from now on.
    pub fn receiver(&self) -> Receiver {
        Receiver(self.0.subscribe())
    }
}

/// Is told of changes.
#[derive(Debug)]
pub struct Receiver(broadcast::Receiver<Arc<str>>);

impl Receiver {
    /// Waits until something happens to a request, or for so long.
    pub async fn next(&mut self, id: &str, most: Duration) {
        let changed = async {
            loop {
                match self.0.recv().await {
                    Ok(changed) if *changed == *id => return,
                    Ok(_) => {}
                    // What was missed may have been it.
                    Err(RecvError::Lagged(_)) => return,
                    Err(RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        let _ = tokio::time::timeout(most, changed).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_is_woken_by_its_own_request() {
        const LONG: Duration = Duration::from_secs(1);
        let changes = Changes::default();
        let mut receiver = changes.receiver();
        let begun = tokio::time::Instant::now();
        changes.tell("other");
        changes.tell("mine");
        receiver.next("mine", LONG).await;
        assert!(begun.elapsed() < LONG);
        changes.tell("other");
        receiver.next("mine", LONG).await;
        assert!(begun.elapsed() >= LONG);
    }
}
