//! Requests that must not be done twice, told apart by the key that their
//! sender gives them: `Idempotency-Key`,
//! <https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>.
//!
//! ```text
//!   key + request ─▶ begin ─┬─▶ Run: do it, then finish with the response (or abandon)
//!                           ├─▶ Replay: the response is there already
//!                           ├─▶ in progress (409)
//!                           └─▶ the key is of another request (422)
//! ```
//!
//! Whoever begins a request holds its key by a lease: if that process dies, the
//! same request can be tried again after the lease. Finished in the transaction
//! with which the effects of the request are stored, the request is done exactly
//! once. Where that transaction is all that there is to do, the request is also
//! begun in it, and nothing is held if the process dies.

mod key;
mod reserved;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row as _};
use tokio::time::Instant;
use uuid::Uuid;

use self::key::MOST_KEY_CHARACTERS;
pub use self::key::{Fingerprint, IdempotencyKey, Scope};
pub use self::reserved::{give_up, hold};
use crate::database::{Database, DatabaseError, Statement, Transaction, milliseconds};

/// What is kept of the head of a response. Not kept is what belongs to one
/// connection or one moment, such as `date` and `traceparent`.
const KEPT_HEADERS: [&str; 8] = [
    "cache-control",
    "content-disposition",
    "content-language",
    "content-type",
    "etag",
    "last-modified",
    "link",
    "location",
];
/// How often what has expired is removed.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);
/// Most rows that are removed at once, so that no request waits for long.
const FORGET_ROWS: u64 = 500;
/// Between two times.
const FORGET_PAUSE: Duration = Duration::from_millis(100);

/// Takes a key that is new, that has expired, or whose holder has died during
/// the same request.
const CLAIM: &str = "\
INSERT INTO kit_idempotency_keys (scope, idempotency_key, fingerprint, state, claim, lease_until, expires_at)
VALUES ($1, $2, $3, 'running', $4,
    (SELECT milliseconds FROM kit_clock) + $5, (SELECT milliseconds FROM kit_clock) + $6)
ON CONFLICT (scope, idempotency_key) DO UPDATE SET
    fingerprint = excluded.fingerprint, state = excluded.state, claim = excluded.claim,
    lease_until = excluded.lease_until, expires_at = excluded.expires_at,
    status = NULL, headers = NULL, body = NULL
WHERE kit_idempotency_keys.expires_at <= (SELECT milliseconds FROM kit_clock)
    OR (kit_idempotency_keys.state = 'running'
        AND kit_idempotency_keys.lease_until <= (SELECT milliseconds FROM kit_clock)
        AND kit_idempotency_keys.fingerprint = excluded.fingerprint)";

const READ: &str = "\
SELECT fingerprint, state, status, headers, body FROM kit_idempotency_keys
WHERE scope = $1 AND idempotency_key = $2";

/// What has expired is free for anybody, so a key does not expire before its
/// lease. SQLite and PostgreSQL have different names for the larger of two.
const RENEW: &str = "\
UPDATE kit_idempotency_keys SET lease_until = (SELECT milliseconds FROM kit_clock) + $4,
    expires_at = CASE WHEN expires_at < (SELECT milliseconds FROM kit_clock) + $4
        THEN (SELECT milliseconds FROM kit_clock) + $4 ELSE expires_at END
WHERE scope = $1 AND idempotency_key = $2 AND claim = $3";

const FINISH: &str = "\
UPDATE kit_idempotency_keys SET state = 'finished', claim = NULL, status = $4, headers = $5, body = $6,
    expires_at = (SELECT milliseconds FROM kit_clock) + $7
WHERE scope = $1 AND idempotency_key = $2 AND claim = $3";

const ABANDON: &str = "\
DELETE FROM kit_idempotency_keys WHERE scope = $1 AND idempotency_key = $2 AND claim = $3";

const FORGET: &str = "\
DELETE FROM kit_idempotency_keys WHERE (scope, idempotency_key) IN
    (SELECT scope, idempotency_key FROM kit_idempotency_keys
     WHERE expires_at <= (SELECT milliseconds FROM kit_clock) LIMIT $1)";

/// Why a request with a key is not done.
#[derive(Debug, thiserror::Error)]
pub enum IdempotencyError {
    /// The key is none. Answer 400.
    #[error(
        "the Idempotency-Key has to have 1 to {} printable ASCII characters, without quotes in it",
        MOST_KEY_CHARACTERS
    )]
    InvalidKey,
    /// The same request is being done right now. Answer 409.
    #[error("a request with this Idempotency-Key is being processed")]
    InProgress,
    /// The key was used for a different request. Answer 422.
    #[error("this Idempotency-Key was used for a different request")]
    Mismatch,
    /// The lease was lost: another one does the request by now, and what was
    /// done for it must not be kept.
    #[error("processing the request took longer than its lease, and it was begun again")]
    LeaseLost,
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// How long keys are held and kept.
#[derive(Clone, Copy, Debug)]
pub struct IdempotencySettings {
    /// How long after its holder has died a request can be begun again. Longer
    /// than a request may take, unless it [renews](Reservation::renew).
    pub lease: Duration,
    /// How long a response is kept.
    pub retention: Duration,
    /// Of a larger body only head and status are kept.
    pub most_body_bytes: usize,
}

impl Default for IdempotencySettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(120),
            retention: Duration::from_secs(24 * 60 * 60),
            most_body_bytes: 1 << 20,
        }
    }
}

/// The keys of a service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Idempotency {
    database: Database,
    settings: IdempotencySettings,
    forget_at: Arc<Mutex<Instant>>,
}

/// What to do with a request.
#[derive(Debug)]
pub enum Begun {
    /// Do it: nobody else does.
    Run(Reservation),
    /// It was done. This is its response.
    Replay(StoredResponse),
}

/// A response as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    /// The status code.
    pub status: u16,
    /// Names, in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// `None` if it was too large to be kept.
    pub body: Option<Bytes>,
}

impl Idempotency {
    /// The keys in the database.
    #[must_use]
    pub fn new(database: &Database, settings: IdempotencySettings) -> Self {
        Self { database: database.clone(), settings, forget_at: Arc::new(Mutex::new(Instant::now())) }
    }

    /// The same keys, but responses are kept for so long.
    #[must_use]
    pub fn retaining(&self, retention: Duration) -> Self {
        Self { settings: IdempotencySettings { retention, ..self.settings }, ..self.clone() }
    }

    /// Begins a request, unless it was begun already. Of all that try at once,
    /// one gets to run.
    ///
    /// # Errors
    /// If the request is being done, the key is of another request, or the
    /// database fails.
    pub async fn begin(
        &self,
        scope: &Scope,
        key: &IdempotencyKey,
        fingerprint: &Fingerprint,
    ) -> Result<Begun, IdempotencyError> {
        if self.is_time_to_forget() && forget_some(&self.database).await {
            // The request does not wait for the rest.
            tokio::spawn(forget(self.database.clone()));
        }
        let reservation = self.reservation(scope, key);
        loop {
            if self.database.execute(self.claimed(&reservation, fingerprint)).await? == 1 {
                return Ok(Begun::Run(reservation));
            }
            let found = reservation.read().fetch_optional(self.database.pool()).await;
            // If it is gone, it was given up in between, and is free.
            if let Some(row) = found.map_err(DatabaseError::from)? {
                return there(&row, fingerprint);
            }
        }
    }

    /// Begins a request in the transaction with which its effects will be stored
    /// and in which it will be [finished](Reservation::finish_in). The same
    /// request waits meanwhile, and is answered with the response then, or done
    /// if the transaction was taken back.
    ///
    /// # Errors
    /// As [`Idempotency::begin`]. The transaction must be dropped then.
    pub async fn begin_in(
        &self,
        transaction: &mut Transaction,
        scope: &Scope,
        key: &IdempotencyKey,
        fingerprint: &Fingerprint,
    ) -> Result<Begun, IdempotencyError> {
        if self.is_time_to_forget() {
            // It needs a transaction of its own, and only one at a time may write.
            tokio::spawn(forget(self.database.clone()));
        }
        let reservation = self.reservation(scope, key);
        loop {
            let claimed = self.claimed(&reservation, fingerprint).execute(&mut **transaction).await;
            if claimed.map_err(DatabaseError::from)?.rows_affected() == 1 {
                return Ok(Begun::Run(reservation));
            }
            let found = reservation.read().fetch_optional(&mut **transaction).await;
            if let Some(row) = found.map_err(DatabaseError::from)? {
                return there(&row, fingerprint);
            }
        }
    }

    /// A reservation that is not written yet.
    fn reservation(&self, scope: &Scope, key: &IdempotencyKey) -> Reservation {
        Reservation {
            database: self.database.clone(),
            settings: self.settings,
            scope: scope.clone(),
            key: key.clone(),
            claim: Uuid::now_v7().to_string(),
        }
    }

    fn claimed(&self, reservation: &Reservation, fingerprint: &Fingerprint) -> Statement<'static> {
        let lease = self.settings.lease;
        sqlx::query(CLAIM)
            .bind(reservation.scope.0.as_str())
            .bind(reservation.key.0.as_str())
            .bind(fingerprint.0.as_str())
            .bind(reservation.claim.as_str())
            .bind(milliseconds(lease))
            .bind(milliseconds(self.settings.retention.max(lease)))
    }

    /// Whether what has expired is to be removed: that is done now and then.
    fn is_time_to_forget(&self) -> bool {
        let mut forget_at = self.forget_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_time = now >= *forget_at;
        if is_time {
            *forget_at = now + FORGET_INTERVAL;
        }
        is_time
    }
}

/// Removes what has expired. Failing does no harm.
async fn forget(database: Database) {
    tokio::time::sleep(FORGET_PAUSE).await;
    while forget_some(&database).await {
        tokio::time::sleep(FORGET_PAUSE).await;
    }
}

/// Removes some of what has expired. Whether there may be more.
async fn forget_some(database: &Database) -> bool {
    match database.execute(sqlx::query(FORGET).bind(FORGET_ROWS as i64)).await {
        Ok(removed) => removed >= FORGET_ROWS,
        Err(error) => {
            tracing::warn!(error = %crate::problem::chain(&error), "Expired Idempotency-Keys cannot be removed.");
            false
        }
    }
}

/// What a key that is held or used up means for a request.
fn there(row: &AnyRow, fingerprint: &Fingerprint) -> Result<Begun, IdempotencyError> {
    let text = |column: &str| row.try_get::<String, _>(column).map_err(DatabaseError::from);
    if text("fingerprint")? != fingerprint.0 {
        return Err(IdempotencyError::Mismatch);
    }
    if text("state")? != "finished" {
        return Err(IdempotencyError::InProgress);
    }
    Ok(Begun::Replay(stored(row).map_err(DatabaseError::from)?))
}

fn stored(row: &AnyRow) -> Result<StoredResponse, sqlx::Error> {
    let status: i64 = row.try_get("status")?;
    let headers: String = row.try_get("headers")?;
    let body: Option<Vec<u8>> = row.try_get("body")?;
    Ok(StoredResponse {
        status: u16::try_from(status).map_err(|error| sqlx::Error::Decode(error.into()))?,
        headers: serde_json::from_str(&headers).map_err(|error| sqlx::Error::Decode(error.into()))?,
        body: body.map(Bytes::from),
    })
}

/// The right to do a request. Finish it, or give it up; dropped, it is kept
/// from others until its lease lapses, because how far it came is not known.
#[derive(Debug)]
pub struct Reservation {
    database: Database,
    settings: IdempotencySettings,
    scope: Scope,
    key: IdempotencyKey,
    claim: String,
}

impl Reservation {
    /// Makes the lease last from now on.
    ///
    /// # Errors
    /// If it was lost, or the database fails.
    pub async fn renew(&self) -> Result<(), IdempotencyError> {
        let statement = self.held(RENEW).bind(milliseconds(self.settings.lease));
        is_held(self.database.execute(statement).await?)
    }

    /// Keeps the response: from then on the request is answered with it. Of a
    /// response only the header fields that describe its content are kept.
    ///
    /// # Errors
    /// If the lease was lost, or the database fails; then it can be called again.
    pub async fn finish(&self, response: &StoredResponse) -> Result<(), IdempotencyError> {
        let statement = self.finished(response)?;
        is_held(self.database.execute(statement).await?)
    }

    /// Keeps the response in the transaction with which the effects of the
    /// request are stored: both are, or neither is.
    ///
    /// # Errors
    /// If the lease was lost: the transaction must be dropped. Or if the
    /// database fails.
    pub async fn finish_in(
        &self,
        transaction: &mut Transaction,
        response: &StoredResponse,
    ) -> Result<(), IdempotencyError> {
        let connection: &mut AnyConnection = transaction;
        let done = self.finished(response)?.execute(connection).await.map_err(DatabaseError::from)?;
        is_held(done.rows_affected())
    }

    /// Gives the request up: it had no effect, and can be tried again at once.
    ///
    /// # Errors
    /// If the database fails; then it can be tried again after the lease.
    pub async fn abandon(self) -> Result<(), IdempotencyError> {
        self.database.execute(self.held(ABANDON)).await?;
        Ok(())
    }

    fn read(&self) -> Statement<'static> {
        sqlx::query(READ).bind(self.scope.0.as_str()).bind(self.key.0.as_str())
    }

    fn held(&self, statement: &'static str) -> Statement<'static> {
        sqlx::query(statement).bind(self.scope.0.as_str()).bind(self.key.0.as_str()).bind(self.claim.as_str())
    }

    fn finished(&self, response: &StoredResponse) -> Result<Statement<'static>, IdempotencyError> {
        let headers: Vec<_> =
            response.headers.iter().filter(|(name, _)| KEPT_HEADERS.contains(&name.as_str())).collect();
        let headers = serde_json::to_string(&headers)
            .map_err(|error| DatabaseError::from(sqlx::Error::Encode(error.into())))?;
        let body = response.body.as_ref().filter(|body| body.len() <= self.settings.most_body_bytes);
        Ok(self
            .held(FINISH)
            .bind(i64::from(response.status))
            .bind(headers)
            .bind(body.map(|body| body.to_vec()))
            .bind(milliseconds(self.settings.retention)))
    }
}

const fn is_held(rows: u64) -> Result<(), IdempotencyError> {
    if rows == 1 { Ok(()) } else { Err(IdempotencyError::LeaseLost) }
}
