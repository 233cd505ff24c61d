//! Rows as JSON.
//!
//! A number that a double-precision float cannot hold, which is what most
//! readers of JSON make of a number, is written as a string: integers beyond
//! 2^53, and decimals with more than 15 digits.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type, UInt64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::writer::{
    Encoder, EncoderFactory, EncoderOptions, JsonArray, JsonFormat, LineDelimited, NullableEncoder, Writer,
    WriterBuilder,
};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

/// Beyond it not every integer is a double-precision float.
const LARGEST_EXACT: u64 = 1 << 53;
/// Every decimal number with so many digits is told from all others as a
/// double-precision float.
const EXACT_DIGITS: usize = 15;

/// Writes rows, one JSON object each.
#[derive(Debug)]
pub struct JsonRows<F: JsonFormat>(Writer<Vec<u8>, F>);

/// One row a line.
pub type JsonLines = JsonRows<LineDelimited>;
/// An array of rows.
pub type JsonList = JsonRows<JsonArray>;

impl<F: JsonFormat> Default for JsonRows<F> {
    fn default() -> Self {
        let builder =
            WriterBuilder::new().with_explicit_nulls(true).with_encoder_factory(Arc::new(ExactNumbers));
        Self(builder.build(Vec::new()))
    }
}

impl<F: JsonFormat> JsonRows<F> {
    /// Adds rows.
    ///
    /// # Errors
    /// If JSON has nothing for a type.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.0.write(batch)
    }

    /// What was written since this was called last.
    pub fn take(&mut self) -> Bytes {
        std::mem::take(self.0.get_mut()).into()
    }

    /// How much was written since [`JsonRows::take`] was called last.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.get_ref().len()
    }

    /// Ends what was written.
    ///
    /// # Errors
    /// Never, since it is kept in memory.
    pub fn finish(mut self) -> Result<Vec<u8>, ArrowError> {
        self.0.finish()?;
        Ok(self.0.into_inner())
    }
}

#[derive(Debug)]
struct ExactNumbers;

impl EncoderFactory for ExactNumbers {
    fn make_default_encoder<'a>(
        &self,
        _field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Box<dyn Encoder + 'a> = match array.data_type() {
            DataType::Int64 => Box::new(Integers(array.as_primitive::<Int64Type>().values())),
            DataType::UInt64 => Box::new(Naturals(array.as_primitive::<UInt64Type>().values())),
            decimal if decimal.is_decimal() => {
                Box::new(Decimals(ArrayFormatter::try_new(array, &FormatOptions::new())?))
            }
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

struct Integers<'a>(&'a [i64]);

impl Encoder for Integers<'_> {
    fn encode(&mut self, index: usize, out: &mut Vec<u8>) {
        let value = self.0[index];
        push(out, &value.to_string(), value.unsigned_abs() <= LARGEST_EXACT);
    }
}

struct Naturals<'a>(&'a [u64]);

impl Encoder for Naturals<'_> {
    fn encode(&mut self, index: usize, out: &mut Vec<u8>) {
        let value = self.0[index];
        push(out, &value.to_string(), value <= LARGEST_EXACT);
    }
}

struct Decimals<'a>(ArrayFormatter<'a>);

impl Encoder for Decimals<'_> {
    fn encode(&mut self, index: usize, out: &mut Vec<u8>) {
        let text = self.0.value(index).to_string();
        let digits = text.trim_start_matches(['-', '0', '.']).bytes().filter(u8::is_ascii_digit).count();
        push(out, &text, digits <= EXACT_DIGITS);
    }
}

fn push(out: &mut Vec<u8>, number: &str, is_exact: bool) {
    if is_exact {
        out.extend_from_slice(number.as_bytes());
    } else {
        out.push(b'"');
        out.extend_from_slice(number.as_bytes());
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Decimal128Array, Float64Array, Int64Array, UInt64Array};

    use super::*;

    fn written(column: ArrayRef) -> String {
        let batch = RecordBatch::try_from_iter_with_nullable([("v", column, true)]).expect("batch");
        let mut lines = JsonLines::default();
        lines.write(&batch).expect("write");
        String::from_utf8(lines.finish().expect("finish")).expect("text")
    }

    #[test]
    fn numbers_that_a_float_cannot_hold_are_strings() {
        let integers = vec![Some(1), None, Some(1 << 53), Some((1 << 53) + 1), Some(i64::MIN)];
        assert_eq!(
            written(Arc::new(Int64Array::from(integers))),
            "{\"v\":1}\n{\"v\":null}\n{\"v\":9007199254740992}\n{\"v\":\"9007199254740993\"}\n\
             {\"v\":\"-9223372036854775808\"}\n"
        );
        assert_eq!(
            written(Arc::new(UInt64Array::from(vec![u64::MAX]))),
            "{\"v\":\"18446744073709551615\"}\n"
        );
        let decimals = Decimal128Array::from(vec![199, -5, 12_345_678_901_234_567])
            .with_precision_and_scale(38, 2)
            .expect("decimals");
        assert_eq!(
            written(Arc::new(decimals)),
            "{\"v\":1.99}\n{\"v\":-0.05}\n{\"v\":\"123456789012345.67\"}\n"
        );
        assert_eq!(written(Arc::new(Float64Array::from(vec![0.5, f64::NAN]))), "{\"v\":0.5}\n{\"v\":null}\n");
    }

    #[test]
    fn a_list_without_rows_is_a_list() {
        assert_eq!(JsonList::default().finish().expect("finish"), b"[]");
    }
}
