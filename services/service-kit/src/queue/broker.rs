use std::time::Duration;

use super::{Job, QueueError};

/// What a worker needs of where jobs are kept.
///
/// There are two: the database by itself, and [NATS](super::dispatch) with the
/// database behind it. Of all that a broker does with a job, only the holder of
/// its present lease can do it: `false` says that the lease is another one's by
/// now.
pub(super) trait Broker: Clone + Send + Sync + 'static {
    /// The name of the queue, for logs.
    fn name(&self) -> &str;

    /// Becomes ready when something was enqueued since this was called, as far
    /// as this process knows. It is not complete: workers also look by themselves.
    fn woken(&self) -> impl Future<Output = ()> + Send;

    /// Takes jobs that are due, at most so many, each with a lease.
    fn claim(
        &self,
        most: usize,
        lease: Duration,
    ) -> impl Future<Output = Result<Vec<Job>, QueueError>> + Send;

    /// Makes the lease last from now on.
    fn renew(&self, job: &Job, lease: Duration) -> impl Future<Output = Result<bool, QueueError>> + Send;

    /// It is done.
    fn complete(&self, job: &Job) -> impl Future<Output = Result<bool, QueueError>> + Send;

    /// The handler has completed it itself.
    fn completed(&self, job: &Job) -> impl Future<Output = ()> + Send;

    /// It has failed and is tried again after the delay.
    fn retry(
        &self,
        job: &Job,
        delay: Duration,
        error: &str,
    ) -> impl Future<Output = Result<bool, QueueError>> + Send;

    /// It has failed for good.
    fn bury(&self, job: &Job, error: &str) -> impl Future<Output = Result<bool, QueueError>> + Send;

    /// It was not finished, through no fault of its own: others may take it at
    /// once, and the attempt does not count.
    fn release(&self, job: &Job) -> impl Future<Output = Result<bool, QueueError>> + Send;

    /// No more jobs are taken: others are to have those that wait here.
    fn rest(&self) -> impl Future<Output = ()> + Send;

    /// Forgets some of what has been kept for long enough. True if there may be
    /// more of it.
    fn forget(&self) -> impl Future<Output = Result<bool, QueueError>> + Send;
}
