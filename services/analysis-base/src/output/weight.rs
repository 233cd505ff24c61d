//! How much rows take where a result is read: decoded, and written as JSON.
//!
//! Only who writes a Parquet file knows it. Values that are repeated are stored
//! once, and lists as their lengths, so that a file of some bytes may hold rows
//! of any size. So the file says it, among its metadata.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, GenericByteArray, OffsetSizeTrait, RecordBatch};
use datafusion::arrow::datatypes::{ByteArrayType, DataType, Fields};
use datafusion::parquet::file::metadata::{FileMetaData, KeyValue};

/// What the metadata call it.
const KEY: &str = "aisaas.row-bytes";
/// Rows that follow one another and take no more than this are weighed together.
const STRETCH_BYTES: u64 = 2 << 20;
/// What a value takes beyond its bytes: an offset, or the digits of a number.
const VALUE_BYTES: u64 = 16;
/// What JSON adds to the name of a member.
const NAME_BYTES: u64 = 4;
/// What JSON adds to a control character.
const ESCAPE_BYTES: u64 = 5;

/// The most that a row takes, in bytes: on average over some MiB of rows, or
/// alone, if it takes more than that.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RowBytes(u64);

impl RowBytes {
    /// Looks at further rows.
    pub(super) fn add(&mut self, batch: &RecordBatch) {
        let (rows, bytes) = (batch.num_rows(), of_rows(batch));
        if rows > 1 && bytes > STRETCH_BYTES {
            let half = rows / 2;
            self.add(&batch.slice(0, half));
            self.add(&batch.slice(half, rows - half));
        } else if rows > 0 {
            self.0 = self.0.max(bytes.div_ceil(rows as u64));
        }
    }

    /// As the metadata have it.
    pub(super) fn entry(self) -> KeyValue {
        KeyValue::new(KEY.to_owned(), self.0.to_string())
    }
}

/// The most that a row of a Parquet file takes, if a program like this one has
/// written it.
#[must_use]
pub fn row_bytes(metadata: &FileMetaData) -> Option<u64> {
    let entry = metadata.key_value_metadata()?.iter().find(|entry| entry.key == KEY)?;
    entry.value.as_ref()?.parse().ok()
}

fn of_rows(batch: &RecordBatch) -> u64 {
    of_fields(batch.schema_ref().fields(), batch.columns(), batch.num_rows())
}

fn of_fields(fields: &Fields, columns: &[ArrayRef], rows: usize) -> u64 {
    let names: u64 = fields.iter().map(|field| field.name().len() as u64 + NAME_BYTES).sum();
    names * rows as u64 + columns.iter().map(of_values).sum::<u64>()
}

fn of_values(array: &ArrayRef) -> u64 {
    let count = array.len() as u64;
    let content = match array.data_type() {
        DataType::Struct(fields) => of_fields(fields, array.as_struct().columns(), array.len()),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            of_items(list.value_offsets(), list.values())
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            of_items(list.value_offsets(), list.values())
        }
        DataType::FixedSizeList(..) => of_values(array.as_fixed_size_list().values()),
        DataType::Map(..) => {
            let map = array.as_map();
            let (first, length) = span(map.value_offsets());
            let entries = map.entries().slice(first, length);
            of_fields(entries.fields(), entries.columns(), length)
        }
        DataType::Utf8 => of_text(stored(array.as_string::<i32>())),
        DataType::LargeUtf8 => of_text(stored(array.as_string::<i64>())),
        DataType::Utf8View => array.as_string_view().lengths().map(u64::from).sum::<u64>(),
        // JSON has two digits for a byte.
        DataType::Binary => 2 * stored(array.as_binary::<i32>()).len() as u64,
        DataType::LargeBinary => 2 * stored(array.as_binary::<i64>()).len() as u64,
        DataType::BinaryView => 2 * array.as_binary_view().lengths().map(u64::from).sum::<u64>(),
        DataType::FixedSizeBinary(length) => 2 * count * u64::from(length.unsigned_abs()),
        // Any of the values may be the one that is meant each time.
        DataType::Dictionary(..) => count * of_values(array.as_any_dictionary().values()),
        other => count * other.primitive_width().unwrap_or_default() as u64,
    };
    content + count * VALUE_BYTES
}

fn of_items<O: OffsetSizeTrait>(offsets: &[O], values: &ArrayRef) -> u64 {
    let (first, length) = span(offsets);
    of_values(&values.slice(first, length))
}

fn of_text(bytes: &[u8]) -> u64 {
    let escaped = bytes.iter().filter(|byte| **byte < b' ').count() as u64;
    bytes.len() as u64 + ESCAPE_BYTES * escaped
}

/// The bytes of all values, one after the other.
fn stored<T: ByteArrayType>(array: &GenericByteArray<T>) -> &[u8] {
    let (first, length) = span(array.value_offsets());
    &array.value_data()[first..first + length]
}

/// Where the values begin, and how many they are.
fn span<O: OffsetSizeTrait>(offsets: &[O]) -> (usize, usize) {
    match offsets {
        [first, .., last] => (first.as_usize(), last.as_usize() - first.as_usize()),
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Int64Array, Int64Builder, ListBuilder, StringArray, StructArray};
    use datafusion::arrow::datatypes::Field;

    use super::*;

    fn row_bytes_of(name: &str, column: ArrayRef) -> u64 {
        let batch = RecordBatch::try_from_iter_with_nullable([(name, column, true)]).expect("batch");
        let mut found = RowBytes::default();
        found.add(&batch);
        found.0
    }

    fn numbers(count: i64) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(0..count))
    }

    fn lists(lengths: &[i64]) -> ArrayRef {
        let mut lists = ListBuilder::new(Int64Builder::new());
        for length in lengths {
            for number in 0..*length {
                lists.values().append_value(number);
            }
            lists.append(true);
        }
        Arc::new(lists.finish())
    }

    #[test]
    fn small_rows_weigh_what_they_do_on_average() {
        assert_eq!(row_bytes_of("n", numbers(1000)), 29);
        assert_eq!(row_bytes_of(&"n".repeat(101), numbers(1000)), 129);
        assert_eq!(row_bytes_of("n", numbers(0)), 0);
    }

    #[test]
    fn a_large_row_among_small_ones_is_found() {
        let mut texts = vec![String::new(); 5000];
        texts[4321] = "x".repeat(3 << 20);
        let found = row_bytes_of("t", Arc::new(StringArray::from(texts)));
        assert_eq!(found, (3 << 20) + 21);
        let found = row_bytes_of("l", lists(&[1, 2, 1_000_000, 3]));
        assert!(found > 24_000_000, "{found}");
    }

    #[test]
    fn what_json_adds_counts() {
        let controls: ArrayRef = Arc::new(StringArray::from(vec!["\u{1}".repeat(1000)]));
        assert_eq!(row_bytes_of("t", controls), 6021);
        let field = Field::new("m".repeat(1000), DataType::Int64, true);
        let structs = StructArray::try_new(vec![field].into(), vec![numbers(1)], None).expect("struct");
        assert!(row_bytes_of("s", Arc::new(structs)) > 1000);
    }

    #[test]
    fn a_slice_weighs_what_is_in_it() {
        let list = lists(&[1000, 1, 1000]).slice(1, 1);
        assert!(row_bytes_of("l", list) < 100);
        let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1000), "y".to_owned()]));
        assert_eq!(row_bytes_of("t", text.slice(1, 1)), 22);
    }
}
