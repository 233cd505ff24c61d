//! CSV: the schema that a sample suggests, chunks to record batches, and
//! which value in which line is wrong when that fails.

use std::collections::HashSet;
use std::sync::Arc;

use crds::analysis::{ColumnType, Source};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::kernels::cast_utils::{Parser, parse_decimal};
use datafusion::arrow::csv::ReaderBuilder;
use datafusion::arrow::csv::reader::Format;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Fields, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit,
};
use datafusion::arrow::error::ArrowError;
use regex::Regex;

use super::SourceError;
use super::records::{Chunk, Framing};
use super::text::MOST_COLUMNS;
use super::values::{has_leading_zero, is_timestamp, too_fine, typed, written_in_csv};
use crate::failure::listed;
use crate::summary::cut;

/// How a CSV source is written.
#[derive(Clone, Debug)]
pub(super) struct Dialect {
    pub(super) header: bool,
    delimiter: u8,
    quote: u8,
    comment: Option<u8>,
    null_values: Vec<String>,
    null_pattern: Option<Regex>,
}

/// The engine's type for a type of the contract.
pub(super) fn data_type(column_type: ColumnType) -> DataType {
    match column_type {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Integer => DataType::Int64,
        ColumnType::Number => DataType::Float64,
        ColumnType::Decimal => DataType::Decimal128(38, 10),
        ColumnType::String => DataType::Utf8,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp => timestamp(TimeUnit::Microsecond),
    }
}

/// Points in time are in UTC, so that nothing that reads the result takes
/// them for local time.
fn timestamp(unit: TimeUnit) -> DataType {
    DataType::Timestamp(unit, Some("UTC".into()))
}

impl Dialect {
    pub(super) fn new(source: &Source) -> Result<Self, SourceError> {
        let options = source.csv.clone().unwrap_or_default();
        let byte = |text: &str| match text {
            "\\t" => b'\t',
            other => other.as_bytes().first().copied().unwrap_or(b','),
        };
        let null_pattern = if options.null_values.is_empty() {
            None
        } else {
            let values: Vec<_> = options.null_values.iter().map(|value| regex::escape(value)).collect();
            let pattern = Regex::new(&format!("^(?:|{})$", values.join("|"))).map_err(|error| {
                SourceError::Specification { source_name: source.name.clone(), problem: error.to_string() }
            })?;
            Some(pattern)
        };
        Ok(Self {
            header: options.header.unwrap_or(true),
            delimiter: options.delimiter.as_deref().map_or(b',', byte),
            quote: options.quote.as_deref().map_or(b'"', byte),
            comment: options.comment.as_deref().map(byte),
            null_values: options.null_values,
            null_pattern,
        })
    }

    pub(super) const fn framing(&self) -> Framing {
        Framing::Csv { delimiter: self.delimiter, quote: self.quote, comment: self.comment }
    }

    fn format(&self, header: bool) -> Format {
        let mut format =
            Format::default().with_header(header).with_delimiter(self.delimiter).with_quote(self.quote);
        if let Some(comment) = self.comment {
            format = format.with_comment(comment);
        }
        if let Some(pattern) = &self.null_pattern {
            format = format.with_null_regex(pattern.clone());
        }
        format
    }

    fn reader<'a>(&self, bytes: &'a [u8]) -> csv::Reader<&'a [u8]> {
        csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(self.delimiter)
            .quote(self.quote)
            .comment(self.comment)
            .from_reader(bytes)
    }

    fn is_null(&self, value: &str) -> bool {
        value.is_empty() || self.null_values.iter().any(|null| null == value)
    }

    /// Whether there is more than a header.
    pub(super) fn has_rows(&self, sample: &Chunk) -> bool {
        self.reader(&sample.bytes).byte_records().nth(usize::from(self.header)).is_some()
    }

    /// The schema that the first rows suggest; columns whose types are given keep those.
    pub(super) fn schema(
        &self,
        source: &Source,
        file: &str,
        sample: &Chunk,
    ) -> Result<SchemaRef, SourceError> {
        let names = self.names(source, file, sample)?;
        for column in &source.columns {
            if !names.contains(&column.name) {
                return Err(SourceError::data(
                    &source.name,
                    file,
                    format!(
                        "there is no column `{}` as `columns` says; there are {}",
                        column.name,
                        listed(&names, 40)
                    ),
                ));
            }
        }
        // Rows with too many or too few values are found when they are read,
        // with their line.
        let suggested = self
            .format(self.header)
            .with_truncated_rows(true)
            .infer_schema(sample.bytes.as_slice(), None)
            .map_err(|error| self.diagnose(&Schema::empty(), sample, self.header, source, file, &error))?
            .0;
        let texts = self.texts(&suggested, sample);
        let fields: Vec<Field> = names
            .iter()
            .zip(suggested.fields())
            .zip(texts)
            .map(|((name, suggested), is_text)| {
                let given = source.columns.iter().find(|column| column.name == *name);
                let data_type = match (given, suggested.data_type()) {
                    (Some(column), _) => data_type(column.column_type),
                    // No value in the sample: text can hold whatever follows.
                    (None, DataType::Null) => DataType::Utf8,
                    (None, _) if is_text => DataType::Utf8,
                    (None, DataType::Timestamp(TimeUnit::Nanosecond, _)) => timestamp(TimeUnit::Nanosecond),
                    (None, DataType::Timestamp(..)) => timestamp(TimeUnit::Microsecond),
                    (None, other) => other.clone(),
                };
                Field::new(name, data_type, true)
            })
            .collect();
        Ok(Arc::new(Schema::new(fields)))
    }

    /// Which columns are text, whatever type is suggested. Numbers such as
    /// `01234` are codes, for example zip codes, and lose their zeros as numbers;
    /// and no type holds nanoseconds and all years.
    fn texts(&self, suggested: &Schema, sample: &Chunk) -> Vec<bool> {
        let mut texts = vec![false; suggested.fields().len()];
        for record in self.reader(&sample.bytes).byte_records().skip(usize::from(self.header)).flatten() {
            for ((is_text, field), value) in texts.iter_mut().zip(suggested.fields()).zip(&record) {
                if *is_text {
                    continue;
                }
                let value = std::str::from_utf8(value).unwrap_or_default();
                *is_text = !self.is_null(value)
                    && match field.data_type() {
                        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                            !is_timestamp(value, TimeUnit::Nanosecond)
                        }
                        number => number.is_numeric() && has_leading_zero(value),
                    };
            }
        }
        texts
    }

    fn names(&self, source: &Source, file: &str, sample: &Chunk) -> Result<Vec<String>, SourceError> {
        let Some(first) = self.reader(&sample.bytes).byte_records().next() else {
            return Err(SourceError::data(&source.name, file, "the file is empty"));
        };
        let first = first.map_err(|error| SourceError::data(&source.name, file, error.to_string()))?;
        if first.len() > MOST_COLUMNS {
            let problem = format!(
                "there are {} columns, and at most {MOST_COLUMNS} can be read. Check `csv.delimiter`, and whether \
                 line breaks are missing",
                first.len()
            );
            return Err(SourceError::data(&source.name, format!("{file} line 1"), problem));
        }
        let mut names = Vec::with_capacity(first.len());
        let mut known = HashSet::with_capacity(first.len());
        for (index, value) in first.iter().enumerate() {
            let name = std::str::from_utf8(value)
                .map_err(|_| SourceError::data(&source.name, format!("{file} line 1"), NOT_UTF8))?
                .trim();
            let name = if !self.header || name.is_empty() {
                format!("column_{}", index + 1)
            } else {
                name.to_owned()
            };
            if !known.insert(name.clone()) {
                return Err(SourceError::data(
                    &source.name,
                    format!("{file} line 1"),
                    format!("two columns are called `{name}`"),
                ));
            }
            names.push(name);
        }
        Ok(names)
    }

    /// Whether a further file has the same columns.
    pub(super) fn check_header(
        &self,
        source: &Source,
        file: &str,
        chunk: &Chunk,
        schema: &Schema,
    ) -> Result<(), SourceError> {
        let names = self.names(source, file, chunk)?;
        let same = names.len() == schema.fields().len()
            && names.iter().zip(schema.fields()).all(|(name, field)| name == field.name());
        if same {
            return Ok(());
        }
        let expected: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        Err(SourceError::data(
            &source.name,
            file,
            format!(
                "its columns are {} where the first file has {}",
                listed(&names, 20),
                listed(&expected, 20)
            ),
        ))
    }

    /// The chunk as record batches of the projected columns.
    pub(super) fn decode(
        &self,
        schema: &SchemaRef,
        projection: &[usize],
        chunk: &Chunk,
        header: bool,
        batch_rows: usize,
    ) -> Result<Vec<RecordBatch>, ArrowError> {
        let as_written: Fields = schema.fields().iter().map(written_in_csv).collect();
        let projected = Arc::new(schema.project(projection)?);
        let mut decoder = ReaderBuilder::new(Arc::new(Schema::new(as_written)))
            .with_format(self.format(header))
            .with_batch_size(batch_rows)
            .with_projection(projection.to_vec())
            .build_decoder();
        let mut rest = chunk.bytes.as_slice();
        let mut batches = Vec::new();
        loop {
            loop {
                let used = decoder.decode(rest)?;
                rest = &rest[used..];
                if used == 0 || decoder.capacity() == 0 {
                    break;
                }
            }
            match decoder.flush()? {
                Some(batch) => batches.push(exact(batch, &projected)?),
                None => return Ok(batches),
            }
        }
    }

    /// What is wrong in a chunk that could not be decoded: the line, the column, the value.
    pub(super) fn diagnose(
        &self,
        schema: &Schema,
        chunk: &Chunk,
        header: bool,
        source: &Source,
        file: &str,
        error: &ArrowError,
    ) -> SourceError {
        let at = |record: &csv::ByteRecord| {
            let line = record.position().map_or(1, csv::Position::line) + chunk.first_line - 1;
            format!("{file} line {line}")
        };
        let expected = schema.fields().len();
        for (index, record) in self.reader(&chunk.bytes).byte_records().enumerate() {
            let Ok(record) = record else { break };
            if expected > 0 && record.len() != expected {
                return SourceError::data(
                    &source.name,
                    at(&record),
                    format!(
                        "the row has {} values where {expected} are expected. Quote values that contain the \
                         delimiter, and check `csv.delimiter`",
                        record.len()
                    ),
                );
            }
            for (column, value) in record.iter().enumerate() {
                let Ok(text) = std::str::from_utf8(value) else {
                    return SourceError::data(&source.name, at(&record), NOT_UTF8);
                };
                let Some(field) = schema.fields().get(column) else { continue };
                let is_header = header && index == 0;
                if !is_header && !self.is_null(text) && !can_be(text, field.data_type()) {
                    return SourceError::data(
                        &source.name,
                        at(&record),
                        wrong_type(field.name(), text, field.data_type(), source),
                    );
                }
            }
        }
        SourceError::data(
            &source.name,
            format!("{file} from line {}", chunk.first_line),
            error.to_string().trim_end_matches('.').to_owned(),
        )
    }
}

/// The rows with the types that they are to have.
fn exact(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    if batch.schema_ref().fields() == schema.fields() {
        return Ok(batch);
    }
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns.map(|(column, field)| typed(column, field.data_type()));
    RecordBatch::try_new(Arc::clone(schema), columns.collect::<Result<Vec<_>, ArrowError>>()?)
}

const NOT_UTF8: &str =
    "the text is not UTF-8. Convert it, for example with `iconv -f latin1 -t utf-8`, or set the compression";

fn wrong_type(column: &str, value: &str, data_type: &DataType, source: &Source) -> String {
    let value = cut(value, 80);
    if let Some(problem) = too_fine(column, &value, data_type) {
        return problem;
    }
    let kind = type_name(data_type);
    let given = source.columns.iter().any(|typed| typed.name == column);
    if given {
        format!(
            "column `{column}` is to be {kind} but has the value `{value}`. Change its type under `columns`, or list \
             the value under `csv.nullValues` if it stands for a missing one"
        )
    } else {
        format!(
            "column `{column}` has the value `{value}`, but its first rows are {kind}. Give its type under `columns`, \
             or list the value under `csv.nullValues` if it stands for a missing one"
        )
    }
}

/// A type in words, with its article.
pub(super) fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "true or false",
        DataType::Int64 => "whole numbers (integer)",
        DataType::Float64 => "numbers (number)",
        DataType::Decimal128(..) => "decimal numbers (decimal)",
        DataType::Date32 => "dates (date)",
        DataType::Timestamp(..) => "points in time (timestamp)",
        _ => "text (string)",
    }
}

/// Whether the decoder accepts the text as a value of this type.
fn can_be(text: &str, data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean => text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"),
        DataType::Int64 => Int64Type::parse(text).is_some(),
        DataType::Float64 => Float64Type::parse(text).is_some(),
        DataType::Date32 => Date32Type::parse(text).is_some(),
        DataType::Decimal128(precision, scale) => {
            parse_decimal::<Decimal128Type>(text, *precision, *scale).is_ok()
        }
        DataType::Timestamp(unit, _) => is_timestamp(text, *unit),
        _ => true,
    }
}
