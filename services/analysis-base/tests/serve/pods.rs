//! The pod of an AnalysisJob, that reads and writes data sets of the service.

use std::process::{Command, Output, Stdio};

use crds::analysis::{FailureReason, OUTPUT_MARKER, RunSummary, exit_code, paths};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Answer, Options, Server};
use crate::tokens::{GATEWAY, token, trust};

const CSV: &str = "carrier,delay\nUA,2\nB6,NA\nUA,4\n";
const READING: &str = "format=csv&options=%7B%22csv%22%3A%7B%22nullValues%22%3A%5B%22NA%22%5D%7D%7D";
const POD: &str = "system:serviceaccount:test:default";

/// A server that believes the gateway, as which requests are made, and the pods
/// of AnalysisJobs.
fn server() -> Server {
    Server::start_with(Options { trust: trust(true), token: Some(token(GATEWAY)), ..Options::default() })
}

/// A pod: a folder with all that is mounted.
struct Pod {
    root: TempDir,
}

impl Pod {
    /// One with a token of this account.
    fn of(account: &str) -> Self {
        let root = tempfile::tempdir().expect("folder");
        let tokens = root.path().join(paths::PLATFORM_TOKENS.trim_start_matches('/'));
        std::fs::create_dir_all(&tokens).expect("folder");
        std::fs::write(tokens.join("platform"), token(account)).expect("token");
        Self { root }
    }

    /// Runs a specification to its end.
    fn run(&self, server: &Server, mut specification: Value) -> (Output, RunSummary) {
        specification["platforms"] = json!({"platform": {"url": format!("http://{}", server.address())}});
        let file = self.root.path().join("specification.json");
        let message = self.root.path().join("termination-log");
        std::fs::write(&file, specification.to_string()).expect("file");
        let output = Command::new(env!("CARGO_BIN_EXE_analysis-base"))
            .arg("run")
            .arg("--specification")
            .arg(file)
            .arg("--root")
            .arg(self.root.path())
            .arg("--termination-message")
            .arg(&message)
            .env("MEMORY_LIMIT_BYTES", (256 << 20).to_string())
            .env("CPU_LIMIT", "2")
            // Where the data sets are is the operator's to say, and no client's.
            .env("PUBLIC_ADDRESSES_ONLY", "true")
            .stdin(Stdio::null())
            .output()
            .expect("run");
        let summary = std::fs::read(message).expect("summary");
        (output, serde_json::from_slice(&summary).expect("summary"))
    }

    /// The same, which has to succeed.
    fn run_well(&self, server: &Server, specification: Value) -> (Output, RunSummary) {
        let (output, summary) = self.run(server, specification);
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{}: {log}", summary.message);
        (output, summary)
    }
}

fn dataset(name: &str) -> Value {
    json!({"name": name, "platform": "platform"})
}

fn reading(dataset: Value, sql: &str) -> Value {
    json!({"sources": [{"name": "t", "dataset": dataset}], "sql": sql})
}

fn writing(format: &str, key: &str) -> Value {
    let mut specification = reading(
        dataset("flights"),
        "SELECT carrier, sum(delay) AS delay FROM t GROUP BY carrier ORDER BY carrier",
    );
    specification["output"] = json!({"format": format, "dataset": dataset("delays")});
    specification["idempotencyKey"] = json!(key);
    specification
}

#[tokio::test]
async fn a_data_set_is_read_as_was_said_when_it_was_uploaded() {
    let server = server();
    assert_eq!(server.put("flights", READING, CSV).await.status, 201);
    assert_eq!(server.put("flights", "format=jsonLines", "{\"delay\": 7}\n").await.status, 201);
    let sum = "SELECT sum(delay) AS delay FROM t";
    let (_, summary) = Pod::of(POD).run_well(&server, reading(dataset("flights"), sum));
    assert_eq!(summary.preview, "delay\n7\n", "the latest version is read");
    let mut first = dataset("flights");
    first["version"] = json!(1);
    let (_, summary) = Pod::of(POD).run_well(&server, reading(first, sum));
    assert_eq!(summary.preview, "delay\n6\n");
    assert_eq!((summary.rows_read, summary.bytes_read as usize), (3, CSV.len()));
}

#[tokio::test]
async fn a_result_becomes_one_version_however_often_it_is_tried() {
    let server = server();
    assert_eq!(server.put("flights", READING, CSV).await.status, 201);
    for attempt in 1..=3 {
        // Each attempt is a pod of its own.
        let (_, summary) = Pod::of(POD).run_well(&server, writing("parquet", "analysis-job-1"));
        assert_eq!(summary.dataset_version, Some(1), "attempt {attempt}");
        assert_eq!(summary.message, "The result has 2 rows, and is version 1 of the data set `delays`.");
        assert_eq!(summary.files[0].name, "result.parquet");
    }
    let delays = server.get("/v1/datasets/delays").await.json();
    assert_eq!((&delays["versions"], &delays["latest"]["format"]), (&json!(1), &json!("parquet")));
    let rows = server.get("/v1/datasets/delays/versions/1/preview").await.json();
    assert_eq!(rows["rows"], json!([{"carrier": "B6", "delay": null}, {"carrier": "UA", "delay": 6}]));
    // Another AnalysisJob makes another version, in a format of its own.
    let (_, summary) =
        Pod::of("system:serviceaccount:test:other").run_well(&server, writing("csv", "analysis-job-2"));
    assert_eq!(summary.dataset_version, Some(2));
    let content = server.get("/v1/datasets/delays/versions/2/content").await;
    assert_eq!(content.text(), "carrier,delay\nB6,\nUA,6\n");
    // And the key still holds when the data have changed meanwhile.
    assert_eq!(server.put("flights", READING, "carrier,delay\nUA,1\n").await.status, 201);
    let (_, summary) = Pod::of(POD).run_well(&server, writing("parquet", "analysis-job-1"));
    assert_eq!(summary.dataset_version, Some(1));
}

#[tokio::test]
async fn a_server_that_is_killed_between_two_attempts_remembers_the_version() {
    let server = server();
    assert_eq!(server.put("flights", READING, CSV).await.status, 201);
    Pod::of(POD).run_well(&server, writing("arrow", "analysis-job-1"));
    let server = server.killed_and_started();
    let (_, summary) = Pod::of(POD).run_well(&server, writing("arrow", "analysis-job-1"));
    assert_eq!(summary.dataset_version, Some(1));
    assert_eq!(server.get("/v1/datasets/delays").await.json()["versions"], 1);
}

#[tokio::test]
async fn charts_are_handed_to_the_operator_and_the_result_is_not() {
    let server = server();
    assert_eq!(server.put("flights", READING, CSV).await.status, 201);
    let mut specification = writing("parquet", "analysis-job-1");
    specification["charts"] = json!([{
        "name": "delays", "mark": "bar", "encoding": {"xAxis": {"field": "carrier"}, "yAxis": {"field": "delay"}}
    }]);
    let (output, summary) = Pod::of(POD).run_well(&server, specification);
    let text = String::from_utf8(output.stdout).expect("text");
    let parts = text.lines().filter_map(|line| line.strip_prefix(OUTPUT_MARKER));
    let mut files: Vec<String> = parts
        .map(|part| serde_json::from_str::<Value>(part).expect("part"))
        .map(|part| part["file"].as_str().expect("name").to_owned())
        .collect();
    files.sort_unstable();
    files.dedup();
    assert_eq!(files, ["delays.svg", "delays.vl.json"]);
    assert_eq!((summary.dataset_version, summary.files.len()), (Some(1), 3));
}

#[tokio::test]
async fn what_is_not_there_is_named_with_what_is() {
    let server = server();
    let failure = |dataset: Value| {
        let (output, summary) = Pod::of(POD).run(&server, reading(dataset, "SELECT 1"));
        assert_eq!(output.status.code(), Some(exit_code::PERMANENT), "{}", summary.message);
        assert_eq!(summary.failure, Some(FailureReason::SourceNotFound));
        summary.message
    };
    assert_eq!(failure(dataset("flight")), "Source `t`: there is no data set `flight`.");
    assert_eq!(server.put("flights", READING, CSV).await.status, 201);
    assert_eq!(server.put("airlines", READING, CSV).await.status, 201);
    assert_eq!(
        failure(dataset("flight")),
        "Source `t`: there is no data set `flight`. There are flights, airlines."
    );
    let mut later = dataset("flights");
    later["version"] = json!(2);
    assert_eq!(failure(later), "Source `t`: the data set `flights` has no version 2; its latest one is 1.");
}

#[tokio::test]
async fn a_result_that_the_data_set_cannot_hold_says_what_to_do() {
    let server = server();
    assert_eq!(server.put("flights", READING, CSV).await.status, 201);
    let mut nothing = writing("jsonLines", "analysis-job-1");
    nothing["sql"] = json!("SELECT * FROM t WHERE delay > 100");
    let (output, summary) = Pod::of(POD).run(&server, nothing);
    assert_eq!(output.status.code(), Some(exit_code::PERMANENT), "{}", summary.message);
    assert_eq!(summary.failure, Some(FailureReason::InvalidSpecification));
    assert!(summary.message.contains("`format: parquet`"), "{}", summary.message);
    server.get("/v1/datasets/delays").await.problem(404);
}

#[tokio::test]
async fn accounts_of_other_namespaces_are_not_believed_and_may_try_again() {
    let server = server();
    assert_eq!(server.put("flights", READING, CSV).await.status, 201);
    let stranger = Pod::of("system:serviceaccount:elsewhere:default");
    let (output, summary) = stranger.run(&server, reading(dataset("flights"), "SELECT 1"));
    assert_eq!(output.status.code(), Some(exit_code::TEMPORARY), "{}", summary.message);
    assert_eq!(summary.failure, Some(FailureReason::SourceUnavailable));
    assert!(summary.message.contains("does not let the pod in (403"), "{}", summary.message);

    let closed = Server::start_with(Options { trust: trust(false), ..Options::default() });
    let asked = closed.request_without_token("GET", "/v1/datasets").bearer_auth(token(POD));
    Answer::of(asked).await.problem(403);
}

#[tokio::test]
async fn a_pod_may_use_data_sets_and_nothing_else() {
    let server = server();
    assert_eq!(server.put("flights", READING, CSV).await.status, 201);
    let pod = |method: &str, path: &str| server.request_without_token(method, path).bearer_auth(token(POD));
    for path in
        ["/v1/datasets", "/v1/datasets/flights/versions/1", "/v1/datasets/flights/versions/latest/content"]
    {
        assert_eq!(Answer::of(pod("GET", path)).await.status, 200, "{path}");
    }
    for (method, path) in [
        ("DELETE", "/v1/datasets/flights"),
        ("DELETE", "/v1/datasets/flights/versions/1"),
        ("GET", "/v1/datasets/flights/versions/1/statistics"),
        ("POST", "/v1/uploads"),
        ("GET", "/v1/analyses"),
        ("POST", "/v1/analyses"),
        ("DELETE", "/v1/analyses/x"),
    ] {
        let detail = Answer::of(pod(method, path)).await.problem(403);
        assert!(detail.contains("AnalysisJob"), "{method} {path}: {detail}");
    }
    assert_eq!(server.get("/v1/datasets/flights").await.json()["versions"], 1);
}

#[tokio::test]
async fn a_pod_cannot_speak_for_a_client_of_the_gateway() {
    let server = server();
    let upload = |request: reqwest::RequestBuilder| {
        request.header("aisaas-principal", "mia").header("idempotency-key", "one").body(CSV)
    };
    let path = "/v1/datasets/d?format=csv";
    assert_eq!(Answer::of(upload(server.request("PUT", path))).await.json()["version"], 1);
    // A repetition of the client's is answered with what there is; one of a pod
    // is a request of its own.
    assert_eq!(Answer::of(upload(server.request("PUT", path))).await.json()["version"], 1);
    let pod = || server.request_without_token("PUT", path).bearer_auth(token(POD));
    assert_eq!(Answer::of(upload(pod())).await.json()["version"], 2);
    assert_eq!(Answer::of(upload(pod())).await.json()["version"], 2);
}
