//! What is asked of the database about jobs whose ids are known.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Any, Row as _};
use uuid::Uuid;

use super::announcer::Announcement;
use crate::database::{Database, DatabaseError, milliseconds};
use crate::queue::{Job, store};

/// Takes a job, if it is due. Of several that try at once, the others find that
/// it is not due any more.
const CLAIM: &str = "\
UPDATE kit_jobs SET state = 'running', attempts = attempts + 1, claim = $3,
    due_at = (SELECT milliseconds FROM kit_clock) + $4
WHERE id = $1 AND queue = $2 AND due_at <= (SELECT milliseconds FROM kit_clock)
RETURNING id, deduplication_key, payload, attempts, max_attempts, created_at";

const WAIT: &str = "\
SELECT due_at - milliseconds AS wait FROM kit_jobs CROSS JOIN kit_clock
WHERE id = $1 AND queue = $2 AND due_at IS NOT NULL";

/// Those that were due first come first.
const UNFINISHED: &str = "\
SELECT id, attempts, due_at FROM kit_jobs
WHERE queue = $1 AND due_at IS NOT NULL AND (due_at > $2 OR (due_at = $2 AND id > $3))
ORDER BY due_at, id LIMIT $4";

/// What has come of trying to take a job.
#[derive(Debug)]
pub(super) enum Claimed {
    /// It is ours.
    Held(Job),
    /// It is not due for so long: it waits, or another worker has it.
    NotDue(Duration),
    /// It has ended, or never was.
    Over,
}

pub(super) async fn claim(
    database: &Database,
    queue: &str,
    id: &str,
    lease: Duration,
) -> Result<Claimed, DatabaseError> {
    let claim: Arc<str> = Uuid::now_v7().to_string().into();
    let mut transaction = database.begin().await?;
    let mut rows = sqlx::query(CLAIM)
        .bind(id)
        .bind(queue)
        .bind(&*claim)
        .bind(milliseconds(lease))
        .fetch_all(&mut *transaction)
        .await?;
    let job = rows.pop().map(|row| store::claimed(&row, &claim)).transpose()?;
    transaction.commit().await?;
    if let Some(job) = job {
        return Ok(Claimed::Held(job));
    }
    let wait =
        sqlx::query_scalar::<Any, i64>(WAIT).bind(id).bind(queue).fetch_optional(database.pool()).await?;
    Ok(match wait {
        // It can have become due in between.
        Some(wait) => Claimed::NotDue(Duration::from_millis(u64::try_from(wait).unwrap_or_default())),
        None => Claimed::Over,
    })
}

/// Goes through all jobs of a queue that have not ended.
#[derive(Debug)]
pub(super) struct Unfinished<'a> {
    database: &'a Database,
    queue: &'a str,
    due_at: i64,
    id: String,
}

impl<'a> Unfinished<'a> {
    pub(super) fn new(database: &'a Database, queue: &'a str) -> Self {
        Self { database, queue, due_at: i64::MIN, id: String::new() }
    }

    /// The next ones, at most so many; none at the end.
    pub(super) async fn next(&mut self, most: usize) -> Result<Vec<Announcement>, DatabaseError> {
        let rows = sqlx::query(UNFINISHED)
            .bind(self.queue)
            .bind(self.due_at)
            .bind(self.id.as_str())
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(self.database.pool())
            .await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let id: String = row.try_get("id")?;
            self.due_at = row.try_get("due_at")?;
            self.id.clone_from(&id);
            found.push(Announcement::of_attempt(id, row.try_get("attempts")?));
        }
        Ok(found)
    }
}
