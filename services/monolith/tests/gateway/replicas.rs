//! Two gateways with one PostgreSQL database.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::bench::{Bench, body, eventually};
use crate::postgresql::Server;
use crate::requests::{begin, ended, order};
use crate::upstream::Upstream;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_know_of_each_other_by_the_database() {
    let server = Server::shared();
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().join("url");
    std::fs::write(&url, server.url()).unwrap();
    let upstream = Upstream::start();
    let mut bench = Bench::new(&upstream);
    bench.configuration["database"] = json!({ "postgresql": { "urlFile": url, "schema": "monolith" } });
    bench.configure();
    let (one, two) = (bench.start(), bench.start());

    let (id, key) = one.make_key("reader", &["datasets:read"]).await;
    let status = async || {
        let request = two.http.get(format!("{}/v1/datasets/seen", two.url)).bearer_auth(&key);
        request.send().await.unwrap().status()
    };
    eventually("the other replica knows the key", async || status().await == StatusCode::OK).await;
    // Of two changes at once, both are kept.
    for round in 0..10 {
        let (name, count) = (format!("reader {round}"), 100 + round);
        let change = |gateway: &crate::bench::Gateway, change: serde_json::Value| {
            let request = gateway.request(Method::PATCH, &format!("/v1/keys/{id}"));
            crate::bench::with_json(request, &change).send()
        };
        let (named, limited) = tokio::join!(
            change(&one, json!({ "name": name })),
            change(&two, json!({ "rateLimit": { "requestsPerMinute": count } })),
        );
        assert_eq!((named.unwrap().status(), limited.unwrap().status()), (StatusCode::OK, StatusCode::OK));
        let key = body(one.get(&format!("/v1/keys/{id}")).send().await.unwrap(), StatusCode::OK).await;
        assert_eq!((&key["name"], &key["rateLimit"]["requestsPerMinute"]), (&json!(name), &json!(count)));
    }
    let revoked = one.request(Method::DELETE, &format!("/v1/keys/{id}")).send().await.unwrap();
    assert_eq!(revoked.status(), StatusCode::NO_CONTENT);
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(status().await, StatusCode::UNAUTHORIZED);

    // Whichever works on it, the other one sees it and can stop it.
    let location = begin(&one, &order(&["SLOW"])).await;
    eventually("it runs", async || {
        let request = body(two.get(&location).send().await.unwrap(), StatusCode::OK).await;
        request["tasks"][0]["status"] == "running"
    })
    .await;
    two.request(Method::POST, &format!("{location}/cancel")).send().await.unwrap();
    assert_eq!(ended(&two, &location).await["status"], "cancelled");

    // And goes on with it when that one dies.
    let location = begin(&one, &order(&["SLOW again"])).await;
    eventually("it runs", async || upstream.state.analyses.known().all.len() == 2).await;
    one.kill();
    upstream.state.analyses.release();
    assert_eq!(ended(&two, &location).await["status"], "succeeded");
    assert_eq!(upstream.state.analyses.known().all.len(), 2);
}
