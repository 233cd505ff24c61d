use std::time::Duration;

use service_kit::database::{Database, DatabaseError, Migration, MigrationSet, PoolBounds};
use sqlx::{Any, Row as _};

use crate::place::{Place, bounds};

const TABLES: Migration = Migration::new(
    1,
    "tables",
    "CREATE TABLE notes (id TEXT NOT NULL PRIMARY KEY, number BIGINT, flag INTEGER, content BYTEA);
     CREATE TABLE counters (id TEXT NOT NULL PRIMARY KEY, value BIGINT NOT NULL);
     INSERT INTO counters (id, value) VALUES ('only', 0);",
);

on_both!(
    what_is_not_committed_was_never_there,
    values_come_back_as_they_were,
    what_is_there_already_is_a_conflict,
    nonsense_is_not_tried_again,
    writers_take_turns,
    given_up_transactions_do_not_use_up_connections,
    what_is_written_after_a_begin_that_was_given_up_lasts,
    the_database_tells_the_time_and_that_it_answers,
);

const SET: MigrationSet = MigrationSet { owner: "test", migrations: &[TABLES] };

async fn open(place: &Place) -> Database {
    place.open_with(&[SET]).await.expect("open")
}

async fn count(database: &Database) -> i64 {
    sqlx::query_scalar::<Any, i64>("SELECT count(*) FROM notes")
        .fetch_one(database.pool())
        .await
        .expect("count")
}

async fn insert(database: &Database, id: &str) -> Result<u64, DatabaseError> {
    database.execute(sqlx::query("INSERT INTO notes (id) VALUES ($1)").bind(id)).await
}

async fn what_is_not_committed_was_never_there(place: Place) {
    let database = open(&place).await;
    for (id, expected) in [("dropped", 0), ("taken back", 0), ("committed", 1)] {
        let mut transaction = database.begin().await.expect("begin");
        sqlx::query("INSERT INTO notes (id) VALUES ($1)")
            .bind(id)
            .execute(&mut *transaction)
            .await
            .expect("insert");
        match id {
            "dropped" => drop(transaction),
            "taken back" => transaction.rollback().await.expect("rollback"),
            _ => transaction.commit().await.expect("commit"),
        }
        assert_eq!(count(&database).await, expected, "{id}");
    }
}

async fn values_come_back_as_they_were(place: Place) {
    let database = open(&place).await;
    let bytes = vec![0_u8, 1, 255, 0];
    let statement = sqlx::query(
        "INSERT INTO notes (id, number, flag, content) VALUES ($1, $2, $3, $4), ($5, $6, $3, $7)",
    )
    .bind("ä \u{1F980}")
    .bind(i64::MIN)
    .bind(1)
    .bind(bytes.as_slice())
    .bind("empty")
    .bind(None::<i64>)
    .bind(None::<Vec<u8>>);
    assert_eq!(database.execute(statement).await.expect("insert"), 2);
    let row = sqlx::query("SELECT number, flag, content FROM notes WHERE id = $1 OR number > $2")
        .bind("ä \u{1F980}")
        .bind(0_i64)
        .fetch_one(database.pool())
        .await
        .expect("read");
    assert_eq!(row.get::<Option<i64>, _>("number"), Some(i64::MIN));
    assert_eq!(row.get::<i64, _>("flag"), 1);
    assert_eq!(row.get::<Option<Vec<u8>>, _>("content"), Some(bytes));
    let row = sqlx::query("SELECT number, content FROM notes WHERE number IS NULL")
        .fetch_one(database.pool())
        .await
        .expect("read");
    assert_eq!(row.get::<Option<i64>, _>("number"), None);
    assert_eq!(row.get::<Option<Vec<u8>>, _>("content"), None);
}

async fn what_is_there_already_is_a_conflict(place: Place) {
    let database = open(&place).await;
    insert(&database, "1").await.expect("insert");
    let error = insert(&database, "1").await.expect_err("twice");
    assert!(matches!(error, DatabaseError::Conflict { .. }), "{error:?}");
    assert_eq!(count(&database).await, 1);
}

async fn nonsense_is_not_tried_again(place: Place) {
    let database = open(&place).await;
    let error = database.execute(sqlx::query("UPDATE nowhere SET x = 1")).await.expect_err("nonsense");
    assert!(matches!(error, DatabaseError::Other { .. }), "{error:?}");
    assert!(!error.is_retryable());
}

async fn writers_take_turns(place: Place) {
    let database = open(&place).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..40 {
        let database = database.clone();
        tasks.spawn(async move {
            let mut transaction = database.begin().await?;
            // First it reads: on SQLite a transaction that begins like this and
            // then writes fails if another one has written in between.
            sqlx::query("SELECT count(*) FROM notes").fetch_one(&mut *transaction).await?;
            sqlx::query("INSERT INTO notes (id) VALUES ($1)")
                .bind(number.to_string())
                .execute(&mut *transaction)
                .await?;
            sqlx::query("UPDATE counters SET value = value + 1").execute(&mut *transaction).await?;
            transaction.commit().await
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("task").expect("transaction");
    }
    assert_eq!(count(&database).await, 40);
    let value = sqlx::query_scalar::<Any, i64>("SELECT value FROM counters").fetch_one(database.pool()).await;
    assert_eq!(value.expect("read"), 40);
}

async fn given_up_transactions_do_not_use_up_connections(place: Place) {
    let database = open(&place).await;
    for number in 0..30 {
        let mut transaction = database.begin().await.expect("begin");
        let insert = sqlx::query("INSERT INTO notes (id) VALUES ($1)").bind(number.to_string());
        let writing = insert.execute(&mut *transaction);
        // Sometimes it is given up while a statement runs.
        let _ = tokio::time::timeout(Duration::from_micros(number * 20), writing).await;
        drop(transaction);
    }
    assert_eq!(count(&database).await, 0);
    insert(&database, "1").await.expect("insert");
}

async fn turns(number: usize) {
    for _ in 0..number {
        tokio::task::yield_now().await;
    }
}

async fn what_is_written_after_a_begin_that_was_given_up_lasts(place: Place) {
    const ROUNDS: usize = 200;
    // One connection: what is left on it meets all that comes after.
    let bounds = PoolBounds { connections: 1, ..bounds() };
    let database = Database::open(&place.settings(), &[SET], bounds).await.expect("open");
    for round in 0..ROUNDS {
        // Shorter than any timer could be: on its way to the database and back.
        tokio::select! {
            biased;
            begun = database.begin() => drop(begun.expect("begin")),
            () = turns(2 * round) => {}
        }
        insert(&database, &round.to_string()).await.expect("insert");
    }
    database.close().await;
    let left = count(&open(&place).await).await;
    assert_eq!(usize::try_from(left).expect("number"), ROUNDS);
}

async fn the_database_tells_the_time_and_that_it_answers(place: Place) {
    let database = open(&place).await;
    database.ping().await.expect("ping");
    let one = database.now().await.expect("time");
    let here = service_kit::database::now_milliseconds();
    assert!((one - here).abs() < 10_000, "{one} {here}");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut transaction = database.begin().await.expect("begin");
    let two = sqlx::query_scalar::<Any, i64>("SELECT milliseconds FROM kit_clock")
        .fetch_one(&mut *transaction)
        .await
        .expect("time");
    assert!(two >= one + 19, "{one} {two}");
    transaction.rollback().await.expect("rollback");
    database.close().await;
    assert!(database.ping().await.expect_err("closed").is_retryable());
}
