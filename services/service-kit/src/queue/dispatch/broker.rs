use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::announcer::{Announcement, Announcer};
use super::puller::{Inbox, pull};
use super::rows::{self, Claimed};
use super::task::Task;
use crate::queue::broker::Broker;
use crate::queue::{Job, Queue, QueueError, WorkerSettings};

/// How soon a job is given out again that could not be asked for in the database.
const UNASKED_PAUSE: Duration = Duration::from_secs(1);
/// A job that has just become due may seem not to be.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// A queue whose jobs NATS hands out, to one worker.
#[derive(Clone, Debug)]
pub(in crate::queue) struct Dispatched {
    queue: Queue,
    announcer: Arc<Announcer>,
    inbox: Arc<Inbox>,
    puller: Arc<Task>,
    look: Arc<Look>,
}

/// When the database is looked at for what NATS has missed.
#[derive(Debug)]
struct Look {
    every: Duration,
    next: Mutex<Instant>,
}

impl Look {
    /// What is overdue for so long was missed: NATS has had its time.
    fn overdue(&self) -> Duration {
        self.every / 3
    }

    fn is_due(&self) -> bool {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_due = now >= *next;
        if is_due {
            *next = now + self.every;
        }
        is_due
    }
}

impl Dispatched {
    pub(in crate::queue) fn start(
        queue: Queue,
        announcer: Arc<Announcer>,
        settings: &WorkerSettings,
    ) -> Self {
        let inbox = Arc::new(Inbox::new(&queue.signal));
        let pulling = pull(Arc::clone(&announcer.link), Arc::clone(&inbox), settings.lease);
        let look =
            Look { every: settings.missed_poll, next: Mutex::new(Instant::now() + settings.missed_poll) };
        Self { queue, announcer, inbox, puller: Arc::new(Task::spawn(pulling)), look: Arc::new(look) }
    }

    /// Tries to take what NATS has handed over.
    async fn take(&self, most: usize, lease: Duration, jobs: &mut Vec<Job>) -> Result<(), QueueError> {
        while jobs.len() < most
            && let Some(delivery) = self.inbox.take()
        {
            let Some(id) = &delivery.id else {
                delivery.done().await;
                continue;
            };
            match rows::claim(&self.queue.database, self.queue.name(), id, lease).await {
                Ok(Claimed::Held(job)) => jobs.push(job.delivered_by(delivery)),
                Ok(Claimed::NotDue(wait)) => delivery.again(Some(wait.max(SHORTEST_PAUSE))).await,
                Ok(Claimed::Over) => delivery.done().await,
                Err(error) => {
                    delivery.again(Some(UNASKED_PAUSE)).await;
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    /// Looks for what NATS does not hand over.
    async fn look(&self, most: usize, lease: Duration, jobs: &mut Vec<Job>) -> Result<(), QueueError> {
        if most == 0 {
            return Ok(());
        }
        let status = &self.announcer.link.status;
        if !status.is_up() {
            jobs.extend(self.queue.claim_due(most, lease, Duration::ZERO).await?);
        } else if self.look.is_due() {
            let missed = self.queue.claim_due(most, lease, self.look.overdue()).await?;
            if !missed.is_empty() {
                status.missed(missed.len());
                if self.inbox.silence() >= self.look.overdue() {
                    self.announcer.link.again.notify_one();
                }
            }
            jobs.extend(missed);
        }
        Ok(())
    }

    /// A job that is not to be had by a message of its own gets one.
    async fn again(&self, job: &Job, delay: Option<Duration>) {
        match &job.delivery {
            Some(delivery) => delivery.again(delay).await,
            None => self.announcer.announce(Announcement::anew(job.id.to_string())),
        }
    }

    async fn done(&self, job: &Job) {
        if let Some(delivery) = &job.delivery {
            delivery.done().await;
        }
    }
}

/// In each, first the row and then the message: if the latter fails, NATS gives
/// the job out once more, and its row says that there is nothing to do.
impl Broker for Dispatched {
    fn name(&self) -> &str {
        self.queue.name()
    }

    fn woken(&self) -> impl Future<Output = ()> + Send {
        self.queue.woken()
    }

    async fn claim(&self, most: usize, lease: Duration) -> Result<Vec<Job>, QueueError> {
        let mut jobs = Vec::new();
        let mut claimed = self.take(most, lease, &mut jobs).await;
        if claimed.is_ok() {
            claimed = self.look(most.saturating_sub(jobs.len()), lease, &mut jobs).await;
        }
        self.inbox.want(most.saturating_sub(jobs.len()));
        match claimed {
            // What is held is worked on; what is wrong shows again at the next look.
            Err(error) if jobs.is_empty() => Err(error),
            _ => Ok(jobs),
        }
    }

    async fn renew(&self, job: &Job, lease: Duration) -> Result<bool, QueueError> {
        let is_held = self.queue.renew(job, lease).await?;
        if is_held && let Some(delivery) = &job.delivery {
            delivery.in_progress().await;
        }
        Ok(is_held)
    }

    async fn complete(&self, job: &Job) -> Result<bool, QueueError> {
        let is_held = self.queue.complete(job).await?;
        if is_held {
            self.done(job).await;
        }
        Ok(is_held)
    }

    async fn completed(&self, job: &Job) {
        self.done(job).await;
    }

    async fn retry(&self, job: &Job, delay: Duration, error: &str) -> Result<bool, QueueError> {
        let is_held = self.queue.retry(job, delay, error).await?;
        if is_held {
            self.again(job, Some(delay)).await;
        }
        Ok(is_held)
    }

    async fn bury(&self, job: &Job, error: &str) -> Result<bool, QueueError> {
        let is_held = self.queue.bury(job, error).await?;
        if is_held {
            self.done(job).await;
        }
        Ok(is_held)
    }

    async fn release(&self, job: &Job) -> Result<bool, QueueError> {
        let is_held = self.queue.release(job).await?;
        if is_held {
            self.again(job, None).await;
        }
        Ok(is_held)
    }

    async fn rest(&self) {
        self.puller.end();
        while let Some(delivery) = self.inbox.take() {
            delivery.again(None).await;
        }
    }

    async fn forget(&self) -> Result<bool, QueueError> {
        self.queue.forget().await
    }
}
