//! Keys in the database.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use serde::de::DeserializeOwned;
use service_kit::database::{Database, DatabaseError, now_milliseconds};
use sqlx::{Any, AnyConnection};

use super::{Key, KeyDigest, KeyText};
use crate::rate::RateLimit;
use crate::scope::Scope;

const CHANGES: &str = "SELECT changes FROM api_key_changes";
const COUNT_CHANGE: &str = "UPDATE api_key_changes SET changes = changes + 1";
const NEEDED: &str = "SELECT id, digest, scopes, rate_limit, expires_at FROM api_keys";
const INSERT: &str = "\
INSERT INTO api_keys (id, name, digest, scopes, rate_limit, created_by, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const UPDATE: &str =
    "UPDATE api_keys SET name = $2, scopes = $3, rate_limit = $4, expires_at = $5 WHERE id = $1";
// Changes nothing, and keeps others from changing the key until the end of the transaction.
const LOCK: &str = "UPDATE api_keys SET name = name WHERE id = $1";
const DELETE: &str = "DELETE FROM api_keys WHERE id = $1";
const NOTE_USE: &str = "\
UPDATE api_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
const COUNT: &str = "SELECT count(*) FROM api_keys";
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, scopes, rate_limit, created_by, created_at, expires_at, last_used_at FROM api_keys ",
            $rest
        )
    };
}
const ONE: &str = select!("WHERE id = $1");
const BY_NAME: &str = select!("WHERE name = $1");
const PAGE: &str = select!(
    "WHERE created_at < $1 OR (created_at = $1 AND id < $2) ORDER BY created_at DESC, id DESC LIMIT $3"
);

/// All keys at a time.
#[derive(Debug)]
pub struct Snapshot {
    /// No change before this is missing.
    pub at: Instant,
    changes: i64,
    /// By their ids.
    pub keys: Arc<HashMap<String, Arc<Key>>>,
}

/// A key as it is shown.
#[derive(Clone, Debug)]
pub struct Record {
    pub id: String,
    pub name: String,
    pub scopes: Vec<Scope>,
    pub rate_limit: Option<RateLimit>,
    pub created_by: String,
    pub created_at: i64,
    pub expires_at: Option<i64>,
    pub last_used_at: Option<i64>,
}

type Columns = (String, String, String, Option<String>, String, i64, Option<i64>, Option<i64>);

/// Reads all keys, if there was a change since.
pub async fn read(database: &Database, known: Option<&Snapshot>) -> Result<Snapshot, DatabaseError> {
    let at = Instant::now();
    // Before the keys: a change in between is then seen the next time.
    let changes = sqlx::query_scalar::<Any, i64>(CHANGES).fetch_one(database.pool()).await?;
    if let Some(known) = known.filter(|known| known.changes == changes) {
        return Ok(Snapshot { at, changes, keys: Arc::clone(&known.keys) });
    }
    let rows = sqlx::query_as::<Any, (String, String, String, Option<String>, Option<i64>)>(NEEDED)
        .fetch_all(database.pool())
        .await?;
    let keys = rows.into_iter().filter_map(|(id, digest, scopes, rate_limit, expires_at)| {
        let Some(digest) = KeyDigest::parse(&digest) else {
            tracing::error!(id, "The digest of an API key cannot be read: the key is not valid.");
            return None;
        };
        let (scopes, rate_limit) = (from_json(&scopes), rate_limit.and_then(|text| from_json(&text)));
        let key = Key { id: id.clone(), scopes: scopes.unwrap_or_default(), rate_limit, digest, expires_at };
        Some((id, Arc::new(key)))
    });
    Ok(Snapshot { at, changes, keys: Arc::new(keys.collect()) })
}

/// How many keys there are.
pub async fn count(connection: &mut AnyConnection) -> Result<i64, DatabaseError> {
    Ok(sqlx::query_scalar::<Any, i64>(COUNT).fetch_one(connection).await?)
}

/// The key of this id.
pub async fn one(connection: &mut AnyConnection, id: &str) -> Result<Option<Record>, DatabaseError> {
    Ok(sqlx::query_as::<Any, Columns>(ONE).bind(id).fetch_optional(connection).await?.map(Record::from))
}

/// The key of this name.
pub async fn by_name(connection: &mut AnyConnection, name: &str) -> Result<Option<Record>, DatabaseError> {
    Ok(sqlx::query_as::<Any, Columns>(BY_NAME).bind(name).fetch_optional(connection).await?.map(Record::from))
}

/// Keys made before this time and id, those made last first.
pub async fn page(
    database: &Database,
    before: (i64, &str),
    limit: usize,
) -> Result<Vec<Record>, DatabaseError> {
    let rows = sqlx::query_as::<Any, Columns>(PAGE)
        .bind(before.0)
        .bind(before.1)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(database.pool())
        .await?;
    Ok(rows.into_iter().map(Record::from).collect())
}

/// Keeps a new key; of its text only the digest.
pub async fn insert(
    connection: &mut AnyConnection,
    record: &Record,
    text: &KeyText,
) -> Result<(), DatabaseError> {
    sqlx::query(INSERT)
        .bind(record.id.as_str())
        .bind(record.name.as_str())
        .bind(text.digest().to_text())
        .bind(to_json(&record.scopes))
        .bind(record.rate_limit.as_ref().map(to_json))
        .bind(record.created_by.as_str())
        .bind(record.created_at)
        .bind(record.expires_at)
        .execute(&mut *connection)
        .await?;
    count_change(connection).await
}

/// Changes what can be changed of a key.
pub async fn update(connection: &mut AnyConnection, record: &Record) -> Result<(), DatabaseError> {
    sqlx::query(UPDATE)
        .bind(record.id.as_str())
        .bind(record.name.as_str())
        .bind(to_json(&record.scopes))
        .bind(record.rate_limit.as_ref().map(to_json))
        .bind(record.expires_at)
        .execute(&mut *connection)
        .await?;
    count_change(connection).await
}

/// Keeps others from changing a key until the end of the transaction; false if
/// it is not there.
pub async fn lock(connection: &mut AnyConnection, id: &str) -> Result<bool, DatabaseError> {
    Ok(sqlx::query(LOCK).bind(id).execute(connection).await?.rows_affected() > 0)
}

/// Removes a key; false if it was not there.
pub async fn delete(connection: &mut AnyConnection, id: &str) -> Result<bool, DatabaseError> {
    let removed = sqlx::query(DELETE).bind(id).execute(&mut *connection).await?.rows_affected();
    count_change(connection).await?;
    Ok(removed > 0)
}

/// Writes down when a key was used.
pub async fn note_use(database: &Database, id: &str, at: i64) -> Result<(), DatabaseError> {
    database.execute(sqlx::query(NOTE_USE).bind(id).bind(at)).await?;
    Ok(())
}

async fn count_change(connection: &mut AnyConnection) -> Result<(), DatabaseError> {
    sqlx::query(COUNT_CHANGE).execute(connection).await?;
    Ok(())
}

impl Record {
    /// A key that is made now.
    pub fn new(text: &KeyText, name: String, created_by: String) -> Self {
        Self {
            id: text.id().to_owned(),
            name,
            scopes: Vec::new(),
            rate_limit: None,
            created_by,
            created_at: now_milliseconds(),
            expires_at: None,
            last_used_at: None,
        }
    }
}

impl From<Columns> for Record {
    fn from(columns: Columns) -> Self {
        let (id, name, scopes, rate_limit, created_by, created_at, expires_at, last_used_at) = columns;
        Self {
            id,
            name,
            scopes: from_json(&scopes).unwrap_or_default(),
            rate_limit: rate_limit.and_then(|text| from_json(&text)),
            created_by,
            created_at,
            expires_at,
            last_used_at,
        }
    }
}

/// What a later release has written and this one does not know, such as a new
/// scope, is as if it were not there: it then allows nothing.
fn from_json<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text)
        .inspect_err(|error| tracing::warn!(%error, "A part of an API key cannot be read."))
        .ok()
}

fn to_json(value: &impl serde::Serialize) -> String {
    // Lists of words and numbers always can be written.
    serde_json::to_string(value).unwrap_or_default()
}
