//! Uploads in the database, from their beginning to where they are removed.

use std::time::Duration;

use crds::analysis::SourceFormat;
use service_kit::database::{Database, DatabaseSettings, PoolBounds};
use tempfile::TempDir;

use super::LIFE;
use super::hold::Hold;
use super::store::{self, NewUpload, Part};
use crate::serve::datasets::ReadOptions;
use crate::serve::garbage::Garbage;
use crate::serve::tables::TABLES;

const ID: &str = "0";
const BYTES: u64 = 4;

/// A database with an upload that lives for so long.
async fn begun(life: Duration) -> (Database, TempDir) {
    let folder = tempfile::tempdir().expect("folder");
    let settings = DatabaseSettings::Sqlite { path: folder.path().join("database.sqlite3") };
    let database = Database::open(&settings, &[TABLES], PoolBounds::default()).await.expect("database");
    let new = NewUpload {
        id: ID.to_owned(),
        dataset: "d".to_owned(),
        format: SourceFormat::Csv,
        options: ReadOptions::default(),
        metadata: String::new(),
        bytes: BYTES,
    };
    store::insert(&database, &new, life).await.expect("upload");
    (database, folder)
}

async fn receive(database: &Database) {
    let part = Part { starts_at: 0, bytes: BYTES, object: "uploads/0/0".to_owned() };
    let mut transaction = database.begin().await.expect("begin");
    assert!(store::receive(&mut transaction, ID, &part, LIFE).await.expect("part"));
    transaction.commit().await.expect("commit");
}

async fn delete_expired(database: &Database) -> bool {
    let mut transaction = database.begin().await.expect("begin");
    let done = store::delete_expired(&mut transaction, ID).await.expect("delete");
    transaction.commit().await.expect("commit");
    done
}

async fn expire(database: &Database) {
    database.execute(sqlx::query("UPDATE uploads SET expires_at = 0")).await.expect("expire");
}

#[tokio::test]
async fn an_upload_does_not_expire_while_a_part_comes_in() {
    let (database, _folder) = begun(Duration::ZERO).await;
    assert_eq!(store::expired(&database, 10).await.expect("expired"), [ID]);
    let hold = Hold::begin(&database, ID, 0, Duration::ZERO).await.expect("hold");
    let mut hold = hold.expect("it is the next part");
    // Who has listed it before looks again.
    assert!(!delete_expired(&database).await);
    expire(&database).await;
    assert!(hold.go_on().await);
    assert!(store::expired(&database, 10).await.expect("expired").is_empty());
    // Another one has sent the same part.
    receive(&database).await;
    assert!(!hold.go_on().await);
    expire(&database).await;
    assert!(!delete_expired(&database).await, "it is becoming a version");
}

#[tokio::test]
async fn what_has_expired_is_removed() {
    let (database, _folder) = begun(Duration::ZERO).await;
    assert!(delete_expired(&database).await);
    assert!(store::find(&database, ID).await.expect("database").is_none());
    assert!(Hold::begin(&database, ID, 0, Duration::ZERO).await.expect("hold").is_none());
}

#[tokio::test]
async fn nothing_of_a_complete_upload_becomes_garbage_by_a_part_that_comes_too_late() {
    let (database, _folder) = begun(LIFE).await;
    let hold = Hold::begin(&database, ID, 0, Duration::ZERO).await.expect("hold");
    assert!(hold.is_some());
    receive(&database).await;
    let mut transaction = database.begin().await.expect("begin");
    assert!(Garbage::keep(&mut transaction, &store::prefix(ID)).await.expect("keep"));
    transaction.commit().await.expect("commit");
    assert!(Hold::begin(&database, ID, 0, Duration::ZERO).await.expect("hold").is_none());
    let garbage = sqlx::query_scalar::<sqlx::Any, i64>("SELECT count(*) FROM garbage");
    assert_eq!(garbage.fetch_one(database.pool()).await.expect("count"), 0);
}
