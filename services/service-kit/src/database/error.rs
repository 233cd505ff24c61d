use std::error::Error;
use std::io;

use sqlx::error::DatabaseError as DriverError;
use sqlx::postgres::PgDatabaseError;

/// What went wrong underneath.
type Cause = Box<dyn Error + Send + Sync + 'static>;

/// Why something in a database was not done. Messages hold no values of rows.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The database is away or busy. Trying again can help.
    #[error("the database does not answer")]
    Unavailable {
        /// What was in the way.
        source: Cause,
    },
    /// There is such a row already.
    #[error("the database has such a row already")]
    Conflict {
        /// Which uniqueness it would break.
        source: Cause,
    },
    /// There is no room on the disk of the database.
    #[error("the disk of the database is full: give it more storage")]
    Full {
        /// What was not written.
        source: Cause,
    },
    /// The database cannot be used as it is configured.
    #[error("the database cannot be used as it is configured")]
    Configuration {
        /// What is wrong.
        source: Cause,
    },
    /// The tables cannot be brought up to date.
    #[error("migration {version} of {owner} cannot be applied")]
    Migration {
        /// Whose tables they are.
        owner: String,
        /// Which of its migrations.
        version: i64,
        /// What is wrong.
        source: Cause,
    },
    /// Anything else, such as a statement that makes no sense: a bug.
    #[error("the database refuses a statement")]
    Other {
        /// What it said.
        source: Cause,
    },
}

impl DatabaseError {
    /// Whether the same can succeed a little later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(crate) fn unavailable(cause: impl Into<Cause>) -> Self {
        Self::Unavailable { source: cause.into() }
    }

    pub(crate) fn configuration(cause: impl Into<Cause>) -> Self {
        Self::Configuration { source: cause.into() }
    }

    pub(super) fn migration(owner: &str, version: i64, cause: impl Into<Cause>) -> Self {
        Self::Migration { owner: owner.to_owned(), version, source: cause.into() }
    }

    fn new(kind: Kind, source: Cause) -> Self {
        match kind {
            Kind::Unavailable => Self::Unavailable { source },
            Kind::Conflict => Self::Conflict { source },
            Kind::Full => Self::Full { source },
            Kind::Configuration => Self::Configuration { source },
            Kind::Other => Self::Other { source },
        }
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        let kind = match &error {
            sqlx::Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
                Some(error) => of_postgresql(error.code()),
                None => of_sqlite(&**error),
            },
            sqlx::Error::Io(error) => of_io(error),
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Kind::Unavailable,
            sqlx::Error::Configuration(_) | sqlx::Error::Tls(_) => Kind::Configuration,
            _ => Kind::Other,
        };
        Self::new(kind, Box::new(error))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unavailable,
    Conflict,
    Full,
    Configuration,
    Other,
}

fn of_io(error: &io::Error) -> Kind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Full,
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory => Kind::Configuration,
        _ => Kind::Unavailable,
    }
}

/// By SQLSTATE: <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn of_postgresql(code: &str) -> Kind {
    match code {
        "23505" => Kind::Conflict,
        "53100" => Kind::Full,
        // A deadlock, a conflict of transactions, a lock or a statement that
        // took too long, an idle transaction that was ended, and a server that
        // has become a replica: the next connection reaches its successor.
        "40001" | "40P01" | "55P03" | "57014" | "25P03" | "25006" => Kind::Unavailable,
        // No such database or schema, or no permission.
        "3D000" | "3F000" | "42501" => Kind::Configuration,
        _ => match code.get(..2) {
            // Lost connections; no memory or connections left; shutting down or starting.
            Some("08" | "53" | "57") => Kind::Unavailable,
            // Wrong user or password.
            Some("28") => Kind::Configuration,
            _ => Kind::Other,
        },
    }
}

/// By extended result code: <https://www.sqlite.org/rescode.html>
fn of_sqlite(error: &dyn DriverError) -> Kind {
    if error.is_unique_violation() {
        return Kind::Conflict;
    }
    of_sqlite_code(error.code().and_then(|code| code.parse().ok()).unwrap_or_default())
}

const fn of_sqlite_code(code: i32) -> Kind {
    /// The shared memory of the write-ahead log cannot grow.
    const IOERR_SHMSIZE: i32 = 4874;
    if code == IOERR_SHMSIZE {
        return Kind::Full;
    }
    match code & 0xff {
        // FULL
        13 => Kind::Full,
        // BUSY, LOCKED, NOMEM, IOERR
        5 | 6 | 7 | 10 => Kind::Unavailable,
        // PERM, READONLY, CORRUPT, CANTOPEN, NOTADB
        3 | 8 | 11 | 14 | 26 => Kind::Configuration,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_postgresql() {
        for (code, kind) in [
            ("23505", Kind::Conflict),
            ("23503", Kind::Other),
            ("53100", Kind::Full),
            ("53300", Kind::Unavailable),
            ("57P01", Kind::Unavailable),
            ("57P03", Kind::Unavailable),
            ("08006", Kind::Unavailable),
            ("40P01", Kind::Unavailable),
            ("25006", Kind::Unavailable),
            ("28P01", Kind::Configuration),
            ("3D000", Kind::Configuration),
            ("42601", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(of_postgresql(code), kind, "{code}");
        }
    }

    #[test]
    fn codes_of_sqlite() {
        for (code, kind) in [
            (13, Kind::Full),
            (4874, Kind::Full),
            (5, Kind::Unavailable),
            (517, Kind::Unavailable),
            (778, Kind::Unavailable),
            (1032, Kind::Configuration),
            (14, Kind::Configuration),
            (1, Kind::Other),
            (787, Kind::Other),
        ] {
            assert_eq!(of_sqlite_code(code), kind, "{code}");
        }
    }
}
