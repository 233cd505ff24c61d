use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use crds::analysis::OutputFormat;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::ipc::writer::FileWriter;
use datafusion::arrow::json;
use datafusion::arrow::json::writer::LineDelimited;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;

use super::weight::RowBytes;
use super::{OutputError, Portable};

/// A Parquet row group is closed at this size, since it is held in memory until then.
const ROW_GROUP_BYTES: usize = 16 << 20;

/// Writes record batches in a format. The bytes are taken away in between, so
/// that few are held at once.
#[derive(Debug)]
pub struct Encoder {
    format: OutputFormat,
    portable: Portable,
    writer: Writer,
    buffer: Buffer,
    row_bytes: RowBytes,
}

enum Writer {
    Csv(Box<csv::Writer<Buffer>>),
    JsonLines(json::Writer<Buffer, LineDelimited>),
    Parquet(Box<ArrowWriter<Buffer>>),
    Arrow(Box<FileWriter<Buffer>>),
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Writer")
    }
}

impl Encoder {
    /// An encoder for results of this schema.
    ///
    /// # Errors
    /// If the format cannot hold the schema.
    pub fn new(schema: &Schema, format: OutputFormat) -> Result<Self, OutputError> {
        let portable = Portable::new(schema, format);
        let buffer = Buffer::default();
        let writer = Writer::new(portable.schema(), format, buffer.clone())?;
        Ok(Self { format, portable, writer, buffer, row_bytes: RowBytes::default() })
    }

    /// Adds rows, and gives the bytes that are ready.
    ///
    /// # Errors
    /// If the format cannot hold a value.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<Bytes, OutputError> {
        let failed = failed(self.format);
        let batch = self.portable.convert(batch).map_err(failed)?;
        match &mut self.writer {
            Writer::Csv(writer) => writer.write(&batch).map_err(failed)?,
            Writer::JsonLines(writer) => writer.write(&batch).map_err(failed)?,
            Writer::Arrow(writer) => writer.write(&batch).map_err(failed)?,
            Writer::Parquet(writer) => {
                self.row_bytes.add(&batch);
                writer.write(&batch).map_err(failed_parquet)?;
                if writer.in_progress_size() >= ROW_GROUP_BYTES || writer.memory_size() >= 3 * ROW_GROUP_BYTES
                {
                    writer.flush().map_err(failed_parquet)?;
                }
            }
        }
        Ok(self.buffer.take())
    }

    /// Ends the file and gives its last bytes.
    ///
    /// # Errors
    /// If the format cannot hold what was written.
    pub fn finish(self) -> Result<Bytes, OutputError> {
        let failed = failed(self.format);
        match self.writer {
            // The header is written with the first batch, so an empty result needs one.
            Writer::Csv(mut writer) => {
                writer.write(&RecordBatch::new_empty(Arc::clone(self.portable.schema()))).map_err(failed)?;
            }
            Writer::JsonLines(mut writer) => writer.finish().map_err(failed)?,
            Writer::Arrow(mut writer) => writer.finish().map_err(failed)?,
            Writer::Parquet(mut writer) => {
                writer.append_key_value_metadata(self.row_bytes.entry());
                writer.close().map_err(failed_parquet)?;
            }
        }
        Ok(self.buffer.take())
    }
}

impl Writer {
    fn new(schema: &SchemaRef, format: OutputFormat, buffer: Buffer) -> Result<Self, OutputError> {
        Ok(match format {
            OutputFormat::Csv => {
                Self::Csv(Box::new(csv::WriterBuilder::new().with_header(true).build(buffer)))
            }
            OutputFormat::JsonLines => {
                Self::JsonLines(json::WriterBuilder::new().with_explicit_nulls(true).build(buffer))
            }
            OutputFormat::Arrow => {
                Self::Arrow(Box::new(FileWriter::try_new(buffer, schema).map_err(failed(format))?))
            }
            OutputFormat::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .build();
                let writer = ArrowWriter::try_new(buffer, Arc::clone(schema), Some(properties));
                Self::Parquet(Box::new(writer.map_err(failed_parquet)?))
            }
        })
    }
}

fn failed(format: OutputFormat) -> impl Fn(datafusion::arrow::error::ArrowError) -> OutputError + Copy {
    let format = format.as_str();
    move |error| OutputError::Format { format, detail: error.to_string() }
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn failed_parquet(error: datafusion::parquet::errors::ParquetError) -> OutputError {
    OutputError::Format { format: "parquet", detail: error.to_string() }
}

/// Bytes that a writer has written and nobody has taken yet. The writers own
/// what they write to, so it is shared with them.
#[derive(Clone, Debug, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
