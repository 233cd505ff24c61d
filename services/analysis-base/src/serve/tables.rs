//! The tables of the service.
//!
//! ```text
//!   datasets ◀── versions ◀── analysis_inputs ──▶ analyses      (while an analysis is under way)
//!   uploads ◀── upload_parts
//!   garbage      objects that are to be removed, or that nothing refers to yet
//! ```
//!
//! Times are milliseconds since 1970.

use service_kit::database::{Migration, MigrationSet};

/// What the database needs for this service.
pub const TABLES: MigrationSet =
    MigrationSet { owner: "analysis-base", migrations: &[FIRST, NUMBERS, QUEUED] };

/// `versions.statistics` is the analysis with the profile of the version.
/// `analyses.objects` is the prefix of the objects with the result. An
/// analysis that `is_removed` is not there for anybody any more; its row stays
/// until it has ended and its objects are garbage.
const FIRST: Migration = Migration::new(
    1,
    "data sets, uploads and analyses",
    "
CREATE TABLE datasets (
    name TEXT NOT NULL PRIMARY KEY,
    last_version BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE versions (
    id TEXT NOT NULL PRIMARY KEY,
    dataset TEXT NOT NULL REFERENCES datasets (name),
    version BIGINT NOT NULL,
    format TEXT NOT NULL,
    options TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    columns TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    statistics TEXT
);
CREATE UNIQUE INDEX versions_by_number ON versions (dataset, version);
CREATE TABLE uploads (
    id TEXT NOT NULL PRIMARY KEY,
    dataset TEXT NOT NULL,
    format TEXT NOT NULL,
    options TEXT NOT NULL,
    metadata TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    received BIGINT NOT NULL,
    status TEXT NOT NULL,
    version BIGINT,
    problem TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX uploads_by_expiry ON uploads (expires_at);
CREATE TABLE upload_parts (
    upload TEXT NOT NULL REFERENCES uploads (id),
    starts_at BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    object TEXT NOT NULL,
    PRIMARY KEY (upload, starts_at)
);
CREATE TABLE analyses (
    id TEXT NOT NULL PRIMARY KEY,
    status TEXT NOT NULL,
    request TEXT NOT NULL,
    deadline_seconds BIGINT NOT NULL,
    is_kept INTEGER NOT NULL,
    is_removed INTEGER NOT NULL,
    is_cancelled INTEGER NOT NULL,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    expires_at BIGINT,
    reason TEXT,
    message TEXT,
    rows_read BIGINT,
    bytes_read BIGINT,
    rows_written BIGINT,
    peak_memory_bytes BIGINT,
    duration_milliseconds BIGINT,
    columns TEXT,
    objects TEXT,
    result_bytes BIGINT
);
CREATE INDEX analyses_by_status ON analyses (status, id);
CREATE INDEX analyses_by_expiry ON analyses (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE analysis_inputs (
    analysis TEXT NOT NULL REFERENCES analyses (id),
    version TEXT NOT NULL REFERENCES versions (id),
    PRIMARY KEY (analysis, version)
);
CREATE INDEX analysis_inputs_by_version ON analysis_inputs (version);
CREATE TABLE garbage (
    prefix TEXT NOT NULL PRIMARY KEY,
    due_at BIGINT NOT NULL
);
CREATE INDEX garbage_by_due ON garbage (due_at);
",
);

/// `datasets.deleted_version` is the version that was the last one when the
/// data set was deleted. There is a data set only if a later one was made; the
/// row of one that is gone keeps its numbers from being given again.
const NUMBERS: Migration = Migration::new(
    2,
    "numbers of versions that are gone",
    "
ALTER TABLE datasets ADD COLUMN deleted_version BIGINT NOT NULL DEFAULT 0;
CREATE INDEX datasets_that_are_there ON datasets (name) WHERE last_version > deleted_version;
",
);

/// `uploads.queued_at` is when the parts were last to be made a version: jobs
/// that died before say nothing of an upload.
const QUEUED: Migration =
    Migration::new(3, "uploads that are tried again", "ALTER TABLE uploads ADD COLUMN queued_at BIGINT");

#[cfg(test)]
mod tests {
    use service_kit::database::{Database, DatabaseSettings, PoolBounds};

    use super::*;
    use crate::serve::datasets::store as datasets;

    #[tokio::test]
    async fn data_sets_of_an_earlier_release_are_there() {
        let folder = tempfile::tempdir().expect("folder");
        let settings = DatabaseSettings::Sqlite { path: folder.path().join("database.sqlite3") };
        let earlier = MigrationSet { migrations: &[FIRST], ..TABLES };
        let database = Database::open(&settings, &[earlier], PoolBounds::default()).await.expect("database");
        let statement = "INSERT INTO datasets (name, last_version, created_at) VALUES ('birds', 7, 0)";
        database.execute(sqlx::query(statement)).await.expect("a data set");
        database.close().await;
        let database = Database::open(&settings, &[TABLES], PoolBounds::default()).await.expect("database");
        let found = datasets::find_dataset(&database, "birds").await.expect("database");
        assert_eq!(found.expect("the data set").versions, 0);
    }
}
