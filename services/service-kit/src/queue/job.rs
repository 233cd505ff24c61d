use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::dispatch::Delivery;
use super::{QueueError, store};
use crate::database::{DatabaseError, Transaction};
use crate::objects::ObjectError;

/// A job that a worker holds. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Job {
    /// The same in all attempts: a key with which what was done already can be
    /// told from what was not.
    pub id: Arc<str>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The last attempt.
    pub max_attempts: u32,
    /// When it was put into the queue, in milliseconds since 1970.
    pub created_at: i64,
    pub(super) payload: Arc<str>,
    /// Proves that the lease is ours: another one has another.
    pub(super) claim: Arc<str>,
    pub(super) has_key: bool,
    /// The message by which it came, if it came by one.
    pub(super) delivery: Option<Delivery>,
    is_completed: Arc<AtomicBool>,
}

impl Job {
    pub(super) fn new(
        id: &str,
        claim: &Arc<str>,
        payload: String,
        attempts: (u32, u32),
        created_at: i64,
        has_key: bool,
    ) -> Self {
        Self {
            id: id.into(),
            attempt: attempts.0,
            max_attempts: attempts.1,
            created_at,
            payload: payload.into(),
            claim: Arc::clone(claim),
            has_key,
            delivery: None,
            is_completed: Arc::default(),
        }
    }

    pub(super) fn delivered_by(self, delivery: Delivery) -> Self {
        Self { delivery: Some(delivery), ..self }
    }

    /// What it carries.
    ///
    /// # Errors
    /// If it is something else. Trying again would not help: the job dies.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, JobFailure> {
        serde_json::from_str(&self.payload)
            .map_err(|error| JobFailure::never(format!("what the job carries cannot be read: {error}")))
    }

    /// Completes the job in the transaction with which its effects are stored:
    /// both are, or neither is. A handler that has done so commits and returns
    /// `Ok`.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`] if another worker has the job by now: the
    /// transaction must be dropped.
    pub async fn complete(&self, transaction: &mut Transaction) -> Result<(), QueueError> {
        if store::complete(transaction, self).await? {
            self.is_completed.store(true, Ordering::Release);
            Ok(())
        } else {
            Err(QueueError::LeaseLost { id: self.id.to_string() })
        }
    }

    /// Whether the handler has completed it itself.
    pub(super) fn is_completed(&self) -> bool {
        self.is_completed.load(Ordering::Acquire)
    }
}

/// Why a job was not done, and what is to come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobFailure {
    /// It is tried again, unless this was the last attempt.
    Again {
        /// What went wrong.
        error: String,
        /// After this time; without it, longer with each failure.
        after: Option<Duration>,
    },
    /// Trying again would not help: it is dead.
    Never {
        /// What went wrong.
        error: String,
    },
}

impl JobFailure {
    /// It can succeed later.
    pub fn again(error: impl Into<String>) -> Self {
        Self::Again { error: error.into(), after: None }
    }

    /// It can succeed after this time, for example that of a `Retry-After`.
    pub fn again_after(after: Duration, error: impl Into<String>) -> Self {
        Self::Again { error: error.into(), after: Some(after) }
    }

    /// It cannot succeed.
    pub fn never(error: impl Into<String>) -> Self {
        Self::Never { error: error.into() }
    }
}

/// Of what a handler uses, most fails only for a while, or until a person has
/// mended it.
macro_rules! again {
    ($($error:ty),+) => {
        $(
            impl From<$error> for JobFailure {
                fn from(error: $error) -> Self {
                    Self::again(crate::problem::chain(&error))
                }
            }
        )+
    };
}

again!(DatabaseError, QueueError, ObjectError, sqlx::Error);

/// Does the jobs of a queue. A closure that takes a [`Job`] is one.
///
/// A call is dropped where it waits when the lease was lost, or when the
/// process stops and it has not ended in time. A panic counts as a failure.
/// While it works, it must not keep a transaction open for long: on SQLite that
/// keeps the lease from being renewed.
pub trait Handler: Send + Sync + 'static {
    /// Does one job.
    fn handle(&self, job: Job) -> impl Future<Output = Result<(), JobFailure>> + Send;
}

impl<F, R> Handler for F
where
    F: Fn(Job) -> R + Send + Sync + 'static,
    R: Future<Output = Result<(), JobFailure>> + Send,
{
    fn handle(&self, job: Job) -> impl Future<Output = Result<(), JobFailure>> + Send {
        self(job)
    }
}
