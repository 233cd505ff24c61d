//! A Platform whose work is handed out by NATS JetStream.

use std::time::{Duration, Instant};

use ai_saas_platform_tests::command::repository;
use ai_saas_platform_tests::nats_server::SECRET;
use ai_saas_platform_tests::{FrontDoor, NatsServer, with_namespace};
use anyhow::{Context as _, Result, ensure};
use crds::Platform;
use reqwest::{Method, StatusCode};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test]
async fn what_is_accepted_is_done_once_although_nats_is_killed_and_comes_back() -> Result<()> {
    with_namespace(async |namespace| {
        let mut nats = NatsServer::start(&namespace.cluster).await?;
        nats.create_secret(namespace).await?;
        let queue = json!({ "natsJetStream": { "url": nats.url(), "secret": { "name": SECRET } } });
        let platform = Platform::new("platform", serde_json::from_value(json!({ "queue": queue }))?);
        namespace.create_object(&platform).await?;
        let door = FrontDoor::of(namespace, "platform").await?;
        let csv = std::fs::read(repository("tests/data/measurements.csv"))?;
        let upload = door.request(Method::PUT, "/v1/datasets/measurements?format=csv").body(csv);
        door.json(upload).await?;

        until_nats_is_used(&door, true).await?;
        // What one takes, its planning included, when nothing is in its way.
        let mut accepted = vec![accept(&door).await?];
        until_succeeded(&door, &accepted[0]).await?;
        let analyses_of_one = door.items("/v1/analyses").await?.len();
        for _ in 0..2 {
            accepted.push(accept(&door).await?);
        }
        nats.kill();
        for _ in 0..3 {
            accepted.push(accept(&door).await?);
        }
        until_nats_is_used(&door, false).await?;
        for id in &accepted {
            until_succeeded(&door, id).await?;
        }
        accepted.push(accept(&door).await?);
        nats.start_again().await?;
        until_nats_is_used(&door, true).await?;
        for _ in 0..3 {
            accepted.push(accept(&door).await?);
        }
        for id in &accepted {
            until_succeeded(&door, id).await?;
        }

        // Each did what the first one did, and did it once.
        assert!(analyses_of_one > 0);
        assert_eq!(door.items("/v1/analyses").await?.len(), analyses_of_one * accepted.len());
        Ok(())
    })
    .await
}

/// Makes a request that nobody waits for; gives its id.
async fn accept(door: &FrontDoor) -> Result<String> {
    let order = json!({
        "input": "What is the average temperature by station?",
        "data": [{ "name": "measurements", "dataset": { "name": "measurements" } }],
    });
    let response = door.post("/v1/requests", &order).header("prefer", "respond-async").send().await?;
    let status = response.status();
    let text = response.text().await?;
    ensure!(status == StatusCode::ACCEPTED, "{status}: {text}");
    let request: serde_json::Value = serde_json::from_str(&text)?;
    Ok(request["id"].as_str().context("an id")?.to_owned())
}

async fn until_succeeded(door: &FrontDoor, id: &str) -> Result<()> {
    let begun = Instant::now();
    loop {
        let request = door.json(door.request(Method::GET, &format!("/v1/requests/{id}"))).await?;
        if request["status"] == "succeeded" {
            return Ok(());
        }
        ensure!(request["status"] != "failed" && begun.elapsed() < LIMIT, "{request}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until the gateway says who hands out its requests.
async fn until_nats_is_used(door: &FrontDoor, is_used: bool) -> Result<()> {
    let line = format!("monolith_queue_nats_up{{queue=\"requests\"}} {}", u8::from(is_used));
    let begun = Instant::now();
    loop {
        let counters = door.request(Method::GET, "/metrics").send().await?.text().await?;
        if counters.lines().any(|found| found == line) {
            return Ok(());
        }
        ensure!(begun.elapsed() < LIMIT, "there is no `{line}` in {counters}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
