//! CSV and JSON lines as tables.
//!
//! ```text
//!   one thread of its own            tasks on all cores           the engine
//!   read, decompress, cut   ──▶   parse chunk │ parse chunk   ──▶  batches, in order
//! ```
//!
//! A few chunks are under way at once, whatever the size of the file.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use crds::analysis::{Compression, Source, SourceFormat};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;

use super::csv::Dialect;
use super::place::{Place, SourceFile};
use super::records::{Chunk, ChunkError, Chunks, Framing, RECORD_LIMIT_BYTES};
use super::{Progress, SourceError, bytes, json, place};
use crate::failure::{Failure, Size};

/// Text parsed at once by one core.
const CHUNK_BYTES: usize = 512 << 10;
/// Text from which the types of columns are taken.
const SAMPLE_BYTES: usize = 1 << 20;
/// Most columns. More are a sign of data that are not what they are said to be.
pub(super) const MOST_COLUMNS: usize = 10_000;

/// How the text is parsed.
#[derive(Clone, Debug)]
enum Parser {
    Csv(Dialect),
    JsonLines,
}

/// What all scans of a source share.
#[derive(Debug)]
struct TextSource {
    source: Source,
    place: Place,
    parser: Parser,
    schema: SchemaRef,
    compression: Compression,
    cores: usize,
    progress: Arc<Progress>,
}

/// Makes a CSV or JSON-lines source a table; reads the beginning of its first file with rows.
pub(super) async fn table(
    source: &Source,
    place: Place,
    cores: usize,
    progress: &Arc<Progress>,
) -> Result<Arc<dyn TableProvider>, Failure> {
    let parser = match source.format {
        Some(SourceFormat::JsonLines) => Parser::JsonLines,
        _ => Parser::Csv(Dialect::new(source)?),
    };
    let compression = place::compression(source);
    let Sample { file, chunk, header } = sample(source, &place, &parser, compression).await?;
    let schema = match &parser {
        Parser::Csv(dialect) => {
            if let Some((first, header)) = &header {
                let expected = dialect.schema(source, first, header)?;
                dialect.check_header(source, &file, &chunk, &expected)?;
            }
            dialect.schema(source, &file, &chunk)?
        }
        Parser::JsonLines => json::schema(source, &file, &chunk)?,
    };
    let shared = TextSource {
        source: source.clone(),
        place,
        parser,
        schema,
        compression,
        cores,
        progress: Arc::clone(progress),
    };
    Ok(Arc::new(TextTable(Arc::new(shared))))
}

/// The beginning of a file.
struct Sample {
    file: String,
    chunk: Chunk,
    /// The file before it that is not empty, but has only a header, and its beginning.
    header: Option<(String, Chunk)>,
}

/// The beginning of the first file that has rows; without one, of the first that is not empty.
async fn sample(
    source: &Source,
    place: &Place,
    parser: &Parser,
    compression: Compression,
) -> Result<Sample, Failure> {
    let mut header = None;
    for file in &place.files {
        let reader = bytes::open(place, file, compression, &source.name, None).await?;
        let name = file.name.clone();
        let framing = parser.framing();
        let result = tokio::task::spawn_blocking(move || Chunks::new(reader, framing, SAMPLE_BYTES).next())
            .await
            .map_err(Failure::internal)?;
        match result {
            Ok(Some(chunk)) if !chunk.bytes.trim_ascii().is_empty() => {
                check_magic(source, &name, &chunk)?;
                if parser.has_rows(&chunk) {
                    return Ok(Sample { file: name, chunk, header });
                }
                if header.is_none() {
                    header = Some((name, chunk));
                }
            }
            Ok(_) => {}
            Err(error) => return Err(chunk_failure(&error, source, &name, compression)),
        }
    }
    if let Some((file, chunk)) = header {
        return Ok(Sample { file, chunk, header: None });
    }
    let name = place.files.first().map_or("", |file| file.name.as_str());
    Err(SourceError::data(&source.name, name, "the file is empty").into())
}

/// Text that starts like a compressed or a Parquet file is none.
fn check_magic(source: &Source, file: &str, sample: &Chunk) -> Result<(), SourceError> {
    let options = if source.format == Some(SourceFormat::Csv) { "csv" } else { "jsonLines" };
    let advice = match sample.bytes.as_slice() {
        [0x1f, 0x8b, ..] => format!("is compressed with gzip: set `{options}.compression: gzip`"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => format!("is compressed with zstd: set `{options}.compression: zstd`"),
        [b'B', b'Z', b'h', ..] => format!("is compressed with bzip2: set `{options}.compression: bzip2`"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => {
            format!("is compressed with xz: set `{options}.compression: xz`")
        }
        [b'P', b'A', b'R', b'1', ..] => "is Parquet: set `format: parquet`".to_owned(),
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] => "is Arrow: set `format: arrow`".to_owned(),
        _ => return Ok(()),
    };
    Err(SourceError::data(&source.name, file, format!("the file {advice}")))
}

fn chunk_failure(error: &ChunkError, source: &Source, file: &str, compression: Compression) -> Failure {
    match error {
        ChunkError::Read(error) => bytes::read_failure(error, &source.name, file, compression),
        ChunkError::RecordTooLong { line } => SourceError::data(
            &source.name,
            format!("{file} line {line}"),
            format!(
                "the row that starts here is longer than {}. A line break or a closing quote may be missing",
                Size(RECORD_LIMIT_BYTES as u64)
            ),
        )
        .into(),
    }
}

impl Parser {
    const fn framing(&self) -> Framing {
        match self {
            Self::Csv(dialect) => dialect.framing(),
            Self::JsonLines => Framing::Lines,
        }
    }

    fn has_rows(&self, sample: &Chunk) -> bool {
        match self {
            Self::Csv(dialect) => dialect.has_rows(sample),
            Self::JsonLines => true,
        }
    }
}

impl TextSource {
    fn decode(
        &self,
        part: &Part,
        projection: &[usize],
        batch_rows: usize,
    ) -> Result<Vec<RecordBatch>, SourceError> {
        let file = &self.place.files[part.file].name;
        let header = part.first && matches!(&self.parser, Parser::Csv(dialect) if dialect.header);
        let decoded: Result<_, ArrowError> = match &self.parser {
            Parser::Csv(dialect) => {
                if header {
                    dialect.check_header(&self.source, file, &part.chunk, &self.schema)?;
                }
                dialect.decode(&self.schema, projection, &part.chunk, header, batch_rows)
            }
            Parser::JsonLines => json::decode(&self.schema, projection, &part.chunk, batch_rows),
        };
        let batches = decoded.map_err(|error| match &self.parser {
            Parser::Csv(dialect) => {
                dialect.diagnose(&self.schema, &part.chunk, header, &self.source, file, &error)
            }
            Parser::JsonLines => json::diagnose(&self.schema, &part.chunk, &self.source, file, &error),
        })?;
        self.progress.add_rows(batches.iter().map(RecordBatch::num_rows).sum());
        Ok(batches)
    }

    /// Reads the files one after the other and hands out their chunks.
    async fn read(self: Arc<Self>, files: Vec<usize>, sender: mpsc::Sender<Result<Part, Failure>>) {
        for index in files {
            let file: &SourceFile = &self.place.files[index];
            let progress = Some(Arc::clone(&self.progress));
            let reader =
                match bytes::open(&self.place, file, self.compression, &self.source.name, progress).await {
                    Ok(reader) => reader,
                    Err(failure) => {
                        let _ = sender.send(Err(failure)).await;
                        return;
                    }
                };
            let shared = Arc::clone(&self);
            let chunks = sender.clone();
            let thread = tokio::task::spawn_blocking(move || {
                let mut reader = Chunks::new(reader, shared.parser.framing(), CHUNK_BYTES);
                let mut first = true;
                loop {
                    let part = match reader.next() {
                        Ok(None) => return true,
                        Ok(Some(chunk)) => Ok(Part { file: index, chunk, first }),
                        Err(error) => Err(chunk_failure(
                            &error,
                            &shared.source,
                            &shared.place.files[index].name,
                            shared.compression,
                        )),
                    };
                    first = false;
                    let failed = part.is_err();
                    // An error of `send` means that nobody reads any more.
                    if chunks.blocking_send(part).is_err() || failed {
                        return false;
                    }
                }
            });
            match thread.await {
                Ok(true) => {}
                Ok(false) => return,
                // What was read so far must not pass for the whole.
                Err(error) => {
                    let _ = sender.send(Err(Failure::internal(error))).await;
                    return;
                }
            }
        }
    }
}

/// A chunk of one of the files.
struct Part {
    file: usize,
    chunk: Chunk,
    /// Whether it is the first of its file.
    first: bool,
}

/// A source of text as a table.
#[derive(Debug)]
struct TextTable(Arc<TextSource>);

#[async_trait]
impl TableProvider for TextTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let shared = &self.0;
        let projection = projection.cloned().unwrap_or_else(|| (0..shared.schema.fields().len()).collect());
        let schema = Arc::new(shared.schema.project(&projection)?);
        let files = shared.place.files.len();
        let partitions = files.min(state.config_options().execution.target_partitions).max(1);
        let streams = (0..partitions)
            .map(|partition| {
                let stream = TextPartition {
                    shared: Arc::clone(shared),
                    files: (0..files).filter(|file| file % partitions == partition).collect(),
                    projection: projection.clone(),
                    schema: Arc::clone(&schema),
                    workers: shared.cores.div_ceil(partitions),
                };
                Arc::new(stream) as Arc<dyn PartitionStream>
            })
            .collect();
        Ok(Arc::new(StreamingTableExec::try_new(schema, streams, None, [], false, limit)?))
    }
}

/// Some of the files, read one after the other.
struct TextPartition {
    shared: Arc<TextSource>,
    files: Vec<usize>,
    projection: Vec<usize>,
    schema: SchemaRef,
    /// Chunks that are parsed at once.
    workers: usize,
}

impl fmt::Debug for TextPartition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TextPartition").field("files", &self.files).finish_non_exhaustive()
    }
}

impl PartitionStream for TextPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batch_rows = context.session_config().batch_size();
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(Arc::clone(&self.shared).read(self.files.clone(), sender));
        let parts = stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|part| (part, receiver))
        });
        let shared = Arc::clone(&self.shared);
        let projection: Arc<[usize]> = self.projection.clone().into();
        let batches = parts
            .map(move |part| {
                let shared = Arc::clone(&shared);
                let projection = Arc::clone(&projection);
                // A task of its own, so that it runs on whichever core is free.
                let parsed = tokio::spawn(async move {
                    let part = part?;
                    shared.decode(&part, &projection, batch_rows).map_err(Failure::from)
                });
                async move {
                    let batches = parsed.await.map_err(DataFusionError::from_join)?;
                    batches.map_err(Failure::into_engine_error)
                }
            })
            .buffered(self.workers)
            .map_ok(|batches| stream::iter(batches.into_iter().map(Ok)))
            .try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

/// A task that ended without a result.
trait FromJoin {
    fn from_join(error: tokio::task::JoinError) -> Self;
}

impl FromJoin for DataFusionError {
    fn from_join(error: tokio::task::JoinError) -> Self {
        Self::ExecutionJoin(Box::new(error))
    }
}
