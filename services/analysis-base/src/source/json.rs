//! JSON lines: the schema that a sample suggests, chunks to record batches,
//! and what is wrong in which line when that fails.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use crds::analysis::Source;
use datafusion::arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::ReaderBuilder;
use datafusion::arrow::json::reader::infer_json_schema;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::SourceError;
use super::csv::{data_type, type_name};
use super::records::Chunk;
use super::text::MOST_COLUMNS;
use super::values::{too_fine, typed, written};
use crate::summary::cut;

/// The schema that the first rows suggest; columns whose types are given keep
/// those, and are added if no row of the sample has them.
pub(super) fn schema(source: &Source, file: &str, sample: &Chunk) -> Result<SchemaRef, SourceError> {
    if sample.bytes.trim_ascii().is_empty() {
        return Err(SourceError::data(&source.name, file, "the file is empty"));
    }
    let (suggested, _) = infer_json_schema(sample.bytes.as_slice(), None)
        .map_err(|error| diagnose(&Arc::new(Schema::empty()), sample, source, file, &error))?;
    if suggested.fields().len() > MOST_COLUMNS {
        let problem = format!(
            "its rows have {} different keys, and at most {MOST_COLUMNS} columns can be read. Write keys that \
             change from row to row as values",
            suggested.fields().len()
        );
        return Err(SourceError::data(&source.name, file, problem));
    }
    let identifiers = identifiers(&suggested, sample);
    let places = places(sample);
    // The names come in alphabetical order.
    let mut columns: Vec<&FieldRef> = suggested.fields().iter().collect();
    columns.sort_by_key(|column| places.get(column.name()));
    let mut fields: Vec<Field> = columns
        .into_iter()
        .map(|suggested| {
            let given = source.columns.iter().find(|column| column.name == *suggested.name());
            let data_type = match (given, suggested.data_type()) {
                (Some(column), _) => data_type(column.column_type),
                (None, DataType::Null) => DataType::Utf8,
                (None, _) if identifiers.contains(suggested.name()) => DataType::Utf8,
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

/// The columns of numbers that have a whole number of more than 64 bits: it
/// would be rounded, and is more likely a name than a quantity.
fn identifiers(suggested: &Schema, sample: &Chunk) -> HashSet<String> {
    /// Few, since there may be many columns.
    const LINES_AT_ONCE: usize = 256;
    let numbers = suggested.fields().iter().filter(|field| *field.data_type() == DataType::Float64);
    let as_text: Fields = numbers.map(|field| Field::new(field.name(), DataType::Utf8, true)).collect();
    let mut found = HashSet::new();
    if as_text.is_empty() {
        return found;
    }
    let schema = Arc::new(Schema::new(as_text));
    let lines: Vec<&[u8]> = sample.bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for lines in lines.chunks(LINES_AT_ONCE) {
        // What cannot be read is told, with its line, when it is read for a query.
        let batches = decode_all(&schema, &lines.concat(), LINES_AT_ONCE).unwrap_or_default();
        for (column, field) in batches.iter().flat_map(|batch| batch.columns().iter().zip(schema.fields())) {
            if column.as_string::<i32>().iter().flatten().any(is_long_integer) {
                found.insert(field.name().clone());
            }
        }
    }
    found
}

fn is_long_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<i64>().is_err()
}

/// The keys of the objects with the order in which they come first.
fn places(sample: &Chunk) -> HashMap<String, usize> {
    let mut places = HashMap::new();
    for line in sample.bytes.split(|byte| *byte == b'\n') {
        // Lines that are no objects have been refused before.
        let _ = Keys(&mut places).deserialize(&mut serde_json::Deserializer::from_slice(line));
    }
    places
}

/// Takes the keys of an object, and lets its values go.
struct Keys<'a>(&'a mut HashMap<String, usize>);

impl<'de> DeserializeSeed<'de> for Keys<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(key) = object.next_key::<String>()? {
            let place = self.0.len();
            self.0.entry(key).or_insert(place);
            object.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
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
    // The decoder makes room for a whole batch, however few lines there are.
    let lines = memchr::memchr_iter(b'\n', bytes).count() + 1;
    let batch_rows = batch_rows.min(lines);
    let as_written: Fields = schema.fields().iter().map(written).collect();
    let mut decoder = ReaderBuilder::new(Arc::new(Schema::new(as_written)))
        .with_batch_size(batch_rows)
        // A number where text is expected is taken as it is written.
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
            Some(batch) => {
                let columns = batch.columns().iter().zip(schema.fields());
                let columns = columns
                    .map(|(column, field)| typed(column, field.data_type()))
                    .collect::<Result<Vec<_>, ArrowError>>()?;
                batches.push(RecordBatch::try_new(Arc::clone(schema), columns)?);
            }
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
                let problem = wrong_type(field, &value_text(field.name(), text), source);
                return SourceError::data(&source.name, place(), problem);
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

/// The value of a column as the line has it: parsed, it might be another one.
fn value_text(column: &str, line: &str) -> String {
    let schema = Arc::new(Schema::new(vec![Field::new(column, DataType::Utf8, true)]));
    let batches = decode_all(&schema, line.as_bytes(), 1).unwrap_or_default();
    if let Some(batch) = batches.first() {
        let values = batch.column(0).as_string::<i32>();
        if values.is_valid(0) {
            return values.value(0).to_owned();
        }
    }
    // An object or a list.
    let object = serde_json::from_str::<serde_json::Value>(line).unwrap_or_default();
    object.get(column).map(ToString::to_string).unwrap_or_default()
}

fn wrong_type(field: &Field, value: &str, source: &Source) -> String {
    let (name, kind, shown) = (field.name(), type_name(field.data_type()), cut(value, 80));
    if let Some(problem) = too_fine(name, &shown, field.data_type()) {
        return problem;
    }
    match field.data_type() {
        DataType::Date32 | DataType::Timestamp(..) if value.parse::<f64>().is_ok() => format!(
            "column `{name}` is to be {kind} but has the number `{shown}`. Write it as text, as in 2013-01-31 or \
             2013-01-31T05:00:00Z, or make it an integer under `columns` and convert it in the query, for example \
             with to_timestamp_millis"
        ),
        nested if nested.is_nested() => format!(
            "column `{name}` has the value `{shown}`, which is not of the type {nested} that its first rows have. \
             All its values have to be alike"
        ),
        _ if source.columns.iter().any(|column| column.name == *name) => format!(
            "column `{name}` is to be {kind} but has the value `{shown}`. Change its type under `columns`"
        ),
        _ => format!(
            "column `{name}` has the value `{shown}`, but its first rows are {kind}. Give its type under `columns`"
        ),
    }
}
