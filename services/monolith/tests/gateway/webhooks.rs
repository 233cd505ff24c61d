//! Telling somebody that a request has ended.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode as ReceiverStatus, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::bench::{Bench, Gateway, body, eventually, text};
use crate::requests::{ended, order};
use crate::upstream::Upstream;

const KEY: &[u8] = b"a secret of thirty-two bytes....";

/// A receiver: what it got, and what it answers.
#[derive(Debug, Default)]
struct Receiver {
    got: Mutex<Vec<(HeaderMap, Bytes)>>,
    answers: Mutex<Vec<ReceiverStatus>>,
}

impl Receiver {
    /// Starts to receive at this address.
    fn start(self: &Arc<Self>, listener: TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let router = Router::new().route("/hook", post(receive)).with_state(Arc::clone(self));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    }
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> Response {
    receiver.got.lock().unwrap().push((headers, body));
    let status = receiver.answers.lock().unwrap().pop().unwrap_or(ReceiverStatus::NO_CONTENT);
    match status {
        // It is in a hurry.
        ReceiverStatus::SERVICE_UNAVAILABLE => (status, [(header::RETRY_AFTER, "0")]).into_response(),
        status => status.into_response(),
    }
}

async fn request_with_webhook(gateway: &Gateway, url: &str) -> String {
    let mut order = order(&["SELECT 1"]);
    order["webhook"] = json!({ "url": url, "secret": format!("whsec_{}", STANDARD.encode(KEY)) });
    let answer = gateway.post("/v1/requests", &order).send().await.unwrap();
    let request = body(answer, StatusCode::OK).await;
    assert!(!request.to_string().contains("whsec_"), "the secret is not shown");
    format!("/v1/requests/{}", text(&request["id"]))
}

async fn webhook(gateway: &Gateway, location: &str) -> Value {
    ended(gateway, location).await["webhook"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_is_signed_and_comes_even_if_the_receiver_was_away() {
    let upstream = Upstream::start();
    let bench = Bench::new(&upstream);
    let gateway = bench.start();
    // The address is taken, but nobody is there yet.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let location = request_with_webhook(&gateway, &format!("http://{address}/hook")).await;
    eventually("it was tried", async || webhook(&gateway, &location).await["attempts"].as_u64() >= Some(1))
        .await;
    let state = webhook(&gateway, &location).await;
    assert_eq!(state["status"], "pending");
    assert!(state["error"].is_string());

    // Neither the death of the gateway nor a refusal loses it.
    gateway.kill();
    let receiver = Arc::new(Receiver::default());
    receiver.answers.lock().unwrap().push(ReceiverStatus::INTERNAL_SERVER_ERROR);
    receiver.start(TcpListener::bind(address).unwrap());
    let gateway = bench.start();
    eventually("it has arrived", async || webhook(&gateway, &location).await["status"] == "delivered").await;

    let got = receiver.got.lock().unwrap().clone();
    assert_eq!(got.len(), 2);
    // Both times the same message, so that a receiver can tell.
    assert_eq!((&got[0].0["webhook-id"], &got[0].1), (&got[1].0["webhook-id"], &got[1].1));
    let (headers, body) = &got[1];
    assert_eq!(headers["content-type"], "application/cloudevents+json");
    let header = |name: &str| headers[name].to_str().unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    mac.update(format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).as_bytes());
    mac.update(body);
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(header("webhook-signature"), signature);

    let event: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["type"], "dev.aisaas.request.completed");
    assert_eq!(event["source"], "http://platform.demo.svc/v1/requests");
    assert_eq!(event["data"]["status"], "succeeded");
    assert_eq!(event["data"]["url"], json!(location));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_receiver_that_is_gone_is_left_alone() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let receiver = Arc::new(Receiver::default());
    receiver.answers.lock().unwrap().push(ReceiverStatus::GONE);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    receiver.start(listener);
    let location = request_with_webhook(&gateway, &url).await;
    eventually("it is given up", async || webhook(&gateway, &location).await["status"] == "failed").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(receiver.got.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_receiver_that_asks_to_be_called_at_once_is_not_called_without_end() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let receiver = Arc::new(Receiver::default());
    receiver.answers.lock().unwrap().extend([ReceiverStatus::SERVICE_UNAVAILABLE; 250]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    receiver.start(listener);
    let location = request_with_webhook(&gateway, &url).await;
    eventually("it was tried again", async || receiver.got.lock().unwrap().len() > 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    // The third attempt comes 2 s after the second one, the fourth 4 s after that.
    let attempts = receiver.got.lock().unwrap().len();
    assert!(attempts <= 3, "{attempts}");
    assert_eq!(webhook(&gateway, &location).await["status"], "pending");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_webhook_does_not_reach_what_only_the_cluster_reaches() {
    let upstream = Upstream::start();
    let mut bench = Bench::new(&upstream);
    bench.configuration["gateway"]["allowPrivateWebhooks"] = json!(false);
    bench.configure();
    let gateway = bench.start();
    let mut order = order(&["SELECT 1"]);
    order["webhook"] =
        json!({ "url": "http://127.0.0.1:9/", "secret": format!("whsec_{}", STANDARD.encode(KEY)) });
    let refused = gateway.post("/v1/requests", &order).send().await.unwrap();
    assert_eq!(body(refused, StatusCode::UNPROCESSABLE_ENTITY).await["pointer"], "webhook.url");
    // A name is looked up only when something is sent there.
    let location = request_with_webhook(&gateway, "http://localhost:9/hook").await;
    eventually("it is given up", async || webhook(&gateway, &location).await["status"] == "failed").await;
    assert!(text(&webhook(&gateway, &location).await["error"]).contains("not public"));
}
