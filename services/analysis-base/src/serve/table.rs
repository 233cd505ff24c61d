//! Results as they are stored: Parquet files that an analysis of this program
//! wrote. They are read row group by row group, in bounded memory.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::parquet::arrow::ParquetRecordBatchStreamBuilder;
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};
use object_store::{OBJECT_STORE_COALESCE_DEFAULT, coalesce_ranges};
use service_kit::objects::{ObjectError, Objects};

use crate::output::row_bytes;

/// Most rows that are decoded at once.
const MOST_ROWS: u64 = 4096;
/// Rows that are decoded at once have about this size at most. On its way to a
/// client each is there some six times, and several clients read at once.
const BATCH_BYTES: u64 = 4 << 20;
/// A single row may be this large; what has larger ones is given as it is stored.
const ROW_BYTES: u64 = 4 << 20;

/// Why a stored result cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It has rows that the memory of the server is too small for.
    #[error(
        "The result has rows that are too large to be converted. Ask for it as \
         application/vnd.apache.parquet, in which it is stored."
    )]
    TooLarge,
    /// It is not there, or its place does not answer.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// It cannot be read.
    #[error("a stored result cannot be read")]
    Read(#[from] ParquetError),
    /// Its rows cannot be written in another format.
    #[error("{0}")]
    Format(String),
}

/// A stored result.
#[derive(Debug)]
pub struct Table(Content);

#[derive(Debug)]
enum Content {
    Parquet { object: StoredObject, metadata: ArrowReaderMetadata },
    Nothing(SchemaRef),
}

impl Table {
    /// Opens the object. Only what describes it is read.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn open(objects: &Objects, key: &str) -> Result<Self, TableError> {
        let bytes = objects.head(key).await?.bytes;
        Self::parquet(StoredObject::Stored { objects: objects.clone(), key: key.to_owned(), bytes }).await
    }

    /// A Parquet file that is in memory.
    ///
    /// # Errors
    /// If it is none.
    pub async fn in_memory(bytes: Bytes) -> Result<Self, TableError> {
        Self::parquet(StoredObject::Memory(bytes)).await
    }

    /// A table without rows, of which the columns are not known.
    #[must_use]
    pub fn empty() -> Self {
        Self(Content::Nothing(Arc::new(Schema::empty())))
    }

    async fn parquet(mut object: StoredObject) -> Result<Self, TableError> {
        // The offsets of pages let a part of a row group be read by itself.
        let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load_async(&mut object, options).await?;
        Ok(Self(Content::Parquet { object, metadata }))
    }

    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> u64 {
        match &self.0 {
            Content::Parquet { metadata, .. } => {
                metadata.metadata().row_groups().iter().map(|group| unsigned(group.num_rows())).sum()
            }
            Content::Nothing(_) => 0,
        }
    }

    /// Its columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        match &self.0 {
            Content::Parquet { metadata, .. } => metadata.schema(),
            Content::Nothing(schema) => schema,
        }
    }

    /// The rows from `offset`, at most `limit` of them.
    ///
    /// # Errors
    /// If a row is too large for the memory of a server.
    pub fn read(self, offset: u64, limit: Option<u64>) -> Result<Rows, TableError> {
        let Content::Parquet { object, metadata } = self.0 else { return Ok(stream::empty().boxed()) };
        let parquet = metadata.metadata();
        let bytes_of_a_row =
            row_bytes(parquet.file_metadata()).unwrap_or_else(|| average_row_bytes(parquet.row_groups()));
        if bytes_of_a_row > ROW_BYTES {
            return Err(TableError::TooLarge);
        }
        let rows = BATCH_BYTES.checked_div(bytes_of_a_row).unwrap_or(MOST_ROWS).clamp(1, MOST_ROWS);
        let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(object, metadata)
            .with_batch_size(size(rows))
            .with_offset(size(offset));
        if let Some(limit) = limit {
            builder = builder.with_limit(size(limit));
        }
        Ok(builder.build()?.boxed())
    }
}

/// What a row takes in the group whose rows take most. Only for files that do
/// not say themselves what a row takes, as those of earlier versions.
fn average_row_bytes(groups: &[RowGroupMetaData]) -> u64 {
    let of_group = |group: &RowGroupMetaData| {
        let columns = group.columns().iter().map(|column| {
            unsigned(column.uncompressed_size())
                + unsigned(column.unencoded_byte_array_data_bytes().unwrap_or_default())
                + 16 * unsigned(column.num_values())
        });
        columns.sum::<u64>().checked_div(unsigned(group.num_rows())).unwrap_or_default()
    };
    groups.iter().map(of_group).max().unwrap_or_default()
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The rows of a table, some at a time.
pub type Rows = BoxStream<'static, ParquetResult<RecordBatch>>;

/// An object as Parquet's reader reads it.
#[derive(Clone, Debug)]
enum StoredObject {
    Stored { objects: Objects, key: String, bytes: u64 },
    Memory(Bytes),
}

impl StoredObject {
    fn bytes(&self) -> u64 {
        match self {
            Self::Stored { bytes, .. } => *bytes,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    async fn range(&self, range: Range<u64>) -> ParquetResult<Bytes> {
        let (objects, key) = match self {
            Self::Stored { objects, key, .. } => (objects, key),
            Self::Memory(bytes) => {
                let range = size(range.start)..size(range.end);
                return if range.start <= range.end && range.end <= bytes.len() {
                    Ok(bytes.slice(range))
                } else {
                    Err(ParquetError::EOF("the file is cut off".to_owned()))
                };
            }
        };
        let failed = |error: ObjectError| ParquetError::External(Box::new(error));
        let content = objects.read_range(key, range).await.map_err(failed)?;
        content.collect(usize::MAX).await.map_err(failed)
    }
}

impl AsyncFileReader for StoredObject {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.range(range).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        let object = &*self;
        async move {
            coalesce_ranges(&ranges, |range| object.range(range), OBJECT_STORE_COALESCE_DEFAULT).await
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let bytes = self.bytes();
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
            Ok(Arc::new(reader.load_and_finish(self, bytes).await?))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use crds::analysis::OutputFormat;
    use datafusion::arrow::array::{
        Array, ArrayRef, AsArray, Int64Array, Int64Builder, ListBuilder, StringArray,
    };
    use datafusion::arrow::datatypes::Int64Type;
    use futures::TryStreamExt;

    use super::*;
    use crate::output::Encoder;

    fn batch(name: &str, column: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable([(name, column, true)]).expect("batch")
    }

    fn numbers(numbers: Range<i64>) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(numbers))
    }

    /// The rows as an analysis stores them.
    async fn stored(batch: &RecordBatch) -> Table {
        let mut encoder = Encoder::new(&batch.schema(), OutputFormat::Parquet).expect("encoder");
        let mut bytes = encoder.write(batch).expect("rows").to_vec();
        bytes.extend(encoder.finish().expect("end"));
        Table::in_memory(bytes.into()).await.expect("table")
    }

    async fn read(batch: &RecordBatch, offset: u64, limit: Option<u64>) -> Vec<RecordBatch> {
        let rows = stored(batch).await.read(offset, limit).expect("rows");
        rows.try_collect().await.expect("rows")
    }

    #[tokio::test]
    async fn rows_are_read_in_parts() {
        let all = batch("n", numbers(0..5003));
        assert_eq!(stored(&all).await.rows(), 5003);
        let read = async |offset, limit| {
            let batches = read(&all, offset, limit).await;
            assert!(batches.iter().all(|batch| batch.num_rows() <= 4096));
            let values =
                batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values());
            values.copied().collect::<Vec<i64>>()
        };
        assert_eq!(read(0, None).await, (0..5003).collect::<Vec<_>>());
        assert_eq!(read(4998, Some(4)).await, [4998, 4999, 5000, 5001]);
        assert_eq!(read(5002, Some(9)).await, [5002]);
        assert_eq!(read(5003, None).await, [0_i64; 0]);
        assert_eq!(read(0, Some(0)).await, [0_i64; 0]);
    }

    #[tokio::test]
    async fn large_rows_are_read_few_at_a_time() {
        let long_name = "n".repeat(1 << 20);
        let mut skewed = vec![String::new(); 1000];
        skewed.extend(vec!["x".repeat(3 << 20); 3]);
        for all in [
            batch("t", Arc::new(StringArray::from(vec!["x".repeat(3 << 20); 4]))),
            batch("t", Arc::new(StringArray::from(skewed))),
            batch(&long_name, numbers(0..100)),
        ] {
            let batches = read(&all, 0, None).await;
            assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), all.num_rows());
            for batch in batches {
                let name = batch.schema().field(0).name().len();
                let bytes = batch.num_rows() * name
                    + batch.column(0).to_data().get_slice_memory_size().expect("size");
                assert!(bytes <= 6 << 20, "{} rows have {bytes} bytes", batch.num_rows());
            }
        }
    }

    #[tokio::test]
    async fn a_row_of_many_values_is_too_large() {
        let mut lists = ListBuilder::new(Int64Builder::new());
        lists.values().append_slice(&vec![7; 1_000_000]);
        lists.append(true);
        // Of a column with one value, the file has next to nothing.
        let table = stored(&batch("l", Arc::new(lists.finish()))).await;
        assert!(matches!(table.read(0, Some(1)), Err(TableError::TooLarge)));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(5 << 20)]));
        assert!(matches!(stored(&batch("t", text)).await.read(0, None), Err(TableError::TooLarge)));
    }

    #[tokio::test]
    async fn what_is_no_parquet_is_refused() {
        for bytes in [&b""[..], b"PAR1", b"PAR1\xff\xff\xff\x7fPAR1", b"not Parquet at all"] {
            assert!(Table::in_memory(Bytes::from_static(bytes)).await.is_err());
        }
    }
}
