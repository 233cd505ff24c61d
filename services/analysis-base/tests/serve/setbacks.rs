//! Trouble of the service: what it was given is not lost by it.

use std::time::Duration;

use serde_json::json;
use service_kit::database::Database;
use sqlx::Any;

use crate::server::{Options, Server, eventually, query};
use crate::uploads::{CSV, begin, send};

/// Half an hour is left to whoever sees to a store.
const FEWEST_ATTEMPTS: i64 = 40;

on_both!(an_upload_that_the_service_cannot_finish_is_kept);

async fn an_upload_that_the_service_cannot_finish_is_kept(options: Options) {
    let server = Server::start_with(options);
    let database = server.database().await;
    // No version can be stored where there is no folder.
    let versions = server.objects("datasets");
    std::fs::write(&versions, "").expect("file");
    let address = begin(&server, "flights", CSV.len()).await;
    let id = address.trim_start_matches("/v1/uploads/");
    let (last, ()) = tokio::join!(send(&server, &address, 0, CSV), let_it_fail(&database, id));
    let detail = last.problem(500);
    assert!(detail.contains("All parts are kept"), "{detail}");
    let upload = server.get(&address).await.json();
    assert_eq!(
        (&upload["status"], &upload["problem"]["status"]),
        (&json!("failed"), &json!(500)),
        "{upload}"
    );
    assert!(server.objects("uploads").join(id).exists(), "the parts are there");

    std::fs::remove_file(&versions).expect("mend it");
    let again = send(&server, &address, CSV.len(), "").await;
    assert_eq!(again.header("content-location"), "/v1/datasets/flights/versions/1", "{}", again.text());
    assert_eq!(server.get("/v1/datasets/flights/versions/1/content").await.text(), CSV);
    eventually("the parts go", || !server.objects("uploads").exists()).await;
}

#[tokio::test]
async fn an_analysis_outlasts_a_store_that_is_away_for_a_while() {
    let server = Server::start();
    // No result can be stored where there is no folder.
    let results = server.objects("analyses");
    std::fs::write(&results, "").expect("file");
    let address = server.begin(&query("SELECT a FROM t")).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let waiting = server.get(&address).await.json();
    assert!(matches!(waiting["status"].as_str(), Some("queued" | "running")), "{waiting}");
    std::fs::remove_file(&results).expect("mend it");
    let ended = server.ended(&address).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
}

/// Waits for the job of an upload, and makes its next attempt the last one.
async fn let_it_fail(database: &Database, id: &str) {
    let attempts = loop {
        let attempts =
            sqlx::query_scalar::<Any, i64>("SELECT max_attempts FROM kit_jobs WHERE queue = 'uploads'");
        if let Some(attempts) = attempts.fetch_optional(database.pool()).await.expect("job") {
            break attempts;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(attempts >= FEWEST_ATTEMPTS, "{attempts}");
    assert_eq!(garbage(database, id).await, 0, "the parts are kept for as long as the job waits");
    let last = "UPDATE kit_jobs SET max_attempts = attempts + 1 WHERE queue = 'uploads'";
    assert_eq!(database.execute(sqlx::query(last)).await.expect("job"), 1);
}

/// Whether the parts of an upload are to be removed.
async fn garbage(database: &Database, id: &str) -> i64 {
    let count = sqlx::query_scalar::<Any, i64>("SELECT count(*) FROM garbage WHERE prefix = $1");
    count.bind(format!("uploads/{id}")).fetch_one(database.pool()).await.expect("garbage")
}
