//! The connections of a database, and how long they are waited for.
//!
//! A server of PostgreSQL that vanishes with its node says nothing: without a
//! limit a statement would wait for its answer, and keep its connection, until
//! the kernel gives up after a quarter of an hour, or for ever. SQLite is a
//! file of this machine, which does not vanish.

use std::io;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::{Any, AnyConnection, AnyPool, Connection as _, Either, Execute, Executor, SqlStr};
use tokio::time::timeout;

use super::lease::Lease;
use super::transaction::Begun;
use super::{DatabaseError, Dialect, PoolBounds, sqlite};

/// How long a connection that was at rest may take to say that it is still there.
const TEST_LIMIT: Duration = Duration::from_secs(2);
/// Finds a row if no transaction is open: of the first statement of one, both
/// times are the same. It is sent as text, since one that is prepared first has
/// a time of its own.
const IS_OUTSIDE_OF_TRANSACTIONS: &str = "SELECT 1 WHERE now() = statement_timestamp()";
/// What is said of a database that says nothing.
const SILENCE: &str = "it does not answer in time";

/// The connections of a database, for single statements that read: what
/// `fetch_one` and its like are given.
#[derive(Clone, Debug)]
pub struct Pool {
    inner: AnyPool,
    /// How long an answer is waited for.
    limit: Option<Duration>,
}

impl Pool {
    /// A pool that connects when it is first used.
    pub(super) fn open(options: AnyConnectOptions, dialect: Dialect, bounds: PoolBounds) -> Self {
        let pool = AnyPoolOptions::new().max_connections(bounds.connections).acquire_timeout(bounds.acquire);
        let (pool, limit) = match dialect {
            Dialect::Sqlite => (of_sqlite(pool), None),
            Dialect::Postgresql => (of_postgresql(pool, bounds.answer), Some(bounds.answer)),
        };
        Self { inner: pool.connect_lazy_with(options), limit }
    }

    /// A connection for several statements. They have no limit of their own.
    ///
    /// # Errors
    /// If there is none in time.
    pub async fn acquire(&self) -> Result<Lease, sqlx::Error> {
        Lease::of(&self.inner, self.limit).await
    }

    pub(super) async fn begin(&self, dialect: Dialect) -> Result<Begun, DatabaseError> {
        match dialect {
            Dialect::Sqlite => Ok(Begun::ByDriver(self.inner.begin_with(dialect.begin()).await?)),
            Dialect::Postgresql => {
                let mut lease = self.acquire().await?;
                lease.execute(dialect.begin(), SILENCE).await?;
                Ok(Begun::OnLease(lease))
            }
        }
    }

    pub(super) async fn close(&self) {
        self.inner.close().await;
    }
}

impl<'c> Executor<'c> for &'_ Pool {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let Some(limit) = self.limit else { return self.inner.fetch_many(query) };
        let pool = self.inner.clone();
        let answered = async move {
            let mut lease = Lease::of(&pool, Some(limit)).await?;
            let connection: &mut AnyConnection = &mut lease;
            let answer = timeout(limit, connection.fetch_many(query).try_collect::<Vec<_>>()).await;
            let rows = lease.heard(answer).map_err(|_| silent())??;
            Ok::<_, sqlx::Error>(stream::iter(rows.into_iter().map(Ok::<_, sqlx::Error>)))
        };
        stream::once(answered).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let Some(limit) = self.limit else { return self.inner.fetch_optional(query) };
        let pool = self.inner.clone();
        Box::pin(async move {
            let mut lease = Lease::of(&pool, Some(limit)).await?;
            let connection: &mut AnyConnection = &mut lease;
            let answer = timeout(limit, connection.fetch_optional(query)).await;
            lease.heard(answer).map_err(|_| silent())?
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        let Some(limit) = self.limit else { return self.inner.prepare_with(sql, parameters) };
        let pool = self.inner.clone();
        Box::pin(async move {
            let mut lease = Lease::of(&pool, Some(limit)).await?;
            let connection: &mut AnyConnection = &mut lease;
            let answer = timeout(limit, connection.prepare_with(sql, parameters)).await;
            lease.heard(answer).map_err(|_| silent())?
        })
    }
}

fn of_sqlite(pool: AnyPoolOptions) -> AnyPoolOptions {
    // A connection to a file does not get stale.
    pool.idle_timeout(None)
        .max_lifetime(None)
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute(sqlite::SESSION).await?;
                Ok(())
            })
        })
        // SQLite ends a transaction by itself when the disk is full, which
        // the driver does not see: it would take the connection to be in a
        // transaction forever, and refuse to begin another one.
        .after_release(|connection, _| {
            Box::pin(async move {
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
}

fn of_postgresql(pool: AnyPoolOptions, answer: Duration) -> AnyPoolOptions {
    let limit = answer.min(TEST_LIMIT);
    // The pool's own test waits for as long as a connection is waited for, and
    // leaves no time for another one.
    pool.test_before_acquire(false)
        .before_acquire(move |connection, _| {
            Box::pin(async move {
                timeout(limit, connection.ping()).await.map_err(|_| silent())??;
                Ok(true)
            })
        })
        .after_release(|connection, _| {
            Box::pin(async move {
                take_back(connection).await?;
                Ok(true)
            })
        })
}

/// Ends a transaction that was left open, at whatever point that was. How long
/// that takes is up to the [`Lease`].
async fn take_back(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    let found = connection.fetch_optional(IS_OUTSIDE_OF_TRANSACTIONS).await;
    match found {
        Ok(Some(_)) => {}
        // It is open, or so broken that nothing can be asked in it.
        Ok(None) | Err(sqlx::Error::Database(_)) => {
            connection.execute("ROLLBACK").await?;
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

fn silent() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, SILENCE))
}
