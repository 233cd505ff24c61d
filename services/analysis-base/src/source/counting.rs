use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::Progress;

/// A store that counts what is read from it.
#[derive(Debug)]
pub(super) struct CountingStore {
    inner: Arc<dyn ObjectStore>,
    progress: Arc<Progress>,
    counts: AtomicBool,
}

impl CountingStore {
    pub(super) fn new(inner: &Arc<dyn ObjectStore>, progress: &Arc<Progress>) -> Self {
        Self { inner: Arc::clone(inner), progress: Arc::clone(progress), counts: AtomicBool::new(false) }
    }

    /// From here on, what is read counts: a look at the schema does not.
    pub(super) fn start_counting(&self) {
        self.counts.store(true, Ordering::Relaxed);
    }

    fn add(&self, bytes: u64) {
        if self.counts.load(Ordering::Relaxed) {
            self.progress.add_bytes(bytes);
        }
    }
}

impl fmt::Display for CountingStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(formatter)
    }
}

#[async_trait]
impl ObjectStore for CountingStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let result = self.inner.get_opts(location, options).await?;
        self.add(result.range.end - result.range.start);
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let parts = self.inner.get_ranges(location, ranges).await?;
        self.add(parts.iter().map(|part| part.len() as u64).sum());
        Ok(parts)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    // The engine only reads from sources.

    async fn put_opts(
        &self,
        _location: &Path,
        _payload: PutPayload,
        _options: PutOptions,
    ) -> Result<PutResult> {
        Err(object_store::Error::NotImplemented { operation: "put".into(), implementer: self.to_string() })
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(object_store::Error::NotImplemented { operation: "put".into(), implementer: self.to_string() })
    }

    fn delete_stream(
        &self,
        _locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let error =
            object_store::Error::NotImplemented { operation: "delete".into(), implementer: self.to_string() };
        Box::pin(futures::stream::once(async { Err(error) }))
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> Result<()> {
        Err(object_store::Error::NotImplemented { operation: "copy".into(), implementer: self.to_string() })
    }
}
