//! A file of a source as a stream of its decompressed bytes.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use bytes::Bytes;
use crds::analysis::Compression;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::error::DataFusionError;
use object_store::{GetOptions, GetResultPayload, ObjectStore, ObjectStoreExt};
use tokio::sync::mpsc;

use super::place::{Place, SourceFile};
use super::{Progress, SourceError, store_failure};
use crate::failure::Failure;

/// Bytes fetched at once from a store on the network: few requests, and none
/// that is open until a slow query has taken what it gives.
const BLOCK_BYTES: u64 = 4 << 20;

/// Opens a file. The reader blocks, so it belongs into a thread of its own.
///
/// `progress` counts what is read, as stored.
pub(super) async fn open(
    place: &Place,
    file: &SourceFile,
    compression: Compression,
    source_name: &str,
    progress: Option<Arc<Progress>>,
) -> Result<Box<dyn Read + Send>, Failure> {
    let what = format!("source `{source_name}` ({})", file.name);
    let stored: Box<dyn Read + Send> = if place.remote {
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(fetch_blocks(Arc::clone(&place.store), file.clone(), what, sender));
        Box::new(BlockReader { receiver, current: Bytes::new() })
    } else {
        let result = place.store.get(&file.path).await.map_err(|error| store_failure(&what, &error))?;
        match result.payload {
            GetResultPayload::File(file, _) => Box::new(file),
            GetResultPayload::Stream(_) => {
                let bytes = result.bytes().await.map_err(|error| store_failure(&what, &error))?;
                Box::new(Cursor::new(bytes))
            }
        }
    };
    let counted = Counted { inner: stored, progress: progress.filter(|_| place.counts) };
    // Some decoders read the header of the data when they are made.
    let decoder = tokio::task::spawn_blocking(move || decompressed(counted, compression)).await;
    decoder.map_err(Failure::internal)?.map_err(|error| match error {
        DataFusionError::IoError(error) => read_failure(&error, source_name, &file.name, compression),
        DataFusionError::External(error) => match error.downcast_ref::<io::Error>() {
            Some(error) => read_failure(error, source_name, &file.name, compression),
            None => Failure::internal(error),
        },
        other => Failure::internal(other),
    })
}

fn decompressed(
    stored: impl Read + Send + 'static,
    compression: Compression,
) -> datafusion::error::Result<Box<dyn Read + Send>> {
    match compression {
        Compression::None => Ok(Box::new(stored)),
        Compression::Gzip => FileCompressionType::GZIP.convert_read(stored),
        Compression::Zstd => FileCompressionType::ZSTD.convert_read(stored),
        Compression::Bzip2 => FileCompressionType::BZIP2.convert_read(stored),
        Compression::Xz => FileCompressionType::XZ.convert_read(stored),
    }
}

/// What an error of a reader from [`open`] means.
pub(super) fn read_failure(
    error: &io::Error,
    source_name: &str,
    file_name: &str,
    compression: Compression,
) -> Failure {
    if let Some(failure) = error.get_ref().and_then(|inner| inner.downcast_ref::<Failure>()) {
        return failure.clone();
    }
    let named = match compression {
        Compression::None => {
            return SourceError::Unavailable {
                source_name: source_name.to_owned(),
                what: format!("reading {file_name} failed: {error}"),
            }
            .into();
        }
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
        Compression::Bzip2 => "bzip2",
        Compression::Xz => "xz",
    };
    let problem = if error.kind() == io::ErrorKind::UnexpectedEof {
        format!("the {named} data is cut off: the file is not complete")
    } else {
        format!("the data is not {named}, or is damaged ({error})")
    };
    SourceError::data(source_name, file_name, problem).into()
}

async fn fetch_blocks(
    store: Arc<dyn ObjectStore>,
    file: SourceFile,
    what: String,
    sender: mpsc::Sender<Result<Bytes, Failure>>,
) {
    let mut start = 0;
    while start < file.size {
        let end = (start + BLOCK_BYTES).min(file.size);
        let range = GetOptions::new().with_range(Some(start..end));
        let block = match file.get(store.as_ref(), range).await {
            Ok(result) => result.bytes().await,
            Err(error) => Err(error),
        };
        let block = block.map_err(|error| store_failure(&what, &error));
        let failed = block.is_err();
        // An error here means that nobody reads any more.
        if sender.send(block).await.is_err() || failed {
            return;
        }
        start = end;
    }
}

/// Reads blocks that another task fetches.
struct BlockReader {
    receiver: mpsc::Receiver<Result<Bytes, Failure>>,
    current: Bytes,
}

impl Read for BlockReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                None => return Ok(0),
                Some(Ok(block)) => self.current = block,
                Some(Err(failure)) => return Err(io::Error::other(failure)),
            }
        }
        let taken = self.current.split_to(self.current.len().min(buffer.len()));
        buffer[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    progress: Option<Arc<Progress>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if let Some(progress) = &self.progress {
            progress.add_bytes(read as u64);
        }
        Ok(read)
    }
}
