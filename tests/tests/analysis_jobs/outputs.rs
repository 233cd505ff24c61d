//! Results of every format in every kind of place, read by another program.

use ai_saas_platform_tests::specification::{inline_csv, query, small_workload, with};
use ai_saas_platform_tests::table::Table;
use ai_saas_platform_tests::{Namespace, S3Server, SmallVolume, outcome, python, with_namespace};
use anyhow::{Context as _, Result};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::measurements::{QUERY, answer, files};

/// The formats, and the files that results of them are in.
const FORMATS: [(&str, &str); 4] = [
    ("csv", "result.csv"),
    ("jsonLines", "result.jsonl"),
    ("parquet", "result.parquet"),
    ("arrow", "result.arrow"),
];

/// Turns a result into CSV with pyarrow, which is not the program that wrote it.
const READER: &str = r#"
import json
import sys
import pyarrow as pa
from pyarrow import csv, feather, parquet

def json_lines(data):
    return pa.Table.from_pylist([json.loads(line) for line in data.read().splitlines()])

name, content = sys.argv[1:]
data = pa.BufferReader(bytes.fromhex(content))
read = {"csv": csv.read_csv, "jsonl": json_lines, "parquet": parquet.read_table, "arrow": feather.read_table}
csv.write_csv(read[name.rsplit(".")[-1]](data), sys.stdout.buffer)
"#;

async fn assert_is_the_answer(name: &str, bytes: &[u8]) -> Result<()> {
    let hexadecimal: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let read = Table::parse(&python::evaluate(READER, &[name, &hexadecimal]).await?)?;
    assert!(read.agrees_with(&answer()), "{name}: {read:?}");
    Ok(())
}

/// Writes the answer in every format to the place that is made for it.
async fn every_format_is_written(namespace: &Namespace, place: impl Fn(&str) -> Value) -> Result<()> {
    let csv = files().into_iter().find(|file| file.label() == "csv").context("the CSV")?;
    let source = csv.from(&json!({ "inline": String::from_utf8(csv.bytes())? }));
    let place = &place;
    let source = &source;
    stream::iter(FORMATS)
        .map(|(format, file)| async move {
            let mut output = place(format);
            output["format"] = Value::from(format);
            let spec = with(query(source.clone(), QUERY), json!({ "output": output }));
            let job = namespace.analyse_well(&format.to_lowercase(), with(spec, small_workload())).await?;
            let output = job.status.and_then(|status| status.output).context("an output")?;
            assert_eq!(output.files.len(), 1, "{output:?}");
            assert_eq!(output.files[0].name, file);
            assert!(output.files[0].bytes > 0);
            anyhow::Ok(())
        })
        .buffer_unordered(FORMATS.len())
        .try_collect()
        .await
}

#[tokio::test]
async fn results_are_written_to_config_maps() -> Result<()> {
    with_namespace(async |namespace| {
        every_format_is_written(
            namespace,
            |format| json!({ "configMap": { "name": format!("{}-here", format.to_lowercase()) } }),
        )
        .await?;
        for (format, file) in FORMATS {
            let map = format!("{}-here", format.to_lowercase());
            assert_is_the_answer(file, &namespace.file_of(&map, file).await?).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn results_are_written_to_an_s3_store() -> Result<()> {
    with_namespace(async |namespace| {
        let server = S3Server::start(&namespace.cluster).await?;
        server.create_secret(namespace).await?;
        every_format_is_written(
            namespace,
            |format| json!({ "s3": server.place(&format!("results/{format}")) }),
        )
        .await?;
        for (format, file) in FORMATS {
            assert_is_the_answer(file, &server.get(&format!("results/{format}/{file}")).await?).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn results_are_written_to_claims_and_read_again() -> Result<()> {
    with_namespace(async |namespace| {
        namespace.create_claim("results").await?;
        let place = |format: &str| json!({ "persistentVolumeClaim": { "claimName": "results", "path": format!("deep/{format}") } });
        every_format_is_written(namespace, place).await?;
        let columns = format!("\"{}\"", answer().columns.join("\", \""));
        for (format, file) in FORMATS {
            let source = json!({
                "name": "again",
                "format": format,
                "persistentVolumeClaim": { "claimName": "results", "path": format!("deep/{format}/{file}") },
            });
            let name = format!("again-{}", format.to_lowercase());
            let job = namespace.analyse_well(&name, query(source, &format!("SELECT {columns} FROM again"))).await?;
            let read = Table::parse(outcome::preview(&job))?;
            assert!(read.agrees_with(&answer()), "{format}: {read:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_full_volume_is_told_and_nothing_half_stays() -> Result<()> {
    with_namespace(async |namespace| {
        let volume = SmallVolume::create(namespace, "small", 256).await?;
        let result = write_too_much(namespace).await;
        let files = volume.files();
        volume.remove().await?;
        result?;
        assert_eq!(files?, Vec::<String>::new());
        Ok(())
    })
    .await
}

async fn write_too_much(namespace: &Namespace) -> Result<()> {
    let output = json!({ "format": "csv", "persistentVolumeClaim": { "claimName": "small", "path": "." } });
    let sql = "SELECT repeat('x', 1000) AS x FROM data CROSS JOIN generate_series(1, 1000)";
    let spec = with(query(inline_csv("data", "n\n1\n"), sql), json!({ "output": output }));
    let job = namespace.analyse("large", spec).await?;
    assert_eq!(outcome::reason(&job), "OutputTooLarge", "{}", outcome::in_words(&job));
    assert_eq!(
        outcome::message(&job),
        "The volume of claim `small` is full: the result does not fit. Give the claim more storage, or select less."
    );
    Ok(())
}
