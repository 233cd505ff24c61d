//! The program itself: exit codes, the summary, the log, signals.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use analysis_base::environment::ENGINE_STACK_BYTES;
use base64::Engine as _;
use crds::analysis::{FailureReason, OUTPUT_MARKER, OutputPart, RunSummary, exit_code};
use serde_json::{Value, json};

use crate::bench::Bench;

fn start(bench: &Bench, specification: &Value, memory_bytes: u64) -> Child {
    command(bench, specification, memory_bytes).spawn().expect("start")
}

fn command(bench: &Bench, specification: &Value, memory_bytes: u64) -> Command {
    let file = bench.root().join("specification.json");
    std::fs::write(&file, specification.to_string()).expect("file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_analysis-base"));
    command
        .arg("run")
        .arg("--specification")
        .arg(file)
        .arg("--root")
        .arg(bench.root())
        .arg("--termination-message")
        .arg(summary_path(bench.root()))
        .env("MEMORY_LIMIT_BYTES", memory_bytes.to_string())
        .env("CPU_LIMIT", "2")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn summary_path(root: &Path) -> std::path::PathBuf {
    root.join("termination-log")
}

fn end(bench: &Bench, child: Child) -> (Output, RunSummary) {
    let output = child.wait_with_output().expect("end");
    let summary = std::fs::read(summary_path(bench.root())).expect("summary");
    assert!(summary.len() <= 4096);
    (output, serde_json::from_slice(&summary).expect("summary"))
}

fn specification(sql: &str) -> Value {
    json!({"sources": [{"name": "t", "format": "csv", "inline": "a,b\n1,x\n2,y\n"}], "sql": sql})
}

#[test]
fn a_config_map_result_is_on_standard_output() {
    let bench = Bench::new();
    let mut specification = specification("SELECT a, repeat(b, 6000) AS b FROM t");
    specification["output"] = json!({"format": "csv", "configMap": {}});
    let (output, summary) = end(&bench, start(&bench, &specification, 256 << 20));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let mut content = Vec::new();
    for (index, line) in String::from_utf8(output.stdout).expect("text").lines().enumerate() {
        assert!(line.len() < 16 << 10);
        let part: OutputPart =
            serde_json::from_str(line.strip_prefix(OUTPUT_MARKER).expect("marker")).expect("part");
        assert_eq!((part.file.as_str(), part.part as usize, part.parts), ("result.csv", index, 2));
        content.extend(base64::engine::general_purpose::STANDARD.decode(part.data).expect("base64"));
    }
    let expected = format!("a,b\n1,{}\n2,{}\n", "x".repeat(6000), "y".repeat(6000));
    assert_eq!(String::from_utf8(content).expect("text"), expected);
    assert_eq!(summary.failure, None);
    assert_eq!((summary.rows_read, summary.rows_written), (2, 2));
    assert_eq!(summary.files[0].bytes as usize, expected.len());
    assert!(summary.peak_memory_bytes > 0 && summary.preview.len() <= 1024);
    // Every line of the log is JSON.
    for line in String::from_utf8(output.stderr).expect("text").lines() {
        serde_json::from_str::<Value>(line).expect("a log line is JSON");
    }
    assert_eq!(std::fs::read_dir(&bench.environment.folders.temporary).expect("folder").count(), 0);
}

#[test]
fn exit_codes_tell_what_may_be_tried_again() {
    let bench = Bench::new();
    let (output, summary) = end(&bench, start(&bench, &specification("SELECT nope FROM t"), 256 << 20));
    assert_eq!(output.status.code(), Some(exit_code::PERMANENT));
    assert_eq!(summary.failure, Some(FailureReason::InvalidQuery));

    let mut unavailable = specification("SELECT 1");
    unavailable["sources"] =
        json!([{"name": "t", "format": "csv", "uri": {"url": "http://127.0.0.1:9/t.csv"}}]);
    let (output, summary) = end(&bench, start(&bench, &unavailable, 256 << 20));
    assert_eq!(output.status.code(), Some(exit_code::TEMPORARY));
    assert_eq!(summary.failure, Some(FailureReason::SourceUnavailable));
}

#[test]
fn queries_without_end_stop_within_a_second() {
    let endless = [
        "SELECT count(*) FROM generate_series(1, 1000000000000000)",
        "SELECT sum(a.value * b.value % 7) FROM generate_series(1, 10000000) a, generate_series(1, 10000000) b",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r",
    ];
    for sql in endless {
        let bench = Bench::new();
        let child = start(&bench, &specification(sql), 512 << 20);
        std::thread::sleep(Duration::from_millis(400));
        Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().expect("kill");
        let told = Instant::now();
        let (output, summary) = end(&bench, child);
        assert!(told.elapsed() < Duration::from_millis(1500), "{sql}: {:?}", told.elapsed());
        assert_eq!(summary.failure, Some(FailureReason::Interrupted), "{sql}: {}", summary.message);
        assert_eq!(output.status.code(), Some(exit_code::TEMPORARY));
    }
}

#[test]
fn a_small_container_is_not_killed() {
    let greedy = [
        "SELECT array_agg(repeat('x', 10000) || value) AS x FROM generate_series(1, 1000000)",
        "SELECT count(*) FROM (SELECT DISTINCT repeat('x', 1000) || value AS x FROM generate_series(1, 3000000)) d \
         JOIN (SELECT repeat('x', 1000) || value AS y FROM generate_series(1, 3000000)) e ON x < y",
        "SELECT string_agg(repeat('x', 100000), '') AS x FROM generate_series(1, 100000)",
        "SELECT char_length(repeat('x', 1000000000)) AS n FROM generate_series(1, 10)",
    ];
    for sql in greedy {
        let bench = Bench::new();
        let limit = 160 << 20;
        let (output, summary) = end(&bench, start(&bench, &specification(sql), limit));
        assert_eq!(summary.failure, Some(FailureReason::MemoryExhausted), "{sql}: {}", summary.message);
        assert_eq!(output.status.code(), Some(exit_code::PERMANENT), "{sql}");
    }
}

#[test]
fn a_deeply_nested_query_ends_with_a_summary() {
    let bench = Bench::new();
    // A quarter of the longest text, on a quarter of the stack: the stack that is
    // needed grows with the depth, and the time with its square.
    let sql = format!("SELECT {} FROM t", vec!["a"; 2_000].join("+"));
    let mut command = command(&bench, &specification(&sql), 1 << 30);
    command.env("ENGINE_STACK_BYTES", (ENGINE_STACK_BYTES / 4).to_string());
    let (output, summary) = end(&bench, command.spawn().expect("start"));
    assert!(matches!(output.status.code(), Some(0 | 65)), "{output:?}");
    assert!(summary.failure.is_none_or(|failure| !failure.is_retryable()), "{}", summary.message);
}

#[test]
fn a_result_that_csv_cannot_hold_has_no_preview() {
    let bench = Bench::new();
    let mut specification = specification("SELECT map([a], [b]) AS m FROM t");
    specification["output"] =
        json!({"format": "parquet", "persistentVolumeClaim": {"claimName": "data", "path": "out"}});
    let (output, summary) = end(&bench, start(&bench, &specification, 256 << 20));
    assert_eq!(output.status.code(), Some(0), "{}", summary.message);
    assert_eq!((summary.rows_written, summary.preview.as_str()), (2, ""));
    assert!(bench.output("result.parquet").is_file());
    // What is lost is logged.
    let log = String::from_utf8(output.stderr).expect("text");
    assert!(log.contains("the summary has no preview of the result"), "{log}");
}

#[test]
fn a_process_that_aborts_has_said_what_it_was_doing() {
    let bench = Bench::new();
    bench.put("endless.arrow", include_bytes!("../../../../tests/data/endless.arrow"));
    let place = json!({"claimName": "data", "path": "endless.arrow"});
    let source = json!({"name": "t", "format": "arrow", "persistentVolumeClaim": place});
    let specification = json!({"sources": [source], "sql": "SELECT sum(n) FROM t"});
    let (output, summary) = end(&bench, start(&bench, &specification, 256 << 20));
    let signal = std::os::unix::process::ExitStatusExt::signal(&output.status).expect("signal");
    assert!(exit_code::ABORTED.contains(&(128 + signal)), "{signal}");
    assert_eq!(summary.failure, Some(FailureReason::Aborted));
    assert!(summary.message.contains("while it ran the query over `t`."), "{}", summary.message);
}
