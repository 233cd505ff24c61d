//! Passing on: what comes through, when, and what does not.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use reqwest::{Body, Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bench::{Bench, PATIENCE, body, eventually};
use crate::upstream::{TICK, Upstream};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_gets_the_request_and_who_makes_it_but_not_the_key() {
    let upstream = Upstream::start();
    let bench = Bench::new(&upstream);
    let gateway = bench.start();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let answer = gateway
        .request(Method::PUT, "/v1/datasets/seen?format=csv&x=%20")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .header("aisaas-principal", "somebody else")
        .header("x-forwarded-for", "10.0.0.1")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("x-end", "2")
        .header("idempotency-key", "k1")
        .body("a,b\n")
        .send()
        .await
        .unwrap();
    assert!(answer.headers()["traceparent"].to_str().unwrap().contains(trace));
    let seen = body(answer, StatusCode::OK).await;
    assert_eq!(
        (&seen["method"], &seen["uri"]),
        (&json!("PUT"), &json!("/v1/datasets/seen?format=csv&x=%20"))
    );
    assert_eq!(seen["bytes"], 4);
    let headers = &seen["headers"];
    assert_eq!(headers["authorization"], json!(["Bearer service-token"]));
    assert_eq!(headers["aisaas-principal"], json!(["admin"]));
    assert_eq!(headers["x-forwarded-for"], json!(["127.0.0.1"]));
    assert_eq!(headers["x-end"], json!(["2"]));
    assert_eq!(headers["idempotency-key"], json!(["k1"]));
    assert_eq!(headers["host"], json!([upstream.url.trim_start_matches("http://")]));
    assert!(headers["traceparent"][0].as_str().unwrap().contains(trace));
    assert!(headers["aisaas-deadline-milliseconds"].is_array());
    assert_eq!(headers["x-hop"], Value::Null);
    assert!(!seen.to_string().contains(&bench.admin_key));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_is_passed_on_part_by_part() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let begun = Instant::now();
    let answer = gateway.get("/v1/datasets/ticks").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut arrived = Vec::new();
    let mut parts = answer.bytes_stream();
    while let Some(part) = parts.next().await {
        let part = String::from_utf8(part.unwrap().to_vec()).unwrap();
        arrived.extend(part.matches("data:").map(|_| begun.elapsed()));
    }
    assert_eq!(arrived.len(), 5);
    // The first one is there long before the last one is sent.
    assert!(arrived[4] - arrived[0] > TICK * 3, "{arrived:?}");
    assert!(arrived.windows(2).filter(|pair| pair[1] - pair[0] > TICK / 2).count() >= 3, "{arrived:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_request_is_passed_on_part_by_part() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let (sender, receiver) = tokio::sync::mpsc::channel::<&'static str>(1);
    let parts = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|part| (Ok::<_, std::io::Error>(part), receiver))
    });
    let sent = gateway.request(Method::POST, "/v1/datasets/echo").body(Body::wrap_stream(parts)).send();
    let (answer, ()) = tokio::join!(sent, async { sender.send("one").await.unwrap() });
    // Each part comes back before the next one is sent.
    let mut echoed = answer.unwrap().bytes_stream();
    assert_eq!(echoed.next().await.unwrap().unwrap(), "one");
    for part in ["two", "three"] {
        sender.send(part).await.unwrap();
        let back = tokio::time::timeout(PATIENCE, echoed.next()).await.unwrap();
        assert_eq!(back.unwrap().unwrap(), part);
    }
    drop(sender);
    assert!(echoed.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_breaks_off_does_not_look_whole() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let answer = gateway.get("/v1/datasets/breaks").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut parts = answer.bytes_stream();
    assert_eq!(parts.next().await.unwrap().unwrap(), "the beginning");
    assert!(parts.next().await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn trailers_are_passed_on() {
    let upstream = Upstream::start();
    let bench = Bench::new(&upstream);
    let gateway = bench.start();
    let mut stream = TcpStream::connect(gateway.url.trim_start_matches("http://")).await.unwrap();
    let request = format!(
        "GET /v1/datasets/trailers HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\nte: trailers\r\nconnection: te, close\r\n\r\n",
        bench.admin_key
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("trailer: x-checksum\r\n"), "{answer}");
    assert!(answer.ends_with("0\r\nx-checksum: abc\r\n\r\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_that_goes_away_takes_its_request_with_it() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let asked = gateway.get("/v1/datasets/never").timeout(Duration::from_millis(500)).send().await;
    assert!(asked.unwrap_err().is_timeout());
    eventually("the service is told", async || upstream.state.given_up.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_that_is_slow_or_away_is_a_problem_that_says_so() {
    let mut upstream = Upstream::start();
    let mut bench = Bench::new(&upstream);
    bench.configuration["gateway"]["responseTimeLimitSeconds"] = json!(1);
    bench.configure();
    let gateway = bench.start();
    let problem =
        body(gateway.get("/v1/datasets/never").send().await.unwrap(), StatusCode::GATEWAY_TIMEOUT).await;
    assert_eq!(problem["type"], "https://aisaas.dev/problems/timed-out");
    // An upload may take longer than that, as long as it moves.
    let slow = futures::stream::unfold(0, |part| async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        (part < 6).then(|| (Ok::<_, std::io::Error>("x"), part + 1))
    });
    let request = gateway.request(Method::PUT, "/v1/datasets/seen").body(Body::wrap_stream(slow));
    assert_eq!(body(request.send().await.unwrap(), StatusCode::OK).await["bytes"], 6);

    // One that does not move is the client's fault, and not told as the service's.
    let paused = futures::stream::iter([Ok::<_, std::io::Error>("x")]).chain(futures::stream::pending());
    let request = gateway.request(Method::PUT, "/v1/datasets/paused").body(Body::wrap_stream(paused));
    let problem = body(request.send().await.unwrap(), StatusCode::REQUEST_TIMEOUT).await;
    assert_eq!(problem["type"], "https://aisaas.dev/problems/request-timeout");
    let metrics = gateway.get("/metrics").send().await.unwrap().text().await.unwrap();
    for outcome in ["TimedOut", "Unfinished"] {
        let counted = metrics.lines().find(|line| line.contains(&format!("outcome=\"{outcome}\"")));
        assert!(counted.is_some_and(|line| line.ends_with(" 1")), "{outcome}: {counted:?}");
    }

    let answer = gateway.get("/v1/datasets/unbelieving").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);

    upstream.stop();
    eventually("the service is away", async || {
        let answer = gateway.get("/v1/datasets/seen").send().await.unwrap();
        let is_away = answer.status() == StatusCode::SERVICE_UNAVAILABLE;
        is_away && answer.headers().contains_key("retry-after")
    })
    .await;
    upstream.start_again();
    eventually("the service is back", async || {
        gateway.get("/v1/datasets/seen").send().await.unwrap().status() == StatusCode::OK
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_nowhere_is_not_found_and_what_pretends_is_refused() {
    let upstream = Upstream::start();
    let bench = Bench::new(&upstream);
    let gateway = bench.start();
    let (_, key) = gateway.make_key("reader", &["datasets:read"]).await;
    for path in ["/v1/nothing", "/v2/datasets", "/v1/datasets2"] {
        let answer =
            gateway.http.get(format!("{}{path}", gateway.url)).bearer_auth(&key).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
    // Sent as it stands: clients resolve such paths themselves.
    let mut stream = TcpStream::connect(gateway.url.trim_start_matches("http://")).await.unwrap();
    let request = format!(
        "GET /v1/datasets/../analyses HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn routes_follow_the_configuration() {
    let upstream = Upstream::start();
    let mut bench = Bench::new(&upstream);
    let gateway = bench.start();
    assert_eq!(gateway.get("/v1/datasets/seen").send().await.unwrap().status(), StatusCode::OK);
    bench.configuration["services"]["analysis-base"]["routes"] = json!(["/v1/analyses"]);
    bench.configure();
    eventually("the changed routes are in force", async || {
        gateway.get("/v1/datasets/seen").send().await.unwrap().status() == StatusCode::NOT_FOUND
    })
    .await;
    // What makes no sense changes nothing.
    bench.configuration["services"]["analysis-base"]["routes"] = json!(["no path"]);
    bench.configure();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(gateway.get("/v1/datasets/seen").send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(gateway.get("/readyz").send().await.unwrap().status(), StatusCode::OK);
    gateway.stop();
}
