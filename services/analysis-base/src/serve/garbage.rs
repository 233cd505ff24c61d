//! Objects that are to be removed.
//!
//! Whatever is written is garbage, from before it is written, until a
//! transaction says that something refers to it: so nothing that was broken
//! off stays behind, wherever it was broken off.

use std::time::Duration;

use service_kit::database::{Database, DatabaseError, Transaction, milliseconds};
use service_kit::objects::Objects;
use service_kit::problem::chain;
use sqlx::Any;
use tokio::sync::Notify;

/// Prefixes that are removed at once.
const BATCH: usize = 100;
/// Between two times, so that requests get their turn at the database.
const PAUSE: Duration = Duration::from_millis(100);

const RESERVE: &str = "\
INSERT INTO garbage (prefix, due_at) VALUES ($1, (SELECT milliseconds FROM kit_clock) + $2)
ON CONFLICT (prefix) DO UPDATE SET due_at = excluded.due_at";

/// What a transaction has kept, even one of which nobody knows whether it was
/// committed, is not in the table any more.
const GIVE_UP: &str = "UPDATE garbage SET due_at = (SELECT milliseconds FROM kit_clock) WHERE prefix = $1";

/// What is due may be being removed just now.
const KEEP: &str = "DELETE FROM garbage WHERE prefix = $1 AND due_at > (SELECT milliseconds FROM kit_clock)";

/// What is due may be being removed just now.
const EXTEND: &str = "\
UPDATE garbage SET due_at = (SELECT milliseconds FROM kit_clock) + $2
WHERE prefix = $1 AND due_at > (SELECT milliseconds FROM kit_clock)";

const DUE: &str = "\
SELECT prefix FROM garbage WHERE due_at <= (SELECT milliseconds FROM kit_clock) ORDER BY due_at LIMIT $1";

/// It may have been reserved again in the meantime.
const REMOVED: &str = "\
DELETE FROM garbage WHERE prefix = $1 AND due_at <= (SELECT milliseconds FROM kit_clock)";

/// The garbage of the service.
#[derive(Debug)]
pub struct Garbage {
    database: Database,
    objects: Objects,
    woken: Notify,
}

impl Garbage {
    /// The garbage that the database knows of.
    #[must_use]
    pub fn new(database: &Database, objects: &Objects) -> Self {
        Self { database: database.clone(), objects: objects.clone(), woken: Notify::new() }
    }

    /// Objects of this prefix are going to be written, and are garbage after
    /// this time.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn reserve(&self, prefix: &str, after: Duration) -> Result<(), DatabaseError> {
        self.database.execute(sqlx::query(RESERVE).bind(prefix).bind(milliseconds(after))).await?;
        Ok(())
    }

    /// The objects of this prefix are referred to from this transaction on.
    /// False if they are garbage already.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn keep(transaction: &mut Transaction, prefix: &str) -> Result<bool, DatabaseError> {
        let kept = sqlx::query(KEEP).bind(prefix).execute(&mut **transaction).await?;
        Ok(kept.rows_affected() == 1)
    }

    /// The objects of this prefix are garbage only after this time from this
    /// transaction on. False if they are garbage already.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn extend(
        transaction: &mut Transaction,
        prefix: &str,
        after: Duration,
    ) -> Result<bool, DatabaseError> {
        let extended =
            sqlx::query(EXTEND).bind(prefix).bind(milliseconds(after)).execute(&mut **transaction).await?;
        Ok(extended.rows_affected() == 1)
    }

    /// Nothing refers to the objects of this prefix from this transaction on.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn discard(transaction: &mut Transaction, prefix: &str) -> Result<(), DatabaseError> {
        sqlx::query(RESERVE).bind(prefix).bind(0_i64).execute(&mut **transaction).await?;
        Ok(())
    }

    /// The objects of this prefix are not going to be referred to, unless they
    /// are already. If that cannot be noted down, they go when their time is up.
    pub async fn give_up(&self, prefix: &str) {
        if let Err(error) = self.database.execute(sqlx::query(GIVE_UP).bind(prefix)).await {
            tracing::warn!(prefix, error = %chain(&error), "Objects that nobody needs stay for a while.");
        }
        self.wake();
    }

    /// There is something to remove.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// Waits for that.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }

    /// Removes what is due.
    ///
    /// # Errors
    /// If the database fails. Objects that cannot be removed are tried again the next time.
    pub async fn sweep(&self) -> Result<(), DatabaseError> {
        while self.sweep_some().await? {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Removes some of what is due. Whether there is more, and it is of use to
    /// go on: what could not be removed is found again at once.
    async fn sweep_some(&self) -> Result<bool, DatabaseError> {
        let due = sqlx::query_scalar::<Any, String>(DUE).bind(BATCH as i64);
        let due = due.fetch_all(self.database.pool()).await?;
        let mut goes_on = due.len() == BATCH;
        for prefix in due {
            match self.objects.delete_all(&prefix).await {
                Ok(()) => {
                    self.database.execute(sqlx::query(REMOVED).bind(prefix)).await?;
                }
                Err(error) => {
                    goes_on = false;
                    let error = chain(&error);
                    tracing::warn!(prefix, error, "Objects that nobody needs cannot be removed.");
                }
            }
        }
        Ok(goes_on)
    }
}
