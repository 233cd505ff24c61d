use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message};
use tokio::time::timeout;
use uuid::Uuid;

/// How long telling NATS what has become of a job may take. If it fails, NATS
/// gives the job out again, and its row says what there is to do.
const TELL_LIMIT: Duration = Duration::from_secs(1);

/// A message with the id of a job. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::queue) struct Delivery {
    /// `None` if it is no id: somebody else has put it there.
    pub(super) id: Option<Arc<str>>,
    message: Arc<Message>,
}

impl Delivery {
    pub(super) fn new(message: Message) -> Self {
        let id = std::str::from_utf8(&message.payload)
            .ok()
            .filter(|text| Uuid::try_parse(text).is_ok())
            .map(Arc::from);
        Self { id, message: Arc::new(message) }
    }

    /// There is nothing left to do.
    pub(super) async fn done(&self) {
        self.tell(AckKind::Ack).await;
    }

    /// It is worked on: until a lease from now, nobody else is to have it.
    pub(super) async fn in_progress(&self) {
        self.tell(AckKind::Progress).await;
    }

    /// It is to be given out again, after the delay if there is one.
    pub(super) async fn again(&self, delay: Option<Duration>) {
        self.tell(AckKind::Nak(delay)).await;
    }

    async fn tell(&self, what: AckKind) {
        match timeout(TELL_LIMIT, self.message.ack_with(what)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "NATS could not be told what has become of a job."),
            Err(_) => tracing::debug!("NATS could not be told in time what has become of a job."),
        }
    }
}
