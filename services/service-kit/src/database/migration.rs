//! Bringing tables up to date.
//!
//! Not sqlx's `Migrator`: its lock does nothing on SQLite and stays taken on
//! PostgreSQL when a migration fails, and it keeps one history for each table
//! name. Here all of it, of all owners, is one transaction under one lock: it is
//! done, or nothing of it is, and the lock ends with the transaction.

use std::collections::BTreeMap;
use std::iter;

use sha2::{Digest, Sha256};
use sqlx::{Any, AnyConnection, Connection as _, Executor as _};

use super::schema::KIT;
use super::{DatabaseError, DatabaseSettings, Dialect, now_milliseconds};

/// What has been applied, by whose tables they are.
const TABLE: &str = "\
CREATE TABLE IF NOT EXISTS kit_migrations (
    owner TEXT NOT NULL,
    version BIGINT NOT NULL,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    breaking INTEGER NOT NULL,
    applied_at BIGINT NOT NULL,
    PRIMARY KEY (owner, version)
)";

/// The tables of one owner: a service, or a part that brings its own.
#[derive(Clone, Copy, Debug)]
pub struct MigrationSet {
    /// Whose they are: a name that never changes.
    pub owner: &'static str,
    /// What to do, in this order. What has been released is never changed or
    /// removed, only added to.
    pub migrations: &'static [Migration],
}

/// One step of a schema.
///
/// It leaves the tables so that the release before can still work with them,
/// because that one runs until the new one has started, and again after a
/// rollback: add first, and remove a release later. One that cannot do so is
/// [breaking](Self::breaking).
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    version: i64,
    name: &'static str,
    sqlite: &'static str,
    postgresql: &'static str,
    breaking: bool,
}

impl Migration {
    /// Statements, separated by `;`, that both kinds of database understand.
    #[must_use]
    pub const fn new(version: i64, name: &'static str, sql: &'static str) -> Self {
        Self::by_dialect(version, name, sql, sql)
    }

    /// Statements for each kind of database.
    #[must_use]
    pub const fn by_dialect(
        version: i64,
        name: &'static str,
        sqlite: &'static str,
        postgresql: &'static str,
    ) -> Self {
        Self { version, name, sqlite, postgresql, breaking: false }
    }

    /// Earlier releases refuse to start on a database that has had this step,
    /// instead of doing harm.
    #[must_use]
    pub const fn breaking(mut self) -> Self {
        self.breaking = true;
        self
    }

    const fn sql(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgresql => self.postgresql,
        }
    }
}

/// Whether the sets can be applied at all.
pub(super) fn check(sets: &[MigrationSet]) -> Result<(), DatabaseError> {
    for (index, set) in sets.iter().enumerate() {
        let is_taken = |other: &MigrationSet| other.owner == set.owner;
        if set.owner == KIT.owner || sets.iter().take(index).any(is_taken) {
            return Err(DatabaseError::configuration(format!("two sets of migrations are of {}", set.owner)));
        }
        let is_ascending = set.migrations.windows(2).all(|pair| pair[0].version < pair[1].version);
        if !is_ascending {
            let problem = format!("the migrations of {} are not in the order of their versions", set.owner);
            return Err(DatabaseError::configuration(problem));
        }
    }
    Ok(())
}

/// Brings all tables up to date, or leaves them as they are.
pub(super) async fn run(
    connection: &mut AnyConnection,
    settings: &DatabaseSettings,
    sets: &[MigrationSet],
) -> Result<(), DatabaseError> {
    let dialect = settings.dialect();
    let mut transaction = connection.begin_with(dialect.begin()).await?;
    if let DatabaseSettings::Postgresql { schema, .. } = settings {
        lock_schema(&mut transaction, schema).await?;
    }
    transaction.execute(TABLE).await?;
    for set in iter::once(&KIT).chain(sets) {
        apply(&mut transaction, dialect, set).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Takes the lock of a schema, which ends with the transaction, and makes the
/// schema if it is not there.
async fn lock_schema(connection: &mut AnyConnection, schema: &str) -> Result<(), DatabaseError> {
    // What waits for longer is tried again. The notices would say at every
    // start that tables are there already.
    connection.execute("SET LOCAL lock_timeout = '60s'; SET LOCAL client_min_messages = warning").await?;
    let digest = Sha256::digest(format!("service-kit migrations of {schema}"));
    let mut key = [0; 8];
    key.copy_from_slice(&digest[..8]);
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(i64::from_be_bytes(key))
        .execute(&mut *connection)
        .await?;
    // `IF NOT EXISTS` needs the permission to make schemas even if there is
    // nothing to make.
    let there = sqlx::query_scalar::<Any, i64>(
        "SELECT count(*) FROM pg_catalog.pg_namespace WHERE CAST(nspname AS TEXT) = $1",
    )
    .bind(schema)
    .fetch_one(&mut *connection)
    .await?;
    if there == 0 {
        // The name has been checked: it needs no quotes and cannot break out of them.
        let statement = sqlx::AssertSqlSafe(format!("CREATE SCHEMA \"{schema}\""));
        connection.execute(statement).await?;
    }
    Ok(())
}

async fn apply(
    connection: &mut AnyConnection,
    dialect: Dialect,
    set: &MigrationSet,
) -> Result<(), DatabaseError> {
    let mut applied = applied(connection, set.owner).await?;
    let latest = applied.keys().next_back().copied().unwrap_or(i64::MIN);
    for migration in set.migrations {
        let failed = |cause: String| DatabaseError::migration(set.owner, migration.version, cause);
        let sql = migration.sql(dialect);
        let checksum = format!("{:x}", Sha256::digest(sql));
        if let Some(done) = applied.remove(&migration.version) {
            if done.checksum != checksum {
                return Err(failed(format!(
                    "it was applied as `{}` with other statements: what was released must not be changed",
                    done.name
                )));
            }
            continue;
        }
        if migration.version < latest {
            return Err(failed(format!("version {latest}, which comes after it, was applied before")));
        }
        connection.execute(sql).await.map_err(|error| {
            let error = DatabaseError::from(error);
            match error {
                DatabaseError::Other { source } | DatabaseError::Conflict { source } => {
                    DatabaseError::migration(set.owner, migration.version, source)
                }
                other => other,
            }
        })?;
        sqlx::query(
            "INSERT INTO kit_migrations (owner, version, name, checksum, breaking, applied_at) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(set.owner)
        .bind(migration.version)
        .bind(migration.name)
        .bind(checksum)
        .bind(i32::from(migration.breaking))
        .bind(now_milliseconds())
        .execute(&mut *connection)
        .await?;
        tracing::info!(
            owner = set.owner,
            version = migration.version,
            name = migration.name,
            "A migration was applied."
        );
    }
    of_later_releases(set, &applied)
}

/// What is left was applied by a release that this one does not know.
fn of_later_releases(set: &MigrationSet, left: &BTreeMap<i64, Applied>) -> Result<(), DatabaseError> {
    for (version, migration) in left {
        if migration.is_breaking {
            return Err(DatabaseError::migration(
                set.owner,
                *version,
                format!(
                    "`{}` was applied by a later release, and this one cannot work with its tables: deploy that \
                     release again, or restore a backup from before it",
                    migration.name
                ),
            ));
        }
        tracing::warn!(
            owner = set.owner,
            version,
            name = migration.name.as_str(),
            "The database was migrated by a later release; this one works with it."
        );
    }
    Ok(())
}

#[derive(Debug)]
struct Applied {
    name: String,
    checksum: String,
    is_breaking: bool,
}

async fn applied(
    connection: &mut AnyConnection,
    owner: &str,
) -> Result<BTreeMap<i64, Applied>, DatabaseError> {
    let rows = sqlx::query_as::<Any, (i64, String, String, i64)>(
        "SELECT version, name, checksum, breaking FROM kit_migrations WHERE owner = $1",
    )
    .bind(owner)
    .fetch_all(connection)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(version, name, checksum, breaking)| {
            (version, Applied { name, checksum, is_breaking: breaking != 0 })
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Migration = Migration::new(1, "one", "");
    const TWO: Migration = Migration::new(2, "two", "");

    #[test]
    fn sets_have_an_owner_and_an_order() {
        let set = |owner, migrations| MigrationSet { owner, migrations };
        assert!(check(&[set("a", &[ONE, TWO]), set("b", &[ONE])]).is_ok());
        assert!(check(&[set("a", &[ONE]), set("a", &[TWO])]).is_err());
        assert!(check(&[set("a", &[TWO, ONE])]).is_err());
        assert!(check(&[set("a", &[ONE, ONE])]).is_err());
        assert!(check(&[set(KIT.owner, &[ONE])]).is_err());
    }
}
