//! Requests over several services: what is asked for, what is done about it,
//! and the answer.
//!
//! ```text
//!   create ─▶ stored, queued ─▶ work: plan ─▶ tasks side by side ─▶ finish: answer ─▶ webhook
//!     │                              └──────────┴── each step: state + event, in one transaction
//!     └─ waits a while for the end         events: server-sent, from the same rows
//! ```

mod analyses;
mod body;
mod calls;
mod create;
mod events;
mod finish;
mod form;
mod order;
mod plan;
mod routes;
mod state;
mod store;
mod tidy;
mod words;
mod work;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use service_kit::Problem;
use service_kit::changes::{Changes, Listener};
use service_kit::database::Database;
use service_kit::idempotency::{Idempotency, IdempotencySettings};
use service_kit::queue::{Dispatch, Queue, QueueSettings};
use tokio::sync::Semaphore;

use self::body::Room;
pub use self::finish::view;
pub use self::order::Webhook;
pub use self::routes::{routes, streams};
pub use self::state::{RequestView, WebhookState};
pub use self::store::{Stored, load, save_webhook};
pub use self::tidy::tidy;
pub use self::work::work;
use self::writer::{Template, Writer};
use crate::gateway::Gateway;
use crate::problems;

/// Most bytes of a request, without its files.
pub const MOST_BODY_BYTES: usize = 2 << 20;
/// Most requests that wait or are worked on.
const MOST_QUEUED: u32 = 10_000;
/// Streams of events that may be open at once.
const MOST_STREAMS: usize = 1024;
/// How often it is looked whether a request was changed by another replica.
const LOOK: Duration = Duration::from_secs(1);

/// What requests share.
#[derive(Debug)]
pub struct Requests {
    /// Those that are to be worked on.
    pub queue: Queue,
    /// Those whose end is to be told.
    pub webhooks: Queue,
    idempotency: Idempotency,
    writer: Box<dyn Writer>,
    changes: Changes,
    /// For those that are read.
    room: Room,
    streams: Arc<Semaphore>,
}

impl Requests {
    /// The requests in a database, and what hands them out.
    #[must_use]
    pub fn new(database: &Database, dispatch: &Dispatch) -> Self {
        let settings = QueueSettings { bound: MOST_QUEUED, ..QueueSettings::default() };
        Self {
            queue: Queue::new(database, "requests", settings).dispatched_by(dispatch),
            webhooks: Queue::new(database, "webhooks", QueueSettings::default()).dispatched_by(dispatch),
            idempotency: Idempotency::new(database, IdempotencySettings::default()),
            writer: Box::new(Template),
            changes: Changes::default(),
            room: Room::default(),
            streams: Arc::new(Semaphore::new(MOST_STREAMS)),
        }
    }

    /// Wakes who waits for a change of a request.
    pub fn changed(&self, id: &str) {
        self.changes.tell(id);
    }

    /// Listens to changes from now on.
    fn listen(&self) -> Listener {
        self.changes.listen()
    }
}

/// A request, as it is now or as it is when it has ended, whichever comes
/// first after `wait`.
async fn wait(gateway: &Gateway, id: &str, wait: Duration) -> Result<Stored, Problem> {
    let until = tokio::time::Instant::now() + wait;
    // Before looking, so that what happens while looking is not missed.
    let mut listener = gateway.requests.listen();
    loop {
        let request =
            load(&gateway.database, id).await.map_err(problems::database)?.ok_or_else(|| missing(id))?;
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        if request.status.is_final() || left.is_zero() || *gateway.stopping.borrow() {
            return Ok(request);
        }
        tokio::select! {
            () = listener.changed(id, left.min(LOOK)) => {}
            // Who waits here is told to ask again, and reaches another replica.
            () = service_kit::server::until(gateway.stopping.clone()) => {}
        }
    }
}

/// A request with all that has come out of it.
async fn whole(gateway: &Gateway, request: &Stored) -> Result<RequestView, Problem> {
    let results = store::results(&gateway.database, &request.id).await.map_err(problems::database)?;
    Ok(view(request, results))
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("There is no request with the id `{id}`."))
}
