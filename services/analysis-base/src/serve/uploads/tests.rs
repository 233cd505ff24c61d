//! Uploads in the database, from their beginning to where they are removed.

use std::time::Duration;

use crds::analysis::SourceFormat;
use serde_json::json;
use service_kit::database::{Database, DatabaseSettings, PoolBounds};
use tempfile::TempDir;

use super::LIFE;
use super::hold::Hold;
use super::store::{self, NewUpload, Part, UploadRecord, UploadStatus};
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

async fn found(database: &Database) -> UploadRecord {
    store::find(database, ID).await.expect("database").expect("the upload")
}

async fn receive(database: &Database) {
    let part = Part { starts_at: 0, bytes: BYTES, object: "uploads/0/0".to_owned() };
    let mut transaction = database.begin().await.expect("begin");
    assert!(store::receive(&mut transaction, ID, &part, LIFE).await.expect("part"));
    transaction.commit().await.expect("commit");
}

async fn set_aside(database: &Database, failed_at: i64) -> bool {
    let mut transaction = database.begin().await.expect("begin");
    let problem = json!({"status": 500});
    let done = store::set_aside(&mut transaction, ID, &problem, LIFE, failed_at).await.expect("set aside");
    transaction.commit().await.expect("commit");
    done
}

async fn queue_again(database: &Database) -> bool {
    let mut transaction = database.begin().await.expect("begin");
    let done = store::queue_again(&mut transaction, ID, LIFE).await.expect("queue again");
    transaction.commit().await.expect("commit");
    done
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

#[tokio::test]
async fn parts_that_are_not_to_blame_are_kept_and_tried_again() {
    let (database, _folder) = begun(LIFE).await;
    receive(&database).await;
    assert!(!queue_again(&database).await, "they are being tried");
    assert!(set_aside(&database, i64::MAX).await);
    let failed = found(&database).await;
    assert_eq!((failed.status, failed.problem), (UploadStatus::Failed, Some(json!({"status": 500}))));
    assert_eq!(store::parts(&database, ID).await.expect("parts").len(), 1);
    assert!(queue_again(&database).await);
    let again = found(&database).await;
    assert_eq!((again.status, again.problem), (UploadStatus::Finishing, None));
    // A job that died before that is nobody's any more.
    assert!(!set_aside(&database, 0).await);

    let mut transaction = database.begin().await.expect("begin");
    let problem = json!({"status": 422});
    assert!(store::end(&mut transaction, ID, Err(&problem)).await.expect("end"));
    transaction.commit().await.expect("commit");
    assert!(!queue_again(&database).await, "they are to blame, and gone");
    assert_eq!(found(&database).await.problem, Some(problem));
}
