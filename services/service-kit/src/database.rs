//! The database of a service: SQLite on a volume, or PostgreSQL. One code path
//! for both; which one it is, is configuration.
//!
//! ```text
//!   settings ─▶ lock ─▶ migrations ─▶ pool ─▶ begin ─▶ statements ─▶ commit
//! ```
//!
//! # Conventions that make one SQL text work on both
//!
//! - Placeholders are `$1`, `$2`, …; a cast is `CAST(… AS …)`, never `::`.
//! - Ids and JSON are TEXT, times are BIGINT milliseconds since 1970 (UTC),
//!   truth values are INTEGER 0 or 1, bytes are BYTEA (SQLite takes any name
//!   of a type). `sum` of a BIGINT is cast to BIGINT: PostgreSQL makes it a
//!   NUMERIC, which the driver cannot read.
//! - Columns are listed, never `*`: a prepared statement of a process that
//!   still runs must not change its meaning by a migration of the next one.
//! - The time that leases and schedules are compared with is that of the
//!   database: `(SELECT milliseconds FROM kit_clock)`. The clocks of pods differ.
//! - Text sorts by the rules of the database's locale on PostgreSQL and by
//!   bytes on SQLite: order by numbers or ids where the order matters.
//!
//! # Rules for what uses it
//!
//! - **A connection is never held across a call to another service or a
//!   model.** Read, let go, call, then write: the pool is small, and on SQLite
//!   a transaction that writes keeps all others from writing.
//! - What writes does so by [`Database::begin`] or [`Database::execute`];
//!   [`Database::pool`] is for single statements that read.
//! - A statement with `RETURNING` runs in a transaction. Outside of one its
//!   first row is there before it is committed, and a failure of the commit
//!   would go unseen.
//! - A commit, or a single statement that writes, of which the connection is
//!   lost or that is not answered in time ([`DatabaseError::Unavailable`]) may
//!   have been done: whoever tries again needs an idempotency key.
//! - PostgreSQL has a minute to answer a read, a single statement that writes, a
//!   beginning or a commit. **A statement within a transaction has no limit of
//!   its own**: what runs a transaction has one, such as that of a request or
//!   the lease of a job. To stop waiting does no harm at any point.
//! - Of poolers in front of PostgreSQL, those that pool transactions instead of
//!   sessions do not work: the schema is a setting of the session.

mod error;
mod lease;
mod migration;
mod pool;
mod schema;
mod settings;
mod sqlite;
mod transaction;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sqlx::any::AnyArguments;
use sqlx::{Any, ConnectOptions as _, Connection as _, Executor as _};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

pub use self::error::DatabaseError;
pub use self::lease::Lease;
pub use self::migration::{Migration, MigrationSet};
pub use self::pool::Pool;
pub use self::settings::{DatabaseSettings, Dialect};
pub use self::transaction::Transaction;
pub use sqlx::AnyConnection;

/// A statement with its arguments: what `sqlx::query(…).bind(…)` makes.
pub type Statement<'a> = sqlx::query::Query<'a, Any, AnyArguments>;

/// How long [`Database::ping`] waits for an answer.
const PING_LIMIT: Duration = Duration::from_secs(2);
/// How long connections that are in use may keep the process from ending.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// Between two tries to open a database that is not there yet.
const OPEN_PAUSE: Duration = Duration::from_millis(500);

/// What a service takes of its database at most.
#[derive(Clone, Copy, Debug)]
pub struct PoolBounds {
    /// Connections at once. Of SQLite's, one at a time writes.
    pub connections: u32,
    /// How long it is waited for one.
    pub acquire: Duration,
    /// How long it is waited for PostgreSQL to answer: longer than any
    /// statement takes, so that it has vanished.
    pub answer: Duration,
    /// How long it is waited, at the start, for a database that is not there
    /// yet, and for another process that migrates it.
    pub patience: Duration,
}

impl Default for PoolBounds {
    fn default() -> Self {
        Self {
            connections: 8,
            acquire: Duration::from_secs(5),
            answer: Duration::from_secs(60),
            patience: Duration::from_secs(60),
        }
    }
}

/// A database whose tables are up to date. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Database {
    pool: Pool,
    dialect: Dialect,
    acquire: Duration,
    /// Who may write to SQLite, in the order of asking. Its own lock is taken
    /// by trying again and again, in which some can fail while others pass.
    writer: Option<Arc<Semaphore>>,
}

impl Database {
    /// Opens a database, makes it if it is not there, and brings its tables up
    /// to date: the kit's own and then those of `sets`, in this order. Only one
    /// process at a time does that, the others wait for it.
    ///
    /// # Errors
    /// If the settings make no sense, a migration fails, or the database is not
    /// there within the patience of the bounds.
    pub async fn open(
        settings: &DatabaseSettings,
        sets: &[MigrationSet],
        bounds: PoolBounds,
    ) -> Result<Self, DatabaseError> {
        sqlx::any::install_default_drivers();
        migration::check(sets)?;
        let deadline = Instant::now() + bounds.patience;
        loop {
            match Self::try_open(settings, sets, bounds).await {
                Err(error) if error.is_retryable() && Instant::now() < deadline => {
                    tracing::warn!(
                        error = %crate::problem::chain(&error),
                        "The database cannot be opened yet and is tried again."
                    );
                    sleep(OPEN_PAUSE).await;
                }
                opened => return opened,
            }
        }
    }

    async fn try_open(
        settings: &DatabaseSettings,
        sets: &[MigrationSet],
        bounds: PoolBounds,
    ) -> Result<Self, DatabaseError> {
        let dialect = settings.dialect();
        let lock = match settings {
            DatabaseSettings::Sqlite { path } => Some(sqlite::lock(path, bounds.patience).await?),
            DatabaseSettings::Postgresql { .. } => None,
        };
        let options = settings.connect_options()?;
        // Not through the pool: it says of an error only that time is up.
        let mut connection = timeout(bounds.acquire, options.connect())
            .await
            .map_err(|_| DatabaseError::unavailable("it does not answer in time"))??;
        if dialect == Dialect::Sqlite {
            connection.execute(sqlite::SESSION).await?;
            sqlite::use_write_ahead_log(&mut connection).await?;
        }
        migration::run(&mut connection, settings, sets).await?;
        connection.close().await?;
        drop(lock);
        let writer = (dialect == Dialect::Sqlite).then(|| Arc::new(Semaphore::new(1)));
        Ok(Self { pool: Pool::open(options, dialect, bounds), dialect, acquire: bounds.acquire, writer })
    }

    /// The connections, for single statements that read.
    #[must_use]
    pub const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Which kind of database it is.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Begins a transaction that may write. Unless it is committed, it is as if
    /// it had never been.
    ///
    /// On SQLite it waits for its turn here (`BEGIN IMMEDIATE`), so that it
    /// cannot fail later on because another one has written meanwhile.
    ///
    /// # Errors
    /// If there is no connection, no turn or no answer in time.
    pub async fn begin(&self) -> Result<Transaction, DatabaseError> {
        // The turn before the connection: who waits for a turn must not keep
        // those who have it from a connection.
        let turn = match &self.writer {
            None => None,
            Some(writer) => Some(
                timeout(self.acquire, Arc::clone(writer).acquire_owned())
                    .await
                    .map_err(|_| DatabaseError::unavailable("others write for too long"))?
                    .map_err(DatabaseError::unavailable)?,
            ),
        };
        Ok(Transaction::new(self.pool.begin(self.dialect).await?, turn))
    }

    /// Runs one statement that writes, and commits it. Gives the number of rows
    /// that it changed.
    ///
    /// # Errors
    /// If it fails; if it was not answered, it may have been done.
    pub async fn execute(&self, statement: Statement<'_>) -> Result<u64, DatabaseError> {
        match self.dialect {
            // A statement of its own is a transaction of its own, in one round trip.
            Dialect::Postgresql => Ok(statement.execute(&self.pool).await?.rows_affected()),
            Dialect::Sqlite => {
                let mut transaction = self.begin().await?;
                let done = statement.execute(&mut *transaction).await?;
                transaction.commit().await?;
                Ok(done.rows_affected())
            }
        }
    }

    /// The time of the database, in milliseconds since 1970.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn now(&self) -> Result<i64, DatabaseError> {
        Ok(sqlx::query_scalar::<Any, i64>("SELECT milliseconds FROM kit_clock").fetch_one(&self.pool).await?)
    }

    /// Whether the database answers, for readiness. Takes two seconds at most.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        timeout(PING_LIMIT, sqlx::query("SELECT 1").execute(&self.pool))
            .await
            .map_err(|_| DatabaseError::unavailable("it does not answer in time"))??;
        Ok(())
    }

    /// Closes all connections, once they are given back, and waits for that for
    /// five seconds at most. What asks for one from then on gets an error.
    pub async fn close(&self) {
        if timeout(CLOSE_LIMIT, self.pool.close()).await.is_err() {
            tracing::warn!("Connections to the database are still in use; what they do is not waited for.");
        }
    }
}

/// The time of this process, in milliseconds since 1970. For what is only
/// shown; what is compared uses the time of the database.
#[must_use]
pub fn now_milliseconds() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    milliseconds(since)
}

/// A length of time as the database counts it.
#[must_use]
pub fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
