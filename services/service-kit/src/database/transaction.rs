use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use sqlx::{Any, AnyConnection};
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::DatabaseError;
use super::lease::Lease;

/// Statements that are done together or not at all. Run them on
/// `&mut *transaction`.
///
/// Dropped without a commit, it leaves nothing.
#[derive(Debug)]
pub struct Transaction {
    begun: Begun,
    /// Who waits for what this transaction brings.
    waiting: Vec<Arc<Notify>>,
    after: AfterCommit,
    /// The turn to write. After the transaction, so that it is given on when
    /// that has ended.
    _turn: Option<OwnedSemaphorePermit>,
}

/// A transaction on its connection.
#[derive(Debug)]
pub(super) enum Begun {
    /// On SQLite, by the driver.
    ByDriver(sqlx::Transaction<'static, Any>),
    /// On PostgreSQL, by statements.
    OnLease(Lease),
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
    pub(super) fn new(begun: Begun, turn: Option<OwnedSemaphorePermit>) -> Self {
        Self { begun, waiting: Vec::new(), after: AfterCommit::default(), _turn: turn }
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
    /// If it was not committed; if the connection was lost or there was no
    /// answer in time, it may have been.
    pub async fn commit(self) -> Result<(), DatabaseError> {
        let Self { begun, waiting, after, _turn: turn } = self;
        match begun {
            Begun::ByDriver(transaction) => transaction.commit().await?,
            Begun::OnLease(mut lease) => {
                lease.execute("COMMIT", "a commit was not answered in time: it may have been done").await?;
            }
        }
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
    /// If the connection was lost or there was no answer in time; it is taken
    /// back all the same.
    pub async fn rollback(self) -> Result<(), DatabaseError> {
        let Self { begun, _turn: turn, .. } = self;
        match begun {
            Begun::ByDriver(transaction) => transaction.rollback().await?,
            Begun::OnLease(mut lease) => {
                lease.execute("ROLLBACK", "a rollback was not answered in time").await?;
            }
        }
        drop(turn);
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = AnyConnection;

    fn deref(&self) -> &Self::Target {
        match &self.begun {
            Begun::ByDriver(transaction) => transaction,
            Begun::OnLease(lease) => lease,
        }
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match &mut self.begun {
            Begun::ByDriver(transaction) => transaction,
            Begun::OnLease(lease) => lease,
        }
    }
}
