use std::process::{Command, Stdio};

use service_kit::database::{Database, DatabaseError, Migration, MigrationSet};
use sqlx::{Any, Row as _};

use crate::place::{Place, bounds, settings};

const SETTINGS: &str = "STORAGE_TEST_SETTINGS";

const NOTES: Migration = Migration::new(
    1,
    "notes",
    "CREATE TABLE notes (id TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL);
     CREATE INDEX notes_by_text ON notes (text);",
);
const STARS: Migration = Migration::new(2, "stars", "ALTER TABLE notes ADD COLUMN stars BIGINT");

const fn set(migrations: &'static [Migration]) -> [MigrationSet; 1] {
    [MigrationSet { owner: "notes", migrations }]
}

on_both!(
    tables_are_brought_up_to_date_once,
    owners_have_histories_of_their_own,
    a_failure_leaves_everything_as_it_was,
    what_was_applied_must_not_change,
    an_earlier_release_works_unless_it_would_do_harm,
    tasks_do_not_migrate_at_the_same_time,
    processes_do_not_migrate_at_the_same_time,
);

/// What was applied, without the kit's own.
async fn applied(database: &Database) -> Vec<String> {
    sqlx::query("SELECT owner, version FROM kit_migrations ORDER BY owner, version")
        .fetch_all(database.pool())
        .await
        .expect("history")
        .iter()
        .map(|row| format!("{} {}", row.get::<&str, _>("owner"), row.get::<i64, _>("version")))
        .filter(|applied| !applied.starts_with("service-kit"))
        .collect()
}

async fn tables_are_brought_up_to_date_once(place: Place) {
    let database = place.open_with(&set(&[NOTES])).await.expect("open");
    let insert = sqlx::query("INSERT INTO notes (id, text) VALUES ($1, $2)").bind("1").bind("kept");
    assert_eq!(database.execute(insert).await.expect("insert"), 1);
    database.close().await;

    let database = place.open_with(&set(&[NOTES, STARS])).await.expect("open again");
    let row = sqlx::query("SELECT text, stars FROM notes WHERE id = $1")
        .bind("1")
        .fetch_one(database.pool())
        .await
        .expect("read");
    assert_eq!((row.get::<&str, _>("text"), row.get::<Option<i64>, _>("stars")), ("kept", None));
    assert_eq!(applied(&database).await, ["notes 1", "notes 2"]);
}

async fn owners_have_histories_of_their_own(place: Place) {
    const TAGS: Migration = Migration::new(1, "tags", "CREATE TABLE tags (id TEXT NOT NULL PRIMARY KEY)");
    let tags = MigrationSet { owner: "tags", migrations: &[TAGS] };
    let [notes] = set(&[NOTES]);
    let database = place.open_with(&[notes, tags]).await.expect("open");
    assert_eq!(applied(&database).await, ["notes 1", "tags 1"]);
}

async fn a_failure_leaves_everything_as_it_was(place: Place) {
    const WRONG: Migration =
        Migration::new(2, "wrong", "CREATE TABLE half (id TEXT); SELECT nothing FROM nowhere");
    match place.open_with(&set(&[NOTES, WRONG])).await {
        Err(DatabaseError::Migration { owner, version: 2, .. }) => assert_eq!(owner, "notes"),
        other => panic!("{other:?}"),
    }
    // Neither the first one nor half of the second one was applied.
    let database = place.open().await;
    assert!(applied(&database).await.is_empty());
    assert!(sqlx::query("SELECT id FROM half").execute(database.pool()).await.is_err());
    place.open_with(&set(&[NOTES, STARS])).await.expect("the mended ones");
}

async fn what_was_applied_must_not_change(place: Place) {
    place.open_with(&set(&[NOTES])).await.expect("open");
    const OTHER: Migration = Migration::new(1, "notes", "CREATE TABLE notes (id TEXT)");
    let error = place.open_with(&set(&[OTHER])).await.expect_err("other statements");
    assert!(matches!(error, DatabaseError::Migration { version: 1, .. }), "{error:?}");
}

async fn an_earlier_release_works_unless_it_would_do_harm(place: Place) {
    place.open_with(&set(&[NOTES, STARS])).await.expect("the later release");
    place.open_with(&set(&[NOTES])).await.expect("the earlier release");

    const RENAMED: Migration = Migration::new(3, "renamed", "ALTER TABLE notes RENAME TO remarks").breaking();
    place.open_with(&set(&[NOTES, STARS, RENAMED])).await.expect("a release that breaks");
    let error = place.open_with(&set(&[NOTES, STARS])).await.expect_err("too early");
    assert!(matches!(error, DatabaseError::Migration { version: 3, .. }), "{error:?}");
}

async fn tasks_do_not_migrate_at_the_same_time(place: Place) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let settings = place.settings();
        tasks.spawn(async move { Database::open(&settings, &set(&[NOTES, STARS]), bounds()).await });
    }
    while let Some(opened) = tasks.join_next().await {
        opened.expect("task").expect("open");
    }
    assert_eq!(applied(&place.open().await).await.len(), 2);
}

async fn processes_do_not_migrate_at_the_same_time(place: Place) {
    let mut processes = Vec::new();
    for _ in 0..3 {
        let process = Command::new(std::env::current_exe().expect("this program"))
            .args(["--ignored", "--exact", "migrations::opened_by_another_process"])
            .env(SETTINGS, place.configuration.to_string())
            .stdout(Stdio::null())
            .spawn()
            .expect("another process");
        processes.push(process);
    }
    for mut process in processes {
        let ended = tokio::task::spawn_blocking(move || process.wait()).await.expect("thread");
        assert!(ended.expect("wait").success());
    }
    assert_eq!(applied(&place.open().await).await.len(), 2);
}

#[tokio::test]
#[ignore = "is run in processes of their own by processes_do_not_migrate_at_the_same_time"]
async fn opened_by_another_process() {
    let configuration = std::env::var(SETTINGS).expect("the settings of the other process");
    let settings = settings(&serde_json::from_str(&configuration).expect("JSON"));
    let database = Database::open(&settings, &set(&[NOTES, STARS]), bounds()).await.expect("open");
    let notes = sqlx::query_scalar::<Any, i64>("SELECT count(*) FROM notes").fetch_one(database.pool()).await;
    assert_eq!(notes.expect("count"), 0);
}
