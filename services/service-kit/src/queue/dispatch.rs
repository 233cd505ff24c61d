//! How workers learn of jobs: from the database alone, or from NATS JetStream,
//! which spares the database from being looked at by every worker each second.
//!
//! The database stays the truth in both. NATS is told which jobs there are and
//! decides who has a try at which; whether that one gets the job is decided by
//! its row. So whatever NATS loses, repeats or mixes up, no job is lost or done
//! twice at once, and nothing that is accepted waits for NATS.
//!
//! ```text
//!   enqueue ─▶ commit ─▶ announce the id ─▶ stream ─▶ one worker ─▶ claim the row by its id
//!                            ▲                ▲                       │
//!         each time that     │                │                       ├─ held: work; each renewal of the lease
//!         the link is made:  │                │                       │    is told as well (in progress)
//!         all that is        │                │                       │    ├─ completed, dead ─▶ acknowledge
//!         unfinished ────────┘                │                       │    ├─ failed ─▶ again after the delay ─┐
//!                                             │                       │    └─ given back ─▶ again at once ─────┤
//!                                             │                       ├─ not due, or another's                 │
//!                                             │                       │    ─▶ again when it is due ────────────┤
//!                                             │                       └─ finished, unknown ─▶ acknowledge      │
//!                                             └────────────────────────────────────────────────────────────────┘
//! ```
//!
//! - A message is the id of a job, and stays in the stream until the job has
//!   ended. Of a worker that has died, NATS gives it to another one when the
//!   time to acknowledge it is over, which is as long as the lease.
//! - `Nats-Msg-Id` is the id and the number of attempts, so that what is
//!   announced more than once within two minutes is there once. A second message
//!   of the same job does no harm: the row says that there is nothing to do.
//! - A process that ends between the commit and the announcement has announced
//!   nothing. Every process announces all that is unfinished when it has made
//!   its link to the stream, at its start and after each failure.
//! - What is still missed, as when a person empties the stream, is found in the
//!   database, which is looked at every [`WorkerSettings::missed_poll`] for what
//!   is overdue. If NATS was silent all the while, everything is announced again.
//! - Without NATS, the database is looked at as if there had never been another
//!   way. One line in the log says so, and one that NATS is back.
//!
//! Idempotency keys stay in the database: they are finished in the transaction
//! that stores what a request has done, which no other system can be a part of.
//!
//! What it needs of NATS: a server with JetStream (2.9 or newer), and a user
//! who may publish to the subjects of the service, to `$JS.API.>` and to
//! `$JS.ACK.>`, and subscribe to `_INBOX.>`.

mod announcer;
mod broker;
mod connection;
mod delivery;
mod error;
mod puller;
mod rows;
mod settings;
mod status;
mod stream;
mod task;

use std::sync::Arc;

use tokio::sync::Notify;

pub(super) use self::announcer::{Announcement, Announcer};
pub(super) use self::broker::Dispatched;
use self::connection::Connection;
pub(super) use self::delivery::Delivery;
pub use self::settings::{DispatchSettings, NatsSettings};
use self::status::{DispatchMetrics, Status};
use self::stream::Place;
use super::Queue;
#[cfg(doc)]
use super::WorkerSettings;
use crate::metrics::Metrics;

/// How the workers of a process learn of jobs. Cheap to clone. The default is
/// the database alone.
#[derive(Clone, Debug, Default)]
pub struct Dispatch {
    nats: Option<Arc<Nats>>,
}

/// NATS, as all queues of the process use it.
#[derive(Debug)]
struct Nats {
    settings: NatsSettings,
    connection: Arc<Connection>,
    metrics: DispatchMetrics,
}

impl Dispatch {
    /// Begins to connect, if NATS is configured, and goes on trying until it is
    /// dropped. To be called within a runtime.
    #[must_use]
    pub fn start(settings: Option<&DispatchSettings>, metrics: &Metrics) -> Self {
        let nats = settings.map(|DispatchSettings::NatsJetStream(settings)| {
            Arc::new(Nats {
                settings: settings.clone(),
                connection: Arc::new(Connection::keep(settings.clone())),
                metrics: DispatchMetrics::register(metrics),
            })
        });
        Self { nats }
    }

    /// What tells NATS of the jobs of a queue.
    pub(super) fn announcer(&self, queue: &Queue) -> Option<Arc<Announcer>> {
        let nats = self.nats.as_ref()?;
        let link = Link {
            connection: Arc::clone(&nats.connection),
            place: Place::new(&nats.settings, queue.name()),
            status: Status::new(queue.name(), &nats.settings.url, &nats.metrics),
            again: Notify::new(),
        };
        Some(Arc::new(Announcer::start(queue.database.clone(), queue.name(), link)))
    }
}

/// What announcing and taking the jobs of one queue share.
#[derive(Debug)]
struct Link {
    connection: Arc<Connection>,
    place: Place,
    status: Status,
    /// That everything is to be announced once more.
    again: Notify,
}
