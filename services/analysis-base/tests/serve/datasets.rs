//! Data sets: uploads, versions, what is wrong with data.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::server::{Answer, Options, Server, endless, eventually};

const CSV: &str = "carrier,delay\nUA,2\nB6,NA\n";
const OPTIONS: &str = "format=csv&options=%7B%22csv%22%3A%7B%22nullValues%22%3A%5B%22NA%22%5D%7D%7D";

#[tokio::test]
async fn an_upload_becomes_a_version() {
    let server = Server::start();
    let answer = server.put("flights", OPTIONS, CSV).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("location"), "/v1/datasets/flights/versions/1");
    let version = answer.json();
    assert_eq!(version["bytes"], CSV.len());
    assert_eq!(version["options"], json!({"csv": {"nullValues": ["NA"]}}));
    let columns = json!([{"name": "carrier", "type": "string"}, {"name": "delay", "type": "integer"}]);
    assert_eq!(version["columns"], columns);
    assert_eq!(server.get("/v1/datasets/flights/versions/1").await.json(), version);
    assert_eq!(server.get("/v1/datasets/flights/versions/latest").await.json(), version);
    assert_eq!(server.get("/v1/datasets/flights/versions/1/schema").await.json()["columns"], columns);

    let preview = server.get("/v1/datasets/flights/versions/1/preview?limit=1").await.json();
    assert_eq!(preview["rows"], json!([{"carrier": "UA", "delay": 2}]));
    assert_eq!(preview["total"], 2);

    let second = server.put("flights", "format=jsonLines", "{\"carrier\": \"UA\"}\n").await;
    assert_eq!(second.json()["version"], 2);
    let dataset = server.get("/v1/datasets/flights").await.json();
    assert_eq!((&dataset["versions"], &dataset["latest"]["version"]), (&json!(2), &json!(2)));
    let versions = server.get("/v1/datasets/flights/versions?limit=1").await.json();
    assert_eq!(versions["items"][0]["version"], 2);
    let cursor = versions["nextCursor"].as_str().expect("cursor");
    let versions = server.get(&format!("/v1/datasets/flights/versions?limit=1&cursor={cursor}")).await.json();
    assert_eq!((&versions["items"][0]["version"], &versions["nextCursor"]), (&json!(1), &Value::Null));
    server.get("/v1/datasets/flights/versions/3").await.problem(404);
    server.get("/v1/datasets/other").await.problem(404);
}

#[tokio::test]
async fn the_bytes_come_back_as_they_were() {
    let server = Server::start();
    assert_eq!(server.put("flights", OPTIONS, CSV).await.status, 201);
    let path = "/v1/datasets/flights/versions/latest/content";
    let whole = server.get(path).await;
    assert_eq!((whole.status, whole.text().as_str()), (200, CSV));
    assert_eq!(whole.header("content-type"), "text/csv");
    assert_eq!(whole.header("content-length"), CSV.len().to_string());
    let part = Answer::of(server.request("GET", path).header("range", "bytes=8-12")).await;
    assert_eq!((part.status, part.text().as_str()), (206, "delay"));
    assert_eq!(part.header("content-range"), format!("bytes 8-12/{}", CSV.len()));
    let beyond = Answer::of(server.request("GET", path).header("range", "bytes=1000-")).await;
    beyond.problem(416);
    assert_eq!(beyond.header("content-range"), format!("bytes */{}", CSV.len()));
    let known = server.request("GET", path).header("if-none-match", whole.header("etag"));
    assert_eq!(Answer::of(known).await.status, 304);
    let wanted = |tag: String| Answer::of(server.request("GET", path).header("if-match", tag));
    assert_eq!(wanted(whole.header("etag")).await.status, 200);
    assert_eq!(wanted("*".to_owned()).await.status, 200);
    wanted(format!("W/{}", whole.header("etag"))).await.problem(412);
    let others = server.request("GET", path).header("if-none-match", whole.header("etag"));
    Answer::of(others.header("if-match", "\"others\"")).await.problem(412);
    // What was said of the download can be said of an upload.
    let again = server.request("PUT", "/v1/datasets/copy").header("content-type", "text/csv; charset=utf-8");
    let again = again.header("repr-digest", whole.header("repr-digest")).body(CSV);
    assert_eq!(Answer::of(again).await.status, 201);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_leaves_nothing() {
    let server = Server::start();
    let ragged = server.put("ragged", "format=csv", "a,b\n1,2\n3\n").await;
    let detail = ragged.problem(422);
    assert!(detail.starts_with("The data, line 3") || detail.contains("line 3"), "{detail}");
    assert!(!detail.contains("datasets/"), "{detail}");
    assert_eq!(ragged.json()["reason"], "InvalidData");
    server.put("fake", "format=parquet", "PAR1 is not enough").await.problem(422);
    let detail = server.put("empty", "format=csv", "").await.problem(422);
    assert_eq!(detail, "The data: the file is empty.");
    server.put("odd", "format=csv&options=%7B%22cvs%22%3A%7B%7D%7D", CSV).await.problem(400);
    let delimiter = "format=csv&options=%7B%22csv%22%3A%7B%22delimiter%22%3A%22%3B%3B%3B%22%7D%7D";
    server.put("odd", delimiter, CSV).await.problem(422);
    server.put("odd", "", CSV).await.problem(400);
    server.put("Odd", "format=csv", CSV).await.problem(422);
    assert_eq!(server.get("/v1/datasets").await.json()["items"], json!([]));
    eventually("no objects stay", || is_empty(&server)).await;
}

fn is_empty(server: &Server) -> bool {
    std::fs::read_dir(server.objects("datasets")).map_or(true, |mut entries| entries.next().is_none())
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let server = Server::start();
    let mut client = TcpStream::connect(server.address()).expect("connect");
    client
        .write_all(
            b"PUT /v1/datasets/broken?format=csv HTTP/1.1\r\nhost: test\r\ncontent-length: 100000\r\n\r\na,b\n1,2\n",
        )
        .expect("send");
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(client);
    eventually("nothing incomplete stays", || {
        let staged = std::fs::read_dir(server.objects(".partial")).expect("folder").count();
        staged == 0 && is_empty(&server)
    })
    .await;
    server.get("/v1/datasets/broken").await.problem(404);
}

#[tokio::test]
async fn bytes_that_were_changed_on_the_way_are_refused() {
    let server = Server::start();
    let wrong = format!("sha-256=:{}:", STANDARD.encode([0; 32]));
    let request =
        server.request("PUT", "/v1/datasets/d?format=csv").header("content-digest", wrong).body(CSV);
    let answer = Answer::of(request).await;
    answer.problem(400);
    assert_eq!(answer.json()["type"], "https://aisaas.dev/problems/digest-mismatch");
    server.get("/v1/datasets/d").await.problem(404);
}

#[tokio::test]
async fn an_upload_has_a_bound() {
    let server =
        Server::start_with(Options { bounds: json!({"uploadLimitBytes": 1000}), ..Options::default() });
    let large = "a\n".repeat(10_000);
    let announced = server.put("d", "format=csv", large.clone()).await;
    announced.problem(413);
    assert_eq!(announced.json()["limitBytes"], 1000);
    let chunks = futures::stream::iter(
        large
            .into_bytes()
            .chunks(600)
            .map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec()))
            .collect::<Vec<_>>(),
    );
    // The server may close the connection before all is sent.
    let request = server.request("PUT", "/v1/datasets/d?format=csv").body(reqwest::Body::wrap_stream(chunks));
    if let Ok(response) = request.send().await {
        assert_eq!(response.status(), 413);
    }
    server.get("/v1/datasets/d").await.problem(404);
    assert_eq!(server.put("d", "format=csv", CSV).await.status, 201);
}

#[tokio::test]
async fn the_same_upload_is_not_done_twice() {
    let server = Server::start();
    let upload = |key: &str, data: &'static str| {
        server.request("PUT", "/v1/datasets/d?format=csv").header("idempotency-key", key).body(data)
    };
    let first = Answer::of(upload("one", CSV)).await;
    let again = Answer::of(upload("one", CSV)).await;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.json(), again.json());
    assert_eq!(again.header("location"), "/v1/datasets/d/versions/1");
    assert_eq!(Answer::of(upload("two", CSV)).await.json()["version"], 2);
    Answer::of(upload("one", "a,b\n1,2\n3,4\n5,6\n7,8\n")).await.problem(422);
    // What was refused can be tried again with the same key.
    Answer::of(upload("three", "a,b\n1\n")).await.problem(422);
    assert_eq!(Answer::of(upload("three", "a,b\n1,2\n")).await.status, 201);
}

#[tokio::test]
async fn lists_have_pages() {
    let server = Server::start();
    for name in ["c", "a", "b"] {
        assert_eq!(server.put(name, "format=csv", CSV).await.status, 201);
    }
    let first = server.get("/v1/datasets?limit=2").await.json();
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().expect("items").iter();
        items.map(|item| item["name"].as_str().expect("name").to_owned()).collect()
    };
    assert_eq!(names(&first), ["a", "b"]);
    let cursor = first["nextCursor"].as_str().expect("cursor");
    let second = server.get(&format!("/v1/datasets?limit=2&cursor={cursor}")).await.json();
    assert_eq!((names(&second), &second["nextCursor"]), (vec!["c".to_owned()], &Value::Null));
    server.get("/v1/datasets?limit=0").await.problem(400);
    server.get("/v1/datasets?limit=1000").await.problem(400);
    server.get("/v1/datasets?cursor=%2F").await.problem(400);
}

#[tokio::test]
async fn what_is_used_is_not_deleted() {
    let server = Server::start();
    for _ in 0..2 {
        assert_eq!(server.put("d", "format=csv", CSV).await.status, 201);
    }
    let mut analysis = endless();
    analysis["sources"] = json!([{"name": "t", "dataset": {"name": "d", "version": 1}}]);
    let address = server.begin(&analysis).await;
    let refused = server.delete("/v1/datasets/d/versions/1").await;
    refused.problem(409);
    assert_eq!(refused.json()["analyses"], json!([address]));
    server.delete("/v1/datasets/d").await.problem(409);
    assert_eq!(server.delete("/v1/datasets/d/versions/2").await.status, 204);
    server.delete("/v1/datasets/d/versions/2").await.problem(404);
    assert_eq!(server.delete(&address).await.status, 204);
    let begun = std::time::Instant::now();
    while server.delete("/v1/datasets/d").await.status != 204 {
        assert!(begun.elapsed() < Duration::from_secs(10), "it is not used any more");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    server.get("/v1/datasets/d").await.problem(404);
    eventually("no objects stay", || is_empty(&server)).await;
    // The name is free again, and its numbers are not.
    assert_eq!(server.put("d", "format=csv", CSV).await.json()["version"], 3);
}
