//! Analyses in the database.

use std::time::Duration;

use jiff::Timestamp;
use service_kit::database::{Database, DatabaseError, Transaction, milliseconds};
use sqlx::any::AnyRow;
use sqlx::{Any, Row as _};

use super::model::{AnalysisRecord, Figures, Status, StoredResult};
use super::request::{AnalysisRequest, Input, Inputs};
use crate::serve::datasets::{Number, store as datasets};
use crate::serve::schema::ColumnDescription;

macro_rules! select {
    ($request:literal, $rest:literal) => {
        concat!(
            "SELECT id, status, ",
            $request,
            " AS request, deadline_seconds, is_kept, is_cancelled, created_at, started_at,
    finished_at, expires_at, reason, message, rows_read, bytes_read, rows_written, peak_memory_bytes,
    duration_milliseconds, columns, objects, result_bytes FROM analyses ",
            $rest
        )
    };
}

const FIND: &str = select!("request", "WHERE id = $1 AND is_removed = 0");
const FIND_EVEN_REMOVED: &str = select!("request", "WHERE id = $1");

/// Ids are in the order of time. What was asked for can be a megabyte, of which
/// a list shows nothing, so that an empty request stands in its place.
const PAGE: &str =
    select!(r#"'{"sources":[]}'"#, "WHERE id < $1 AND is_removed = 0 ORDER BY id DESC LIMIT $2");
const PAGE_BY_STATUS: &str = select!(
    r#"'{"sources":[]}'"#,
    "WHERE id < $1 AND is_removed = 0 AND status = $3 ORDER BY id DESC LIMIT $2"
);

const INSERT: &str = "\
INSERT INTO analyses (id, status, request, deadline_seconds, is_kept, is_removed, is_cancelled, created_at)
VALUES ($1, 'queued', $2, $3, $4, 0, 0, $5)";

const INSERT_INPUT: &str = "\
INSERT INTO analysis_inputs (analysis, version) VALUES ($1, $2) ON CONFLICT DO NOTHING";

const START: &str = "\
UPDATE analyses SET status = 'running', message = NULL, started_at = (SELECT milliseconds FROM kit_clock)
WHERE id = $1 AND status IN ('queued', 'running') AND is_cancelled = 0";

const WAIT_AGAIN: &str = "\
UPDATE analyses SET status = 'queued', message = $2 WHERE id = $1 AND status = 'running'";

const CANCEL: &str = "\
UPDATE analyses SET is_cancelled = 1 WHERE id = $1 AND is_removed = 0 AND status IN ('queued', 'running')";

const REMOVE: &str = "\
UPDATE analyses SET is_cancelled = 1, is_removed = 1 WHERE id = $1 AND is_removed = 0";

/// Nobody has begun, so nobody has to be stopped.
const END_QUEUED: &str = "\
UPDATE analyses SET status = 'cancelled', message = 'The analysis was cancelled before it began.',
    finished_at = (SELECT milliseconds FROM kit_clock), expires_at = (SELECT milliseconds FROM kit_clock) + $2
WHERE id = $1 AND status = 'queued'";

const END: &str = "\
UPDATE analyses SET status = $2, reason = $3, message = $4, rows_read = $5, bytes_read = $6,
    rows_written = $7, peak_memory_bytes = $8, duration_milliseconds = $9, columns = $10, objects = $11,
    result_bytes = $12, finished_at = (SELECT milliseconds FROM kit_clock),
    expires_at = CASE WHEN is_kept = 1 AND $2 = 'succeeded' THEN NULL
        ELSE (SELECT milliseconds FROM kit_clock) + $13 END
WHERE id = $1 AND status IN ('queued', 'running')";

const RELEASE_INPUTS: &str = "DELETE FROM analysis_inputs WHERE analysis = $1";

const IS_CANCELLED: &str = "SELECT is_cancelled FROM analyses WHERE id = $1";

const EXPIRE: &str = "\
UPDATE analyses SET is_removed = 1 WHERE id = $1";

const OVER: &str = "\
SELECT id, objects FROM analyses
WHERE status NOT IN ('queued', 'running')
    AND (is_removed = 1 OR expires_at <= (SELECT milliseconds FROM kit_clock))
LIMIT $1";

const DELETE: &str = "DELETE FROM analyses WHERE id = $1";

const COUNT_QUEUED: &str = "SELECT count(*) FROM analyses WHERE status = 'queued'";

/// The analysis, if it is there.
///
/// # Errors
/// If the database fails.
pub async fn find(database: &Database, id: &str) -> Result<Option<AnalysisRecord>, DatabaseError> {
    let row = sqlx::query(FIND).bind(id).fetch_optional(database.pool()).await?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// The analysis, also if it is not there for anybody else any more.
///
/// # Errors
/// If the database fails.
pub async fn find_even_removed(
    database: &Database,
    id: &str,
) -> Result<Option<AnalysisRecord>, DatabaseError> {
    let row = sqlx::query(FIND_EVEN_REMOVED).bind(id).fetch_optional(database.pool()).await?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// Analyses that were accepted before the one of this id, the last ones first,
/// without what was asked for.
///
/// # Errors
/// If the database fails.
pub async fn page(
    database: &Database,
    before: &str,
    status: Option<Status>,
    most: i64,
) -> Result<Vec<AnalysisRecord>, DatabaseError> {
    let statement = match status {
        None => sqlx::query(PAGE).bind(before).bind(most),
        Some(status) => sqlx::query(PAGE_BY_STATUS).bind(before).bind(most).bind(status.as_str()),
    };
    let rows = statement.fetch_all(database.pool()).await?;
    let records: Result<_, sqlx::Error> = rows.iter().map(read).collect();
    Ok(records?)
}

/// An analysis that is accepted.
#[derive(Clone, Debug)]
pub struct NewAnalysis {
    /// Its id.
    pub id: String,
    /// What it is, with versions of data sets.
    pub request: AnalysisRequest,
    /// The ids of these versions.
    pub inputs: Vec<String>,
    /// Whether its result does not expire.
    pub is_kept: bool,
}

/// Keeps a new analysis.
///
/// # Errors
/// If the database fails.
pub async fn insert(transaction: &mut Transaction, new: &NewAnalysis, now: i64) -> Result<(), DatabaseError> {
    sqlx::query(INSERT)
        .bind(new.id.as_str())
        .bind(datasets::to_json(&new.request)?)
        .bind(i64::from(new.request.deadline_seconds()))
        .bind(i32::from(new.is_kept))
        .bind(now)
        .execute(&mut **transaction)
        .await?;
    for version in &new.inputs {
        sqlx::query(INSERT_INPUT)
            .bind(new.id.as_str())
            .bind(version.as_str())
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

/// The versions of data sets that an analysis reads, by names of sources.
///
/// # Errors
/// If the database fails.
pub async fn inputs(database: &Database, request: &AnalysisRequest) -> Result<Inputs, DatabaseError> {
    let mut inputs = Inputs::new();
    for (source, dataset) in request.datasets() {
        let number = dataset.version.map_or(Number::Latest, Number::Exactly);
        if let Some(found) = datasets::find(database, &dataset.name, number).await? {
            let version = found.version;
            let name = format!("data set `{}` version {}", version.dataset, version.version);
            let input = Input { id: found.id, name, format: version.format, options: version.options };
            inputs.insert(source.to_owned(), input);
        }
    }
    Ok(inputs)
}

/// The analysis runs. False if it has ended, or is not wanted any more.
///
/// # Errors
/// If the database fails.
pub async fn start(database: &Database, id: &str) -> Result<bool, DatabaseError> {
    Ok(database.execute(sqlx::query(START).bind(id)).await? == 1)
}

/// The analysis waits to be tried again.
///
/// # Errors
/// If the database fails.
pub async fn wait_again(database: &Database, id: &str, message: &str) -> Result<(), DatabaseError> {
    database.execute(sqlx::query(WAIT_AGAIN).bind(id).bind(plain(message))).await?;
    Ok(())
}

/// Nobody wants the analysis any more; if `is_removed`, not even its record.
/// False if there is nothing to cancel or remove.
///
/// # Errors
/// If the database fails.
pub async fn cancel(
    transaction: &mut Transaction,
    id: &str,
    is_removed: bool,
    retention: Duration,
) -> Result<bool, DatabaseError> {
    let statement = if is_removed { REMOVE } else { CANCEL };
    let done = sqlx::query(statement).bind(id).execute(&mut **transaction).await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let ended =
        sqlx::query(END_QUEUED).bind(id).bind(milliseconds(retention)).execute(&mut **transaction).await?;
    if ended.rows_affected() == 1 {
        sqlx::query(RELEASE_INPUTS).bind(id).execute(&mut **transaction).await?;
    }
    Ok(true)
}

/// Whether somebody wants the analysis to end. One that is gone should end as well.
///
/// # Errors
/// If the database fails.
pub async fn is_cancelled(database: &Database, id: &str) -> Result<bool, DatabaseError> {
    let cancelled =
        sqlx::query_scalar::<Any, i64>(IS_CANCELLED).bind(id).fetch_optional(database.pool()).await?;
    Ok(cancelled.is_none_or(|cancelled| cancelled != 0))
}

/// How an analysis ended.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// How.
    pub status: Status,
    /// Why it failed.
    pub reason: Option<String>,
    /// What there is to say.
    pub message: String,
    /// What it took, if that is known.
    pub figures: Option<Figures>,
    /// Its result.
    pub result: Option<StoredResult>,
}

/// The analysis has ended. False if it had ended before.
///
/// # Errors
/// If the database fails.
pub async fn end(
    transaction: &mut Transaction,
    id: &str,
    end: &End,
    retention: Duration,
) -> Result<bool, DatabaseError> {
    let columns = end.result.as_ref().map(|result| datasets::to_json(&result.columns)).transpose()?;
    let ended = sqlx::query(END)
        .bind(id)
        .bind(end.status.as_str())
        .bind(end.reason.as_deref())
        .bind(plain(&end.message))
        .bind(end.figures.map(|figures| figures.rows_read))
        .bind(end.figures.map(|figures| figures.bytes_read))
        .bind(end.figures.map(|figures| figures.rows_written))
        .bind(end.figures.map(|figures| figures.peak_memory_bytes))
        .bind(end.figures.map(|figures| figures.duration_milliseconds))
        .bind(columns)
        .bind(end.result.as_ref().map(|result| result.prefix.as_str()))
        .bind(end.result.as_ref().map(|result| result.bytes))
        .bind(milliseconds(retention))
        .execute(&mut **transaction)
        .await?;
    sqlx::query(RELEASE_INPUTS).bind(id).execute(&mut **transaction).await?;
    Ok(ended.rows_affected() == 1)
}

/// The analysis and its result are to be removed, whatever it is for.
///
/// # Errors
/// If the database fails.
pub async fn expire(transaction: &mut Transaction, id: &str) -> Result<(), DatabaseError> {
    sqlx::query(EXPIRE).bind(id).execute(&mut **transaction).await?;
    Ok(())
}

/// Analyses that are over, with the prefixes of their objects; some of them.
///
/// # Errors
/// If the database fails.
pub async fn over(database: &Database, most: i64) -> Result<Vec<(String, Option<String>)>, DatabaseError> {
    let statement = sqlx::query_as::<Any, (String, Option<String>)>(OVER).bind(most);
    Ok(statement.fetch_all(database.pool()).await?)
}

/// Forgets an analysis.
///
/// # Errors
/// If the database fails.
pub async fn delete(transaction: &mut Transaction, id: &str) -> Result<(), DatabaseError> {
    sqlx::query(DELETE).bind(id).execute(&mut **transaction).await?;
    Ok(())
}

/// How many analyses wait.
///
/// # Errors
/// If the database fails.
pub async fn count_queued(database: &Database) -> Result<i64, DatabaseError> {
    Ok(sqlx::query_scalar::<Any, i64>(COUNT_QUEUED).fetch_one(database.pool()).await?)
}

fn read(row: &AnyRow) -> Result<AnalysisRecord, sqlx::Error> {
    let status: String = row.try_get("status")?;
    let status = Status::parse(&status)
        .ok_or_else(|| sqlx::Error::Decode(format!("`{status}` is no status of an analysis").into()))?;
    Ok(AnalysisRecord {
        id: row.try_get("id")?,
        status,
        request: datasets::json(row, "request")?,
        deadline: Duration::from_secs(row.try_get::<i64, _>("deadline_seconds")?.unsigned_abs()),
        is_kept: row.try_get::<i64, _>("is_kept")? != 0,
        is_cancelled: row.try_get::<i64, _>("is_cancelled")? != 0,
        created_at: datasets::time(row, "created_at")?,
        started_at: some_time(row, "started_at")?,
        finished_at: some_time(row, "finished_at")?,
        expires_at: some_time(row, "expires_at")?,
        reason: row.try_get("reason")?,
        message: row.try_get("message")?,
        figures: figures(row)?,
        result: result(row)?,
    })
}

fn some_time(row: &AnyRow, column: &str) -> Result<Option<Timestamp>, sqlx::Error> {
    let time: Option<i64> = row.try_get(column)?;
    time.map(Timestamp::from_millisecond).transpose().map_err(|error| sqlx::Error::Decode(error.into()))
}

fn figures(row: &AnyRow) -> Result<Option<Figures>, sqlx::Error> {
    let figure = |column| row.try_get::<Option<i64>, _>(column);
    let Some(rows_read) = figure("rows_read")? else { return Ok(None) };
    Ok(Some(Figures {
        rows_read,
        bytes_read: figure("bytes_read")?.unwrap_or_default(),
        rows_written: figure("rows_written")?.unwrap_or_default(),
        peak_memory_bytes: figure("peak_memory_bytes")?.unwrap_or_default(),
        duration_milliseconds: figure("duration_milliseconds")?.unwrap_or_default(),
    }))
}

fn result(row: &AnyRow) -> Result<Option<StoredResult>, sqlx::Error> {
    let Some(prefix) = row.try_get::<Option<String>, _>("objects")? else { return Ok(None) };
    let columns: Vec<ColumnDescription> = datasets::json(row, "columns")?;
    let bytes = row.try_get::<Option<i64>, _>("result_bytes")?.unwrap_or_default();
    Ok(Some(StoredResult { prefix, columns, bytes }))
}

/// PostgreSQL has no text with a zero in it.
fn plain(text: &str) -> String {
    text.replace('\0', "")
}
