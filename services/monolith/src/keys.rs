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

/// All keys.
#[derive(Debug)]
pub struct Keys {
    database: Database,
    administrator: Administrator,
    snapshot: RwLock<Arc<Snapshot>>,
    /// One looks at a time.
    looking: tokio::sync::Mutex<()>,
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
        let snapshot = self.recent().await.map_err(problems::database)?;
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
            if let Err(error) = self.look().await {
                let error = service_kit::problem::chain(&error);
                tracing::warn!(%error, "The API keys cannot be looked at and are tried again.");
            }
            if noted.elapsed() >= NOTE_USE {
                noted = Instant::now();
                self.note_use().await;
            }
        }
    }

    /// The keys as they were at most 5 s ago.
    async fn recent(&self) -> Result<Arc<Snapshot>, DatabaseError> {
        let known = self.known();
        if known.at.elapsed() < AGE_LIMIT {
            return Ok(known);
        }
        self.look().await?;
        Ok(self.known())
    }

    /// Looks at the database, unless somebody just has.
    async fn look(&self) -> Result<(), DatabaseError> {
        let asked = Instant::now();
        let _looking = self.looking.lock().await;
        let known = self.known();
        if known.at >= asked {
            return Ok(());
        }
        let snapshot = store::read(&self.database, Some(&known)).await?;
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        Ok(())
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
            }
        }
    }
}
