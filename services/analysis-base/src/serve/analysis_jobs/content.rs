//! A result that is in memory, as a table.

use std::io::Cursor;

use bytes::Bytes;
use crds::analysis::{OutputFormat, SourceFormat};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::reader::FileReader;

use crate::serve::error::ServeError;
use crate::serve::table::{Table, TableError};
use crate::source::read_whole;

/// The result in `file`. CSV and JSON lines say nothing of types: the columns
/// get those that all of their values suggest.
///
/// # Errors
/// If it is not of the format.
pub(super) async fn table(
    file: &'static str,
    format: OutputFormat,
    bytes: Bytes,
) -> Result<Table, ServeError> {
    let format = match format {
        OutputFormat::Parquet => return Ok(Table::in_memory(bytes).await?),
        OutputFormat::Arrow => None,
        OutputFormat::Csv => Some(SourceFormat::Csv),
        OutputFormat::JsonLines => Some(SourceFormat::JsonLines),
    };
    // It computes for a while, and a panic ends nothing but this.
    let read = tokio::task::spawn_blocking(move || match format {
        Some(format) => read_whole(format, file, bytes.to_vec()).map_err(|error| error.to_string()),
        None => read_arrow(bytes).map_err(|error| error.to_string()),
    });
    let (schema, batches) = read.await?.map_err(|problem| {
        TableError::Format(format!(
            "The result cannot be read: {} It is given as it is in the format in which it is stored.",
            sentence(&problem)
        ))
    })?;
    Ok(Table::of(schema, batches))
}

fn read_arrow(bytes: Bytes) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let reader = FileReader::try_new(Cursor::new(bytes), None)?;
    let schema = reader.schema();
    Ok((schema, reader.collect::<Result<_, _>>()?))
}

fn sentence(problem: &str) -> String {
    if problem.ends_with('.') { problem.to_owned() } else { format!("{problem}.") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;
    use crate::output::Encoder;

    fn written(format: OutputFormat) -> Bytes {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
        let batch = RecordBatch::try_from_iter_with_nullable([("a", numbers, true), ("b", texts, true)]);
        let batch = batch.expect("batch");
        let mut encoder = Encoder::new(&batch.schema(), format).expect("encoder");
        let mut bytes = encoder.write(&batch).expect("rows").to_vec();
        bytes.extend(encoder.finish().expect("end"));
        bytes.into()
    }

    #[tokio::test]
    async fn what_was_written_is_read_in_every_format() {
        for format in [OutputFormat::Csv, OutputFormat::JsonLines, OutputFormat::Parquet, OutputFormat::Arrow]
        {
            let table = table(format.file_name(), format, written(format)).await.expect("table");
            assert_eq!(table.rows(), 2, "{format:?}");
            let names: Vec<&String> = table.schema().fields().iter().map(|field| field.name()).collect();
            assert_eq!(names, ["a", "b"], "{format:?}");
            assert!(table.schema().field(0).data_type().is_integer(), "{format:?}");
        }
    }

    #[tokio::test]
    async fn what_is_of_another_format_is_refused() {
        for format in [OutputFormat::JsonLines, OutputFormat::Parquet, OutputFormat::Arrow] {
            let refused = table("result", format, written(OutputFormat::Csv)).await;
            assert!(refused.is_err(), "{format:?}");
        }
    }
}
