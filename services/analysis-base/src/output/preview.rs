use crds::analysis::OutputFormat;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;

use super::{Encoder, OutputError};
use crate::summary::{PREVIEW_BYTES, cut};

/// Rows that can matter: more would not fit.
const MOST_ROWS: usize = 100;

/// The first rows of a result as CSV of at most [`PREVIEW_BYTES`].
#[derive(Debug)]
pub struct Preview {
    encoder: Encoder,
    text: Vec<u8>,
    rows: usize,
}

impl Preview {
    /// A preview of a result of this schema.
    ///
    /// # Errors
    /// If CSV cannot hold the schema.
    pub fn new(schema: &Schema) -> Result<Self, OutputError> {
        Ok(Self { encoder: Encoder::new(schema, OutputFormat::Csv)?, text: Vec::new(), rows: 0 })
    }

    /// Looks at further rows; takes what still fits.
    ///
    /// # Errors
    /// If CSV cannot hold a value.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), OutputError> {
        let rows = batch.num_rows().min(MOST_ROWS - self.rows);
        if rows > 0 && self.text.len() < PREVIEW_BYTES {
            self.rows += rows;
            self.text.extend_from_slice(&self.encoder.write(&batch.slice(0, rows))?);
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
