//! Following a request by server-sent events.

use std::time::Duration;

use futures::StreamExt as _;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::bench::{Bench, Gateway, PATIENCE, text};
use crate::requests::{begin, ended, order};
use crate::upstream::Upstream;

/// An event: its id, its name, its data.
type Event = (i64, String, Value);

/// The next events, until so many have come or the stream ends.
async fn follow(gateway: &Gateway, location: &str, last: Option<i64>, most: usize) -> Vec<Event> {
    let mut request = gateway.get(&format!("{location}/events"));
    if let Some(last) = last {
        request = request.header("last-event-id", last.to_string());
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    let mut parts = answer.bytes_stream();
    let read = async {
        while events(&text).len() < most
            && let Some(part) = parts.next().await
        {
            text.push_str(std::str::from_utf8(&part.unwrap()).unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap();
    events(&text)
}

fn events(text: &str) -> Vec<Event> {
    let blocks: Vec<&str> = text.split("\n\n").collect();
    let field = |block: &str, name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_start().to_owned())
    };
    // What comes after the last empty line is not complete.
    let whole = blocks.iter().take(blocks.len() - 1);
    let parsed = whole.filter_map(|block| {
        let id = field(block, "id:")?.parse().unwrap();
        Some((id, field(block, "event:")?, serde_json::from_str(&field(block, "data:")?).unwrap()))
    });
    parsed.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_happens_is_told_until_the_end() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let location = begin(&gateway, &order(&["SLOW"])).await;
    // Up to the task that runs.
    let first = follow(&gateway, &location, None, 4).await;
    let told: Vec<String> =
        first.iter().map(|(_, name, data)| format!("{name} {}", text(&data["status"]))).collect();
    assert_eq!(told, ["request queued", "request planning", "request running", "task running"]);
    let ids: Vec<i64> = first.iter().map(|(id, ..)| *id).collect();
    assert_eq!(ids, [1, 2, 3, 4]);

    // Who was cut off goes on where it was, and hears of the rest as it happens.
    let rest = tokio::spawn({
        let location = location.clone();
        async move { (follow(&gateway, &location, Some(3), usize::MAX).await, gateway) }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    upstream.state.analyses.release();
    let (rest, gateway) = rest.await.unwrap();
    let names: Vec<&str> = rest.iter().map(|(_, name, _)| name.as_str()).collect();
    assert_eq!(names, ["task", "task", "completed"]);
    assert_eq!((rest[1].2["status"].as_str(), rest[1].2["rows"].as_u64()), (Some("succeeded"), Some(2)));
    assert_eq!(rest[2].2["status"], "succeeded");
    assert!(rest[2].2["answer"]["text"].is_string());

    // The end is the end: a browser that comes back is told to stay away.
    let last = rest[2].0;
    let again = gateway.get(&format!("{location}/events")).header("last-event-id", last.to_string());
    assert_eq!(again.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(follow(&gateway, &location, None, usize::MAX).await.len(), 6);
    let nobody = gateway.get("/v1/requests/nobody/events").send().await.unwrap();
    assert_eq!(nobody.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_claims_to_have_received_more_than_there_is_hears_of_the_end_as_well() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let location = begin(&gateway, &order(&["SLOW"])).await;
    follow(&gateway, &location, None, 4).await;
    let rest = tokio::spawn({
        let location = location.clone();
        async move { (follow(&gateway, &location, Some(i64::MAX), usize::MAX).await, gateway) }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    upstream.state.analyses.release();
    let (rest, gateway) = rest.await.unwrap();
    assert_eq!(rest.last().unwrap().1, "completed");
    // After the end there is nothing that could come.
    let over = gateway.get(&format!("{location}/events")).header("last-event-id", i64::MAX.to_string());
    assert_eq!(over.send().await.unwrap().status(), StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_ends_when_the_gateway_stops_and_goes_on_at_the_next() {
    let upstream = Upstream::start();
    let bench = Bench::new(&upstream);
    let gateway = bench.start();
    let location = begin(&gateway, &order(&["SLOW"])).await;
    let before = follow(&gateway, &location, None, 4).await;
    let answer = gateway.get(&format!("{location}/events")).send().await.unwrap();
    let reading = tokio::spawn(answer.bytes());
    gateway.stop();
    // It ends as a stream does, and is not cut off.
    assert!(reading.await.unwrap().is_ok());

    let gateway = bench.start();
    upstream.state.analyses.release();
    let last = before.last().unwrap().0;
    let after = follow(&gateway, &location, Some(last), usize::MAX).await;
    assert_eq!(after.last().unwrap().1, "completed");
    assert_eq!(ended(&gateway, &location).await["status"], json!("succeeded"));
}
