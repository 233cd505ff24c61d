use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use service_kit::Problem;
use service_kit::changes::Changes;
use service_kit::configuration::Configuration;
use service_kit::database::Database;
use service_kit::idempotency::Idempotency;
use service_kit::objects::Objects;
use service_kit::queue::Queue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::child::Launcher;
use super::configuration::{Bounds, Settings};
use super::garbage::Garbage;
use super::kubernetes::Kubernetes;
use super::metrics::ServeMetrics;
use super::place::Place;
use super::shares::Shares;

/// How often it is looked whether something was changed by another process.
pub const LOOK: Duration = Duration::from_secs(1);
/// How long a request waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// What the routes and the workers of the service share.
#[derive(Debug)]
pub struct Service {
    /// Where everything is noted down.
    pub database: Database,
    /// Where everything large is.
    pub objects: Objects,
    /// The same, as an analysis sees it.
    pub place: Place,
    /// Objects that nobody needs.
    pub garbage: Garbage,
    /// Analyses that are to be run.
    pub queue: Queue,
    /// Uploads of which all parts are there.
    pub finishing: Queue,
    /// Requests that are not done twice.
    pub idempotency: Idempotency,
    /// Starts the processes of analyses.
    pub launcher: Launcher,
    /// What each of them may take.
    pub shares: Shares,
    /// What the operator says.
    pub settings: Configuration<Settings>,
    /// What is counted.
    pub metrics: ServeMetrics,
    /// Tells who waits.
    pub changes: Changes,
    /// Who does what at once.
    pub turns: Turns,
    /// The API server with the AnalysisJobs.
    pub kubernetes: Kubernetes,
}

impl Service {
    /// How much is taken on and kept at present.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.settings.current().analyses
    }

    /// How long an analysis is kept after its end.
    #[must_use]
    pub fn retention(&self) -> Duration {
        Duration::from_secs(u64::from(self.bounds().result_days) * 24 * 60 * 60)
    }
}

/// How many do what at once. Each of them needs memory.
#[derive(Debug)]
pub struct Turns {
    /// Processes of analyses.
    pub analyses: Turn,
    /// Looks at an upload.
    pub inspections: Turn,
    /// Uploads that come in.
    pub uploads: Turn,
    /// Results that are stored.
    pub storing: Turn,
    /// Pages of rows that are made.
    pub pages: Turn,
    /// Results that are sent as a whole.
    pub streams: Turn,
}

impl Turns {
    /// For this many analyses.
    #[must_use]
    pub fn new(concurrency: usize, place: &Place) -> Self {
        // What goes to a bucket is held in parts of some MiB.
        let uploads = match place {
            Place::Folder(_) => 64,
            Place::Bucket { .. } => 4,
        };
        Self {
            analyses: Turn::new(concurrency),
            inspections: Turn::new(1),
            uploads: Turn::new(uploads),
            storing: Turn::new(1),
            pages: Turn::new(2),
            streams: Turn::new(4),
        }
    }
}

/// Who waits for a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// A client, that is better told to come again than kept waiting.
    Client,
    /// Work that was taken on, and has all the time.
    Work,
}

/// Lets only so many do something at once.
#[derive(Debug)]
pub struct Turn {
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// The turn to do something, until it is dropped.
#[derive(Debug)]
pub struct MyTurn {
    /// `None` only if the service ends.
    _permit: Option<OwnedSemaphorePermit>,
    waiting: Arc<AtomicUsize>,
}

impl MyTurn {
    /// Whether somebody else waits for a turn of this kind.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

/// One who waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turn {
    fn new(at_once: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(at_once)), waiting: Arc::default() }
    }

    /// Waits for as long as it takes.
    pub async fn wait(&self) -> MyTurn {
        let waiting = Waiting::begin(&self.waiting);
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        drop(waiting);
        MyTurn { _permit: permit, waiting: Arc::clone(&self.waiting) }
    }

    /// Waits for as long as this is of use.
    ///
    /// # Errors
    /// 503, if a client has waited for a while.
    pub async fn with(&self, patience: Patience) -> Result<MyTurn, Problem> {
        match patience {
            Patience::Client => self.soon().await,
            Patience::Work => Ok(self.wait().await),
        }
    }

    /// Waits for a while.
    ///
    /// # Errors
    /// 503, if that is not enough.
    pub async fn soon(&self) -> Result<MyTurn, Problem> {
        tokio::time::timeout(TURN, self.wait()).await.map_err(|_| {
            Problem::unavailable("As many requests of this kind are under way as the memory allows.", TURN)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_gives_up_waiting_does_not_wait() {
        let turn = Turn::new(1);
        let mine = turn.wait().await;
        assert!(!mine.is_awaited());
        let other = tokio::time::timeout(Duration::from_millis(10), async {
            tokio::join!(turn.wait(), async { assert!(mine.is_awaited()) })
        });
        assert!(other.await.is_err());
        assert!(!mine.is_awaited());
    }
}
