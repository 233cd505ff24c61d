//! API keys: who may call, and what.
//!
//! ```text
//!   database ──▶ snapshot (every 2 s, at once after a change here) ──▶ find: no I/O
//!   mounted file with the administrator's key ─────────────────────────▶
//! ```
//!
//! Every replica knows all keys, so that a request waits for no database. A
//! replica that has not been able to look for 5 s lets nobody in but by the
//! administrator's key: a key that was revoked elsewhere must not work on.
//! Then requests are refused at once, and only the replica itself goes on
//! looking: if each did, they would queue up behind one another until there
//! was no place left, not even for the administrator's.

mod administrator;
mod routes;
mod store;
mod text;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use service_kit::Problem;
use service_kit::database::{Database, DatabaseError, now_milliseconds};

use self::administrator::Administrator;
pub use self::routes::routes;
use self::store::Snapshot;
pub use self::text::{KeyDigest, KeyText};
use crate::problems;
use crate::rate::RateLimit;
use crate::scope::Scope;

/// A replica that knows less than this believes nobody.
const AGE_LIMIT: Duration = Duration::from_secs(5);
/// How often it looks.
const LOOK: Duration = Duration::from_secs(2);
/// For so long after a look has failed nobody else looks: by then it has
/// looked again.
const FAILURE_COUNTS: Duration = Duration::from_secs(10);
/// How often it is written down when keys were used.
const NOTE_USE: Duration = Duration::from_secs(60);

/// A key as it is needed to let a request in.
#[derive(Debug)]
pub struct Key {
    /// What may be known of it.
    pub id: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// How often; as the configuration says, if it has no limit of its own.
    pub rate_limit: Option<RateLimit>,
    digest: KeyDigest,
    /// In milliseconds since 1970.
    expires_at: Option<i64>,
}

impl Key {
    /// Whether it may do something.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|own| *own == Scope::Admin || *own == scope)
    }
}

/// A look that has failed.
#[derive(Clone, Debug)]
struct Failure {
    at: Instant,
    problem: Problem,
}

/// All keys.
#[derive(Debug)]
pub struct Keys {
    database: Database,
    administrator: Administrator,
    snapshot: RwLock<Arc<Snapshot>>,
    /// One looks at a time.
    looking: tokio::sync::Mutex<()>,
    /// Unless a look has succeeded since.
    failure: Mutex<Option<Failure>>,
    /// When each key was last used, in milliseconds since 1970, as far as it
    /// is not written down.
    used: Mutex<HashMap<String, i64>>,
}

impl Keys {
    /// The keys in a database, and that in a file.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn open(database: &Database, administrator: PathBuf) -> Result<Self, DatabaseError> {
        Ok(Self {
            database: database.clone(),
            administrator: Administrator::at(administrator),
            snapshot: RwLock::new(Arc::new(store::read(database, None).await?)),
            looking: tokio::sync::Mutex::default(),
            failure: Mutex::default(),
            used: Mutex::default(),
        })
    }

    /// The key with this text, if there is one that is valid.
    ///
    /// # Errors
    /// If it cannot be known at present.
    pub async fn find(&self, text: &str) -> Result<Option<Arc<Key>>, Problem> {
        let Some(text) = KeyText::parse(text) else { return Ok(None) };
        let digest = text.digest();
        if let Some(key) = self.administrator.find(&digest) {
            return Ok(Some(key));
        }
        let snapshot = self.recent().await?;
        let now = now_milliseconds();
        let found = snapshot
            .keys
            .get(text.id())
            .filter(|key| key.digest.matches(&digest) && key.expires_at.is_none_or(|end| now < end));
        if let Some(key) = found {
            self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(key.id.clone(), now);
        }
        Ok(found.map(Arc::clone))
    }

    /// Keeps up with the database and the file until it is dropped.
    pub async fn follow(&self) {
        let mut noted = Instant::now();
        loop {
            tokio::time::sleep(LOOK).await;
            self.administrator.look().await;
            if self.look().await.is_err() {
                tracing::warn!("The API keys cannot be looked at and are tried again.");
            } else if noted.elapsed() >= NOTE_USE {
                noted = Instant::now();
                self.note_use().await;
            }
        }
    }

    /// The keys as they were at most 5 s ago.
    async fn recent(&self) -> Result<Arc<Snapshot>, Problem> {
        let known = self.known();
        if known.at.elapsed() < AGE_LIMIT {
            return Ok(known);
        }
        if let Some(failure) = self.failure().filter(|failure| failure.at.elapsed() < FAILURE_COUNTS) {
            return Err(failure.problem);
        }
        self.look().await?;
        Ok(self.known())
    }

    /// Makes a change that was just stored known here. It lasts whether that
    /// succeeds or not, so that nothing depends on it.
    async fn catch_up(&self) {
        if self.look().await.is_err() {
            tracing::warn!(
                "A change of the API keys is stored, but not in force here yet: it is tried again."
            );
        }
    }

    /// Looks at the database, unless somebody has since this was called.
    async fn look(&self) -> Result<(), Problem> {
        let asked = Instant::now();
        let _looking = self.looking.lock().await;
        let known = self.known();
        if known.at >= asked {
            return Ok(());
        }
        // Who has waited for a look that has failed does not make another one wait.
        if let Some(failure) = self.failure().filter(|failure| failure.at >= asked) {
            return Err(failure.problem);
        }
        let read = store::read(&self.database, Some(&known)).await.map_err(problems::database);
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(snapshot) => {
                *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
                *failure = None;
                Ok(())
            }
            Err(problem) => {
                *failure = Some(Failure { at: Instant::now(), problem: problem.clone() });
                Err(problem)
            }
        }
    }

    fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn known(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn note_use(&self) {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        for (id, at) in used {
            // Nothing depends on it: what cannot be written now is lost.
            if let Err(error) = store::note_use(&self.database, &id, at).await {
                tracing::debug!(%error, "The use of a key was not written down.");
                // The others would only wait as well, and the next look for them.
                if error.is_retryable() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use service_kit::database::{DatabaseSettings, PoolBounds};

    use super::*;
    use crate::schema;

    #[tokio::test]
    async fn while_the_database_is_away_nobody_waits_for_the_others() {
        const LOOK_LIMIT: Duration = Duration::from_millis(500);
        let folder = tempfile::tempdir().unwrap();
        let settings = DatabaseSettings::Sqlite { path: folder.path().join("database.sqlite3") };
        let bounds = PoolBounds { connections: 1, acquire: LOOK_LIMIT, ..PoolBounds::default() };
        let database = Database::open(&settings, &[schema::TABLES], bounds).await.unwrap();
        let (administrator, invented) = (KeyText::random(), KeyText::random());
        let file = folder.path().join("api-key");
        std::fs::write(&file, administrator.reveal()).unwrap();
        let keys = Keys::open(&database, file).await.unwrap();
        let mut snapshot = store::read(&database, None).await.unwrap();
        snapshot.at = Instant::now().checked_sub(AGE_LIMIT * 2).unwrap();
        *keys.snapshot.write().unwrap() = Arc::new(snapshot);

        let connection = database.pool().acquire().await.unwrap();
        let begun = Instant::now();
        for found in join_all((0..20).map(|_| keys.find(invented.reveal()))).await {
            assert_eq!(found.unwrap_err().status.as_u16(), 503);
        }
        assert!(begun.elapsed() < LOOK_LIMIT * 4, "{:?}", begun.elapsed());
        // Who comes later does not wait at all.
        let begun = Instant::now();
        assert!(keys.find(invented.reveal()).await.is_err());
        assert!(keys.find(administrator.reveal()).await.unwrap().is_some());
        assert!(begun.elapsed() < LOOK_LIMIT, "{:?}", begun.elapsed());

        drop(connection);
        keys.look().await.unwrap();
        assert!(keys.find(invented.reveal()).await.unwrap().is_none());
    }
}
