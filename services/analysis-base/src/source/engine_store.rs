use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result, coalesce_ranges,
};

use super::place::{Place, SourceFile};
use super::{Progress, store_failure};

/// The files of a source as the engine sees them.
///
/// The engine keeps what it knows of a file under its path alone, so a path
/// here names the source as well: two buckets may have a file of one name.
/// Errors name the source and the file, and what is read is counted.
#[derive(Debug)]
pub(super) struct EngineStore {
    source_name: String,
    place: Place,
    progress: Arc<Progress>,
    counts: AtomicBool,
}

impl EngineStore {
    pub(super) fn new(source_name: &str, place: Place, progress: &Arc<Progress>) -> Self {
        let source_name = source_name.to_owned();
        Self { source_name, place, progress: Arc::clone(progress), counts: AtomicBool::new(false) }
    }

    pub(super) fn files(&self) -> &[SourceFile] {
        &self.place.files
    }

    /// A file as the engine knows it. It is what was found at first, so that
    /// the engine need not ask for it again.
    pub(super) fn object(&self, index: usize) -> ObjectMeta {
        ObjectMeta {
            location: Path::from(format!("{}/{index:05}", self.source_name)),
            last_modified: Default::default(),
            size: self.place.files[index].size,
            e_tag: None,
            version: None,
        }
    }

    /// From here on, what is read counts: a look at the schema does not.
    pub(super) fn start_counting(&self) {
        self.counts.store(self.place.counts, Ordering::Relaxed);
    }

    /// The number of the file at a location of [`EngineStore::object`].
    fn index(&self, location: &Path) -> Result<usize> {
        let index = location.filename().and_then(|name| name.parse::<usize>().ok());
        index.filter(|index| *index < self.place.files.len()).ok_or_else(|| Error::NotFound {
            path: location.to_string(),
            source: "it is no file of the source".into(),
        })
    }

    fn not_implemented(&self, operation: &str) -> Error {
        Error::NotImplemented { operation: operation.to_owned(), implementer: self.to_string() }
    }
}

/// The error with words that name the source and the file; [`store_failure`] gets them back.
fn named(what: &str, error: &Error) -> Error {
    Error::Generic { store: "source", source: Box::new(store_failure(what, error)) }
}

impl fmt::Display for EngineStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.place.store, formatter)
    }
}

#[async_trait]
impl ObjectStore for EngineStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let index = self.index(location)?;
        let file = &self.place.files[index];
        if options.head {
            return Ok(GetResult {
                payload: GetResultPayload::Stream(futures::stream::empty().boxed()),
                meta: self.object(index),
                range: 0..file.size,
                attributes: Attributes::new(),
            });
        }
        let what = format!("source `{}` ({})", self.source_name, file.name);
        let result = file.get(self.place.store.as_ref(), options).await;
        let mut result = result.map_err(|error| named(&what, &error))?;
        if self.counts.load(Ordering::Relaxed) {
            self.progress.add_bytes(result.range.end - result.range.start);
        }
        result.meta = self.object(index);
        result.payload = match result.payload {
            GetResultPayload::Stream(stream) => {
                GetResultPayload::Stream(stream.map_err(move |error| named(&what, &error)).boxed())
            }
            local => local,
        };
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        // To read a gap costs less than a further request, but more than a look into a local file.
        let gap = if self.place.remote { OBJECT_STORE_COALESCE_DEFAULT } else { 0 };
        coalesce_ranges(ranges, |range| self.get_range(location, range), gap).await
    }

    // The engine only reads from sources, and is told which files they have.

    fn list(&self, _prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let error = self.not_implemented("list");
        futures::stream::once(async { Err(error) }).boxed()
    }

    async fn list_with_delimiter(&self, _prefix: Option<&Path>) -> Result<ListResult> {
        Err(self.not_implemented("list"))
    }

    async fn put_opts(
        &self,
        _location: &Path,
        _payload: PutPayload,
        _options: PutOptions,
    ) -> Result<PutResult> {
        Err(self.not_implemented("put"))
    }

    async fn put_multipart_opts(
        &self,
        _location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(self.not_implemented("put"))
    }

    fn delete_stream(
        &self,
        _locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let error = self.not_implemented("delete");
        futures::stream::once(async { Err(error) }).boxed()
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> Result<()> {
        Err(self.not_implemented("copy"))
    }
}
