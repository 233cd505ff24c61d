use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Executor as _};
use tokio::runtime::Handle;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::DatabaseError;

/// How long a connection that is given back may still be busy with what was
/// given up. One that is closed for it may stay busy at the server until a lock
/// is free: those must not become many.
const RETURN_LIMIT: Duration = Duration::from_secs(15);

/// A connection that goes back to its pool when it is dropped. If that has a
/// limit and takes longer, or if an answer was missing before, it is closed.
///
/// A transaction that was begun on it is taken back then. It is begun and ended
/// by plain statements, of which the driver knows nothing: it would take one to
/// be open only from the answer to its beginning on, and whoever gave that up
/// before would leave an open one on a connection that seems to be free.
#[derive(Debug)]
pub struct Lease {
    connection: PoolConnection<Any>,
    /// How long an answer is waited for.
    limit: Option<Duration>,
    /// An answer was missing: none is to be expected from now on.
    is_silent: bool,
}

impl Lease {
    /// A connection of the pool, if there is one in time.
    pub(super) async fn of(pool: &AnyPool, limit: Option<Duration>) -> Result<Self, sqlx::Error> {
        Ok(Self { connection: pool.acquire().await?, limit, is_silent: false })
    }

    /// Runs a statement, within the limit.
    pub(super) async fn execute(
        &mut self,
        statement: &'static str,
        otherwise: &'static str,
    ) -> Result<(), DatabaseError> {
        let connection: &mut AnyConnection = &mut self.connection;
        let answer = connection.execute(statement);
        match self.limit {
            None => answer.await?,
            Some(limit) => {
                let answer = timeout(limit, answer).await;
                self.heard(answer).map_err(|_| DatabaseError::unavailable(otherwise))??
            }
        };
        Ok(())
    }

    /// Notes whether there was an answer.
    pub(super) fn heard<T>(&mut self, answer: Result<T, Elapsed>) -> Result<T, Elapsed> {
        self.is_silent |= answer.is_err();
        answer
    }
}

impl Deref for Lease {
    type Target = AnyConnection;

    fn deref(&self) -> &Self::Target {
        &self.connection
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.connection
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(limit) = self.limit else { return };
        // The pool would wait for as long as it takes. Dropped before its end,
        // this closes the connection.
        let returning = self.connection.return_to_pool();
        if self.is_silent {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                if timeout(limit.min(RETURN_LIMIT), returning).await.is_err() {
                    tracing::warn!(
                        "A connection to the database is closed: what was given up on it does not come to an end."
                    );
                }
            });
        }
    }
}
