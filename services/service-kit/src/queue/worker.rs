use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout, timeout_at};
use tracing::Instrument as _;

use super::broker::Broker;
use super::{Backoff, Handler, Job, JobFailure, Queue, QueueError};
use crate::database::DatabaseError;
use crate::problem::chain;

/// How often what was kept for long enough is looked for.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);
/// The same while there is more than is removed at once: jobs come first.
const FORGET_PAUSE: Duration = Duration::from_millis(500);
/// How the database is tried again.
const STORE_BACKOFF: Backoff = Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(5) };
/// How long giving a job back may take when the process stops.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);

/// How a worker works.
#[derive(Clone, Copy, Debug)]
pub struct WorkerSettings {
    /// Jobs at once.
    pub concurrency: usize,
    /// How long another worker waits before it takes over the jobs of one that
    /// has died. It is renewed at a third of it, so the length of jobs does
    /// not matter.
    pub lease: Duration,
    /// How often the queue is looked at for what was put into it by other
    /// processes, or has become due.
    pub poll: Duration,
    /// How often it is looked at instead while NATS hands out jobs, for those
    /// that it has missed. A job counts as missed when it has been due for a
    /// third of that.
    pub missed_poll: Duration,
    /// The wait between two attempts.
    pub backoff: Backoff,
    /// How long the jobs that run when the process stops may still take. Then
    /// they are broken off and given back.
    pub drain: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            concurrency: 4,
            lease: Duration::from_secs(60),
            poll: Duration::from_secs(1),
            missed_poll: Duration::from_secs(30),
            backoff: Backoff::default(),
            drain: Duration::from_secs(20),
        }
    }
}

/// Does the jobs of a queue.
#[derive(Debug)]
pub struct Worker<H> {
    queue: Queue,
    handler: Arc<H>,
    settings: WorkerSettings,
}

impl<H: Handler> Worker<H> {
    /// A worker that does not work yet.
    #[must_use]
    pub fn new(queue: &Queue, handler: H, settings: WorkerSettings) -> Self {
        Self { queue: queue.clone(), handler: Arc::new(handler), settings }
    }

    /// Works until `stop`; then takes no new jobs, and finishes or gives back
    /// those that it has. Errors of the database are logged and waited out.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) {
        match self.queue.dispatched(&self.settings) {
            None => work(self.queue, self.handler, self.settings, stop).await,
            Some(broker) => work(broker, self.handler, self.settings, stop).await,
        }
    }
}

async fn work<B: Broker, H: Handler>(
    broker: B,
    handler: Arc<H>,
    settings: WorkerSettings,
    stop: impl Future<Output = ()> + Send,
) {
    let mut stop = pin!(stop);
    let (release, released) = watch::channel(false);
    let mut attempts = JoinSet::new();
    let mut failures = 0_u32;
    let mut forget_at = Instant::now();
    loop {
        while attempts.try_join_next().is_some() {}
        // Before looking, so that what comes while looking is not missed.
        let woken = broker.woken();
        let free = settings.concurrency.saturating_sub(attempts.len());
        let mut pause = settings.poll;
        if free > 0 {
            let lapses_at = Instant::now() + settings.lease;
            // What takes longer than the lease would be claimed in vain.
            match within(settings.lease, broker.claim(free, settings.lease)).await {
                Ok(jobs) => {
                    failures = 0;
                    for job in jobs {
                        let attempt = Attempt {
                            broker: broker.clone(),
                            job,
                            settings,
                            released: released.clone(),
                            lapses_at,
                        };
                        let span = tracing::info_span!(
                            "job",
                            queue = broker.name(),
                            id = &*attempt.job.id,
                            attempt = attempt.job.attempt
                        );
                        attempts.spawn(attempt.run(Arc::clone(&handler)).instrument(span));
                    }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    pause = STORE_BACKOFF.wait(failures).max(settings.poll);
                    tracing::warn!(
                        queue = broker.name(),
                        error = %chain(&error),
                        "The queue cannot be looked at and is tried again."
                    );
                }
            }
        }
        if failures == 0 && Instant::now() >= forget_at {
            forget_at = Instant::now() + FORGET_INTERVAL;
            match within(settings.lease, broker.forget()).await {
                Ok(false) => {}
                Ok(true) => {
                    forget_at = Instant::now() + FORGET_PAUSE;
                    pause = pause.min(FORGET_PAUSE);
                }
                Err(error) => {
                    tracing::warn!(queue = broker.name(), error = %chain(&error), "Old jobs cannot be removed.");
                }
            }
        }
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(_) = attempts.join_next(), if !attempts.is_empty() => {}
            () = woken, if failures == 0 => {}
            () = sleep(pause) => {}
        }
    }
    broker.rest().await;
    let ended = timeout(settings.drain, async { while attempts.join_next().await.is_some() {} }).await;
    if ended.is_err() {
        tracing::warn!(
            queue = broker.name(),
            jobs = attempts.len(),
            "Jobs have not ended in time; they are broken off and given back."
        );
        release.send_replace(true);
        while attempts.join_next().await.is_some() {}
    }
}

/// A network that has broken down without a word does not end a wait by itself.
async fn within<T>(
    limit: Duration,
    what: impl Future<Output = Result<T, QueueError>>,
) -> Result<T, QueueError> {
    match timeout(limit, what).await {
        Ok(done) => done,
        Err(_) => Err(DatabaseError::unavailable("it does not answer in time").into()),
    }
}

/// One attempt at one job.
#[derive(Debug)]
struct Attempt<B> {
    broker: B,
    job: Job,
    settings: WorkerSettings,
    released: watch::Receiver<bool>,
    /// Until then nobody else takes the job over.
    lapses_at: Instant,
}

/// What becomes of a job.
#[derive(Debug)]
enum Verdict {
    Complete,
    Retry { delay: Duration, error: String },
    Bury { error: String },
}

impl<B: Broker> Attempt<B> {
    async fn run<H: Handler>(mut self, handler: Arc<H>) {
        if self.job.attempt > self.job.max_attempts {
            let error = "the worker of the last attempt stopped without a word, perhaps because of this job";
            self.settle(&Verdict::Bury { error: error.to_owned() }).await;
            return;
        }
        // In a task of its own, so that its panic is seen, and the lease is
        // renewed even while it keeps a thread busy. It ends with the set.
        let mut running = JoinSet::new();
        let job = self.job.clone();
        running.spawn(async move { handler.handle(job).await }.in_current_span());
        let period = (self.settings.lease / 3).max(Duration::from_millis(1));
        let mut renewals = interval_at(Instant::now() + period, period);
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ended = loop {
            tokio::select! {
                ended = running.join_next() => break ended,
                _ = renewals.tick() => {
                    if !self.renew().await {
                        running.shutdown().await;
                        return;
                    }
                }
                () = until_true(&mut self.released) => {
                    // First the work ends, then another one may begin it.
                    running.shutdown().await;
                    self.release().await;
                    return;
                }
            }
        };
        match self.verdict(ended) {
            Some(verdict) => self.settle(&verdict).await,
            None => self.broker.completed(&self.job).await,
        }
    }

    /// False if the job must be given up, because another worker has it or can
    /// take it at any time.
    async fn renew(&mut self) -> bool {
        let lapses_at = Instant::now() + self.settings.lease;
        match timeout_at(self.lapses_at, self.broker.renew(&self.job, self.settings.lease)).await {
            Ok(Ok(true)) => {
                self.lapses_at = lapses_at;
                true
            }
            // The handler has just completed it, and may have something left to do.
            Ok(Ok(false)) if self.job.is_completed() => true,
            Ok(Ok(false)) => {
                tracing::warn!("The lease was lost to another worker; this attempt is broken off.");
                false
            }
            Ok(Err(error)) if Instant::now() < self.lapses_at => {
                tracing::warn!(error = %chain(&error), "The lease cannot be renewed and is tried again.");
                true
            }
            Ok(Err(_)) | Err(_) => {
                tracing::warn!("The lease could not be renewed in time; this attempt is broken off.");
                false
            }
        }
    }

    /// `None` if the handler has completed the job itself.
    fn verdict(&self, ended: Option<Result<Result<(), JobFailure>, JoinError>>) -> Option<Verdict> {
        let failure = match ended {
            Some(Ok(Ok(()))) if self.job.is_completed() => return None,
            Some(Ok(Ok(()))) => return Some(Verdict::Complete),
            Some(Ok(Err(failure))) => failure,
            Some(Err(error)) => JobFailure::again(panic_text(error)),
            None => JobFailure::again("it was not run"),
        };
        let is_last = self.job.attempt >= self.job.max_attempts;
        Some(match failure {
            JobFailure::Again { error, after } if !is_last => {
                let delay = after.unwrap_or_else(|| self.settings.backoff.wait(self.job.attempt));
                tracing::warn!(error, delay = ?delay, "The job has failed and is tried again.");
                Verdict::Retry { delay, error }
            }
            JobFailure::Again { error, .. } | JobFailure::Never { error } => {
                tracing::error!(
                    error,
                    "The job has failed for good. It can be revived when its cause is mended."
                );
                Verdict::Bury { error }
            }
        })
    }

    /// Stores what has become of the job; waits for a database that is away.
    async fn settle(&mut self, verdict: &Verdict) {
        let mut failures = 0_u32;
        loop {
            let (broker, job) = (&self.broker, &self.job);
            let settling = async {
                match verdict {
                    Verdict::Complete => broker.complete(job).await,
                    Verdict::Retry { delay, error } => broker.retry(job, *delay, error).await,
                    Verdict::Bury { error } => broker.bury(job, error).await,
                }
            };
            let settled = tokio::select! {
                settled = within(self.settings.lease, settling) => settled,
                () = until_true(&mut self.released) => return,
            };
            let error = match settled {
                Ok(true) => return,
                Ok(false) => {
                    tracing::warn!("The lease was lost before the end; another worker does the job again.");
                    return;
                }
                Err(error) => error,
            };
            let is_retryable = matches!(&error, QueueError::Database(error) if error.is_retryable());
            tracing::warn!(error = %chain(&error), is_retryable, "What has become of the job cannot be stored.");
            if !is_retryable {
                // It is done again when the lease has lapsed.
                return;
            }
            failures = failures.saturating_add(1);
            tokio::select! {
                () = sleep(STORE_BACKOFF.wait(failures)) => {}
                () = until_true(&mut self.released) => return,
            }
        }
    }

    async fn release(&self) {
        match timeout(RELEASE_LIMIT, self.broker.release(&self.job)).await {
            Ok(Ok(_)) => tracing::info!("The job was given back."),
            Ok(Err(error)) => {
                tracing::warn!(error = %chain(&error), "The job cannot be given back; its lease lapses by itself.");
            }
            Err(_) => tracing::warn!("The job was not given back in time; its lease lapses by itself."),
        }
    }
}

/// Nothing that cannot be sent between threads lives longer than this.
async fn until_true(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|is_true| *is_true).await;
}

fn panic_text(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else {
        return "it was broken off".to_owned();
    };
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    match text {
        Some(text) => format!("it panicked: {text}"),
        None => "it panicked".to_owned(),
    }
}
