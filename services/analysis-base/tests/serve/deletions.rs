//! What is left of data sets that were deleted: nothing but their numbers.

use std::time::Duration;

use serde_json::json;

use crate::server::{Answer, Options, Server, eventually};

const CSV: &str = "carrier,delay\nUA,2\n";

on_both!(a_number_is_not_given_again);

async fn a_number_is_not_given_again(options: Options) {
    let server = Server::start_with(options);
    for number in 1..=2 {
        assert_eq!(server.put("birds", "format=csv", CSV).await.json()["version"], number);
    }
    let request = server.request("PUT", "/v1/datasets/birds?format=csv").header("idempotency-key", "one");
    assert_eq!(Answer::of(request.body(CSV)).await.json()["version"], 3);
    assert_eq!(server.delete("/v1/datasets/birds").await.status, 204);
    for path in ["/v1/datasets/birds", "/v1/datasets/birds/versions", "/v1/datasets/birds/versions/latest"] {
        server.get(path).await.problem(404);
    }
    server.delete("/v1/datasets/birds").await.problem(404);
    assert_eq!(server.get("/v1/datasets").await.json()["items"], json!([]));

    let other = server.put("birds", "format=csv", "species\npuffin\n").await;
    assert_eq!(other.header("location"), "/v1/datasets/birds/versions/4", "{}", other.text());
    let dataset = server.get("/v1/datasets/birds").await.json();
    assert_eq!((&dataset["versions"], &dataset["latest"]["version"]), (&json!(1), &json!(4)));
    assert_eq!(dataset["createdAt"], dataset["latest"]["createdAt"], "it is another data set");
    assert_eq!(server.get("/v1/datasets").await.json()["items"], json!([dataset]));
    // Who names what is gone is told so, instead of being given other data.
    let request = server.request("PUT", "/v1/datasets/birds?format=csv").header("idempotency-key", "one");
    let again = Answer::of(request.body(CSV)).await;
    server.get(&again.header("location")).await.problem(404);
    let source = json!({"name": "t", "dataset": {"name": "birds", "version": 1}});
    let pinned = server.post("/v1/analyses", &json!({"sources": [source], "sql": "SELECT 1"})).await;
    let detail = pinned.problem(422);
    assert!(detail.contains("no data set `birds` with the version 1"), "{detail}");
    // Also the last number of one of which single versions were deleted.
    assert_eq!(server.delete("/v1/datasets/birds/versions/4").await.status, 204);
    assert_eq!(server.get("/v1/datasets/birds").await.json()["versions"], 0);
    assert_eq!(server.delete("/v1/datasets/birds").await.status, 204);
    assert_eq!(server.put("birds", "format=csv", CSV).await.json()["version"], 5);
}

#[tokio::test]
async fn a_version_that_comes_while_its_data_set_is_deleted_leaves_nothing() {
    let server = Server::start_with(Options::on_postgresql());
    assert_eq!(server.put("d", "format=csv", CSV).await.json()["version"], 1);
    // What another pod does with an upload, up to its last step.
    let objects = server.objects("datasets/other");
    std::fs::create_dir_all(&objects).expect("folder");
    std::fs::write(objects.join("data"), CSV).expect("object");
    let database = server.database().await;
    let mut transaction = database.begin().await.expect("begin");
    let next = "UPDATE datasets SET last_version = last_version + 1 WHERE name = 'd'";
    sqlx::query(next).execute(&mut *transaction).await.expect("number");
    let insert = "\
INSERT INTO versions (id, dataset, version, format, options, bytes, sha256, columns, created_at)
SELECT 'other', dataset, 2, format, options, bytes, sha256, columns, created_at FROM versions";
    sqlx::query(insert).execute(&mut *transaction).await.expect("version");
    let committing = async {
        // By then the deletion waits.
        tokio::time::sleep(Duration::from_secs(1)).await;
        transaction.commit().await.expect("commit");
    };
    let (deleted, ()) = tokio::join!(server.delete("/v1/datasets/d"), committing);
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    eventually("the objects of both versions go", || {
        std::fs::read_dir(server.objects("datasets")).map_or(true, |mut entries| entries.next().is_none())
    })
    .await;
    server.get("/v1/datasets/d/versions/2").await.problem(404);
    assert_eq!(server.put("d", "format=csv", CSV).await.json()["version"], 3);
}
