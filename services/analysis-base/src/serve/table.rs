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

/// Most rows that are decoded at once.
const MOST_ROWS: u64 = 4096;
/// Rows that are decoded at once have about this size at most.
const BATCH_BYTES: u64 = 8 << 20;
/// A single value may be this large.
const VALUE_BYTES: u64 = 16 << 20;

/// Why a stored result cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It has values that the memory of the server is too small for.
    #[error(
        "The result has values that are too large to be converted. Ask for it as \
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
    /// If a value is too large for the memory of a server.
    pub fn read(self, offset: u64, limit: Option<u64>) -> Result<Rows, TableError> {
        let Content::Parquet { object, metadata } = self.0 else { return Ok(stream::empty().boxed()) };
        let parquet = Arc::clone(metadata.metadata());
        if has_large_values(&parquet) {
            return Err(TableError::TooLarge);
        }
        let rows = parquet.row_groups().iter().map(batch_rows).min().unwrap_or(MOST_ROWS);
        let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(object, metadata)
            .with_batch_size(size(rows))
            .with_offset(size(offset));
        if let Some(limit) = limit {
            builder = builder.with_limit(size(limit));
        }
        Ok(builder.build()?.boxed())
    }
}

/// How many rows of the group are decoded at once. Values that are repeated
/// are stored once, so that the file says nothing of their size.
fn batch_rows(group: &RowGroupMetaData) -> u64 {
    let decoded: u64 = group
        .columns()
        .iter()
        .map(|column| {
            unsigned(column.uncompressed_size())
                + unsigned(column.unencoded_byte_array_data_bytes().unwrap_or_default())
                + 16 * unsigned(column.num_values())
        })
        .sum();
    let bytes_of_a_row = decoded.checked_div(unsigned(group.num_rows())).unwrap_or_default();
    BATCH_BYTES.checked_div(bytes_of_a_row).unwrap_or(MOST_ROWS).clamp(16, MOST_ROWS)
}

/// Whether a page is that large though most of its values are stored: one of
/// them is large then.
fn has_large_values(metadata: &ParquetMetaData) -> bool {
    let Some(pages) = metadata.offset_index() else { return false };
    metadata.row_groups().iter().zip(pages).any(|(group, pages)| {
        group.columns().iter().zip(pages).any(|(column, pages)| {
            unsigned(column.uncompressed_size()) > VALUE_BYTES
                && pages
                    .unencoded_byte_array_data_bytes()
                    .is_some_and(|pages| pages.iter().any(|bytes| unsigned(*bytes) > VALUE_BYTES))
        })
    })
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
    use super::*;

    #[tokio::test]
    async fn what_is_no_parquet_is_refused() {
        for bytes in [&b""[..], b"PAR1", b"PAR1\xff\xff\xff\x7fPAR1", b"not Parquet at all"] {
            assert!(Table::in_memory(Bytes::from_static(bytes)).await.is_err());
        }
    }
}
