//! Objects that are to be removed.
//!
//! Whatever is written is garbage, from before it is written, until a
//! transaction says that something refers to it: so nothing that was broken
//! off stays behind, wherever it was broken off.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use service_kit::database::{Database, DatabaseError, Transaction, milliseconds};
use service_kit::objects::Objects;
use service_kit::problem::chain;
use sqlx::Any;
use tokio::sync::Notify;

/// Prefixes that are removed at once.
const BATCH: usize = 100;
/// After so many failures in a row a sweep ends: the place may not answer at all.
const MOST_FAILURES: usize = 10;
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
SELECT due_at, prefix FROM garbage
WHERE due_at <= (SELECT milliseconds FROM kit_clock) AND (due_at, prefix) > ($1, $2)
ORDER BY due_at, prefix LIMIT $3";

/// It may have been reserved again in the meantime.
const REMOVED: &str = "\
DELETE FROM garbage WHERE prefix = $1 AND due_at <= (SELECT milliseconds FROM kit_clock)";

/// The garbage of the service.
#[derive(Debug)]
pub struct Garbage {
    database: Database,
    objects: Objects,
    woken: Notify,
    /// Behind what the next sweep begins.
    position: Mutex<Position>,
}

/// When a prefix was due, and the prefix.
type Position = (i64, String);

/// Before everything that is due.
const START: Position = (i64::MIN, String::new());

impl Garbage {
    /// The garbage that the database knows of.
    #[must_use]
    pub fn new(database: &Database, objects: &Objects) -> Self {
        Self {
            database: database.clone(),
            objects: objects.clone(),
            woken: Notify::new(),
            position: Mutex::new(START),
        }
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

    /// The same from this transaction on.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn reserve_in(
        transaction: &mut Transaction,
        prefix: &str,
        after: Duration,
    ) -> Result<(), DatabaseError> {
        sqlx::query(RESERVE).bind(prefix).bind(milliseconds(after)).execute(&mut **transaction).await?;
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
        Self::reserve_in(transaction, prefix, Duration::ZERO).await
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

    /// Removes what is due. What cannot be removed is passed over, and tried
    /// again when all that comes after it was tried.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn sweep(&self) -> Result<(), DatabaseError> {
        let mut failures = Failures::default();
        while self.sweep_some(&mut failures).await? {
            tokio::time::sleep(PAUSE).await;
        }
        if let Some((prefix, error)) = failures.last {
            let count = failures.count;
            tracing::warn!(count, prefix, error, "Objects that nobody needs cannot be removed.");
        }
        Ok(())
    }

    /// Removes some of what is due. Whether there is more, and it is of use to
    /// go on.
    async fn sweep_some(&self, failures: &mut Failures) -> Result<bool, DatabaseError> {
        let (due_at, prefix) = self.position();
        let due = sqlx::query_as::<Any, Position>(DUE).bind(due_at).bind(prefix).bind(BATCH as i64);
        let due = due.fetch_all(self.database.pool()).await?;
        let is_last = due.len() < BATCH;
        for position in due {
            let prefix = position.1.as_str();
            match self.objects.delete_all(prefix).await {
                Ok(()) => {
                    failures.in_a_row = 0;
                    self.database.execute(sqlx::query(REMOVED).bind(prefix)).await?;
                }
                Err(error) => failures.add(prefix, chain(&error)),
            }
            self.go_on_behind(position);
            if failures.in_a_row >= MOST_FAILURES {
                return Ok(false);
            }
        }
        if is_last {
            self.go_on_behind(START);
        }
        Ok(!is_last)
    }

    fn position(&self) -> Position {
        self.position.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn go_on_behind(&self, position: Position) {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner) = position;
    }
}

/// What could not be removed in a sweep. All of it is told in one line.
#[derive(Default)]
struct Failures {
    count: usize,
    in_a_row: usize,
    last: Option<(String, String)>,
}

impl Failures {
    fn add(&mut self, prefix: &str, error: String) {
        self.count += 1;
        self.in_a_row += 1;
        self.last = Some((prefix.to_owned(), error));
    }
}

#[cfg(test)]
mod tests {
    use service_kit::database::{DatabaseSettings, PoolBounds};
    use service_kit::objects::ObjectSettings;

    use super::*;
    use crate::serve::tables::TABLES;

    #[tokio::test]
    async fn what_cannot_be_removed_is_passed_over() {
        let folder = tempfile::tempdir().expect("folder");
        let settings = DatabaseSettings::Sqlite { path: folder.path().join("database.sqlite3") };
        let database = Database::open(&settings, &[TABLES], PoolBounds::default()).await.expect("database");
        let settings = ObjectSettings::Folder { path: folder.path().join("objects") };
        let objects = Objects::open(&settings).expect("objects");
        let garbage = Garbage::new(&database, &objects);
        // No store has an object of this name.
        let stuck = 2 * BATCH;
        for number in 0..stuck {
            garbage.reserve(&format!("../{number}"), Duration::ZERO).await.expect("reserve");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        objects.put("due/object", "x".into()).await.expect("object");
        garbage.reserve("due", Duration::ZERO).await.expect("reserve");
        // Each sweep gets a little further.
        for _ in 0..=stuck / MOST_FAILURES {
            garbage.sweep().await.expect("sweep");
        }
        assert!(objects.head("due/object").await.is_err(), "it is removed");
        let left = sqlx::query_scalar::<Any, i64>("SELECT count(*) FROM garbage").fetch_one(database.pool());
        assert_eq!(left.await.expect("count"), i64::try_from(stuck).expect("number"));
        assert_eq!(garbage.position(), START);
    }
}
