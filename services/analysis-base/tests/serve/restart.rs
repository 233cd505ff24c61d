//! A server that is killed or stopped with analyses under way: nothing is lost
//! or done twice.

use std::collections::HashSet;

use serde_json::json;

use crate::server::{Options, Server, query};

/// Takes a second or so.
const SQL: &str = "SELECT sum(value % 7) AS n FROM generate_series(1, 400000000)";

async fn begin(server: &Server, count: usize) -> Vec<String> {
    let mut addresses = Vec::new();
    for _ in 0..count {
        addresses.push(server.begin(&query(SQL)).await);
    }
    addresses
}

async fn all_succeed_once(server: &Server, addresses: &[String]) {
    let mut results = HashSet::new();
    for address in addresses {
        let analysis = server.ended(address).await;
        assert_eq!(analysis["status"], "succeeded", "{analysis}");
        results.insert(analysis["result"]["rows"].to_string());
        let objects = server.objects(address.trim_start_matches("/v1/"));
        let attempts = std::fs::read_dir(objects).expect("objects").count();
        assert_eq!(attempts, 1, "{address}");
    }
    assert_eq!(results.len(), 1, "{results:?}");
    let listed = server.get("/v1/analyses").await.json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(addresses.len()));
}

#[tokio::test]
async fn a_killed_server_loses_nothing() {
    let server = Server::start_with(Options { concurrency: 1, ..Options::default() });
    let addresses = begin(&server, 4).await;
    server.until(&addresses[1], |analysis| analysis["status"] == "running").await;
    let server = server.killed_and_started();
    all_succeed_once(&server, &addresses).await;
}

#[tokio::test]
async fn a_stopped_server_finishes_or_gives_back() {
    let server = Server::start_with(Options { concurrency: 1, ..Options::default() });
    let addresses = begin(&server, 3).await;
    server.until(&addresses[0], |analysis| analysis["status"] != "queued").await;
    let server = server.stopped_and_started();
    all_succeed_once(&server, &addresses).await;
}

#[tokio::test]
async fn data_and_results_are_there_after_a_restart() {
    let server = Server::start();
    assert_eq!(server.put("d", "format=csv", "a\n1\n2\n").await.status, 201);
    let analysis =
        json!({"sources": [{"name": "t", "dataset": {"name": "d"}}], "sql": "SELECT sum(a) AS s FROM t"});
    let request = server.post_request("/v1/analyses", &analysis).header("idempotency-key", "k");
    let before = crate::server::Answer::of(request).await.json();
    let server = server.killed_and_started();
    let address = format!("/v1/analyses/{}", before["id"].as_str().expect("id"));
    assert_eq!(server.get(&address).await.json(), before);
    assert_eq!(server.get("/v1/datasets/d/versions/1/content").await.text(), "a\n1\n2\n");
    let request = server.post_request("/v1/analyses", &analysis).header("idempotency-key", "k");
    assert_eq!(crate::server::Answer::of(request).await.json()["id"], before["id"]);
}
