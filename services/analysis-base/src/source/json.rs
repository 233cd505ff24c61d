//! JSON lines: the schema that a sample suggests, chunks to record batches,
//! and what is wrong in which line when that fails.

use std::sync::Arc;

use crds::analysis::Source;
use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::ReaderBuilder;
use datafusion::arrow::json::reader::infer_json_schema;

use super::SourceError;
use super::csv::data_type;
use super::records::Chunk;
use crate::summary::cut;

/// The schema that the first rows suggest; columns whose types are given keep
/// those, and are added if no row of the sample has them.
pub(super) fn schema(source: &Source, file: &str, sample: &Chunk) -> Result<SchemaRef, SourceError> {
    if sample.bytes.trim_ascii().is_empty() {
        return Err(SourceError::data(&source.name, file, "the file is empty"));
    }
    let (suggested, _) = infer_json_schema(sample.bytes.as_slice(), None)
        .map_err(|error| diagnose(&Arc::new(Schema::empty()), sample, source, file, &error))?;
    let mut fields: Vec<Field> = suggested
        .fields()
        .iter()
        .map(|suggested| {
            let given = source.columns.iter().find(|column| column.name == *suggested.name());
            let data_type = match (given, suggested.data_type()) {
                (Some(column), _) => data_type(column.column_type),
                (None, DataType::Null) => DataType::Utf8,
                (None, other) => other.clone(),
            };
            Field::new(suggested.name(), data_type, true)
        })
        .collect();
    for column in &source.columns {
        if !fields.iter().any(|field| field.name() == &column.name) {
            fields.push(Field::new(&column.name, data_type(column.column_type), true));
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// The chunk as record batches of the projected columns.
pub(super) fn decode(
    schema: &SchemaRef,
    projection: &[usize],
    chunk: &Chunk,
    batch_rows: usize,
) -> Result<Vec<RecordBatch>, ArrowError> {
    // Without a column there is nothing to decode by; one is read to count rows.
    let read = if projection.is_empty() { &[0] } else { projection };
    let projected = Arc::new(schema.project(read)?);
    let mut batches = decode_all(&projected, &chunk.bytes, batch_rows)?;
    if projection.is_empty() {
        let empty = Arc::new(Schema::empty());
        for batch in &mut batches {
            let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            *batch = RecordBatch::try_new_with_options(Arc::clone(&empty), Vec::new(), &rows)?;
        }
    }
    Ok(batches)
}

fn decode_all(schema: &SchemaRef, bytes: &[u8], batch_rows: usize) -> Result<Vec<RecordBatch>, ArrowError> {
    let mut decoder = ReaderBuilder::new(Arc::clone(schema))
        .with_batch_size(batch_rows)
        // A number where text is expected is taken as its digits.
        .with_coerce_primitive(true)
        .build_decoder()?;
    let mut rest = bytes;
    let mut batches = Vec::new();
    loop {
        while !rest.is_empty() {
            let used = decoder.decode(rest)?;
            rest = &rest[used..];
            if used == 0 || decoder.len() >= batch_rows {
                break;
            }
        }
        match decoder.flush()? {
            Some(batch) => batches.push(batch),
            None => return Ok(batches),
        }
    }
}

/// What is wrong in a chunk that could not be decoded: the line, and its beginning.
pub(super) fn diagnose(
    schema: &SchemaRef,
    chunk: &Chunk,
    source: &Source,
    file: &str,
    error: &ArrowError,
) -> SourceError {
    for (index, line) in chunk.bytes.split(|byte| *byte == b'\n').enumerate() {
        let place = || format!("{file} line {}", chunk.first_line + index as u64);
        if line.trim_ascii().is_empty() {
            continue;
        }
        let Ok(text) = std::str::from_utf8(line) else {
            return SourceError::data(&source.name, place(), "the text is not UTF-8");
        };
        let shown = cut(text.trim(), 80);
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(serde_json::Value::Object(_)) => {}
            Ok(_) => {
                return SourceError::data(
                    &source.name,
                    place(),
                    format!("every line has to be one JSON object, but this one is `{shown}`"),
                );
            }
            Err(parse) => {
                return SourceError::data(
                    &source.name,
                    place(),
                    format!("every line has to be one JSON object, but `{shown}` is none: {parse}"),
                );
            }
        }
        if schema.fields().is_empty() {
            continue;
        }
        // One column after the other, so that the message can name it.
        for column in 0..schema.fields().len() {
            let Ok(single) = schema.project(&[column]) else { continue };
            if decode_all(&Arc::new(single), line, 1).is_err() {
                let field = schema.field(column);
                let value = serde_json::from_str::<serde_json::Value>(text)
                    .ok()
                    .and_then(|object| object.get(field.name()).map(ToString::to_string))
                    .unwrap_or_default();
                return SourceError::data(
                    &source.name,
                    place(),
                    format!(
                        "column `{}` has the value `{}`, which is not of the type {} that its first rows or `columns` \
                         say. Give its type under `columns`",
                        field.name(),
                        cut(&value, 80),
                        field.data_type()
                    ),
                );
            }
        }
    }
    let problem = error.to_string();
    SourceError::data(
        &source.name,
        format!("{file} from line {}", chunk.first_line),
        problem.trim_start_matches("Json error: ").trim_end_matches('.').to_owned(),
    )
}
