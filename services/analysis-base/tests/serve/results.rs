//! Results and charts in all of their formats.

use std::io::Cursor;

use bytes::Bytes;
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::arrow::ipc::reader::FileReader;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::server::{Answer, Server, query};

/// Runs the analysis; gives its address.
async fn run(server: &Server, analysis: &Value) -> String {
    let answer = server.post("/v1/analyses", analysis).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("content-location")
}

async fn accepted(server: &Server, path: &str, media_type: &str) -> Answer {
    let answer = Answer::of(server.request("GET", path).header("accept", media_type)).await;
    if answer.status == 200 {
        assert_eq!(answer.header("content-type"), media_type);
        assert_eq!(answer.header("vary"), "accept");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    answer
}

#[tokio::test]
async fn a_result_has_pages() {
    let server = Server::start();
    let address = run(&server, &query("SELECT value AS n FROM generate_series(1, 25000)")).await;
    let page = server.get(&format!("{address}/result?offset=24999&limit=10")).await.json();
    assert_eq!(page["rows"], json!([{"n": 25_000}]));
    assert_eq!((&page["offset"], &page["total"]), (&json!(24_999), &json!(25_000)));
    let rows = |page: &Value| page["rows"].as_array().map(Vec::len);
    assert_eq!(rows(&server.get(&format!("{address}/result")).await.json()), Some(1000));
    assert_eq!(rows(&server.get(&format!("{address}/result?limit=10000")).await.json()), Some(10_000));
    assert_eq!(rows(&server.get(&format!("{address}/result?offset=25000")).await.json()), Some(0));
    assert_eq!(rows(&server.get(&format!("{address}/result?limit=0")).await.json()), Some(0));
    server.get(&format!("{address}/result?limit=10001")).await.problem(400);
    server.get(&format!("{address}/result?offset=-1")).await.problem(400);
}

#[tokio::test]
async fn a_result_is_given_in_every_format() {
    let server = Server::start();
    let address = run(&server, &query("SELECT a, b, [a, a] AS list FROM t ORDER BY a")).await;
    let path = format!("{address}/result");

    let page = accepted(&server, &path, "application/json").await.json();
    assert_eq!(page["rows"][0], json!({"a": 1, "b": "x", "list": [1, 1]}));
    assert_eq!(page["columns"][2], json!({"name": "list", "type": "list"}));

    let csv = accepted(&server, &path, "text/csv").await;
    assert_eq!(csv.text(), "a,b,list\n1,x,\"[1,1]\"\n2,y,\"[2,2]\"\n");
    assert!(csv.header("content-disposition").ends_with("-result.csv\""));
    let part = accepted(&server, &format!("{path}?offset=1&limit=1"), "text/csv").await;
    assert_eq!(part.text(), "a,b,list\n2,y,\"[2,2]\"\n");

    let lines = accepted(&server, &path, "application/x-ndjson").await.text();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    assert_eq!(lines, [json!({"a": 1, "b": "x", "list": [1, 1]}), json!({"a": 2, "b": "y", "list": [2, 2]})]);

    let parquet = accepted(&server, &path, "application/vnd.apache.parquet").await;
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(parquet.body)).expect("parquet");
    let batches: Vec<RecordBatch> =
        reader.build().expect("reader").map(|batch| batch.expect("batch")).collect();
    assert_eq!(numbers(&batches), [1, 2]);
    let partly = Answer::of(
        server.request("GET", &format!("{path}?limit=1")).header("accept", "application/vnd.apache.parquet"),
    );
    partly.await.problem(400);

    let arrow = accepted(&server, &path, "application/vnd.apache.arrow.file").await;
    let reader = FileReader::try_new(Cursor::new(arrow.body), None).expect("arrow");
    let batches: Vec<RecordBatch> = reader.map(|batch| batch.expect("batch")).collect();
    assert_eq!(numbers(&batches), [1, 2]);

    let none = accepted(&server, &path, "application/xml").await;
    assert!(none.problem(406).contains("text/csv"));
}

fn numbers(batches: &[RecordBatch]) -> Vec<i64> {
    batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

#[tokio::test]
async fn numbers_lose_no_digits() {
    let server = Server::start();
    let sql = "SELECT 9007199254740993 AS large, 1 AS small, CAST('12345678901234567.89' AS DECIMAL(38, 2)) AS money, \
               CAST('0.1' AS DECIMAL(38, 10)) AS cents, CAST('NaN' AS DOUBLE) AS nothing";
    let address = run(&server, &query(sql)).await;
    let page = server.get(&format!("{address}/result")).await.json();
    assert_eq!(
        page["rows"][0],
        json!({
            "large": "9007199254740993",
            "small": 1,
            "money": "12345678901234567.89",
            "cents": 0.1,
            "nothing": null
        })
    );
}

#[tokio::test]
async fn a_large_result_is_given_as_a_whole() {
    let server = Server::start();
    let sql = "SELECT value AS n, repeat('x', 200) AS padding, 'y' AS b FROM generate_series(1, 500000)";
    let address = run(&server, &query(sql)).await;
    let path = format!("{address}/result");
    let csv = accepted(&server, &path, "text/csv").await.text();
    assert_eq!(csv.lines().count(), 500_001);
    assert!(csv.ends_with(&format!("500000,{},y\n", "x".repeat(200))));
    let lines = accepted(&server, &format!("{path}?offset=400000"), "application/x-ndjson").await.text();
    assert_eq!(lines.lines().count(), 100_000);
    assert!(lines.starts_with("{\"n\":400001,"));
    // A page ends when it is large enough.
    let page = server.get(&format!("{path}?limit=10000")).await;
    assert!(page.body.len() < 24 << 20);
    needs_little_memory(&server);
}

/// What the server itself had in memory at most.
fn needs_little_memory(server: &Server) {
    let memory = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("status");
    let resident = memory.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("memory");
    let kibibytes: u64 = resident.trim().trim_end_matches(" kB").parse().expect("number");
    assert!(kibibytes < 200 << 10, "{resident}");
}

#[tokio::test]
async fn large_rows_are_read_one_by_one() {
    let server = Server::start();
    // Small ones before them, so that a row is small on average.
    let sql = "SELECT repeat('x', CASE WHEN value > 5000 THEN 4000000 ELSE 1 END) AS a \
               FROM generate_series(1, 5012)";
    let address = run(&server, &query(sql)).await;
    let path = format!("{address}/result");
    let page = server.get(&format!("{path}?offset=5000&limit=12")).await.json();
    assert!(
        matches!(page["rows"].as_array().map(Vec::len), Some(1..=3)),
        "a page ends when it is large enough"
    );
    let csv = accepted(&server, &path, "text/csv").await;
    assert_eq!(csv.body.len(), 2 + 5000 * 2 + 12 * 4_000_001);
    needs_little_memory(&server);
}

#[tokio::test]
async fn a_row_that_is_too_large_is_given_as_it_is_stored() {
    let server = Server::start();
    let answer = server.post("/v1/analyses", &query("SELECT range(0, 1000000) AS numbers")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json().get("result"), None::<&Value>);
    let path = format!("{}/result", answer.header("content-location"));
    for media_type in ["application/json", "text/csv"] {
        let detail = accepted(&server, &path, media_type).await.problem(422);
        assert!(detail.contains("application/vnd.apache.parquet"), "{detail}");
    }
    assert_eq!(accepted(&server, &path, "application/vnd.apache.parquet").await.status, 200);
    needs_little_memory(&server);
}

#[tokio::test]
async fn clients_that_stop_reading_do_not_keep_others_from_their_results() {
    let server = Server::start();
    // More than all buffers on the way hold.
    let sql = "SELECT value AS n, repeat('x', 200) AS padding FROM generate_series(1, 150000)";
    let address = run(&server, &query(sql)).await;
    let path = format!("{address}/result");
    let mut silent = Vec::new();
    for _ in 0..4 {
        let begun = server.request("GET", &path).header("accept", "text/csv").send().await.expect("answer");
        assert_eq!(begun.status(), 200);
        silent.push(begun);
    }
    let other = accepted(&server, &path, "text/csv").await;
    assert_eq!(other.status, 200, "{}", other.text());
    assert_eq!(other.text().lines().count(), 150_001);
    let mut ended = 0;
    for answer in silent {
        ended += u32::from(answer.bytes().await.is_err());
    }
    assert!(ended > 0, "none of those that did not read was broken off");
}

#[tokio::test]
async fn an_empty_result_has_columns() {
    let server = Server::start();
    let address = run(&server, &query("SELECT a, b FROM t WHERE a > 9")).await;
    let path = format!("{address}/result");
    let page = server.get(&path).await.json();
    assert_eq!((&page["rows"], &page["total"]), (&json!([]), &json!(0)));
    assert_eq!(page["columns"].as_array().map(Vec::len), Some(2));
    assert_eq!(accepted(&server, &path, "text/csv").await.text(), "a,b\n");
    assert_eq!(accepted(&server, &path, "application/x-ndjson").await.text(), "");
    let arrow = accepted(&server, &path, "application/vnd.apache.arrow.file").await;
    let reader = FileReader::try_new(Cursor::new(arrow.body), None).expect("arrow");
    assert_eq!(reader.schema().fields().len(), 2);
}

#[tokio::test]
async fn a_chart_is_a_picture_or_a_specification() {
    let server = Server::start();
    let mut analysis = query("SELECT b, a FROM t");
    let encoding = json!({"xAxis": {"field": "b"}, "yAxis": {"field": "a"}});
    analysis["charts"] = json!([{"name": "bars", "mark": "bar", "title": "<script>", "encoding": encoding}]);
    let answer = server.post("/v1/analyses", &analysis).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let chart = &answer.json()["charts"][0];
    assert_eq!(chart["name"], "bars");
    let path = chart["url"].as_str().expect("address");
    let picture = accepted(&server, path, "image/svg+xml").await;
    assert!(picture.text().starts_with("<svg") || picture.text().starts_with("<?xml"));
    assert!(!picture.text().contains("<script>"));
    assert!(picture.header("content-security-policy").contains("sandbox"));
    let specification = accepted(&server, path, "application/vnd.vegalite.v6+json").await.json();
    assert_eq!(
        specification["mark"]["type"].as_str().or_else(|| specification["mark"].as_str()),
        Some("bar")
    );
    assert_eq!(accepted(&server, path, "application/json").await.status, 200);
    server.get(&path.replace("bars", "lines")).await.problem(404);
    let none = Answer::of(server.request("GET", path).header("accept", "image/png")).await;
    none.problem(406);
}
