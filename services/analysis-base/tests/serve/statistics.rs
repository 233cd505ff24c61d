//! The profile of a version.

use serde_json::{Value, json};

use crate::server::{Answer, Server};

#[tokio::test]
async fn a_version_is_described_once() {
    let server = Server::start();
    assert_eq!(server.put("d", "format=csv", "n,s\n1,x\n2,y\n4,y\n").await.status, 201);
    let path = "/v1/datasets/d/versions/latest/statistics";
    let answer = server.get(path).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let statistics = answer.json();
    assert_eq!((&statistics["dataset"], &statistics["version"]), (&json!("d"), &json!(1)));
    let numbers = &statistics["columns"][0];
    assert_eq!(
        (&numbers["column"], &numbers["count"], &numbers["distinct"]),
        (&json!("n"), &json!(3), &json!(3))
    );
    assert_eq!(numbers["maximum"], "4");
    assert_eq!(statistics["columns"][1]["top_values"][0], json!({"value": "y", "count": 2}));
    assert_eq!(server.get(path).await.json(), statistics);
    let analyses = server.get("/v1/analyses").await.json();
    let items = analyses["items"].as_array().expect("items");
    assert_eq!(items.len(), 1);
    // It stays as long as the version.
    assert_eq!(items[0].get("expiresAt"), None::<&Value>);
    assert_eq!(server.delete("/v1/datasets/d").await.status, 204);
    let address = format!("/v1/analyses/{}", items[0]["id"].as_str().expect("id"));
    server.get(&address).await.problem(404);
}

#[tokio::test]
async fn data_that_are_wrong_later_on_have_no_statistics() {
    let server = Server::start();
    let data = "a\n".to_owned() + &"1\n".repeat(5_000_000) + "x\n";
    assert_eq!(server.put("d", "format=csv", data).await.status, 201);
    let path = "/v1/datasets/d/versions/1/statistics";
    let waited = server.get(path).await;
    assert!(waited.problem(422).contains("line 5000002"));
    let request = server.request("GET", path).header("prefer", "respond-async");
    Answer::of(request).await.problem(422);
    server.get("/v1/datasets/d/versions/2/statistics").await.problem(404);
}
