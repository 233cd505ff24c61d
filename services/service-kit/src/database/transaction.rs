use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::{Any, AnyConnection};
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::DatabaseError;

/// Statements that are done together or not at all. Run them on
/// `&mut *transaction`.
///
/// Dropped without a commit, it leaves nothing.
#[derive(Debug)]
pub struct Transaction {
    inner: sqlx::Transaction<'static, Any>,
    /// Who waits for what this transaction brings.
    waiting: Vec<Arc<Notify>>,
    after: AfterCommit,
    /// The turn to write. After the transaction, so that it is given on when
    /// that has ended.
    _turn: Option<OwnedSemaphorePermit>,
}

/// What is done once a transaction is committed.
#[derive(Default)]
struct AfterCommit(Vec<Box<dyn FnOnce() + Send + Sync>>);

impl fmt::Debug for AfterCommit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} to do", self.0.len())
    }
}

impl Transaction {
    pub(super) fn new(inner: sqlx::Transaction<'static, Any>, turn: Option<OwnedSemaphorePermit>) -> Self {
        Self { inner, waiting: Vec::new(), after: AfterCommit::default(), _turn: turn }
    }

    /// Wakes who waits once this is committed: before that there is nothing to see.
    pub(crate) fn wake_after_commit(&mut self, waiting: &Arc<Notify>) {
        if !self.waiting.iter().any(|other| Arc::ptr_eq(other, waiting)) {
            self.waiting.push(Arc::clone(waiting));
        }
    }

    /// Does something once this is committed, which must not take long.
    pub(crate) fn after_commit(&mut self, act: impl FnOnce() + Send + Sync + 'static) {
        self.after.0.push(Box::new(act));
    }

    /// Makes everything last. When this returns, it survives a loss of power.
    ///
    /// # Errors
    /// If it was not committed; if the connection was lost, it may have been.
    pub async fn commit(self) -> Result<(), DatabaseError> {
        let Self { inner, waiting, after, _turn: turn } = self;
        inner.commit().await?;
        drop(turn);
        for waiting in waiting {
            waiting.notify_waiters();
        }
        for act in after.0 {
            act();
        }
        Ok(())
    }

    /// Takes everything back, and waits until it is. Dropping does the same
    /// without waiting.
    ///
    /// # Errors
    /// If the connection was lost; it is taken back all the same.
    pub async fn rollback(self) -> Result<(), DatabaseError> {
        Ok(self.inner.rollback().await?)
    }
}

impl Deref for Transaction {
    type Target = AnyConnection;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inner
    }
}
