//! Uploads in the database.

use std::time::Duration;

use crds::analysis::SourceFormat;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service_kit::database::{Database, DatabaseError, Transaction, milliseconds};
use sqlx::any::AnyRow;
use sqlx::{Any, Row as _};
use utoipa::ToSchema;

use crate::serve::datasets::{ReadOptions, format_name, store as datasets};

const INSERT: &str = "\
INSERT INTO uploads (id, dataset, format, options, metadata, bytes, received, status, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, 0, 'receiving',
    (SELECT milliseconds FROM kit_clock), (SELECT milliseconds FROM kit_clock) + $7)";

const FIND: &str = "\
SELECT id, dataset, format, options, metadata, bytes, received, status, version, problem, created_at, expires_at
FROM uploads WHERE id = $1";

/// Of all that send the same part, one is first.
const RECEIVE: &str = "\
UPDATE uploads SET received = received + $3, expires_at = (SELECT milliseconds FROM kit_clock) + $4,
    status = CASE WHEN received + $3 = bytes THEN 'finishing' ELSE status END,
    queued_at = CASE WHEN received + $3 = bytes THEN (SELECT milliseconds FROM kit_clock) END
WHERE id = $1 AND received = $2 AND status = 'receiving'";

const RENEW: &str = "\
UPDATE uploads SET expires_at = (SELECT milliseconds FROM kit_clock) + $3
WHERE id = $1 AND received = $2 AND status = 'receiving'";

const INSERT_PART: &str =
    "INSERT INTO upload_parts (upload, starts_at, bytes, object) VALUES ($1, $2, $3, $4)";

const PARTS: &str = "SELECT object FROM upload_parts WHERE upload = $1 ORDER BY starts_at";

const END: &str = "\
UPDATE uploads SET status = $2, version = $3, problem = $4 WHERE id = $1 AND status = 'finishing'";

const SET_ASIDE: &str = "\
UPDATE uploads SET status = 'failed', problem = $2, expires_at = (SELECT milliseconds FROM kit_clock) + $3
WHERE id = $1 AND status = 'finishing' AND (queued_at IS NULL OR queued_at <= $4)";

/// Of an upload whose data cannot be read, no parts are left.
const QUEUE_AGAIN: &str = "\
UPDATE uploads SET status = 'finishing', problem = NULL, queued_at = (SELECT milliseconds FROM kit_clock),
    expires_at = (SELECT milliseconds FROM kit_clock) + $2
WHERE id = $1 AND status = 'failed' AND EXISTS (SELECT 1 FROM upload_parts WHERE upload = uploads.id)";

const DELETE_PARTS: &str = "DELETE FROM upload_parts WHERE upload = $1";

const DELETE: &str = "DELETE FROM uploads WHERE id = $1";

const LOCK: &str = "UPDATE uploads SET expires_at = expires_at WHERE id = $1 AND status <> 'finishing'";

/// A part may have come since it was found to have expired.
const LOCK_EXPIRED: &str = "\
UPDATE uploads SET expires_at = expires_at
WHERE id = $1 AND status <> 'finishing' AND expires_at <= (SELECT milliseconds FROM kit_clock)";

const EXPIRED: &str = "\
SELECT id FROM uploads WHERE expires_at <= (SELECT milliseconds FROM kit_clock) AND status <> 'finishing' LIMIT $1";

/// Where an upload stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum UploadStatus {
    /// Parts are missing.
    Receiving,
    /// All parts are there, and are made a version.
    Finishing,
    /// The version is there.
    Complete,
    /// It has not become a version: `problem` says why. If the data are not to
    /// blame, the parts are kept.
    Failed,
}

impl UploadStatus {
    const ALL: [Self; 4] = [Self::Receiving, Self::Finishing, Self::Complete, Self::Failed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Finishing => "finishing",
            Self::Complete => "complete",
            Self::Failed => "failed",
        }
    }
}

/// An upload as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct UploadRecord {
    /// Its id.
    pub id: String,
    /// Of which data set it becomes a version.
    pub dataset: String,
    /// Format of the data.
    pub format: SourceFormat,
    /// How they are read.
    pub options: ReadOptions,
    /// What the client says of it.
    pub metadata: String,
    /// Its size.
    pub bytes: i64,
    /// How much of it is there.
    pub received: i64,
    /// Where it stands.
    pub status: UploadStatus,
    /// Number of the version.
    pub version: Option<i64>,
    /// Why it has not become a version.
    pub problem: Option<Value>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it is removed, if nothing comes.
    pub expires_at: Timestamp,
}

/// An upload that is begun.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// Its id.
    pub id: String,
    /// Of which data set it becomes a version.
    pub dataset: String,
    /// Format of the data.
    pub format: SourceFormat,
    /// How they are read.
    pub options: ReadOptions,
    /// What the client says of it.
    pub metadata: String,
    /// Its size.
    pub bytes: u64,
}

/// What the objects of an upload begin with.
#[must_use]
pub fn prefix(id: &str) -> String {
    format!("uploads/{id}")
}

/// Keeps a new upload.
///
/// # Errors
/// If the database fails.
pub async fn insert(database: &Database, new: &NewUpload, life: Duration) -> Result<(), DatabaseError> {
    let statement = sqlx::query(INSERT)
        .bind(new.id.as_str())
        .bind(new.dataset.as_str())
        .bind(format_name(new.format))
        .bind(datasets::to_json(&new.options)?)
        .bind(new.metadata.as_str())
        .bind(signed(new.bytes))
        .bind(milliseconds(life));
    database.execute(statement).await?;
    Ok(())
}

/// The upload, if it is there.
///
/// # Errors
/// If the database fails.
pub async fn find(database: &Database, id: &str) -> Result<Option<UploadRecord>, DatabaseError> {
    let row = sqlx::query(FIND).bind(id).fetch_optional(database.pool()).await?;
    Ok(row.as_ref().map(read).transpose()?)
}

/// A part of an upload.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where it begins.
    pub starts_at: i64,
    /// Its size.
    pub bytes: u64,
    /// The object that it is in.
    pub object: String,
}

/// Adds a part. False if it is not the next one.
///
/// # Errors
/// If the database fails.
pub async fn receive(
    transaction: &mut Transaction,
    id: &str,
    part: &Part,
    life: Duration,
) -> Result<bool, DatabaseError> {
    let received = sqlx::query(RECEIVE)
        .bind(id)
        .bind(part.starts_at)
        .bind(signed(part.bytes))
        .bind(milliseconds(life))
        .execute(&mut **transaction)
        .await?;
    if received.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(INSERT_PART)
        .bind(id)
        .bind(part.starts_at)
        .bind(signed(part.bytes))
        .bind(part.object.as_str())
        .execute(&mut **transaction)
        .await?;
    Ok(true)
}

/// Puts off the time at which the upload is removed, while its next part comes
/// in. False if that is not the next one any more.
///
/// # Errors
/// If the database fails.
pub async fn renew(
    transaction: &mut Transaction,
    id: &str,
    starts_at: i64,
    life: Duration,
) -> Result<bool, DatabaseError> {
    let statement = sqlx::query(RENEW).bind(id).bind(starts_at).bind(milliseconds(life));
    Ok(statement.execute(&mut **transaction).await?.rows_affected() == 1)
}

/// The objects with the parts, in their order.
///
/// # Errors
/// If the database fails.
pub async fn parts(database: &Database, id: &str) -> Result<Vec<String>, DatabaseError> {
    let statement = sqlx::query_scalar::<Any, String>(PARTS).bind(id);
    Ok(statement.fetch_all(database.pool()).await?)
}

/// The upload has become this version, or has this problem. The parts are not
/// needed any more. False if that was so before.
///
/// # Errors
/// If the database fails.
pub async fn end(
    transaction: &mut Transaction,
    id: &str,
    ended: Result<i64, &Value>,
) -> Result<bool, DatabaseError> {
    let (status, version, problem) = match ended {
        Ok(version) => (UploadStatus::Complete, Some(version), None),
        Err(problem) => (UploadStatus::Failed, None, Some(problem.to_string())),
    };
    let ended = sqlx::query(END)
        .bind(id)
        .bind(status.as_str())
        .bind(version)
        .bind(problem)
        .execute(&mut **transaction)
        .await?;
    sqlx::query(DELETE_PARTS).bind(id).execute(&mut **transaction).await?;
    Ok(ended.rows_affected() == 1)
}

/// The service could not make a version, for the reason that the problem says,
/// and the parts are kept. False if that was so before, or the upload was put
/// into the queue again after `failed_at`.
///
/// # Errors
/// If the database fails.
pub async fn set_aside(
    transaction: &mut Transaction,
    id: &str,
    problem: &Value,
    life: Duration,
    failed_at: i64,
) -> Result<bool, DatabaseError> {
    let statement =
        sqlx::query(SET_ASIDE).bind(id).bind(problem.to_string()).bind(milliseconds(life)).bind(failed_at);
    Ok(statement.execute(&mut **transaction).await?.rows_affected() == 1)
}

/// An upload that was set aside is becoming a version once more. False if it
/// was not, or already is.
///
/// # Errors
/// If the database fails.
pub async fn queue_again(
    transaction: &mut Transaction,
    id: &str,
    life: Duration,
) -> Result<bool, DatabaseError> {
    let statement = sqlx::query(QUEUE_AGAIN).bind(id).bind(milliseconds(life));
    Ok(statement.execute(&mut **transaction).await?.rows_affected() == 1)
}

/// Forgets an upload, unless it is becoming a version just now. Gives whether
/// it did.
///
/// # Errors
/// If the database fails.
pub async fn delete(transaction: &mut Transaction, id: &str) -> Result<bool, DatabaseError> {
    delete_locked(transaction, id, LOCK).await
}

/// The same, unless its time is not up, or not any more.
///
/// # Errors
/// If the database fails.
pub async fn delete_expired(transaction: &mut Transaction, id: &str) -> Result<bool, DatabaseError> {
    delete_locked(transaction, id, LOCK_EXPIRED).await
}

async fn delete_locked(
    transaction: &mut Transaction,
    id: &str,
    lock: &'static str,
) -> Result<bool, DatabaseError> {
    if sqlx::query(lock).bind(id).execute(&mut **transaction).await?.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(DELETE_PARTS).bind(id).execute(&mut **transaction).await?;
    sqlx::query(DELETE).bind(id).execute(&mut **transaction).await?;
    Ok(true)
}

/// Uploads of which nothing came for too long, and those that are done; some of them.
///
/// # Errors
/// If the database fails.
pub async fn expired(database: &Database, most: i64) -> Result<Vec<String>, DatabaseError> {
    let statement = sqlx::query_scalar::<Any, String>(EXPIRED).bind(most);
    Ok(statement.fetch_all(database.pool()).await?)
}

fn read(row: &AnyRow) -> Result<UploadRecord, sqlx::Error> {
    let status: String = row.try_get("status")?;
    let status = UploadStatus::ALL
        .into_iter()
        .find(|known| known.as_str() == status)
        .ok_or_else(|| sqlx::Error::Decode(format!("`{status}` is no status of an upload").into()))?;
    let problem: Option<String> = row.try_get("problem")?;
    Ok(UploadRecord {
        id: row.try_get("id")?,
        dataset: row.try_get("dataset")?,
        format: datasets::format(row)?,
        options: datasets::json(row, "options")?,
        metadata: row.try_get("metadata")?,
        bytes: row.try_get("bytes")?,
        received: row.try_get("received")?,
        status,
        version: row.try_get("version")?,
        problem: problem.and_then(|problem| serde_json::from_str(&problem).ok()),
        created_at: datasets::time(row, "created_at")?,
        expires_at: datasets::time(row, "expires_at")?,
    })
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
