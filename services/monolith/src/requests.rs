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
mod verbatim;
mod waits;
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
pub use self::state::{Answer, RequestStatus, RequestView, Task, WebhookState};
use self::store::Progress;
pub use self::store::{Stored, load, save_webhook};
pub use self::tidy::tidy;
use self::waits::{Waiting, Waits};
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
    /// For those with files, which may be read for hours.
    room_of_forms: Room,
    waits: Waits,
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
            room_of_forms: Room::default(),
            waits: Waits::default(),
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

/// A request as it is now; if somebody waits, as it is when it has ended, or
/// when they do not wait any longer.
async fn wait(gateway: &Gateway, id: &str, waiting: Option<Waiting>) -> Result<Stored, Problem> {
    if let Some(waiting) = waiting {
        end(gateway, id, &waiting).await?;
    }
    known(gateway, id).await
}

/// Waits for the end of a request. Looks only at how far it has come: all that
/// belongs to it may be megabytes.
async fn end(gateway: &Gateway, id: &str, waiting: &Waiting) -> Result<(), Problem> {
    // Before looking, so that what happens while looking is not missed.
    let mut listener = gateway.requests.listen();
    loop {
        let progress = progress(gateway, id).await?;
        let left = waiting.until.saturating_duration_since(tokio::time::Instant::now());
        if progress.status.is_final() || left.is_zero() || *gateway.stopping.borrow() {
            return Ok(());
        }
        tokio::select! {
            () = listener.changed(id, left.min(LOOK)) => {}
            // Who waits here is told to ask again, and reaches another replica.
            () = service_kit::server::until(gateway.stopping.clone()) => {}
        }
    }
}

/// The request of this id, or the answer that there is none.
async fn known(gateway: &Gateway, id: &str) -> Result<Stored, Problem> {
    load(&gateway.database, id).await.map_err(problems::database)?.ok_or_else(|| missing(id))
}

/// How far it has come, or the answer that there is none.
async fn progress(gateway: &Gateway, id: &str) -> Result<Progress, Problem> {
    store::progress(&gateway.database, id).await.map_err(problems::database)?.ok_or_else(|| missing(id))
}

/// A request with all that has come out of it.
async fn whole(gateway: &Gateway, request: &Stored) -> Result<RequestView, Problem> {
    let results = store::results(&gateway.database, &request.id).await.map_err(problems::database)?;
    Ok(view(request, results))
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("There is no request with the id `{id}`."))
}
