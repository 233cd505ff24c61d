//! Sources and results in an S3-compatible store.

use crds::analysis::FailureReason;
use serde_json::json;

use crate::bench::Bench;
use crate::formats::written;
use crate::store::Store;

fn bench() -> Bench {
    let bench = Bench::new();
    bench.put_secret("s3", "AWS_ACCESS_KEY_ID", "key");
    bench.put_secret("s3", "AWS_SECRET_ACCESS_KEY", "secret\n");
    bench
}

#[tokio::test]
async fn a_prefix_is_read_without_credentials() {
    let store = Store::start();
    store.put("days/1.csv", b"a\n1\n");
    store.put("days/2.csv", b"a\n2\n");
    store.put("days/readme.md", b"no");
    let uri = json!({"url": "s3://lake/days/", "endpoint": store.endpoint});
    let run = Bench::new()
        .run(
            json!({"sources": [{"name": "t", "format": "csv", "uri": uri}], "sql": "SELECT sum(a) s FROM t"}),
        )
        .await
        .expect("run");
    assert_eq!(run.outcome.preview, "s\n3\n");
    assert_eq!((run.rows_read, run.bytes_read), (2, 8));
    assert!(
        store.state.lock().expect("state").requests.iter().all(|request| request.ends_with("signed=false"))
    );
}

#[tokio::test]
async fn every_format_goes_to_a_bucket_and_back() {
    for (format, file) in [("csv", "result.csv"), ("parquet", "result.parquet"), ("arrow", "result.arrow")] {
        let store = Store::start();
        let bench = bench();
        let rows = "SELECT value AS v, 'x' AS x FROM generate_series(1, 100000)";
        let output =
            json!({"url": "s3://lake/out/put", "endpoint": store.endpoint, "secret": {"name": "s3"}});
        let source = json!({"name": "t", "format": "csv", "inline": "a\n1\n"});
        bench
            .run(json!({"sources": [source], "sql": rows, "output": {"format": format, "s3": output}}))
            .await
            .expect("run");
        assert!(!store.get(&format!("out/put/{file}")).is_empty());
        assert!(
            store
                .state
                .lock()
                .expect("state")
                .requests
                .iter()
                .all(|request| request.ends_with("signed=true"))
        );

        let uri = json!({"url": format!("s3://lake/out/put/{file}"), "endpoint": store.endpoint, "secret": {"name": "s3"}});
        let source = json!({"name": "t", "format": format, "uri": uri});
        assert_eq!(
            bench.preview(source, "SELECT count(*) n, sum(v) s FROM t").await,
            "n,s\n100000,5000050000\n",
            "{format}"
        );
    }
}

#[tokio::test]
async fn large_results_go_up_in_parts_and_failures_take_them_back() {
    let store = Store::start();
    let bench = bench();
    let output = json!({"format": "csv", "s3": {"url": "s3://lake/out", "endpoint": store.endpoint, "secret": {"name": "s3"}}});
    let source = json!({"name": "t", "format": "csv", "inline": "a\n1\n"});
    let sql = "SELECT value, repeat('x', 1000) AS x FROM generate_series(1, 20000)";
    let run = bench.run(json!({"sources": [source], "sql": sql, "output": output})).await.expect("run");
    assert_eq!(store.get("out/result.csv").len() as i64, run.outcome.files[0].bytes);
    assert!(run.outcome.files[0].bytes > 12 << 20);

    let sql = "SELECT 1000 / (15000 - value) AS y, repeat('x', 2000) AS x FROM generate_series(1, 20000)";
    let failure = bench.failure(json!({"sources": [source], "sql": sql, "output": output})).await;
    assert_eq!(failure.reason, FailureReason::QueryFailed);
    assert!(store.state.lock().expect("state").uploads.is_empty(), "the upload was taken back");
}

#[tokio::test]
async fn refusals_and_missing_keys() {
    let store = Store::start();
    let bench = bench();
    let uri = json!({"url": "s3://lake/nope.csv", "endpoint": store.endpoint, "secret": {"name": "s3"}});
    let specification =
        |uri| json!({"sources": [{"name": "t", "format": "csv", "uri": uri}], "sql": "SELECT 1"});
    let failure = bench.failure(specification(uri.clone())).await;
    assert_eq!(failure.reason, FailureReason::SourceNotFound, "{}", failure.message);

    store.state.lock().expect("state").refuse = true;
    let failure = bench.failure(specification(uri)).await;
    assert_eq!(failure.reason, FailureReason::AccessDenied, "{}", failure.message);

    let uri = json!({"url": "s3://lake/nope.csv", "endpoint": store.endpoint, "secret": {"name": "other"}});
    let failure = bench.failure(specification(uri)).await;
    assert_eq!(
        (failure.reason, failure.message.as_str()),
        (FailureReason::AccessDenied, "Secret `other` has no key `AWS_ACCESS_KEY_ID`.")
    );
}

#[tokio::test]
async fn nothing_new_is_visible_before_everything_has_succeeded() {
    let store = Store::start();
    store.put("out/result.csv", b"old\n");
    let bench = bench();
    let output = json!({"format": "csv", "s3": {"url": "s3://lake/out", "endpoint": store.endpoint, "secret": {"name": "s3"}}});
    let specification = |y: &str| {
        let encoding = json!({"xAxis": {"field": "a"}, "yAxis": {"field": y, "type": "quantitative"}});
        json!({"sources": [{"name": "t", "format": "csv", "inline": "a\n1\n"}],
            "sql": "SELECT a, repeat('x', 1000) AS x FROM t, generate_series(1, 10000)",
            "charts": [{"name": "c", "mark": "point", "encoding": encoding}], "output": output})
    };
    // The result goes up in parts before the chart fails, which shows text as numbers.
    let failure = bench.failure(specification("x")).await;
    assert_eq!(failure.reason, FailureReason::InvalidChart, "{}", failure.message);
    assert_eq!(store.get("out/result.csv"), b"old\n");
    assert!(store.state.lock().expect("state").uploads.is_empty(), "the upload was taken back");

    bench.run(specification("a")).await.expect("run");
    assert!(store.get("out/result.csv").len() > 10_000_000);
    let requests = std::mem::take(&mut store.state.lock().expect("state").requests);
    let place = |start: &str| requests.iter().rposition(|request| request.starts_with(start)).expect(start);
    // The result is complete when its upload is, after the charts.
    let complete = place("POST /lake/out/result.csv?uploadId=");
    assert!(
        complete > place("PUT /lake/out/c.svg") && complete > place("PUT /lake/out/c.vl.json"),
        "{requests:?}"
    );
}

#[tokio::test]
async fn a_refused_result_is_not_tried_again() {
    let store = Store::start();
    store.state.lock().expect("state").refuse = true;
    let output = json!({"format": "csv", "s3": {"url": "s3://lake/out", "endpoint": store.endpoint, "secret": {"name": "s3"}}});
    let source = json!({"name": "t", "format": "csv", "inline": "a\n1\n"});
    let specification = json!({"sources": [source], "sql": "SELECT * FROM t", "output": output});
    let failure = bench().failure(specification).await;
    assert_eq!(
        (failure.reason, failure.message.as_str()),
        (
            FailureReason::AccessDenied,
            "Writing to `s3://lake/out` was refused. Check the credentials in the Secret and what they may do."
        )
    );
}

/// Too much for the values to come along with the footer.
const MANY_ROWS: &str = "SELECT value * value % 1000003 AS a FROM generate_series(1, 200000)";

fn parquet_source(store: &Store, bucket: &str, name: &str) -> serde_json::Value {
    let uri = json!({"url": format!("s3://{bucket}/t.parquet"), "endpoint": store.endpoint});
    json!({"name": name, "format": "parquet", "uri": uri})
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read() {
    // Some stores refuse to read what has changed, others only tell by the tag.
    for keeps_conditions in [true, false] {
        let store = Store::start();
        // Two blocks.
        store.put("t.csv", format!("a\n{}", "1\n".repeat(3 << 20)).as_bytes());
        store.put("t.parquet", &written("parquet", MANY_ROWS).await);
        let csv = json!({"name": "t", "format": "csv", "uri": {"url": "s3://lake/t.csv", "endpoint": store.endpoint}});
        for (source, name) in [(parquet_source(&store, "lake", "t"), "t.parquet"), (csv, "t.csv")] {
            if let Ok(mut state) = store.state.lock() {
                (state.reads, state.changes_after, state.keeps_conditions) = (0, Some(1), keeps_conditions);
            }
            let specification = json!({"sources": [source], "sql": "SELECT sum(a) s FROM t"});
            let failure = Bench::new().failure(specification).await;
            let message = format!(
                "Reading source `t` (s3://lake/{name}) failed: the file changed while it was read. Run the analysis \
                 when nothing writes to the file."
            );
            assert_eq!((failure.reason, failure.message), (FailureReason::SourceUnavailable, message));
        }
    }
}

#[tokio::test]
async fn a_columnar_source_is_named_when_it_cannot_be_read() {
    let store = Store::start();
    store.put("t.parquet", &written("parquet", MANY_ROWS).await);
    // At its footer, and at its values.
    for reads in [0, 1] {
        if let Ok(mut state) = store.state.lock() {
            (state.reads, state.refuses_after) = (0, Some(reads));
        }
        let source = parquet_source(&store, "lake", "t");
        let specification = json!({"sources": [source], "sql": "SELECT sum(a) s FROM t"});
        let failure = Bench::new().failure(specification).await;
        assert_eq!(failure.reason, FailureReason::AccessDenied);
        assert_eq!(
            failure.message,
            "Reading source `t` (s3://lake/t.parquet) failed: access to `t.parquet` was refused. Check the credentials \
             in the Secret.",
            "{reads}"
        );
    }
}

#[tokio::test]
async fn files_of_one_name_in_two_buckets() {
    let store = Store::start();
    let one = written("parquet", "SELECT 1 AS v").await;
    let two = written("parquet", "SELECT 2 AS v").await;
    // So alike that only the bucket tells them apart.
    assert_eq!(one.len(), two.len());
    if let Ok(mut state) = store.state.lock() {
        state.objects.extend([("/lake/t.parquet".to_owned(), one), ("/pond/t.parquet".to_owned(), two)]);
    }
    let sources = [parquet_source(&store, "lake", "a"), parquet_source(&store, "pond", "b")];
    let sql = "SELECT (SELECT count(*) FROM a WHERE v = 1) AS x, (SELECT count(*) FROM b WHERE v = 2) AS y";
    let run = Bench::new().run(json!({"sources": sources, "sql": sql})).await.expect("run");
    assert_eq!(run.outcome.preview, "x,y\n1,1\n");
}
