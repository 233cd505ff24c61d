//! What only SQLite needs: a file, its lock, and its settings.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{Any, AnyConnection};
use tokio::time::{Instant, sleep};

use super::DatabaseError;

/// Between two tries to get the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What every connection is set to.
///
/// `synchronous` is FULL because what is acknowledged has to survive a loss of
/// power. Temporary data are kept in memory because the root file system of a
/// pod cannot be written, and an image has no `/tmp`. The write-ahead log is cut
/// to 64 MiB after it was larger.
pub(super) const SESSION: &str = "\
    PRAGMA busy_timeout = 5000; \
    PRAGMA foreign_keys = ON; \
    PRAGMA synchronous = FULL; \
    PRAGMA temp_store = MEMORY; \
    PRAGMA journal_size_limit = 67108864;";

/// Keeps other processes, and other tasks of this one, from opening the same
/// database until it is dropped. Makes the folder if it is not there.
///
/// SQLite's own locks are not enough: a database is changed to a write-ahead
/// log only if nobody else uses it, and the wait for that is not SQLite's.
pub(super) async fn lock(path: &Path, patience: Duration) -> Result<File, DatabaseError> {
    let failed = |error: std::io::Error| DatabaseError::from(sqlx::Error::from(error));
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await.map_err(failed)?;
    }
    let file =
        File::options().create(true).truncate(false).write(true).open(lock_path(path)).map_err(failed)?;
    let deadline = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(LOCK_PAUSE).await,
            Err(TryLockError::WouldBlock) => {
                return Err(DatabaseError::unavailable("another process brings its tables up to date"));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Lets those who read go on while another one writes. The setting stays in
/// the file.
pub(super) async fn use_write_ahead_log(connection: &mut AnyConnection) -> Result<(), DatabaseError> {
    let mode = sqlx::query_scalar::<Any, String>("PRAGMA journal_mode = WAL").fetch_one(connection).await?;
    if mode == "wal" {
        Ok(())
    } else {
        Err(DatabaseError::configuration(
            "the volume of the database has no shared memory: use a volume that is no network file system",
        ))
    }
}
