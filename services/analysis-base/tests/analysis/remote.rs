//! Web servers, well-behaved and otherwise.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use crds::analysis::FailureReason;
use serde_json::{Value, json};

use crate::bench::Bench;

/// A server that gives these answers, one to each connection, and then the
/// last one for ever; the heads of the requests come out of the receiver.
fn server(answers: Vec<Vec<u8>>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("port");
    let address = format!("http://{}/t.csv?signature=a%2Fb", listener.local_addr().expect("address"));
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut answers = answers.into_iter().peekable();
        while let Ok((stream, _)) = listener.accept() {
            let Some(answer) = (if answers.len() > 1 { answers.next() } else { answers.peek().cloned() })
            else {
                return;
            };
            let _ = sender.send(head(&stream));
            let mut stream = stream;
            let _ = stream.write_all(&answer);
        }
    });
    (address, receiver)
}

fn head(stream: &TcpStream) -> String {
    let mut lines = BufReader::new(stream).lines();
    let mut head = String::new();
    while let Some(Ok(line)) = lines.next() {
        if line.is_empty() {
            break;
        }
        head.push_str(&line);
        head.push('\n');
    }
    head
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
        .into_bytes()
}

fn source(url: &str) -> Value {
    json!({"name": "t", "format": "csv", "uri": {"url": url}})
}

fn specification(source: Value) -> Value {
    json!({"sources": [source], "sql": "SELECT sum(a) s FROM t"})
}

#[tokio::test]
async fn a_server_that_recovers() {
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\na\n1".to_vec();
    let (url, requests) =
        server(vec![answer("503 Service Unavailable", ""), cut, answer("200 OK", "a\n1\n2\n")]);
    let bench = Bench::new();
    bench.put_secret("web", "token", "abc\n");
    let mut source = source(&url);
    source["uri"]["secret"] = json!({"name": "web"});
    let run = bench.run(specification(source)).await.expect("run");
    assert_eq!(run.outcome.preview, "s\n3\n");
    assert_eq!((run.rows_read, run.bytes_read), (2, 6));
    let request = requests.recv().expect("request");
    assert!(request.starts_with("GET /t.csv?signature=a%2Fb HTTP/1.1\n"), "{request}");
    assert!(request.contains("authorization: Bearer abc\n"), "{request}");
}

#[tokio::test]
async fn basic_credentials() {
    let (url, requests) = server(vec![answer("200 OK", "a\n1\n")]);
    let bench = Bench::new();
    bench.put_secret("web", "username", "ann");
    bench.put_secret("web", "password", "pass:word");
    let mut source = source(&url);
    source["uri"]["secret"] = json!({"name": "web"});
    bench.run(specification(source)).await.expect("run");
    assert!(requests.recv().expect("request").contains("authorization: Basic YW5uOnBhc3M6d29yZA==\n"));
}

#[tokio::test]
async fn refusals() {
    let cases = [
        ("404 Not Found", FailureReason::SourceNotFound, "the server answered 404 Not Found to"),
        ("403 Forbidden", FailureReason::AccessDenied, "(403 Forbidden) was refused. Check the Secret"),
    ];
    for (status, reason, part) in cases {
        let (url, _requests) = server(vec![answer(status, "")]);
        let failure = Bench::new().failure(specification(source(&url))).await;
        assert_eq!(failure.reason, reason);
        assert!(failure.message.contains(part), "{}", failure.message);
    }
}

#[tokio::test]
async fn a_file_that_does_not_fit() {
    let (url, _requests) = server(vec![answer("200 OK", &"a\n".repeat(1000))]);
    let mut bench = Bench::new();
    bench.environment.temporary_limit_bytes = Some(1024);
    let failure = bench.failure(specification(source(&url))).await;
    assert_eq!(failure.reason, FailureReason::DiskExhausted);
    assert!(
        failure.message.starts_with("Source `t`: the file is larger than the 512 B that are free"),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn only_public_addresses_are_read_where_others_are_not_allowed() {
    let (url, requests) = server(vec![answer("200 OK", "a\n1\n")]);
    let mut bench = Bench::new();
    bench.environment.public_addresses_only = true;
    for url in [url.clone(), url.replace("127.0.0.1", "localhost")] {
        let failure = bench.failure(specification(source(&url))).await;
        assert_eq!(failure.reason, FailureReason::InvalidSpecification);
        assert!(failure.message.contains("an address that is not public"), "{}", failure.message);
    }
    assert!(requests.try_recv().is_err());
}
