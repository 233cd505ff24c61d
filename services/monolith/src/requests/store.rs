//! Requests in the database.

use serde::Serialize;
use serde::de::DeserializeOwned;
use service_kit::database::{Database, DatabaseError, now_milliseconds};
use service_kit::queue::QueueError;
use sqlx::{Any, AnyConnection};

use super::order::Order;
use super::state::{RequestStatus, State, TaskResult, WebhookState};

const INSERT: &str = "\
INSERT INTO requests (id, status, asked, state, revision, is_cancelled, webhook, trace, created_by, created_at,
    updated_at, deadline_at, input)
VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8, $9, $9, $10, $11)";
const LOAD: &str = "\
SELECT id, status, asked, state, revision, webhook, trace, created_by, created_at, updated_at, deadline_at, ended_at
FROM requests WHERE id = $1";
const PROGRESS: &str = "SELECT status, revision FROM requests WHERE id = $1";
const SAVE: &str = "\
UPDATE requests SET status = $3, state = $4, revision = revision + 1, updated_at = $5, ended_at = $6
WHERE id = $1 AND revision = $2 AND ended_at IS NULL";
const INSERT_EVENT: &str =
    "INSERT INTO request_events (request_id, revision, event, data) VALUES ($1, $2, $3, $4)";
const INSERT_RESULT: &str = "INSERT INTO request_results (request_id, task, result) VALUES ($1, $2, $3)";
const RESULTS: &str = "SELECT task, result FROM request_results WHERE request_id = $1";
const EVENTS: &str = "\
SELECT revision, event, data FROM request_events WHERE request_id = $1 AND revision > $2 ORDER BY revision LIMIT 100";
const CANCEL: &str = "UPDATE requests SET is_cancelled = 1 WHERE id = $1 AND ended_at IS NULL";
const IS_CANCELLED: &str = "SELECT count(*) FROM requests WHERE id = $1 AND is_cancelled = 1";
const SAVE_WEBHOOK: &str = "UPDATE requests SET webhook = $2 WHERE id = $1";
// Ids are in the order of time.
const PAGE: &str = "\
SELECT id, status, input, created_by, created_at, ended_at FROM requests WHERE id < $1 ORDER BY id DESC LIMIT $2";
const PAGE_OF_STATUS: &str = "\
SELECT id, status, input, created_by, created_at, ended_at FROM requests WHERE id < $1 AND status = $3
ORDER BY id DESC LIMIT $2";

/// What is shown of the input in a list.
const BEGINNING_CHARACTERS: usize = 200;

/// A request as it is kept.
#[derive(Clone, Debug)]
pub struct Stored {
    pub id: String,
    pub status: RequestStatus,
    pub order: Order,
    pub state: State,
    /// The number of its last event.
    pub revision: i64,
    pub webhook: Option<WebhookState>,
    /// The trace that it belongs to, as a `traceparent`.
    pub trace: String,
    pub created_by: String,
    pub created_at: i64,
    pub updated_at: i64,
    pub deadline_at: i64,
    pub ended_at: Option<i64>,
}

/// How far a request has come, without all that belongs to it.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub status: RequestStatus,
    /// The number of its last event.
    pub revision: i64,
}

/// Something that has happened to a request.
#[derive(Clone, Debug)]
pub struct Event {
    pub revision: i64,
    pub name: String,
    pub data: String,
}

/// The name of the last event of a request.
pub const LAST_EVENT: &str = "completed";

/// A request in a list.
#[derive(Clone, Debug)]
pub struct Listing {
    pub id: String,
    /// As it is written: by a later release, it may be one that is not known here.
    pub status: String,
    /// The beginning of the question or instruction.
    pub input: String,
    pub created_by: String,
    pub created_at: i64,
    pub ended_at: Option<i64>,
}

/// Why a change was not kept.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The queue of those who are to be told did not take it.
    #[error(transparent)]
    Queue(QueueError),
    /// Somebody else has changed the request: what was found out for it since
    /// must not be kept.
    #[error("somebody else works on the request")]
    Outdated,
}

impl From<QueueError> for SaveError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Database(error) => Self::Database(error),
            QueueError::LeaseLost { .. } => Self::Outdated,
            error => Self::Queue(error),
        }
    }
}

type Columns =
    (String, String, String, String, i64, Option<String>, String, String, i64, i64, i64, Option<i64>);

/// Keeps a new request with its first event.
pub async fn insert(connection: &mut AnyConnection, request: &Stored) -> Result<(), DatabaseError> {
    let beginning: String = request.order.input.chars().take(BEGINNING_CHARACTERS).collect();
    sqlx::query(INSERT)
        .bind(request.id.as_str())
        .bind(request.status.as_str())
        .bind(encoded(&request.order)?)
        .bind(encoded(&request.state)?)
        .bind(request.revision)
        .bind(request.webhook.as_ref().map(encoded).transpose()?)
        .bind(request.trace.as_str())
        .bind(request.created_by.as_str())
        .bind(request.created_at)
        .bind(request.deadline_at)
        .bind(beginning)
        .execute(&mut *connection)
        .await?;
    let data = serde_json::json!({ "status": request.status }).to_string();
    insert_event(connection, &request.id, request.revision, "request", data).await
}

/// The request of this id.
pub async fn load(database: &Database, id: &str) -> Result<Option<Stored>, DatabaseError> {
    let row = sqlx::query_as::<Any, Columns>(LOAD).bind(id).fetch_optional(database.pool()).await?;
    row.map(stored).transpose()
}

/// How far the request of this id has come.
pub async fn progress(database: &Database, id: &str) -> Result<Option<Progress>, DatabaseError> {
    let row = sqlx::query_as::<Any, (String, i64)>(PROGRESS).bind(id).fetch_optional(database.pool()).await?;
    row.map(|(status, revision)| Ok(Progress { status: status_of(&status)?, revision })).transpose()
}

/// Keeps how far a request has come, with what has come out of its tasks since,
/// and tells of it. Nothing is kept if somebody else has changed it meanwhile.
pub async fn save(
    connection: &mut AnyConnection,
    request: &mut Stored,
    event: (&str, String),
    results: &[(&str, &TaskResult)],
) -> Result<(), SaveError> {
    request.updated_at = now_milliseconds();
    let changed = sqlx::query(SAVE)
        .bind(request.id.as_str())
        .bind(request.revision)
        .bind(request.status.as_str())
        .bind(encoded(&request.state)?)
        .bind(request.updated_at)
        .bind(request.ended_at)
        .execute(&mut *connection)
        .await
        .map_err(DatabaseError::from)?
        .rows_affected();
    if changed == 0 {
        return Err(SaveError::Outdated);
    }
    request.revision += 1;
    for (task, result) in results {
        sqlx::query(INSERT_RESULT)
            .bind(request.id.as_str())
            .bind(*task)
            .bind(encoded(result)?)
            .execute(&mut *connection)
            .await
            .map_err(DatabaseError::from)?;
    }
    insert_event(connection, &request.id, request.revision, event.0, event.1).await?;
    Ok(())
}

async fn insert_event(
    connection: &mut AnyConnection,
    id: &str,
    revision: i64,
    event: &str,
    data: String,
) -> Result<(), DatabaseError> {
    sqlx::query(INSERT_EVENT).bind(id).bind(revision).bind(event).bind(data).execute(connection).await?;
    Ok(())
}

/// What has come out of the tasks of a request, by their names.
pub async fn results(database: &Database, id: &str) -> Result<Vec<(String, TaskResult)>, DatabaseError> {
    let rows = sqlx::query_as::<Any, (String, String)>(RESULTS).bind(id).fetch_all(database.pool()).await?;
    rows.into_iter().map(|(task, result)| Ok((task, decoded(&result)?))).collect()
}

/// The next events after one, a hundred at most.
pub async fn events(database: &Database, id: &str, after: i64) -> Result<Vec<Event>, DatabaseError> {
    let rows = sqlx::query_as::<Any, (i64, String, String)>(EVENTS)
        .bind(id)
        .bind(after)
        .fetch_all(database.pool())
        .await?;
    Ok(rows.into_iter().map(|(revision, name, data)| Event { revision, name, data }).collect())
}

/// Asks for a request to be cancelled; false if it has ended.
pub async fn cancel(database: &Database, id: &str) -> Result<bool, DatabaseError> {
    Ok(database.execute(sqlx::query(CANCEL).bind(id)).await? > 0)
}

/// Whether somebody has asked for that.
pub async fn is_cancelled(database: &Database, id: &str) -> Result<bool, DatabaseError> {
    Ok(sqlx::query_scalar::<Any, i64>(IS_CANCELLED).bind(id).fetch_one(database.pool()).await? > 0)
}

/// Keeps how the delivery of a webhook stands.
pub async fn save_webhook(database: &Database, id: &str, state: &WebhookState) -> Result<(), DatabaseError> {
    database.execute(sqlx::query(SAVE_WEBHOOK).bind(id).bind(encoded(state)?)).await?;
    Ok(())
}

/// Requests made before one, those made last first.
pub async fn page(
    database: &Database,
    before: &str,
    status: Option<RequestStatus>,
    limit: usize,
) -> Result<Vec<Listing>, DatabaseError> {
    type Row = (String, String, String, String, i64, Option<i64>);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let query = match status {
        None => sqlx::query_as::<Any, Row>(PAGE).bind(before).bind(limit),
        Some(status) => {
            sqlx::query_as::<Any, Row>(PAGE_OF_STATUS).bind(before).bind(limit).bind(status.as_str())
        }
    };
    let rows = query.fetch_all(database.pool()).await?;
    let listing = |(id, status, input, created_by, created_at, ended_at): Row| Listing {
        id,
        status,
        input,
        created_by,
        created_at,
        ended_at,
    };
    Ok(rows.into_iter().map(listing).collect())
}

fn stored(columns: Columns) -> Result<Stored, DatabaseError> {
    let (
        id,
        status,
        asked,
        state,
        revision,
        webhook,
        trace,
        created_by,
        created_at,
        updated_at,
        deadline_at,
        ended_at,
    ) = columns;
    Ok(Stored {
        id,
        status: status_of(&status)?,
        order: decoded(&asked)?,
        state: decoded(&state)?,
        revision,
        webhook: webhook.as_deref().map(decoded).transpose()?,
        trace,
        created_by,
        created_at,
        updated_at,
        deadline_at,
        ended_at,
    })
}

fn status_of(text: &str) -> Result<RequestStatus, DatabaseError> {
    RequestStatus::parse(text)
        .ok_or_else(|| sqlx::Error::Decode(format!("`{text}` is no status of a request").into()).into())
}

fn decoded<T: DeserializeOwned>(text: &str) -> Result<T, DatabaseError> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()).into())
}

/// A value as it is kept.
pub fn encoded<T: Serialize>(value: &T) -> Result<String, DatabaseError> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()).into())
}
