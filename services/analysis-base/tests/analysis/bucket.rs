//! An S3-compatible store in memory, as far as these tests need one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crds::analysis::FailureReason;
use serde_json::json;

use crate::bench::Bench;
use crate::formats::written;

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    requests: Vec<String>,
    refuse: bool,
    /// How often an object was read.
    reads: usize,
    /// Reads after which access is refused.
    refuses_after: Option<usize>,
    /// Reads after which objects are others.
    changes_after: Option<usize>,
    keeps_conditions: bool,
}

#[derive(Clone)]
struct Store {
    endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Store {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let endpoint = format!("http://{}", listener.local_addr().expect("address"));
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || while serve(&stream, &state).is_some() {});
            }
        });
        Self { endpoint, state }
    }

    fn put(&self, key: &str, content: &[u8]) {
        self.state.lock().expect("state").objects.insert(format!("/lake/{key}"), content.to_vec());
    }

    fn get(&self, key: &str) -> Vec<u8> {
        self.state.lock().expect("state").objects[&format!("/lake/{key}")].clone()
    }
}

/// Answers one request; `None` at the end of the connection.
fn serve(stream: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request).ok().filter(|read| *read > 0)?;
    let (mut length, mut range, mut condition, mut signed) = (0, None, None, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().ok()?;
        }
        if let Some(value) = line.strip_prefix("range: bytes=") {
            let (start, end) = value.split_once('-')?;
            range = Some((start.parse::<usize>().ok(), end.parse::<usize>().ok()));
        }
        if let Some(value) = line.strip_prefix("if-match: ") {
            condition = Some(value.to_owned());
        }
        signed |= line.starts_with("authorization: aws4-hmac-sha256 credential=key/");
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut words = request.split_whitespace();
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut state = state.lock().ok()?;
    let total = state.objects.get(path).map_or(0, Vec::len);
    let range = range.map(|range| match range {
        (Some(start), end) => start..end.map_or(total, |end| (end + 1).min(total)),
        (None, end) => total - end.unwrap_or(0).min(total)..total,
    });
    state.requests.push(format!("{method} {target} signed={signed}"));
    if method == "GET" && state.objects.contains_key(path) {
        state.reads += 1;
    }
    let is_over = |limit: Option<usize>| limit.is_some_and(|limit| state.reads > limit);
    let tag = if is_over(state.changes_after) { "\"2\"" } else { "\"1\"" };
    let (status, content) = if state.refuse || is_over(state.refuses_after) {
        ("403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>".to_vec())
    } else if state.keeps_conditions && condition.is_some_and(|condition| condition != tag) {
        ("412 Precondition Failed", Vec::new())
    } else {
        respond(&mut state, method, path, query, range.clone(), body)
    };
    let size = if method == "HEAD" { state.objects.get(path).map_or(0, Vec::len) } else { content.len() };
    let mut head = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {size}\r\netag: {tag}\r\nlast-modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
    );
    if let (Some(range), true) = (range, status.starts_with("206")) {
        head.push_str(&format!("content-range: bytes {}-{}/{total}\r\n", range.start, range.end - 1));
    }
    head.push_str("\r\n");
    let mut stream = stream;
    stream.write_all(head.as_bytes()).ok()?;
    if method != "HEAD" {
        stream.write_all(&content).ok()?;
    }
    Some(())
}

fn respond(
    state: &mut State,
    method: &str,
    path: &str,
    query: &str,
    range: Option<std::ops::Range<usize>>,
    body: Vec<u8>,
) -> (&'static str, Vec<u8>) {
    let part =
        query.split('&').find_map(|pair| pair.strip_prefix("partNumber=")).and_then(|part| part.parse().ok());
    match (method, part) {
        ("POST", _) if query.starts_with("uploads") => {
            state.uploads.insert(path.to_owned(), BTreeMap::new());
            (
                "200 OK",
                b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
                    .to_vec(),
            )
        }
        ("PUT", Some(part)) => {
            state.uploads.entry(path.to_owned()).or_default().insert(part, body);
            ("200 OK", Vec::new())
        }
        ("POST", _) => {
            let parts = state.uploads.remove(path).unwrap_or_default();
            state.objects.insert(path.to_owned(), parts.into_values().flatten().collect());
            (
                "200 OK",
                b"<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>".to_vec(),
            )
        }
        ("DELETE", _) => {
            state.uploads.remove(path);
            ("204 No Content", Vec::new())
        }
        ("PUT", None) => {
            state.objects.insert(path.to_owned(), body);
            ("200 OK", Vec::new())
        }
        ("GET", _) if query.contains("list-type=2") => ("200 OK", listing(state, query).into_bytes()),
        _ => match (state.objects.get(path), range) {
            (None, _) => ("404 Not Found", Vec::new()),
            (Some(content), None) => ("200 OK", content.clone()),
            (Some(content), Some(range)) => ("206 Partial Content", content[range].to_vec()),
        },
    }
}

fn listing(state: &State, query: &str) -> String {
    let prefix =
        query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or("").replace("%2F", "/");
    let entries: String = state
        .objects
        .iter()
        .filter_map(|(path, content)| Some((path.strip_prefix("/lake/")?, content)))
        .filter(|(key, _)| key.starts_with(&prefix))
        .map(|(key, content)| {
            format!("<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><Size>{}</Size></Contents>", content.len())
        })
        .collect();
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>")
}

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
