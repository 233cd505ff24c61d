//! Results and charts of AnalysisJobs, and why there may be none.

use std::io::Cursor;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::ipc::CompressionType;
use datafusion::arrow::ipc::reader::FileReader;
use datafusion::arrow::ipc::writer::{FileWriter, IpcWriteOptions};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::analysis_jobs::{showing, spec, succeeded};
use crate::api_server::ApiServer;
use crate::server::{Answer, Server};

const FORMATS: [&str; 5] = [
    "application/json",
    "text/csv",
    "application/x-ndjson",
    "application/vnd.apache.parquet",
    "application/vnd.apache.arrow.file",
];

fn batch() -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some((1 << 53) + 1), None]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x", "y", "z"]));
    RecordBatch::try_from_iter_with_nullable([("a", numbers, true), ("b", texts, true)]).expect("batch")
}

fn parquet() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch().schema(), None).expect("writer");
    writer.write(&batch()).expect("rows");
    writer.close().expect("end");
    bytes
}

fn arrow() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = FileWriter::try_new(&mut bytes, &batch().schema()).expect("writer");
    writer.write(&batch()).expect("rows");
    writer.finish().expect("end");
    drop(writer);
    bytes
}

/// An Arrow file of a few hundred bytes that says that it has more of them than any memory.
fn endless_arrow() -> Vec<u8> {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![7; 4096]));
    let batch = RecordBatch::try_from_iter([("a", numbers)]).expect("batch");
    let options = IpcWriteOptions::default()
        .try_with_compression(Some(CompressionType::LZ4_FRAME))
        .expect("compression");
    let mut bytes = Vec::new();
    let mut writer = FileWriter::try_new_with_options(&mut bytes, &batch.schema(), options).expect("writer");
    writer.write(&batch).expect("rows");
    writer.finish().expect("end");
    drop(writer);
    // Before the data, which begin with the magic number of LZ4, is their length.
    let data = bytes.windows(4).position(|four| four == [0x04, 0x22, 0x4d, 0x18]).expect("data");
    bytes[data - 8..data].copy_from_slice(&(1_i64 << 50).to_le_bytes());
    bytes
}

/// Adds an AnalysisJob whose result is in a ConfigMap, in which it has this file.
fn add_result(api_server: &ApiServer, name: &str, format: &str, file: &str, content: &[u8]) {
    let map = format!("{name}-result");
    let output = json!({"location": format!("configmap/{map}"), "configMap": map, "files": []});
    api_server.add_job(name, spec(json!({"format": format, "configMap": {}}), &[]), succeeded(output));
    match std::str::from_utf8(content) {
        Ok(text) => api_server.add_config_map(&map, name, json!({file: text}), json!({})),
        Err(_) => {
            api_server.add_config_map(&map, name, json!({}), json!({file: STANDARD.encode(content)}));
        }
    }
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
async fn a_result_in_a_config_map_is_given_in_every_format() {
    let api_server = ApiServer::start().await;
    let csv = "a,b\n1,x\n9007199254740993,y\n,z\n";
    let lines = "{\"a\":1,\"b\":\"x\"}\n{\"a\":9007199254740993,\"b\":\"y\"}\n{\"a\":null,\"b\":\"z\"}\n";
    add_result(&api_server, "csv", "csv", "result.csv", csv.as_bytes());
    add_result(&api_server, "lines", "jsonLines", "result.jsonl", lines.as_bytes());
    add_result(&api_server, "parquet", "parquet", "result.parquet", &parquet());
    add_result(&api_server, "arrow", "arrow", "result.arrow", &arrow());
    let server = showing(&api_server);
    for (name, stored) in [("csv", 1), ("lines", 2), ("parquet", 3), ("arrow", 4)] {
        let path = format!("/v1/analysis-jobs/{name}/result");
        let [json, text, ndjson, parquet_file, arrow_file] = {
            let mut answers = Vec::new();
            for media_type in FORMATS {
                let answer = accepted(&server, &path, media_type).await;
                assert_eq!(answer.status, 200, "{name} as {media_type}: {}", answer.text());
                answers.push(answer);
            }
            <[Answer; 5]>::try_from(answers).expect("five answers")
        };
        let page = json.json();
        assert_eq!(
            page["columns"],
            json!([{"name": "a", "type": "integer"}, {"name": "b", "type": "string"}])
        );
        let rows = json!([{"a": 1, "b": "x"}, {"a": "9007199254740993", "b": "y"}, {"a": null, "b": "z"}]);
        assert_eq!((&page["rows"], &page["total"]), (&rows, &json!(3)), "{name}");
        assert_eq!(text.text(), csv, "{name}");
        let last: Value = serde_json::from_str(ndjson.text().lines().last().expect("line")).expect("JSON");
        assert_eq!(last, json!({"a": null, "b": "z"}), "{name}");
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(parquet_file.body.clone()));
        let read = reader.expect("parquet").build().expect("reader");
        assert_eq!(read.map(|batch| batch.expect("batch").num_rows()).sum::<usize>(), 3, "{name}");
        let read = FileReader::try_new(Cursor::new(arrow_file.body.clone()), None).expect("arrow");
        assert_eq!(read.map(|batch| batch.expect("batch").num_rows()).sum::<usize>(), 3, "{name}");

        // As it is stored, to the byte.
        let bytes = [csv.as_bytes().to_vec(), lines.as_bytes().to_vec(), parquet(), arrow()];
        let as_stored = [&json, &text, &ndjson, &parquet_file, &arrow_file][stored];
        assert_eq!(as_stored.body, bytes[stored - 1], "{name}");
        assert!(as_stored.header("content-disposition").contains(&format!("{name}-result.")));
    }
    let csv = "/v1/analysis-jobs/csv/result";
    assert!(accepted(&server, csv, "image/png").await.problem(406).contains("text/csv"));
}

#[tokio::test]
async fn a_part_of_a_result_is_given() {
    let api_server = ApiServer::start().await;
    let rows: String = (0..20_000).map(|number| format!("{number}\n")).collect();
    add_result(&api_server, "numbers", "csv", "result.csv", format!("n\n{rows}").as_bytes());
    add_result(&api_server, "parquet", "parquet", "result.parquet", &parquet());
    let server = showing(&api_server);
    let path = "/v1/analysis-jobs/numbers/result";
    let count = |page: &Value| page["rows"].as_array().map(Vec::len);
    let page = server.get(path).await.json();
    assert_eq!((count(&page), &page["total"]), (Some(1000), &json!(20_000)));
    let page = server.get(&format!("{path}?offset=19999&limit=5")).await.json();
    assert_eq!((&page["rows"], &page["offset"]), (&json!([{"n": 19_999}]), &json!(19_999)));
    assert_eq!(count(&server.get(&format!("{path}?limit=10000")).await.json()), Some(10_000));
    server.get(&format!("{path}?limit=10001")).await.problem(400);
    let text = accepted(&server, &format!("{path}?offset=7&limit=2"), "text/csv").await.text();
    assert_eq!(text, "n\n7\n8\n");
    let parquet = "/v1/analysis-jobs/parquet/result?limit=1";
    accepted(&server, parquet, "application/vnd.apache.parquet").await.problem(400);
    assert_eq!(count(&server.get(parquet).await.json()), Some(1));
}

#[tokio::test]
async fn a_result_that_cannot_be_read_is_given_as_it_is_stored() {
    let api_server = ApiServer::start().await;
    add_result(&api_server, "ragged", "csv", "result.csv", b"a,b\n1,2\n3\n");
    add_result(&api_server, "empty", "jsonLines", "result.jsonl", b"");
    let server = showing(&api_server);
    let path = "/v1/analysis-jobs/ragged/result";
    assert!(server.get(path).await.problem(422).contains("line 3"));
    assert_eq!(accepted(&server, path, "text/csv").await.text(), "a,b\n1,2\n3\n");
    let page = server.get("/v1/analysis-jobs/empty/result").await.json();
    assert_eq!((&page["rows"], &page["columns"], &page["total"]), (&json!([]), &json!([]), &json!(0)));
}

#[tokio::test]
async fn what_is_in_a_config_map_cannot_end_the_service() {
    let api_server = ApiServer::start().await;
    add_result(&api_server, "endless", "arrow", "result.arrow", &endless_arrow());
    add_result(&api_server, "text", "parquet", "result.parquet", b"no Parquet");
    let server = showing(&api_server);
    let pid = server.pid();
    for name in ["endless", "text"] {
        let path = format!("/v1/analysis-jobs/{name}/result");
        for media_type in ["application/json", "text/csv"] {
            let detail = accepted(&server, &path, media_type).await.problem(422);
            assert!(detail.starts_with("The result cannot be read: "), "{detail}");
        }
    }
    let stored = accepted(&server, "/v1/analysis-jobs/endless/result", "application/vnd.apache.arrow.file");
    assert_eq!(stored.await.body, endless_arrow());
    assert!(std::path::Path::new(&format!("/proc/{pid}/status")).exists());
}

#[tokio::test]
async fn charts_are_pictures_or_specifications() {
    let api_server = ApiServer::start().await;
    let output = json!({"location": "configmap/r", "configMap": "r", "files": []});
    let declared = spec(json!({"format": "csv", "configMap": {"name": "r"}}), &["bars", "lost"]);
    api_server.add_job("penguins", declared, succeeded(output));
    let files = json!({"result.csv": "a\n", "bars.svg": "<svg/>", "bars.vl.json": "{\"mark\":\"bar\"}"});
    api_server.add_config_map("r", "penguins", files, json!({}));
    let server = showing(&api_server);

    let charts = server.get("/v1/analysis-jobs/penguins/charts").await.json();
    assert_eq!(charts["items"].as_array().map(Vec::len), Some(2));
    let path = charts["items"][0]["url"].as_str().expect("address");
    assert_eq!(path, "/v1/analysis-jobs/penguins/charts/bars");
    let picture = accepted(&server, path, "image/svg+xml").await;
    assert_eq!(picture.text(), "<svg/>");
    assert!(picture.header("content-security-policy").contains("sandbox"));
    let specification = accepted(&server, path, "application/vnd.vegalite.v6+json").await;
    assert_eq!(specification.json()["mark"], "bar");
    assert_eq!(accepted(&server, path, "application/json").await.json()["mark"], "bar");
    accepted(&server, path, "image/png").await.problem(406);
    server.get("/v1/analysis-jobs/penguins/charts/lines").await.problem(404);
    assert!(server.get("/v1/analysis-jobs/penguins/charts/lost").await.problem(404).contains("lost.svg"));
}

#[tokio::test]
async fn a_result_in_a_data_set_is_redirected_to() {
    let api_server = ApiServer::start().await;
    let output = json!({"location": "dataset/birds/1", "configMap": "p-charts", "files": []});
    let dataset = json!({"format": "csv", "dataset": {"name": "birds"}});
    api_server.add_job("p", spec(dataset, &["bars"]), succeeded(output.clone()));
    api_server.add_config_map("p-charts", "p", json!({"bars.svg": "<svg/>"}), json!({}));
    let other = json!({"format": "csv", "dataset": {"name": "birds", "platform": "another"}});
    api_server.add_job("q", spec(other, &[]), succeeded(output));
    let server = showing(&api_server);
    let uploaded = server.put("birds", "format=csv", "a\n1\n").await;
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());

    let answer = server.get("/v1/analysis-jobs/p/result").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "a\n1\n"), "the client has followed");
    let chart = accepted(&server, "/v1/analysis-jobs/p/charts/bars", "image/svg+xml").await;
    assert_eq!(chart.text(), "<svg/>");
    assert!(server.get("/v1/analysis-jobs/q/result").await.problem(409).contains("another"));
}

#[tokio::test]
async fn why_there_is_no_result_is_told() {
    let api_server = ApiServer::start().await;
    let condition = |status: &str, reason: &str, message: &str| {
        let since = "2025-11-24T09:01:00Z";
        json!({"type": "Complete", "status": status, "reason": reason, "message": message, "lastTransitionTime": since})
    };
    let map = json!({"format": "csv", "configMap": {}});
    let running = json!({"conditions": [condition("False", "Running", "The analysis runs")]});
    api_server.add_job("running", spec(map.clone(), &["bars"]), running);
    let failed = json!({
        "conditions": [condition("False", "InvalidQuery", "The query names a column `c`.")],
        "completionTime": "2025-11-24T09:01:04Z",
    });
    api_server.add_job("failed", spec(map.clone(), &[]), failed);
    let claim = json!({"format": "parquet", "persistentVolumeClaim": {"claimName": "data", "path": "out"}});
    api_server.add_job("claim", spec(claim, &["bars"]), succeeded(json!({"location": "pvc/data/out"})));
    let bucket = json!({"location": "s3://bucket/out"});
    api_server.add_job("bucket", spec(json!({"format": "csv"}), &[]), succeeded(bucket));
    api_server.add_job("preview", json!({"sql": "SELECT 1"}), succeeded(Value::Null));
    let gone = json!({"location": "configmap/gone", "configMap": "gone"});
    api_server.add_job("gone", spec(map.clone(), &[]), succeeded(gone));
    let taken = json!({"location": "configmap/taken", "configMap": "taken"});
    api_server.add_job("taken", spec(map, &[]), succeeded(taken));
    api_server.add_config_map("taken", "somebody-else", json!({"result.csv": "secret\n"}), json!({}));
    let server = showing(&api_server);
    let result = async |name: &str| server.get(&format!("/v1/analysis-jobs/{name}/result")).await;

    let answer = result("running").await;
    assert!(answer.problem(409).contains("running"));
    assert_eq!(answer.json()["analysisStatus"], "running");
    assert!(!answer.header("retry-after").is_empty());
    server.get("/v1/analysis-jobs/running/charts").await.problem(409);

    let answer = result("failed").await;
    assert!(answer.problem(422).contains("column `c`"));
    assert_eq!(answer.json()["reason"], "InvalidQuery");

    let answer = result("claim").await;
    assert!(answer.problem(409).contains("PersistentVolumeClaim `data`"));
    assert_eq!(answer.json()["location"], "pvc/data/out");
    server.get("/v1/analysis-jobs/claim/charts/bars").await.problem(409);
    assert!(result("bucket").await.problem(409).contains("s3://bucket/out"));
    assert!(result("preview").await.problem(404).contains("preview"));
    assert!(result("gone").await.problem(404).contains("`gone`"));
    let answer = result("taken").await;
    assert!(answer.problem(409).contains("does not belong"));
    assert!(!answer.text().contains("secret"));
}
