use crds::analysis::FailureReason;
use serde_json::{Value, json};

use crate::bench::Bench;

fn specification(sql: &str) -> Value {
    json!({"sources": [{"name": "t", "format": "csv", "inline": "a\n1\n"}], "sql": sql})
}

/// A memory limit that leaves the engine this many MiB.
fn bench_with_pool(mebibytes: u64) -> Bench {
    let mut bench = Bench::new();
    bench.environment.memory_limit_bytes = (48 << 20) + (mebibytes << 20) * 20 / 13;
    bench
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sort_that_does_not_fit_spills() {
    let bench = bench_with_pool(64);
    let sql = "SELECT value, (value * 7919) % 1000003 AS key, repeat('x', 100) AS padding \
               FROM generate_series(1, 1000000) ORDER BY key, value";
    let run = bench.run(specification(sql)).await.expect("run");
    assert_eq!(run.outcome.rows_written, 1_000_000);
    assert!(run.outcome.preview.starts_with("value,key,padding\n"), "{}", run.outcome.preview);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_that_does_not_fit_is_sorted() {
    let bench = bench_with_pool(24);
    let sql = "WITH a AS (SELECT value AS k, repeat('x', 60) AS x FROM generate_series(1, 400000)), \
               b AS (SELECT value AS k, repeat('y', 60) AS y FROM generate_series(200001, 600000)) \
               SELECT count(*) AS n, sum(char_length(x) + char_length(y)) AS c FROM a JOIN b ON a.k = b.k";
    let run = bench.run(specification(sql)).await.expect("run");
    assert_eq!(run.outcome.preview, "n,c\n200000,24000000\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_spill_fails_in_order() {
    let bench = bench_with_pool(16);
    let sql = "SELECT array_agg(repeat('x', 1000) || value) AS x FROM generate_series(1, 200000)";
    let failure = bench.failure(specification(sql)).await;
    assert_eq!(failure.reason, FailureReason::MemoryExhausted);
    assert_eq!(
        failure.message,
        "The analysis needs more memory than its limit of 72.6 MiB allows, even with temporary files. Create it \
         again with a higher spec.workload.resources.limits.memory, or let the query join, sort or group less at \
         once."
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_temporary_folder_is_named() {
    let mut bench = bench_with_pool(24);
    bench.environment.temporary_limit_bytes = Some(8 << 20);
    let sql = "SELECT value, (value * 7919) % 1000003 AS key, repeat('x', 100) AS padding \
               FROM generate_series(1, 1000000) ORDER BY key, value";
    let failure = bench.failure(specification(sql)).await;
    assert_eq!(failure.reason, FailureReason::DiskExhausted, "{}", failure.message);
    assert!(
        failure.message.starts_with("The temporary folder of 8 MiB is full. Create it again with a higher"),
        "{}",
        failure.message
    );
}
