use crds::analysis::OutputFormat;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::error::ArrowError;

use super::{Encoder, OutputError};
use crate::summary::{PREVIEW_BYTES, cut};

/// Rows that can matter: more would not fit.
const MOST_ROWS: usize = 100;

/// The first rows of a result as CSV of at most [`PREVIEW_BYTES`].
#[derive(Debug)]
pub struct Preview {
    encoder: Encoder,
    columns: Vec<usize>,
    text: Vec<u8>,
    rows: usize,
}

impl Preview {
    /// A preview of a result of this schema.
    ///
    /// # Errors
    /// If CSV cannot hold the schema.
    pub fn new(schema: &Schema) -> Result<Self, OutputError> {
        Self::of_columns(schema, (0..schema.fields().len()).collect())
    }

    /// A preview without the nested columns, which would leave no room for the others.
    ///
    /// # Errors
    /// If CSV cannot hold the schema.
    pub fn without_nested(schema: &Schema) -> Result<Self, OutputError> {
        let fields = schema.fields().iter().enumerate();
        Self::of_columns(
            schema,
            fields.filter(|(_, field)| !field.data_type().is_nested()).map(|(index, _)| index).collect(),
        )
    }

    fn of_columns(schema: &Schema, columns: Vec<usize>) -> Result<Self, OutputError> {
        let projected = schema.project(&columns).map_err(format)?;
        let encoder = Encoder::new(&projected, OutputFormat::Csv)?;
        Ok(Self { encoder, columns, text: Vec::new(), rows: 0 })
    }

    /// Looks at further rows; takes what still fits.
    ///
    /// # Errors
    /// If CSV cannot hold a value.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), OutputError> {
        let rows = batch.num_rows().min(MOST_ROWS - self.rows);
        if rows > 0 && self.text.len() < PREVIEW_BYTES {
            self.rows += rows;
            let shown = batch.slice(0, rows).project(&self.columns).map_err(format)?;
            self.text.extend_from_slice(&self.encoder.write(&shown)?);
        }
        Ok(())
    }

    /// The text: whole rows, if one fits.
    ///
    /// # Errors
    /// If CSV cannot hold the schema.
    pub fn finish(mut self) -> Result<String, OutputError> {
        self.text.extend_from_slice(&self.encoder.finish()?);
        let text = String::from_utf8_lossy(&self.text);
        if text.len() <= PREVIEW_BYTES {
            return Ok(text.into_owned());
        }
        let mut end = PREVIEW_BYTES;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Ok(match text[..end].rfind('\n') {
            Some(line_end) => text[..=line_end].to_owned(),
            None => cut(&text, PREVIEW_BYTES),
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn format(error: ArrowError) -> OutputError {
    OutputError::Format { format: "csv", detail: error.to_string() }
}
