//! Work that must not be lost: queues in the database of the service.
//!
//! ```text
//!   transaction ─▶ enqueue ─▶ commit ─▶ (wake) ─▶ worker: claim ─▶ handler ─▶ complete
//!                                                    ▲                ├─▶ try again later ─┐
//!                                                    │                └─▶ dead             │
//!                                                    └─────────────────────────────────────┘
//! ```
//!
//! What is accepted and the work that follows from it are stored in one
//! transaction, so that neither is there without the other.
//!
//! A worker holds a job by a lease that it renews while it works. If it dies,
//! the lease lapses and another worker takes the job over. So **a job is done
//! at least once**: what a handler does has to bear being done again. What it
//! does in the database of the service is done exactly once if it is done in
//! the transaction in which the job is [completed](Job::complete): only the
//! holder of the lease can.
//!
//! How workers learn of jobs, and of NATS JetStream, is told in [`dispatch`].

mod backoff;
mod broker;
pub mod dispatch;
mod job;
mod store;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use self::backoff::Backoff;
use self::dispatch::{Announcement, Announcer, Dispatched};
pub use self::dispatch::{Dispatch, DispatchSettings};
pub use self::job::{Handler, Job, JobFailure};
pub use self::store::{DeadJob, Depth};
pub use self::worker::{Worker, WorkerSettings};
use crate::database::{Database, DatabaseError, Transaction};

/// Most bytes of what a job carries. Larger things are objects that a job names.
pub const MOST_PAYLOAD_BYTES: usize = 1 << 20;
/// How long it is relied on that a queue is full, or is not.
const BOUND_CHECK: Duration = Duration::from_secs(1);

/// Why something in a queue was not done.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Too much waits already. It can be tried again later.
    #[error("the queue `{queue}` is full: {bound} jobs wait in it")]
    Full {
        /// Which queue.
        queue: String,
        /// Its bound.
        bound: u32,
    },
    /// What the job carries is no JSON.
    #[error("what a job of the queue carries cannot be written as JSON")]
    Payload {
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// What the job carries is too large.
    #[error("what a job carries has {bytes} bytes, and at most {} are kept", MOST_PAYLOAD_BYTES)]
    PayloadTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Another worker has the job by now: what was done for it must not be kept.
    #[error("the lease of job {id} was lost to another worker")]
    LeaseLost {
        /// Which job.
        id: String,
    },
}

/// What a queue keeps, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct QueueSettings {
    /// Most jobs that are not finished. It is looked at about once a second, so
    /// that a burst can exceed it.
    pub bound: u32,
    /// How long after its end, done or dead, the key of a job still keeps
    /// another one with the same key away. A dead job goes on without its key.
    pub deduplication: Duration,
    /// How long dead jobs are kept for a person to look at.
    pub dead: Duration,
}

impl Default for QueueSettings {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self { bound: 100_000, deduplication: DAY, dead: DAY.saturating_mul(30) }
    }
}

/// A queue by its name. Cheap to clone; clones wake each other's workers at
/// once, other processes find out by looking, or are told by NATS.
#[derive(Clone, Debug)]
pub struct Queue {
    database: Database,
    name: Arc<str>,
    settings: QueueSettings,
    signal: Arc<Notify>,
    bound: Arc<Mutex<BoundCheck>>,
    announcer: Option<Arc<Announcer>>,
}

/// What was last seen of the bound.
#[derive(Clone, Copy, Debug, Default)]
struct BoundCheck {
    at: Option<Instant>,
    is_full: bool,
}

impl Queue {
    /// The queue of this name in the database.
    #[must_use]
    pub fn new(database: &Database, name: &str, settings: QueueSettings) -> Self {
        Self {
            database: database.clone(),
            name: name.into(),
            settings,
            signal: Arc::default(),
            bound: Arc::default(),
            announcer: None,
        }
    }

    /// The same queue, of whose jobs workers learn in this way. To be called
    /// once for each queue of a process, within a runtime.
    #[must_use]
    pub fn dispatched_by(mut self, dispatch: &Dispatch) -> Self {
        self.announcer = dispatch.announcer(&self);
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Puts a job into the queue, as a part of the transaction: it is there once
    /// that is committed, and never was if it is not.
    ///
    /// # Errors
    /// If the queue is full or the database fails.
    pub async fn enqueue(&self, transaction: &mut Transaction, job: &NewJob) -> Result<Enqueued, QueueError> {
        if self.is_full(transaction).await? {
            return Err(QueueError::Full { queue: self.name.to_string(), bound: self.settings.bound });
        }
        let enqueued = store::insert(transaction, &self.name, job).await?;
        transaction.wake_after_commit(&self.signal);
        if let Some(announcer) = self.announcer.clone().filter(|_| !enqueued.is_duplicate) {
            let announcement = Announcement::of_attempt(enqueued.id.clone(), 0);
            transaction.after_commit(move || announcer.announce(announcement));
        }
        Ok(enqueued)
    }

    /// Puts a job into the queue in a transaction of its own. When this returns,
    /// it is stored.
    ///
    /// # Errors
    /// If the queue is full or the database fails.
    pub async fn enqueue_alone(&self, job: &NewJob) -> Result<Enqueued, QueueError> {
        let mut transaction = self.database.begin().await?;
        let enqueued = self.enqueue(&mut transaction, job).await?;
        transaction.commit().await?;
        Ok(enqueued)
    }

    /// How much is in the queue, for metrics.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn depth(&self) -> Result<Depth, QueueError> {
        Ok(store::depth(&self.database, &self.name).await?)
    }

    /// The dead jobs, those that died last first.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn dead(&self, most: u32) -> Result<Vec<DeadJob>, QueueError> {
        Ok(store::dead(&self.database, &self.name, most).await?)
    }

    /// Lets a dead job be tried again, as often as a new one. False if there is
    /// no such dead job.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn revive(&self, id: &str) -> Result<bool, QueueError> {
        let is_revived = store::revive(&self.database, &self.name, id).await?;
        self.signal.notify_waiters();
        if let Some(announcer) = self.announcer.as_ref().filter(|_| is_revived) {
            announcer.announce(Announcement::anew(id.to_owned()));
        }
        Ok(is_revived)
    }

    /// What takes its jobs from NATS for a worker, if NATS hands them out.
    fn dispatched(&self, settings: &WorkerSettings) -> Option<Dispatched> {
        let announcer = self.announcer.clone()?;
        Some(Dispatched::start(self.clone(), announcer, settings))
    }

    async fn is_full(&self, transaction: &mut Transaction) -> Result<bool, QueueError> {
        let last = *self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        if last.at.is_some_and(|at| at.elapsed() < BOUND_CHECK) {
            return Ok(last.is_full);
        }
        let is_full = store::is_full(transaction, &self.name, self.settings.bound).await?;
        *self.bound.lock().unwrap_or_else(PoisonError::into_inner) =
            BoundCheck { at: Some(Instant::now()), is_full };
        Ok(is_full)
    }
}

/// A job that is put into a queue.
#[derive(Clone, Debug)]
pub struct NewJob {
    payload: String,
    delay: Duration,
    max_attempts: u32,
    deduplication_key: Option<String>,
}

impl NewJob {
    /// A job that is due at once and is tried at most ten times.
    ///
    /// # Errors
    /// If what it carries is no JSON or too large.
    pub fn new(payload: &impl Serialize) -> Result<Self, QueueError> {
        let payload = serde_json::to_string(payload).map_err(|source| QueueError::Payload { source })?;
        if payload.len() > MOST_PAYLOAD_BYTES {
            return Err(QueueError::PayloadTooLarge { bytes: payload.len() });
        }
        Ok(Self { payload, delay: Duration::ZERO, max_attempts: 10, deduplication_key: None })
    }

    /// Not before this time has passed.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// After so many failed attempts it is dead.
    #[must_use]
    pub fn max_attempts(mut self, most: u32) -> Self {
        self.max_attempts = most;
        self
    }

    /// Of the jobs with this key in the queue, only the first is put into it,
    /// until some time after it has ended.
    #[must_use]
    pub fn deduplication_key(mut self, key: impl Into<String>) -> Self {
        self.deduplication_key = Some(key.into());
        self
    }
}

/// A job that is in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enqueued {
    /// Its id; of a duplicate, that of the job that was there before.
    pub id: String,
    /// Whether a job with the same key was there before.
    pub is_duplicate: bool,
}
