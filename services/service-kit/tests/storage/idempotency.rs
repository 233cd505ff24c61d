use std::time::Duration;

use service_kit::database::{Database, Transaction};
use service_kit::idempotency::{
    Begun, Fingerprint, Idempotency, IdempotencyError, IdempotencyKey, IdempotencySettings, Reservation,
    Scope, StoredResponse,
};
use sqlx::Any;

use crate::place::Place;

on_both!(
    of_many_at_once_one_runs,
    a_key_belongs_to_one_request_of_one_principal,
    what_was_given_up_can_be_done_at_once,
    a_dead_holder_frees_the_same_request_after_its_lease,
    a_renewed_lease_lasts,
    a_renewed_lease_outlasts_the_time_for_which_a_response_is_kept,
    a_response_is_kept_with_its_effects_or_not_at_all,
    a_request_in_one_transaction_holds_its_key_no_longer_than_that,
    the_same_request_waits_for_the_transaction_of_the_first,
    of_a_large_response_the_body_is_not_kept,
    a_response_is_not_kept_forever,
    a_response_is_kept_for_as_long_as_it_is_to_be,
);

fn keys(database: &Database) -> Idempotency {
    Idempotency::new(database, IdempotencySettings::default())
}

fn with(database: &Database, lease: u64, retention: u64) -> Idempotency {
    let settings = IdempotencySettings {
        lease: Duration::from_millis(lease),
        retention: Duration::from_millis(retention),
        most_body_bytes: 10,
    };
    Idempotency::new(database, settings)
}

async fn begin(keys: &Idempotency, body: &str) -> Result<Begun, IdempotencyError> {
    let key = IdempotencyKey::parse("\"8e03978e-40d5\"").expect("key");
    let fingerprint = Fingerprint::new(&[b"POST", b"/v1/mails", body.as_bytes()]);
    keys.begin(&Scope::new("mia", "POST /v1/mails"), &key, &fingerprint).await
}

async fn run(keys: &Idempotency, body: &str) -> Reservation {
    match begin(keys, body).await {
        Ok(Begun::Run(reservation)) => reservation,
        other => panic!("{other:?}"),
    }
}

async fn replay(keys: &Idempotency, body: &str) -> StoredResponse {
    match begin(keys, body).await {
        Ok(Begun::Replay(response)) => response,
        other => panic!("{other:?}"),
    }
}

async fn refused(keys: &Idempotency, body: &str) -> IdempotencyError {
    begin(keys, body).await.expect_err("refused")
}

fn created() -> StoredResponse {
    let headers = [("content-type", "application/json"), ("location", "/v1/mails/1")];
    StoredResponse {
        status: 201,
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        body: Some(b"{\"a\":\"\0\"}".as_slice().into()),
    }
}

async fn of_many_at_once_one_runs(place: Place) {
    let keys = keys(&place.open().await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let keys = keys.clone();
        tasks.spawn(async move { begin(&keys, "a").await });
    }
    let mut reservations = Vec::new();
    while let Some(begun) = tasks.join_next().await {
        match begun.expect("task") {
            Ok(Begun::Run(reservation)) => reservations.push(reservation),
            Err(IdempotencyError::InProgress) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(reservations.len(), 1);

    let mut response = created();
    response.headers.push(("date".to_owned(), "today".to_owned()));
    reservations[0].finish(&response).await.expect("finish");
    let error = reservations[0].finish(&response).await.expect_err("finished already");
    assert!(matches!(error, IdempotencyError::LeaseLost), "{error:?}");
    for _ in 0..3 {
        assert_eq!(replay(&keys, "a").await, created());
    }
}

async fn a_key_belongs_to_one_request_of_one_principal(place: Place) {
    let keys = keys(&place.open().await);
    let reservation = run(&keys, "a").await;
    assert!(matches!(refused(&keys, "b").await, IdempotencyError::Mismatch));
    reservation.finish(&created()).await.expect("finish");
    assert!(matches!(refused(&keys, "b").await, IdempotencyError::Mismatch));

    let key = IdempotencyKey::parse("8e03978e-40d5").expect("key");
    let other = Scope::new("max", "POST /v1/mails");
    let begun = keys.begin(&other, &key, &Fingerprint::new(&[b"b"])).await.expect("begin");
    assert!(matches!(begun, Begun::Run(_)));
}

async fn what_was_given_up_can_be_done_at_once(place: Place) {
    let keys = keys(&place.open().await);
    run(&keys, "a").await.abandon().await.expect("abandon");
    run(&keys, "b").await.finish(&created()).await.expect("finish");
}

async fn a_dead_holder_frees_the_same_request_after_its_lease(place: Place) {
    let keys = with(&place.open().await, 400, 60_000);
    let dead = run(&keys, "a").await;
    assert!(matches!(refused(&keys, "a").await, IdempotencyError::InProgress));
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(matches!(refused(&keys, "b").await, IdempotencyError::Mismatch));
    let next = run(&keys, "a").await;
    // It was not dead, only slow.
    let late = dead.finish(&created()).await.expect_err("late");
    assert!(matches!(late, IdempotencyError::LeaseLost), "{late:?}");
    next.finish(&created()).await.expect("finish");
}

async fn a_renewed_lease_lasts(place: Place) {
    let keys = with(&place.open().await, 1000, 60_000);
    let reservation = run(&keys, "a").await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        reservation.renew().await.expect("renew");
    }
    assert!(matches!(refused(&keys, "a").await, IdempotencyError::InProgress));
}

async fn a_renewed_lease_outlasts_the_time_for_which_a_response_is_kept(place: Place) {
    let database = place.open().await;
    let keys = with(&database, 2000, 300);
    let reservation = run(&keys, "a").await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(800)).await;
        reservation.renew().await.expect("renew");
    }
    assert!(matches!(refused(&keys, "b").await, IdempotencyError::Mismatch));
    // One that has just started looks at once for what has expired.
    assert!(matches!(refused(&with(&database, 2000, 300), "a").await, IdempotencyError::InProgress));
    reservation.finish(&created()).await.expect("it is held");
}

async fn a_response_is_kept_with_its_effects_or_not_at_all(place: Place) {
    let database = place.open().await;
    database.execute(sqlx::query("CREATE TABLE effects (id TEXT NOT NULL)")).await.expect("table");
    let keys = keys(&database);
    let reservation = run(&keys, "a").await;
    for is_committed in [false, true] {
        let mut transaction = database.begin().await.expect("begin");
        sqlx::query("INSERT INTO effects (id) VALUES ('1')")
            .execute(&mut *transaction)
            .await
            .expect("effect");
        reservation.finish_in(&mut transaction, &created()).await.expect("finish");
        if is_committed {
            transaction.commit().await.expect("commit");
        } else {
            transaction.rollback().await.expect("rollback");
            assert!(matches!(refused(&keys, "a").await, IdempotencyError::InProgress));
        }
    }
    assert_eq!(replay(&keys, "a").await, created());
    let effects =
        sqlx::query_scalar::<Any, i64>("SELECT count(*) FROM effects").fetch_one(database.pool()).await;
    assert_eq!(effects.expect("count"), 1);
}

async fn begin_in(
    keys: &Idempotency,
    transaction: &mut Transaction,
    body: &str,
) -> Result<Begun, IdempotencyError> {
    let key = IdempotencyKey::parse("\"8e03978e-40d5\"").expect("key");
    let fingerprint = Fingerprint::new(&[b"POST", b"/v1/mails", body.as_bytes()]);
    keys.begin_in(transaction, &Scope::new("mia", "POST /v1/mails"), &key, &fingerprint).await
}

async fn run_in(keys: &Idempotency, transaction: &mut Transaction) -> Reservation {
    match begin_in(keys, transaction, "a").await {
        Ok(Begun::Run(reservation)) => reservation,
        other => panic!("{other:?}"),
    }
}

async fn a_request_in_one_transaction_holds_its_key_no_longer_than_that(place: Place) {
    let database = place.open().await;
    let keys = keys(&database);
    for is_committed in [false, true] {
        // What a process that dies has begun is taken back, and free at once.
        let mut transaction = database.begin().await.expect("begin");
        let reservation = run_in(&keys, &mut transaction).await;
        if is_committed {
            reservation.finish_in(&mut transaction, &created()).await.expect("finish");
            transaction.commit().await.expect("commit");
        } else {
            transaction.rollback().await.expect("rollback");
        }
    }
    assert_eq!(replay(&keys, "a").await, created());
    let mut transaction = database.begin().await.expect("begin");
    let other = begin_in(&keys, &mut transaction, "b").await.expect_err("another request");
    assert!(matches!(other, IdempotencyError::Mismatch), "{other:?}");
}

async fn the_same_request_waits_for_the_transaction_of_the_first(place: Place) {
    let database = place.open().await;
    let keys = keys(&database);
    let mut first = database.begin().await.expect("begin");
    let reservation = run_in(&keys, &mut first).await;
    let second = tokio::spawn({
        let (database, keys) = (database.clone(), keys.clone());
        async move {
            let mut transaction = database.begin().await.expect("begin");
            begin_in(&keys, &mut transaction, "a").await
        }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!second.is_finished());
    reservation.finish_in(&mut first, &created()).await.expect("finish");
    first.commit().await.expect("commit");
    match second.await.expect("task") {
        Ok(Begun::Replay(response)) => assert_eq!(response, created()),
        other => panic!("{other:?}"),
    }
}

async fn of_a_large_response_the_body_is_not_kept(place: Place) {
    let keys = with(&place.open().await, 60_000, 60_000);
    let mut response = created();
    response.body = Some(vec![b'x'; 11].into());
    run(&keys, "a").await.finish(&response).await.expect("finish");
    response.body = None;
    assert_eq!(replay(&keys, "a").await, response);
}

async fn a_response_is_not_kept_forever(place: Place) {
    let database = place.open().await;
    let keys = with(&database, 300, 300);
    run(&keys, "a").await.finish(&created()).await.expect("finish");
    tokio::time::sleep(Duration::from_millis(500)).await;
    run(&keys, "b").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    // One that has just started looks at once for what has expired.
    let other = (Scope::new("max", "POST /v1/mails"), IdempotencyKey::parse("other").expect("key"));
    let begun = with(&database, 300, 300).begin(&other.0, &other.1, &Fingerprint::new(&[b"c"])).await;
    assert!(matches!(begun, Ok(Begun::Run(_))), "{begun:?}");
    let left = sqlx::query_scalar::<Any, i64>("SELECT count(*) FROM kit_idempotency_keys")
        .fetch_one(database.pool())
        .await;
    assert_eq!(left.expect("count"), 1);
}

async fn a_response_is_kept_for_as_long_as_it_is_to_be(place: Place) {
    let database = place.open().await;
    let keys = with(&database, 300, 300);
    let longer = keys.retaining(Duration::from_secs(60));
    run(&longer, "a").await.finish(&created()).await.expect("finish");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(replay(&keys, "a").await.status, created().status);
}
