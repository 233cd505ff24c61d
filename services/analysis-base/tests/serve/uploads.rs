//! Resumable uploads, as a tus client makes them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::server::{Answer, Server};

pub const CSV: &str = "carrier,delay\nUA,2\nB6,3\n";

/// Begins an upload; gives its address.
pub async fn begin(server: &Server, name: &str, bytes: usize) -> String {
    let answer = announce(server, name, bytes).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("tus-resumable"), "1.0.0");
    assert!(answer.header("upload-expires").ends_with("GMT"));
    answer.header("location")
}

async fn announce(server: &Server, name: &str, bytes: usize) -> Answer {
    let metadata = format!("name {},format {}", STANDARD.encode(name), STANDARD.encode("csv"));
    let request = server.request("POST", "/v1/uploads").header("tus-resumable", "1.0.0");
    Answer::of(request.header("upload-length", bytes).header("upload-metadata", metadata)).await
}

/// Sends a part.
pub async fn send(server: &Server, address: &str, offset: usize, data: &'static str) -> Answer {
    let request = server.request("PATCH", address).header("tus-resumable", "1.0.0");
    let request = request.header("content-type", "application/offset+octet-stream");
    Answer::of(request.header("upload-offset", offset).body(data)).await
}

async fn offset(server: &Server, address: &str) -> usize {
    let answer = Answer::of(server.request("HEAD", address).header("tus-resumable", "1.0.0")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), "no-store");
    answer.header("upload-offset").parse().expect("offset")
}

#[tokio::test]
async fn parts_become_a_version() {
    let server = Server::start();
    let options = Answer::of(server.request("OPTIONS", "/v1/uploads")).await;
    assert_eq!((options.status, options.header("tus-version").as_str()), (204, "1.0.0"));
    assert!(options.header("tus-extension").contains("creation"));

    let address = begin(&server, "flights", CSV.len()).await;
    assert_eq!(offset(&server, &address).await, 0);
    let first = send(&server, &address, 0, &CSV[..10]).await;
    assert_eq!((first.status, first.header("upload-offset").as_str()), (204, "10"));
    assert_eq!(offset(&server, &address).await, 10);
    let conflict = send(&server, &address, 0, &CSV[..10]).await;
    assert_eq!(conflict.header("tus-resumable"), "1.0.0");
    conflict.problem(409);
    let last = send(&server, &address, 10, &CSV[10..]).await;
    assert_eq!(last.status, 204, "{}", last.text());
    assert_eq!(last.header("content-location"), "/v1/datasets/flights/versions/1");
    assert_eq!(server.get("/v1/datasets/flights/versions/1/content").await.text(), CSV);
    let upload = server.get(&address).await.json();
    assert_eq!((&upload["status"], &upload["version"]), (&json!("complete"), &json!(1)));
    // A client that has not heard of it asks again.
    assert_eq!(offset(&server, &address).await, CSV.len());
    assert_eq!(send(&server, &address, CSV.len(), "").await.status, 204);
    crate::server::eventually("the parts go", || !server.objects("uploads").exists()).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_the_last_part() {
    let server = Server::start();
    let address = begin(&server, "ragged", 10).await;
    assert_eq!(send(&server, &address, 0, "a,b\n1").await.status, 204);
    let detail = send(&server, &address, 5, ",2\n3\n").await.problem(422);
    assert!(detail.contains("line 3"), "{detail}");
    assert_eq!(server.get(&address).await.json()["status"], "failed");
    server.get("/v1/datasets/ragged").await.problem(404);
    // It would be the same once more.
    crate::server::eventually("the parts go", || !server.objects("uploads").exists()).await;
    send(&server, &address, 10, "").await.problem(422);
}

#[tokio::test]
async fn what_came_before_the_connection_broke_is_kept() {
    let server = Server::start();
    let address = begin(&server, "d", 8).await;
    let before = server.get(&address).await.json();
    let mut client = TcpStream::connect(server.address()).expect("connect");
    let head = format!(
        "PATCH {address} HTTP/1.1\r\nhost: test\r\ntus-resumable: 1.0.0\r\nupload-offset: 0\r\n\
         content-type: application/offset+octet-stream\r\ncontent-length: 8\r\n\r\na,b\n"
    );
    client.write_all(head.as_bytes()).expect("send");
    client.set_read_timeout(Some(Duration::from_millis(300))).expect("timeout");
    let _ = client.read(&mut [0; 16]);
    // It does not expire while the part comes in.
    let later = |upload: &Value| upload["received"] == 0 && upload["expiresAt"] != before["expiresAt"];
    server.until(&address, later).await;
    drop(client);
    let begun = std::time::Instant::now();
    while offset(&server, &address).await != 4 {
        assert!(begun.elapsed() < Duration::from_secs(10), "the part is kept");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let last = send(&server, &address, 4, "1,2\n").await;
    assert_eq!(last.header("content-location"), "/v1/datasets/d/versions/1", "{}", last.text());
}

#[tokio::test]
async fn what_is_no_upload_is_refused() {
    let server = Server::start();
    let other_version = server.request("POST", "/v1/uploads").header("tus-resumable", "0.2.0");
    let refused = Answer::of(other_version).await;
    refused.problem(412);
    assert_eq!(refused.header("tus-version"), "1.0.0");
    announce(&server, "d", 0).await.problem(422);
    announce(&server, "No Name", 10).await.problem(422);
    announce(&server, "d", 1 << 50).await.problem(413);
    let address = begin(&server, "d", 4).await;
    send(&server, &address, 0, "a\n1\n2\n3\n").await.problem(413);
    let other_type = server.request("PATCH", &address).header("tus-resumable", "1.0.0");
    Answer::of(other_type.header("upload-offset", 0).body("a\n1\n")).await.problem(415);
    let given_up = server.request("DELETE", &address).header("tus-resumable", "1.0.0");
    assert_eq!(Answer::of(given_up).await.status, 204);
    server.get(&address).await.problem(404);
    send(&server, &address, 0, "a\n1\n").await.problem(404);
}

#[tokio::test]
async fn a_client_can_name_the_method_that_it_cannot_send() {
    let server = Server::start();
    let address = begin(&server, "d", 4).await;
    let post = |path: &str, method: &str| {
        let request = server.request("POST", path).header("tus-resumable", "1.0.0");
        request.header("x-http-method-override", method)
    };
    let part = post(&address, "PATCH").header("content-type", "application/offset+octet-stream");
    let sent = Answer::of(part.header("upload-offset", 0).body("a\n")).await;
    assert_eq!((sent.status, sent.header("upload-offset").as_str()), (204, "2"), "{}", sent.text());
    let asked = Answer::of(post(&address, "HEAD")).await;
    assert_eq!((asked.status, asked.header("upload-offset").as_str()), (200, "2"));
    assert_eq!(Answer::of(post(&address, "DELETE")).await.status, 204);
    server.get(&address).await.problem(404);
    // The answer to HEAD has no body, and is read to its end all the same.
    assert_eq!(Answer::of(post(&address, "HEAD")).await.status, 404);
    // Without the header, and elsewhere, a POST is one.
    Answer::of(server.request("POST", &address)).await.problem(405);
    assert_eq!(server.put("d", "format=csv", CSV).await.status, 201);
    Answer::of(post("/v1/datasets/d", "DELETE")).await.problem(405);
}
