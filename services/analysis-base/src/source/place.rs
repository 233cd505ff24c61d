//! Where the data of a source is.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crds::analysis::{Compression, Source, SourceFormat, UriSource};
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{Error, GetOptions, GetResult, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt};

use super::{Bucket, Downloads, Progress, Secret, SourceError, download, open_bucket, store_failure};
use crate::environment::Environment;
use crate::failure::Failure;

/// Most files that a folder or prefix may have.
const MOST_FILES: usize = 10_000;

/// A store and the files in it that make up a source.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) files: Vec<SourceFile>,
    /// Whether reading from here counts as reading from the source. It does
    /// not for a copy: making it was counted.
    pub(super) counts: bool,
    /// Whether the store is reached through the network.
    pub(super) remote: bool,
}

/// A file of a source.
#[derive(Clone, Debug)]
pub(super) struct SourceFile {
    /// As the user knows it.
    pub(super) name: String,
    /// In the store.
    pub(super) path: ObjectPath,
    pub(super) size: u64,
    /// What the store said of the file when this run read it first.
    first_read: Arc<OnceLock<ObjectMeta>>,
}

impl SourceFile {
    fn new(name: String, path: ObjectPath, size: u64) -> Self {
        Self { name, path, size, first_read: Arc::default() }
    }

    /// Reads from the file, which has to be what it was when this run read it first.
    ///
    /// # Errors
    /// [`Error::Precondition`] if the file has changed since.
    pub(super) async fn get(
        &self,
        store: &dyn ObjectStore,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        let first = self.first_read.get().and_then(|first| first.e_tag.clone());
        // A weak tag meets no condition.
        let condition = first.filter(|tag| !tag.starts_with("W/"));
        let result = store.get_opts(&self.path, options.with_if_match(condition)).await?;
        let mut found = result.meta.clone();
        if matches!(result.payload, GetResultPayload::File(..)) {
            // It has the number of the inode, which some network file systems change.
            found.e_tag = None;
        }
        let first = self.first_read.get_or_init(|| found.clone());
        // Not every store keeps to the condition, and some have no tags to state it with.
        let same = match (&first.e_tag, &found.e_tag) {
            (None, None) => first.last_modified == found.last_modified,
            (first, found) => first == found,
        };
        if same && found.size == self.size {
            return Ok(result);
        }
        Err(Error::Precondition { path: self.path.to_string(), source: "the file has changed".into() })
    }
}

/// Finds the files of a source. Those of a folder come in the order of their names.
pub(super) async fn find(
    source: &Source,
    environment: &Environment,
    downloads: &Downloads,
    progress: &Progress,
) -> Result<Place, Failure> {
    if let Some(text) = &source.inline {
        return inline(text).await;
    }
    if let Some(key) = &source.config_map {
        let folder = environment.folders.sources.join(&source.name);
        if !folder.join(&key.key).is_file() {
            return Err(SourceError::NotFound {
                source_name: source.name.clone(),
                what: format!("ConfigMap `{}` has no key `{}`", key.name, key.key),
            }
            .into());
        }
        return local(source, &folder, vec![(key.key.clone(), folder.join(&key.key))]);
    }
    if let Some(claim) = &source.persistent_volume_claim {
        let root = environment.folders.claims.join(&claim.claim_name);
        let files = on_volume(source, &root, &claim.claim_name, &claim.path)?;
        return local(source, &canonical(&root), files);
    }
    if let Some(uri) = &source.uri {
        let secret =
            uri.secret.as_ref().map(|secret| Secret::new(&environment.folders.secrets, &secret.name));
        if uri.url.starts_with("s3://") {
            return in_bucket(source, uri, secret).await;
        }
        let path = download::fetch(&source.name, &uri.url, secret.as_ref(), downloads, progress).await?;
        let mut place = local(source, &downloads.folder, vec![(uri.url.clone(), path)])?;
        place.counts = false;
        return Ok(place);
    }
    Err(SourceError::Specification {
        source_name: source.name.clone(),
        problem: "give exactly one of `inline`, `configMap`, `persistentVolumeClaim`, `uri` and `dataset`"
            .to_owned(),
    }
    .into())
}

async fn inline(text: &str) -> Result<Place, Failure> {
    let store = InMemory::new();
    let path = ObjectPath::from("inline");
    let size = text.len() as u64;
    store
        .put(&path, text.to_owned().into_bytes().into())
        .await
        .map_err(|error| store_failure("inline data", &error))?;
    let file = SourceFile::new("inline data".to_owned(), path, size);
    Ok(Place { store: Arc::new(store), files: vec![file], counts: true, remote: false })
}

/// Files below a folder, with the names by which the user knows them.
pub(super) fn local(source: &Source, root: &Path, files: Vec<(String, PathBuf)>) -> Result<Place, Failure> {
    let specification =
        |problem: String| SourceError::Specification { source_name: source.name.clone(), problem };
    let store = LocalFileSystem::new_with_prefix(root).map_err(|error| specification(error.to_string()))?;
    let files = files
        .into_iter()
        .map(|(name, path)| {
            let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            let size = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
            let path = ObjectPath::parse(&relative).map_err(|error| {
                specification(format!("the file name `{relative}` cannot be used: {error}"))
            })?;
            Ok(SourceFile::new(name, path, size))
        })
        .collect::<Result<_, SourceError>>()?;
    Ok(Place { store: Arc::new(store), files, counts: true, remote: false })
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The files at a path of a volume. Nothing outside of the volume is read,
/// whatever links lie on it.
fn on_volume(
    source: &Source,
    root: &Path,
    claim: &str,
    path: &str,
) -> Result<Vec<(String, PathBuf)>, SourceError> {
    let not_found = |what: String| SourceError::NotFound { source_name: source.name.clone(), what };
    let target = root
        .join(path.trim_start_matches('/'))
        .canonicalize()
        .map_err(|_| not_found(format!("claim `{claim}` has no file or folder `{path}`")))?;
    let root = canonical(root);
    if !target.starts_with(&root) {
        return Err(SourceError::Specification {
            source_name: source.name.clone(),
            problem: format!("`{path}` leads out of the volume of claim `{claim}`"),
        });
    }
    if target.is_file() {
        return Ok(vec![(path.to_owned(), target)]);
    }
    let mut found = Vec::new();
    let mut folders = vec![target];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|error| SourceError::FolderDenied {
            source_name: source.name.clone(),
            what: format!("folder `{path}` of claim `{claim}` ({error})"),
        })?;
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with(['.', '_']) {
                continue;
            }
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && has_format(&name, source) {
                found.push(entry.path());
            }
        }
        if found.len() > MOST_FILES {
            return Err(too_many(source, path));
        }
    }
    if found.is_empty() {
        return Err(not_found(format!(
            "folder `{path}` of claim `{claim}` has no file that ends in {}",
            endings(source)
        )));
    }
    found.sort();
    Ok(found
        .into_iter()
        .map(|file| (file.strip_prefix(&root).unwrap_or(&file).to_string_lossy().into_owned(), file))
        .collect())
}

async fn in_bucket(source: &Source, uri: &UriSource, secret: Option<Secret>) -> Result<Place, Failure> {
    let bucket =
        Bucket { url: &uri.url, endpoint: uri.endpoint.as_deref(), region: uri.region.as_deref(), secret };
    let (store, key) = open_bucket(&bucket)?;
    let failed = |error: Error| store_failure(&format!("source `{}` ({})", source.name, uri.url), &error);
    let mut files = Vec::new();
    if uri.url.ends_with('/') {
        let mut listing = store.list(Some(&key));
        while let Some(object) = listing.try_next().await.map_err(failed)? {
            let is_hidden = is_hidden(&object.location, &key);
            if !is_hidden && object.location.filename().is_some_and(|name| has_format(name, source)) {
                let name = object.location.to_string();
                files.push(SourceFile::new(name, object.location, object.size));
            }
            if files.len() > MOST_FILES {
                return Err(too_many(source, &uri.url).into());
            }
        }
        if files.is_empty() {
            return Err(SourceError::NotFound {
                source_name: source.name.clone(),
                what: format!("`{}` has no object that ends in {}", uri.url, endings(source)),
            }
            .into());
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
    } else {
        let object = store.head(&key).await.map_err(failed)?;
        files.push(SourceFile::new(uri.url.clone(), key, object.size));
    }
    Ok(Place { store, files, counts: true, remote: true })
}

fn too_many(source: &Source, path: &str) -> SourceError {
    SourceError::Specification {
        source_name: source.name.clone(),
        problem: format!("`{path}` has more than {MOST_FILES} files: join them, or read a folder below it"),
    }
}

/// How the source's data is compressed.
pub(super) fn compression(source: &Source) -> Compression {
    let given = match source.format {
        Some(SourceFormat::Csv) => source.csv.as_ref().and_then(|options| options.compression),
        Some(SourceFormat::JsonLines) => source.json_lines.as_ref().and_then(|options| options.compression),
        Some(SourceFormat::Parquet | SourceFormat::Arrow) | None => None,
    };
    given.unwrap_or_default()
}

fn endings(source: &Source) -> String {
    let compressed = match compression(source) {
        Compression::None => "",
        Compression::Gzip => ".gz",
        Compression::Zstd => ".zst",
        Compression::Bzip2 => ".bz2",
        Compression::Xz => ".xz",
    };
    let plain: Vec<_> =
        extensions(source.format).iter().map(|extension| format!(".{extension}{compressed}")).collect();
    plain.join(" or ")
}

const fn extensions(format: Option<SourceFormat>) -> &'static [&'static str] {
    match format {
        Some(SourceFormat::Csv) => &["csv", "tsv", "txt"],
        Some(SourceFormat::JsonLines) => &["jsonl", "ndjson", "json"],
        Some(SourceFormat::Parquet) => &["parquet"],
        Some(SourceFormat::Arrow) => &["arrow", "arrows", "feather", "ipc"],
        None => &[],
    }
}

/// Whether an object below a prefix is no data: as in a folder, what begins
/// with a dot or an underscore is the work of the program that wrote them, such
/// as `_delta_log`.
fn is_hidden(object: &ObjectPath, prefix: &ObjectPath) -> bool {
    object.prefix_match(prefix).into_iter().flatten().any(|part| part.as_ref().starts_with(['.', '_']))
}

/// Whether a file of this name in a folder belongs to the source.
fn has_format(name: &str, source: &Source) -> bool {
    let name = name.to_ascii_lowercase();
    let stem = match compression(source) {
        Compression::None => Some(name.as_str()),
        Compression::Gzip => name.strip_suffix(".gz"),
        Compression::Zstd => name.strip_suffix(".zst").or_else(|| name.strip_suffix(".zstd")),
        Compression::Bzip2 => name.strip_suffix(".bz2"),
        Compression::Xz => name.strip_suffix(".xz"),
    };
    stem.and_then(|stem| stem.rsplit_once('.'))
        .is_some_and(|(_, extension)| extensions(source.format).contains(&extension))
}
