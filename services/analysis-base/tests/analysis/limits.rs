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

#[tokio::test]
async fn columns_without_end_are_refused() {
    let bench = Bench::new();
    let names: Vec<String> = (0..1_000_000).map(|number| format!("c{number}")).collect();
    bench.put("t.csv", names.join(","));
    let keys: Vec<String> = (0..20_000).map(|number| format!("\"k{number}\": 1")).collect();
    bench.put("t.jsonl", format!("{{{}}}\n", keys.join(", ")));
    let cases = [
        (
            "csv",
            "t.csv",
            "Source `t`, t.csv line 1: there are 1000000 columns, and at most 10000 can be read. Check \
             `csv.delimiter`, and whether line breaks are missing.",
        ),
        (
            "jsonLines",
            "t.jsonl",
            "Source `t`, t.jsonl: its rows have 20000 different keys, and at most 10000 columns can be read. Write \
             keys that change from row to row as values.",
        ),
    ];
    for (format, path, message) in cases {
        let source = json!({"name": "t", "format": format, "persistentVolumeClaim": {"claimName": "data", "path": path}});
        let failure = bench.failure(json!({"sources": [source], "sql": "SELECT 1"})).await;
        assert_eq!((failure.reason, failure.message.as_str()), (FailureReason::InvalidData, message));
    }
}
