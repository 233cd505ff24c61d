//! Queues as rows. See `database/schema.rs` for what the columns mean.

use std::sync::Arc;
use std::time::Duration;

use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, Row as _};
use uuid::Uuid;

use super::broker::Broker;
use super::{Enqueued, Job, NewJob, Queue, QueueError};
use crate::database::{Database, DatabaseError, Dialect, Statement, milliseconds};

/// Most characters that are kept of an error.
const MOST_ERROR_CHARACTERS: usize = 2000;
/// Most rows that are forgotten at once, so that it does not take long.
const FORGET_ROWS: u64 = 1000;

const INSERT: &str = "\
INSERT INTO kit_jobs (id, queue, deduplication_key, payload, state, attempts, max_attempts, created_at, due_at)
VALUES ($1, $2, $3, $4, 'waiting', 0, $5,
    (SELECT milliseconds FROM kit_clock), (SELECT milliseconds FROM kit_clock) + $6)
ON CONFLICT (queue, deduplication_key) DO NOTHING";

const FIND_BY_KEY: &str = "SELECT id FROM kit_jobs WHERE queue = $1 AND deduplication_key = $2";

const COUNT_UNFINISHED: &str = "\
SELECT count(*) FROM
    (SELECT id FROM kit_jobs WHERE queue = $1 AND due_at IS NOT NULL LIMIT $2) AS unfinished";

/// Takes what has been due for so long: new jobs, failed ones whose wait is
/// over, and those of workers whose lease has lapsed.
///
/// `MATERIALIZED`, because PostgreSQL may otherwise look for them more than
/// once and take more than it is asked for.
macro_rules! claim {
    ($lock:literal) => {
        concat!(
            "WITH due AS MATERIALIZED (SELECT id FROM kit_jobs
    WHERE queue = $1 AND due_at <= (SELECT milliseconds FROM kit_clock) - $5
    ORDER BY due_at, id LIMIT $2 ",
            $lock,
            ")
UPDATE kit_jobs SET state = 'running', attempts = attempts + 1, claim = $3,
    due_at = (SELECT milliseconds FROM kit_clock) + $4
WHERE id IN (SELECT id FROM due)
RETURNING id, deduplication_key, payload, attempts, max_attempts, created_at"
        )
    };
}

/// SQLite lets one transaction write at a time.
const CLAIM_ON_SQLITE: &str = claim!("");
/// What another worker is just taking is passed over instead of waited for.
const CLAIM_ON_POSTGRESQL: &str = claim!("FOR UPDATE SKIP LOCKED");

const RENEW: &str = "\
UPDATE kit_jobs SET due_at = (SELECT milliseconds FROM kit_clock) + $3 WHERE id = $1 AND claim = $2";

const COMPLETE: &str = "DELETE FROM kit_jobs WHERE id = $1 AND claim = $2";

/// Of a job with a key the key stays, to keep duplicates away.
const COMPLETE_WITH_KEY: &str = "\
UPDATE kit_jobs SET state = 'done', payload = '', due_at = NULL, claim = NULL,
    finished_at = (SELECT milliseconds FROM kit_clock)
WHERE id = $1 AND claim = $2";

const RETRY: &str = "\
UPDATE kit_jobs SET state = 'waiting', due_at = (SELECT milliseconds FROM kit_clock) + $3, claim = NULL,
    last_error = $4
WHERE id = $1 AND claim = $2";

const BURY: &str = "\
UPDATE kit_jobs SET state = 'dead', due_at = NULL, claim = NULL, last_error = $3,
    finished_at = (SELECT milliseconds FROM kit_clock)
WHERE id = $1 AND claim = $2";

const RELEASE: &str = "\
UPDATE kit_jobs SET state = 'waiting', due_at = (SELECT milliseconds FROM kit_clock), claim = NULL,
    attempts = attempts - 1
WHERE id = $1 AND claim = $2";

const REVIVE: &str = "\
UPDATE kit_jobs SET state = 'waiting', due_at = (SELECT milliseconds FROM kit_clock), attempts = 0,
    finished_at = NULL
WHERE id = $1 AND queue = $2 AND state = 'dead'";

const FORGET: &str = "\
DELETE FROM kit_jobs WHERE id IN
    (SELECT id FROM kit_jobs
     WHERE queue = $1 AND state = $2 AND finished_at < (SELECT milliseconds FROM kit_clock) - $3
     LIMIT $4)";

/// Those with a key that another job may have by now.
const FREE_KEYS: &str = "\
UPDATE kit_jobs SET deduplication_key = NULL WHERE id IN
    (SELECT id FROM kit_jobs
     WHERE queue = $1 AND state = $2 AND finished_at < (SELECT milliseconds FROM kit_clock) - $3
         AND deduplication_key IS NOT NULL
     LIMIT $4)";

const DEPTH: &str = "\
SELECT
    count(*) FILTER (WHERE state = 'waiting' AND due_at <= milliseconds) AS ready,
    count(*) FILTER (WHERE state = 'waiting' AND due_at > milliseconds) AS scheduled,
    count(*) FILTER (WHERE state = 'running') AS running,
    max(milliseconds) - min(due_at) FILTER (WHERE state = 'waiting' AND due_at <= milliseconds) AS oldest
FROM kit_jobs CROSS JOIN kit_clock
WHERE queue = $1 AND due_at IS NOT NULL";

const COUNT_DEAD: &str = "\
SELECT count(*) FROM kit_jobs WHERE queue = $1 AND state = 'dead' AND finished_at IS NOT NULL";

const DEAD: &str = "\
SELECT id, payload, attempts, created_at, finished_at, last_error FROM kit_jobs
WHERE queue = $1 AND state = 'dead' AND finished_at IS NOT NULL
ORDER BY finished_at DESC, id DESC LIMIT $2";

/// How much is in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Jobs that a worker could take now.
    pub ready: u64,
    /// Jobs whose time has not come.
    pub scheduled: u64,
    /// Jobs that a worker holds.
    pub running: u64,
    /// Jobs that have failed for good.
    pub dead: u64,
    /// How long the first of the ready ones has been waiting.
    pub oldest_ready: Duration,
}

/// A job that has failed for good.
#[derive(Clone, Debug)]
pub struct DeadJob {
    /// Its id.
    pub id: String,
    /// What it carries, as JSON.
    pub payload: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was put into the queue, in milliseconds since 1970.
    pub created_at: i64,
    /// When it died, in milliseconds since 1970.
    pub died_at: i64,
    /// What went wrong in the last attempt.
    pub error: String,
}

pub(super) async fn insert(
    connection: &mut AnyConnection,
    queue: &str,
    job: &NewJob,
) -> Result<Enqueued, DatabaseError> {
    let id = Uuid::now_v7().to_string();
    loop {
        let inserted = sqlx::query(INSERT)
            .bind(id.as_str())
            .bind(queue)
            .bind(job.deduplication_key.as_deref())
            .bind(job.payload.as_str())
            .bind(i64::from(job.max_attempts.max(1)))
            .bind(milliseconds(job.delay))
            .execute(&mut *connection)
            .await?
            .rows_affected();
        if inserted == 1 {
            return Ok(Enqueued { id, is_duplicate: false });
        }
        let there = sqlx::query_scalar::<Any, String>(FIND_BY_KEY)
            .bind(queue)
            .bind(job.deduplication_key.as_deref())
            .fetch_optional(&mut *connection)
            .await?;
        // If it has been forgotten in between, there is room for this one.
        if let Some(id) = there {
            return Ok(Enqueued { id, is_duplicate: true });
        }
    }
}

pub(super) async fn is_full(
    connection: &mut AnyConnection,
    queue: &str,
    bound: u32,
) -> Result<bool, DatabaseError> {
    let unfinished = sqlx::query_scalar::<Any, i64>(COUNT_UNFINISHED)
        .bind(queue)
        .bind(i64::from(bound))
        .fetch_one(connection)
        .await?;
    Ok(unfinished >= i64::from(bound))
}

fn completion(job: &Job) -> Statement<'static> {
    let statement = if job.has_key { COMPLETE_WITH_KEY } else { COMPLETE };
    sqlx::query(statement).bind(&*job.id).bind(&*job.claim)
}

/// False if the lease is another one's.
pub(super) async fn complete(connection: &mut AnyConnection, job: &Job) -> Result<bool, DatabaseError> {
    Ok(completion(job).execute(connection).await?.rows_affected() == 1)
}

pub(super) async fn depth(database: &Database, queue: &str) -> Result<Depth, DatabaseError> {
    let row = sqlx::query(DEPTH).bind(queue).fetch_one(database.pool()).await?;
    let dead = sqlx::query_scalar::<Any, i64>(COUNT_DEAD).bind(queue).fetch_one(database.pool()).await?;
    let oldest = row.try_get::<Option<i64>, _>("oldest")?.unwrap_or_default();
    Ok(Depth {
        ready: unsigned(row.try_get("ready")?),
        scheduled: unsigned(row.try_get("scheduled")?),
        running: unsigned(row.try_get("running")?),
        dead: unsigned(dead),
        oldest_ready: Duration::from_millis(unsigned(oldest)),
    })
}

pub(super) async fn dead(database: &Database, queue: &str, most: u32) -> Result<Vec<DeadJob>, DatabaseError> {
    let rows = sqlx::query(DEAD).bind(queue).bind(i64::from(most)).fetch_all(database.pool()).await?;
    rows.iter().map(|row| Ok(dead_job(row)?)).collect()
}

fn dead_job(row: &AnyRow) -> Result<DeadJob, sqlx::Error> {
    Ok(DeadJob {
        id: row.try_get("id")?,
        payload: row.try_get("payload")?,
        attempts: small(row.try_get("attempts")?),
        created_at: row.try_get("created_at")?,
        died_at: row.try_get("finished_at")?,
        error: row.try_get::<Option<String>, _>("last_error")?.unwrap_or_default(),
    })
}

pub(super) async fn revive(database: &Database, queue: &str, id: &str) -> Result<bool, DatabaseError> {
    Ok(database.execute(sqlx::query(REVIVE).bind(id).bind(queue)).await? == 1)
}

impl Queue {
    /// Does something with a job that is held; false if it is not any more.
    async fn settle(&self, statement: Statement<'_>) -> Result<bool, QueueError> {
        Ok(self.database.execute(statement).await? == 1)
    }

    /// Takes jobs that have been due for at least so long.
    pub(super) async fn claim_due(
        &self,
        most: usize,
        lease: Duration,
        overdue: Duration,
    ) -> Result<Vec<Job>, QueueError> {
        let claim: Arc<str> = Uuid::now_v7().to_string().into();
        let statement = match self.database.dialect() {
            Dialect::Sqlite => CLAIM_ON_SQLITE,
            Dialect::Postgresql => CLAIM_ON_POSTGRESQL,
        };
        let mut transaction = self.database.begin().await?;
        let rows = sqlx::query(statement)
            .bind(self.name())
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .bind(&*claim)
            .bind(milliseconds(lease))
            .bind(milliseconds(overdue))
            .fetch_all(&mut *transaction)
            .await
            .map_err(DatabaseError::from)?;
        let jobs: Result<Vec<Job>, sqlx::Error> = rows.iter().map(|row| claimed(row, &claim)).collect();
        let mut jobs = jobs.map_err(DatabaseError::from)?;
        transaction.commit().await?;
        // Ids are in the order of time.
        jobs.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(jobs)
    }

    /// Does something with some of the jobs that have been in this state for so
    /// long. Gives their number.
    async fn settle_finished(
        &self,
        statement: &'static str,
        state: &str,
        after: Duration,
    ) -> Result<u64, QueueError> {
        let statement = sqlx::query(statement)
            .bind(self.name())
            .bind(state)
            .bind(milliseconds(after))
            .bind(FORGET_ROWS as i64);
        Ok(self.database.execute(statement).await?)
    }
}

impl Broker for Queue {
    fn name(&self) -> &str {
        &self.name
    }

    fn woken(&self) -> impl Future<Output = ()> + Send {
        self.signal.notified()
    }

    async fn claim(&self, most: usize, lease: Duration) -> Result<Vec<Job>, QueueError> {
        self.claim_due(most, lease, Duration::ZERO).await
    }

    async fn renew(&self, job: &Job, lease: Duration) -> Result<bool, QueueError> {
        self.settle(held(RENEW, job).bind(milliseconds(lease))).await
    }

    async fn complete(&self, job: &Job) -> Result<bool, QueueError> {
        self.settle(completion(job)).await
    }

    async fn completed(&self, _job: &Job) {}

    async fn retry(&self, job: &Job, delay: Duration, error: &str) -> Result<bool, QueueError> {
        self.settle(held(RETRY, job).bind(milliseconds(delay)).bind(kept(error))).await
    }

    async fn bury(&self, job: &Job, error: &str) -> Result<bool, QueueError> {
        self.settle(held(BURY, job).bind(kept(error))).await
    }

    async fn release(&self, job: &Job) -> Result<bool, QueueError> {
        let is_released = self.settle(held(RELEASE, job)).await?;
        self.signal.notify_waiters();
        Ok(is_released)
    }

    async fn rest(&self) {}

    async fn forget(&self) -> Result<bool, QueueError> {
        let done = self.settle_finished(FORGET, "done", self.settings.deduplication).await?;
        let freed = self.settle_finished(FREE_KEYS, "dead", self.settings.deduplication).await?;
        let dead = self.settle_finished(FORGET, "dead", self.settings.dead).await?;
        if dead > 0 {
            tracing::warn!(
                queue = self.name(),
                jobs = dead,
                "Dead jobs were kept for long enough and removed."
            );
        }
        Ok([done, freed, dead].iter().any(|rows| *rows >= FORGET_ROWS))
    }
}

/// A statement about a job that only the holder of its lease can run.
fn held(statement: &'static str, job: &Job) -> Statement<'static> {
    sqlx::query(statement).bind(&*job.id).bind(&*job.claim)
}

pub(super) fn claimed(row: &AnyRow, claim: &Arc<str>) -> Result<Job, sqlx::Error> {
    let id: String = row.try_get("id")?;
    let key: Option<String> = row.try_get("deduplication_key")?;
    let attempts = (small(row.try_get("attempts")?), small(row.try_get("max_attempts")?));
    Ok(Job::new(&id, claim, row.try_get("payload")?, attempts, row.try_get("created_at")?, key.is_some()))
}

/// What is kept of an error. PostgreSQL has no text with a zero in it.
fn kept(error: &str) -> String {
    error.chars().filter(|character| *character != '\0').take(MOST_ERROR_CHARACTERS).collect()
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
