//! What goes wrong around a Platform and in it: what was accepted is done once,
//! what cannot be done is said, and all goes on by itself afterwards.

mod analyses_killed;
mod away_database;
mod full_volume;
mod gateway_killed;
mod receiver_away;
mod removal;
mod stalled_readers;

use std::time::Duration;

use ai_saas_platform_tests::namespace::PATIENCE;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::time::Instant;

/// What most of these Platforms are: the tests' servers are on this machine,
/// whose address is not public.
fn with_private_addresses() -> Value {
    json!({ "allowPrivateAddresses": true })
}

/// A request with one task: the sum of the numbers that are at an address.
fn sum_of(url: &str) -> Value {
    json!({
        "input": "What is the sum of the numbers?",
        "data": [{ "name": "numbers", "url": url, "format": "csv" }],
        "tasks": [{ "name": "sum", "analysis": { "sql": "SELECT sum(n) AS total FROM numbers" } }],
    })
}

/// What such a request has as its result, if the numbers are 1 and 2.
fn has_summed(request: &Value) -> bool {
    request["status"] == "succeeded" && request["tasks"][0]["result"]["rows"] == json!([{ "total": 3 }])
}

fn id_of(answer: &Value) -> Result<String> {
    Ok(answer["id"].as_str().with_context(|| format!("no id: {answer}"))?.to_owned())
}

/// Waits until something holds; `what` says it.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await? {
        ensure!(Instant::now() < deadline, "not in {} s: {what}", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
