//! Each analysis is a process: it ends when it is not wanted, and alone.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::server::{Options, Server, children, endless, eventually, query};

async fn running(server: &Server) -> (String, u32) {
    let address = server.begin(&endless()).await;
    server.until(&address, |analysis| analysis["status"] == "running").await;
    eventually("a process runs", || children(server.pid()).len() == 1).await;
    (address, children(server.pid())[0])
}

fn is_there(pid: u32) -> bool {
    // A process that has ended and was not waited for is a zombie.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

#[tokio::test]
async fn to_cancel_ends_the_process() {
    let server = Server::start();
    let (address, child) = running(&server).await;
    assert!(is_there(child));
    let begun = Instant::now();
    let answer = server.post(&format!("{address}/cancel"), &json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["status"], "cancelled");
    assert!(!is_there(child));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // Once more changes nothing.
    assert_eq!(server.post(&format!("{address}/cancel"), &json!({})).await.status, 200);
    server.get(&format!("{address}/result")).await.problem(409);
    let metrics = server.get("/metrics").await.text();
    assert!(metrics.contains("analysis_base_analyses_running 0"), "{metrics}");
    assert!(metrics.contains("outcome=\"Cancelled\""), "{metrics}");
}

#[tokio::test]
async fn to_delete_ends_the_process() {
    let server = Server::start();
    let (address, child) = running(&server).await;
    assert_eq!(server.delete(&address).await.status, 204);
    server.get(&address).await.problem(404);
    eventually("the process ends", || !is_there(child)).await;
}

#[tokio::test]
async fn what_has_ended_or_not_begun_can_be_cancelled_or_not() {
    let server = Server::start_with(Options { concurrency: 1, ..Options::default() });
    let done = server.post("/v1/analyses", &query("SELECT 1 AS x")).await;
    let refused = server.post(&format!("{}/cancel", done.header("content-location")), &json!({})).await;
    refused.problem(409);
    assert_eq!(refused.json()["analysisStatus"], "succeeded");
    let (_, child) = running(&server).await;
    let waiting = server.begin(&endless()).await;
    let answer = server.post(&format!("{waiting}/cancel"), &json!({})).await;
    assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("cancelled")));
    assert!(is_there(child));
    server.post("/v1/analyses/none/cancel", &json!({})).await.problem(404);
}

#[tokio::test]
async fn memory_is_exhausted_alone() {
    let server = Server::start_with(Options { memory_bytes: 640 << 20, ..Options::default() });
    let pid = server.pid();
    let greedy = query("SELECT string_agg(repeat('x', 100000), '') AS x FROM generate_series(1, 100000)");
    let steady = query("SELECT sum(value % 7) AS n FROM generate_series(1, 50000000)");
    let (greedy, steady) =
        tokio::join!(server.post("/v1/analyses", &greedy), server.post("/v1/analyses", &steady));
    let detail = greedy.problem(422);
    assert_eq!(greedy.json()["reason"], "MemoryExhausted", "{detail}");
    assert!(detail.contains("208 MiB that each has here"), "{detail}");
    assert_eq!(steady.status, 200, "{}", steady.text());
    assert_eq!(server.get("/readyz").await.status, 200);
    assert_eq!(server.pid(), pid);
}

#[tokio::test]
async fn a_result_without_end_is_cut_off() {
    // Of which each of two analyses has 4 MiB for its result.
    let options = Options { temporary_bytes: Some(80 << 20), ..Options::default() };
    let server = Server::start_with(options);
    let large =
        server.post("/v1/analyses", &query("SELECT random() AS x FROM generate_series(1, 2000000)")).await;
    assert_eq!(
        large.problem(422),
        "The result is larger than the 4 MiB that each may have here. Select less, or give analysis-base more \
         ephemeral storage."
    );
    assert_eq!(large.json()["reason"], "OutputTooLarge");
    let small =
        server.post("/v1/analyses", &query("SELECT random() AS x FROM generate_series(1, 2000)")).await;
    assert_eq!(small.status, 200, "{}", small.text());
}

#[tokio::test]
async fn a_process_that_is_killed_is_a_failure_of_its_analysis() {
    let server = Server::start();
    let (address, child) = running(&server).await;
    // As the allocator does; a SIGSEGV from outside would be passed over.
    crate::server::signal(child, "-ABRT");
    let failed = server.ended(&address).await;
    assert_eq!((&failed["status"], &failed["reason"]), (&json!("failed"), &json!("Aborted")), "{failed}");
    assert_eq!(server.post("/v1/analyses", &query("SELECT 1 AS x")).await.status, 200);
}

#[tokio::test]
async fn analyses_run_at_the_same_time_up_to_a_bound() {
    let server = Server::start();
    let mut addresses = Vec::new();
    for _ in 0..4 {
        addresses.push(server.begin(&endless()).await);
    }
    eventually("two processes run", || children(server.pid()).len() == 2).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(children(server.pid()).len(), 2);
    // An upload is looked at all the same.
    assert_eq!(server.put("d", "format=csv", "a\n1\n").await.status, 201);
    for address in addresses {
        assert_eq!(server.delete(&address).await.status, 204);
    }
    eventually("no processes run", || children(server.pid()).is_empty()).await;
}
