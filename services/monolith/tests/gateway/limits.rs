//! How often a key may be used, and what it is told of that; and what takes
//! no more than it may, whoever asks for it.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::bench::{Bench, body, text, with_json};
use crate::requests::{begin, order};
use crate::upstream::Upstream;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_that_is_used_too_often_is_told_when_to_come_again() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let new = json!({
        "name": "slow",
        "scopes": ["datasets:read"],
        "rateLimit": { "requestsPerMinute": 20, "burst": 3 },
    });
    let made = body(gateway.post("/v1/keys", &new).send().await.unwrap(), StatusCode::CREATED).await;
    let key = text(&made["key"]);
    let ask = async |path: &str| {
        gateway
            .http
            .request(Method::GET, format!("{}{path}", gateway.url))
            .bearer_auth(&key)
            .send()
            .await
            .unwrap()
    };
    for left in [2, 1, 0] {
        // What is refused for another reason counts as well.
        let path = if left == 1 { "/v1/keys" } else { "/v1/datasets/seen" };
        let answer = ask(path).await;
        assert_eq!(answer.headers()["ratelimit-policy"], "\"default\";q=3;w=9");
        let told = answer.headers()["ratelimit"].to_str().unwrap();
        assert!(told.starts_with(&format!("\"default\";r={left};t=")), "{told}");
    }
    let refused = ask("/v1/datasets/seen").await;
    assert_eq!(refused.headers()["retry-after"], "3");
    assert!(refused.headers()["ratelimit"].to_str().unwrap().starts_with("\"default\";r=0;"));
    let problem = body(refused, StatusCode::TOO_MANY_REQUESTS).await;
    assert_eq!(problem["type"], "https://aisaas.dev/problems/too-many-requests");
    // Others are not held up by it.
    assert_eq!(gateway.get("/v1/datasets/seen").send().await.unwrap().status(), StatusCode::OK);
    tokio::time::sleep(Duration::from_millis(3200)).await;
    assert_eq!(ask("/v1/datasets/seen").await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn so_many_wait_with_one_key_and_the_others_are_answered_at_once() {
    const MOST: usize = 256;
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let location = begin(&gateway, &order(&["SLOW"])).await;
    let (_, key) = gateway.make_key("patient", &["requests:read", "requests:write"]).await;
    let look = |wait: u64| {
        gateway.http.get(format!("{}{location}?wait={wait}", gateway.url)).bearer_auth(&key).send()
    };
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..MOST {
        waiting.spawn(look(25));
    }
    // One that asks while the others come in may take the place of one of them.
    let mut is_full = false;
    for _ in 0..10 {
        let begun = Instant::now();
        assert_eq!(look(1).await.unwrap().status(), StatusCode::OK);
        is_full = begun.elapsed() < Duration::from_millis(900);
        if is_full {
            break;
        }
        waiting.spawn(look(25));
    }
    assert!(is_full, "as many wait as may");
    let begun = Instant::now();
    let request = gateway.http.post(format!("{}/v1/requests", gateway.url)).bearer_auth(&key);
    let request = with_json(request, &order(&["SLOW as well"])).header("prefer", "wait=20");
    let accepted = request.send().await.unwrap();
    assert!(!accepted.headers().contains_key("preference-applied"));
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Another key waits as before.
    let begun = Instant::now();
    assert_eq!(gateway.get(&format!("{location}?wait=2")).send().await.unwrap().status(), StatusCode::OK);
    assert!(begun.elapsed() >= Duration::from_secs(2));
    upstream.state.analyses.release();
    while let Some(answer) = waiting.join_next().await {
        assert_eq!(answer.unwrap().unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_asked_for_takes_little_more_memory_than_its_text() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let before = gateway.peak_memory_bytes();
    // As a value, each of these takes a hundred times its text.
    let many = vec![r#"{"":0}"#; 280_000].join(",");
    let charts = format!(r#"[{{"name":"t","analysis":{{"sql":"SELECT 1","charts":[{many}]}}}}]"#);
    let data = r#"[{"name":"flights","dataset":{"name":"flights"}}]"#;
    for (name, value, pointer) in
        [("tasks", charts, "tasks[0].analysis.charts"), ("more", format!("[{many}]"), "more")]
    {
        let order = format!(r#"{{"input":"What is in it?","data":{data},"{name}":{value}}}"#);
        let request =
            gateway.request(Method::POST, "/v1/requests").header("content-type", "application/json");
        let refused = body(request.body(order).send().await.unwrap(), StatusCode::UNPROCESSABLE_ENTITY).await;
        assert_eq!(refused["pointer"], pointer);
    }
    let taken = gateway.peak_memory_bytes() - before;
    assert!(taken < 64 << 20, "{taken}");
}
