use crds::analysis::OutputFormat;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::error::ArrowError;

use super::{Encoder, OutputError};
use crate::summary::{PREVIEW_BYTES, cut};

/// Rows that can matter: more would not fit.
const MOST_ROWS: usize = 100;

/// The first rows of a result as CSV of at most [`PREVIEW_BYTES`].
///
/// CSV cannot hold everything that other formats can. A result with such
/// values has no preview, which is no reason for the analysis to fail.
#[derive(Debug)]
pub struct Preview {
    /// `None` once CSV could not hold something.
    encoder: Option<Encoder>,
    columns: Vec<usize>,
    text: Vec<u8>,
    rows: usize,
}

impl Preview {
    /// A preview of a result of this schema.
    #[must_use]
    pub fn new(schema: &Schema) -> Self {
        Self::of_columns(schema, (0..schema.fields().len()).collect())
    }

    /// A preview without the nested columns, which would leave no room for the others.
    #[must_use]
    pub fn without_nested(schema: &Schema) -> Self {
        let fields = schema.fields().iter().enumerate();
        Self::of_columns(
            schema,
            fields.filter(|(_, field)| !field.data_type().is_nested()).map(|(index, _)| index).collect(),
        )
    }

    fn of_columns(schema: &Schema, columns: Vec<usize>) -> Self {
        let projected = schema.project(&columns).map_err(format);
        let encoder = projected.and_then(|projected| Encoder::new(&projected, OutputFormat::Csv));
        let encoder = encoder.inspect_err(left_out).ok();
        Self { encoder, columns, text: Vec::new(), rows: 0 }
    }

    /// Looks at further rows; takes what still fits.
    pub fn add(&mut self, batch: &RecordBatch) {
        if let Err(error) = self.take(batch) {
            left_out(&error);
            self.encoder = None;
        }
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<(), OutputError> {
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        let shown = batch.project(&self.columns).map_err(format)?;
        for row in 0..shown.num_rows() {
            if self.rows == MOST_ROWS || self.text.len() >= PREVIEW_BYTES {
                break;
            }
            // One by one: many rows of large values would take much memory.
            self.text.extend_from_slice(&encoder.write(&shown.slice(row, 1))?);
            self.rows += 1;
        }
        Ok(())
    }

    /// The text: whole rows, if one fits. Empty if CSV cannot hold the rows.
    #[must_use]
    pub fn finish(mut self) -> String {
        let Some(encoder) = self.encoder else { return String::new() };
        match encoder.finish() {
            Ok(last) => self.text.extend_from_slice(&last),
            Err(error) => {
                left_out(&error);
                return String::new();
            }
        }
        let text = String::from_utf8_lossy(&self.text);
        if text.len() <= PREVIEW_BYTES {
            return text.into_owned();
        }
        let mut end = PREVIEW_BYTES;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        match text[..end].rfind('\n') {
            Some(line_end) => text[..=line_end].to_owned(),
            None => cut(&text, PREVIEW_BYTES),
        }
    }
}

fn left_out(error: &OutputError) {
    tracing::warn!(%error, "the summary has no preview of the result");
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn format(error: ArrowError) -> OutputError {
    OutputError::Format { format: "csv", detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;

    use datafusion::arrow::array::{
        ArrayRef, Int64Array, Int64Builder, MapBuilder, StringArray, StringBuilder,
    };

    use super::*;

    fn batch(name: &str, column: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter([(name, column)]).expect("batch")
    }

    fn preview(batches: &[RecordBatch]) -> String {
        let mut preview = Preview::new(&batches[0].schema());
        for batch in batches {
            preview.add(batch);
        }
        preview.finish()
    }

    #[test]
    fn the_first_rows_that_fit_are_shown() {
        let numbers = |range: Range<i64>| batch("n", Arc::new(Int64Array::from_iter_values(range)));
        assert_eq!(preview(&[numbers(0..2), numbers(2..3)]), "n\n0\n1\n2\n");
        let lines = preview(&[numbers(0..90), numbers(90..300)]).lines().count();
        assert_eq!(lines, 1 + MOST_ROWS);
        let long = "x".repeat(PREVIEW_BYTES - 100);
        let texts = batch("t", Arc::new(StringArray::from(vec![long.as_str(); 3])));
        assert_eq!(preview(&[texts]), format!("t\n{long}\n"));
        assert_eq!(preview(&[numbers(0..0)]), "n\n");
    }

    #[test]
    fn what_csv_cannot_hold_has_no_preview() {
        // JSON text, which nested values become, has only texts as keys.
        let mut maps = MapBuilder::new(None, Int64Builder::new(), StringBuilder::new());
        maps.keys().append_value(1);
        maps.values().append_value("a");
        maps.append(true).expect("map");
        let maps = batch("m", Arc::new(maps.finish()));
        assert_eq!(preview(&[maps.clone(), maps]), "");
    }
}
