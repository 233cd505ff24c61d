//! What was accepted is done, whatever happens to the process.

use std::time::Duration;

use reqwest::StatusCode;

use crate::bench::{Bench, Gateway, body, eventually};
use crate::requests::{begin, ended, order};
use crate::upstream::Upstream;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_request_survives_the_death_of_the_process_and_nothing_is_done_twice() {
    let upstream = Upstream::start();
    let bench = Bench::new(&upstream);
    let gateway = bench.start();
    let location = begin(&gateway, &order(&["SELECT 1", "SLOW"])).await;
    let running = async |gateway: &Gateway| {
        let request = body(gateway.get(&location).send().await.unwrap(), StatusCode::OK).await;
        request["tasks"][0]["status"] == "succeeded" && request["tasks"][1]["status"] == "running"
    };
    eventually("one task is done and one runs", async || running(&gateway).await).await;
    gateway.kill();

    let gateway = bench.start();
    // It waits for the lease of the dead one to lapse, and finds what was begun.
    tokio::time::sleep(Duration::from_millis(500)).await;
    upstream.state.analyses.release();
    let request = ended(&gateway, &location).await;
    assert_eq!(request["status"], "succeeded");
    assert_eq!(request["tasks"][0]["result"]["total"], 2);
    assert_eq!(request["tasks"][1]["result"]["total"], 2);
    let analyses = upstream.state.analyses.known().all.clone();
    assert_eq!(analyses.len(), 2, "{analyses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_request_that_waits_for_its_service_goes_on_when_it_is_back() {
    let mut upstream = Upstream::start();
    let bench = Bench::new(&upstream);
    let gateway = bench.start();
    upstream.stop();
    let location = begin(&gateway, &order(&["SELECT 1"])).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    // A stop in between is no loss either: the work is given back at once.
    gateway.stop();
    let gateway = bench.start();
    upstream.start_again();
    assert_eq!(ended(&gateway, &location).await["status"], "succeeded");
    assert_eq!(upstream.state.analyses.known().all.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_stood_in_the_way_until_the_deadline_is_told() {
    let mut upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    upstream.stop();
    let mut order = order(&["SELECT 1"]);
    order["deadlineSeconds"] = serde_json::json!(3);
    let request = ended(&gateway, &begin(&gateway, &order).await).await;
    assert_eq!(request["status"], "failed");
    let problem = &request["tasks"][0]["problem"];
    assert_eq!(problem["title"], "Timed out");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.ends_with("Tried again and again: the service `analysis-base` cannot be reached."),
        "{detail}"
    );
}
