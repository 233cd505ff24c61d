//! CSV and JSON lines that are in memory as a whole: small results, read as a
//! source of the same text would be.

use std::sync::Arc;

use crds::analysis::{Source, SourceFormat};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use serde_json::json;

use super::csv::Dialect;
use super::records::Chunk;
use super::{SourceError, json as json_lines};

/// Rows of a batch.
const BATCH_ROWS: usize = 4096;
/// Most values. A row of JSON lines may have few keys of many columns, so that
/// the size of the text says nothing of theirs.
const MOST_VALUES: usize = 1 << 20;

/// The rows of the text in `file`, with the types that its values suggest.
///
/// # Errors
/// If it is not what `format` says, and where.
pub(crate) fn read_whole(
    format: SourceFormat,
    file: &str,
    bytes: Vec<u8>,
) -> Result<(SchemaRef, Vec<RecordBatch>), SourceError> {
    let source: Source =
        serde_json::from_value(json!({"name": "result", "format": format})).map_err(|error| {
            SourceError::Specification { source_name: file.to_owned(), problem: error.to_string() }
        })?;
    let chunk = Chunk { bytes, first_line: 1 };
    if format == SourceFormat::JsonLines {
        read_json_lines(&source, file, &chunk)
    } else {
        read_csv(&source, file, &chunk)
    }
}

fn read_csv(
    source: &Source,
    file: &str,
    chunk: &Chunk,
) -> Result<(SchemaRef, Vec<RecordBatch>), SourceError> {
    let dialect = Dialect::new(source)?;
    let schema = dialect.schema(source, file, chunk)?;
    let batches = dialect
        .decode(&schema, &every(&schema), chunk, dialect.header, BATCH_ROWS)
        .map_err(|error| dialect.diagnose(&schema, chunk, dialect.header, source, file, &error))?;
    Ok((schema, batches))
}

fn read_json_lines(
    source: &Source,
    file: &str,
    chunk: &Chunk,
) -> Result<(SchemaRef, Vec<RecordBatch>), SourceError> {
    // A result without rows. Its columns are not known.
    if chunk.bytes.trim_ascii().is_empty() {
        return Ok((Arc::new(Schema::empty()), Vec::new()));
    }
    let schema = json_lines::schema(source, file, chunk)?;
    let rows = memchr::memchr_iter(b'\n', &chunk.bytes).count() + 1;
    if rows.saturating_mul(schema.fields().len()) > MOST_VALUES {
        let problem = format!("its rows have more than {MOST_VALUES} values together");
        return Err(SourceError::data(&source.name, file, problem));
    }
    let batches = json_lines::decode(&schema, &every(&schema), chunk, BATCH_ROWS)
        .map_err(|error| json_lines::diagnose(&schema, chunk, source, file, &error))?;
    Ok((schema, batches))
}

fn every(schema: &Schema) -> Vec<usize> {
    (0..schema.fields().len()).collect()
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::DataType;

    use super::*;

    fn read(format: SourceFormat, text: &str) -> Result<(SchemaRef, usize), String> {
        let (schema, batches) =
            read_whole(format, "result", text.as_bytes().to_vec()).map_err(|error| error.to_string())?;
        Ok((schema, batches.iter().map(RecordBatch::num_rows).sum()))
    }

    fn types(schema: &Schema) -> Vec<&DataType> {
        schema.fields().iter().map(|field| field.data_type()).collect()
    }

    #[test]
    fn text_has_the_types_that_its_values_suggest() {
        let (schema, rows) = read(SourceFormat::Csv, "a,zip,b\n1,01234,x\n,56789,\"y\nz\"\n").expect("csv");
        assert_eq!(rows, 2);
        assert_eq!(types(&schema), [&DataType::Int64, &DataType::Utf8, &DataType::Utf8]);
        let lines = "{\"a\":1,\"b\":{\"c\":[1]}}\n{\"a\":null,\"b\":null}\n";
        let (schema, rows) = read(SourceFormat::JsonLines, lines).expect("lines");
        assert_eq!(rows, 2);
        assert_eq!(schema.field(0).data_type(), &DataType::Int64);
        assert!(schema.field(1).data_type().is_nested());
    }

    #[test]
    fn a_result_without_rows_is_read() {
        let (schema, rows) = read(SourceFormat::Csv, "a,b\n").expect("csv");
        assert_eq!((schema.fields().len(), rows), (2, 0));
        let (schema, rows) = read(SourceFormat::JsonLines, "").expect("lines");
        assert_eq!((schema.fields().len(), rows), (0, 0));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let problem = read(SourceFormat::Csv, "a,b\n1,2\n3\n").expect_err("ragged");
        assert!(problem.contains("line 3"), "{problem}");
        let problem = read(SourceFormat::JsonLines, "{\"a\":1}\nnot JSON\n").expect_err("no JSON");
        assert!(problem.contains("line 2"), "{problem}");
    }

    #[test]
    fn many_columns_of_few_values_do_not_take_the_memory() {
        let text: String = (0..4000).map(|number| format!("{{\"c{number}\":1}}\n")).collect();
        assert!(text.len() < 1 << 20);
        let problem = read(SourceFormat::JsonLines, &text).expect_err("many values");
        assert!(problem.contains("more than 1048576 values"), "{problem}");
    }
}
