//! Files of processes, on their way to the objects.

use std::io;
use std::path::Path;

use bytes::BytesMut;
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use service_kit::objects::{Objects, Written};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::child::ChildError;
use super::error::ServeError;
use super::schema::{ColumnDescription, describe};
use super::table::TableError;

/// How much is read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Copies a file to an object.
///
/// # Errors
/// If the one cannot be read or the other not be written.
pub async fn store(objects: &Objects, key: &str, path: &Path) -> Result<Written, ServeError> {
    let failed = |source: io::Error| ChildError::Workspace { folder: path.to_owned(), source };
    let mut file = File::open(path).await.map_err(failed)?;
    let mut upload = objects.create(key).await?;
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        if file.read_buf(&mut chunk).await.map_err(failed)? == 0 {
            return Ok(upload.finish().await?);
        }
        upload.write(chunk.freeze()).await?;
    }
}

/// The columns of a Parquet file.
///
/// # Errors
/// If it cannot be read.
pub async fn columns(path: &Path) -> Result<Vec<ColumnDescription>, ServeError> {
    let path = path.to_owned();
    let read = move || -> Result<_, ServeError> {
        let file = std::fs::File::open(&path)
            .map_err(|source| ChildError::Workspace { folder: path.clone(), source })?;
        let metadata =
            ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(TableError::from)?;
        Ok(describe(metadata.schema()))
    };
    tokio::task::spawn_blocking(read).await?
}
