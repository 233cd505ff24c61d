use std::io::{self, Write};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crds::analysis::{OUTPUT_MARKER, Output, OutputPart, WrittenFile};
use object_store::ObjectStore;
use object_store::buffered::BufWriter;
use object_store::path::Path as ObjectPath;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;

use super::dataset::NewVersion;
use super::volume::Volume;
use super::{CONFIG_MAP_LIMIT_BYTES, OutputError, Staging};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::source::{Bucket, Secret, open_bucket};

/// Bytes of a file that go into one line of the log.
const PART_BYTES: usize = 8 << 10;
/// An upload goes out in parts of this size, of which a few are held at once.
const UPLOAD_PART_BYTES: usize = 6 << 20;

/// Where the files of a result go. Nobody sees any of them before all are
/// complete.
#[derive(Debug)]
pub struct Destination {
    kind: Kind,
    /// Complete, and not visible yet; the result itself is the first.
    finished: Vec<Upload>,
}

#[derive(Debug)]
enum Kind {
    Volume(Volume),
    Bucket {
        store: Arc<dyn ObjectStore>,
        prefix: ObjectPath,
        url: String,
    },
    ConfigMap,
    /// For the result; charts go into a ConfigMap.
    Dataset(Arc<NewVersion>),
}

/// What is visible.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// The files; the result itself is the first.
    pub files: Vec<WrittenFile>,
    /// The number of the version that the result is, if it is in a data set.
    pub dataset_version: Option<i64>,
}

impl Destination {
    /// Makes ready to write; makes the folder if it is not there.
    ///
    /// # Errors
    /// If the destination is not one, or cannot be written.
    pub fn open(output: &Output, environment: &Environment, staging: Staging<'_>) -> Result<Self, Failure> {
        let kind = if let Some(claim) = &output.persistent_volume_claim {
            Kind::Volume(Volume::open(&environment.folders.output, &claim.path, &claim.claim_name)?)
        } else if let Some(s3) = &output.s3 {
            let bucket = Bucket {
                url: &s3.url,
                endpoint: s3.endpoint.as_deref(),
                region: s3.region.as_deref(),
                secret: Some(Secret::new(&environment.folders.secrets, &s3.secret.name)),
            };
            let (store, prefix) = open_bucket(&bucket)?;
            Kind::Bucket { store, prefix, url: s3.url.clone() }
        } else if output.config_map.is_some() {
            Kind::ConfigMap
        } else if let Some(dataset) = &output.dataset {
            Kind::Dataset(Arc::new(NewVersion::open(dataset, output.format, staging)?))
        } else {
            let problem = "give exactly one of `configMap`, `persistentVolumeClaim`, `s3` and `dataset`";
            return Err(OutputError::Specification(problem.to_owned()).into());
        };
        Ok(Self { kind, finished: Vec::new() })
    }

    /// Starts a file.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn start(&self, name: &str) -> Result<Upload, OutputError> {
        let target = match &self.kind {
            Kind::Volume(volume) => Target::File { file: volume.create(name)?, volume: volume.clone() },
            Kind::Bucket { store, prefix, url } => {
                let path = prefix.clone().join(name);
                let writer = BufWriter::with_capacity(Arc::clone(store), path, UPLOAD_PART_BYTES)
                    .with_max_concurrency(2);
                Target::Object { writer: Box::new(writer), url: url.clone() }
            }
            Kind::Dataset(version) if version.is(name) => {
                Target::Staged { file: version.create()?, version: Arc::clone(version) }
            }
            Kind::ConfigMap | Kind::Dataset(_) => {
                let before = self.finished.iter().map(Upload::bytes_in_memory).sum();
                Target::Memory { content: Vec::new(), before }
            }
        };
        Ok(Upload { name: name.to_owned(), bytes: 0, target })
    }

    /// Ends a file. It becomes visible with the others.
    ///
    /// # Errors
    /// If its bytes do not reach the disk.
    pub fn finish(&mut self, upload: Upload) -> Result<(), OutputError> {
        if let Target::File { file, volume } = &upload.target {
            file.as_file().sync_all().map_err(|error| volume.failed(&error))?;
        }
        self.finished.push(upload);
        Ok(())
    }

    /// Writes a whole file. It becomes visible with the others.
    ///
    /// # Errors
    /// If it cannot be written, or does not fit.
    pub async fn put(&mut self, name: &str, content: Bytes) -> Result<(), OutputError> {
        let mut upload = self.start(name)?;
        match upload.write(content).await {
            Ok(()) => self.finish(upload),
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }

    /// Makes all files visible: called once, when everything has succeeded.
    /// The result comes last, so that who sees it also sees its charts.
    ///
    /// # Errors
    /// If that fails; the error says which files are visible all the same.
    pub async fn publish(mut self) -> Result<Published, OutputError> {
        let mut visible = Vec::new();
        let mut dataset_version = None;
        while let Some(upload) = self.finished.pop() {
            match upload.reveal().await {
                Ok((file, version)) => {
                    visible.push(file);
                    dataset_version = dataset_version.or(version);
                }
                Err(error) => {
                    // Nobody makes the ConfigMap of a pod that fails.
                    let is_nothing_visible = matches!(self.kind, Kind::ConfigMap | Kind::Dataset(_));
                    self.abort().await;
                    return Err(if is_nothing_visible { error } else { error.after(&visible) });
                }
            }
        }
        if let Kind::Volume(volume) = &self.kind {
            volume.sync().map_err(|error| error.after(&visible))?;
        }
        visible.reverse();
        Ok(Published { files: visible, dataset_version })
    }

    /// Gives up all files; nothing stays behind, as far as that can be done.
    pub async fn abort(self) {
        for upload in self.finished {
            upload.abort().await;
        }
    }
}

/// A file that is being written, and that nobody sees yet.
#[derive(Debug)]
pub struct Upload {
    name: String,
    bytes: u64,
    target: Target,
}

#[derive(Debug)]
enum Target {
    /// Removes itself if it is not made visible.
    File { file: NamedTempFile, volume: Volume },
    /// An object is there when its writer is shut down.
    Object { writer: Box<BufWriter>, url: String },
    /// `before` is the size of the files before this one.
    Memory { content: Vec<u8>, before: u64 },
    /// Removes itself, and is uploaded before.
    Staged { file: NamedTempFile, version: Arc<NewVersion> },
}

impl Upload {
    /// Adds bytes to the file.
    ///
    /// # Errors
    /// If they cannot be written, or do not fit.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), OutputError> {
        self.bytes += bytes.len() as u64;
        match &mut self.target {
            Target::File { file, volume } => {
                file.as_file_mut().write_all(&bytes).map_err(|error| volume.failed(&error))
            }
            Target::Object { writer, url } => {
                writer.put(bytes).await.map_err(|error| OutputError::bucket(url, &error))
            }
            Target::Memory { content, before } => {
                if *before + self.bytes > CONFIG_MAP_LIMIT_BYTES {
                    return Err(OutputError::TooLargeForConfigMap);
                }
                content.extend_from_slice(&bytes);
                Ok(())
            }
            Target::Staged { file, version } => {
                version.check(self.bytes)?;
                file.as_file_mut().write_all(&bytes).map_err(|error| version.not_staged(error))
            }
        }
    }

    fn bytes_in_memory(&self) -> u64 {
        if matches!(self.target, Target::Memory { .. }) { self.bytes } else { 0 }
    }

    /// Makes the file visible. Gives the number of the version that it is, if it
    /// is one.
    async fn reveal(self) -> Result<(WrittenFile, Option<i64>), OutputError> {
        let written = WrittenFile { name: self.name, bytes: i64::try_from(self.bytes).unwrap_or(i64::MAX) };
        match self.target {
            Target::File { file, volume } => volume.reveal(file.into_temp_path(), &written.name)?,
            Target::Object { mut writer, url } => {
                writer.shutdown().await.map_err(|error| OutputError::bucket(&url, &error))?;
            }
            Target::Memory { content, .. } => {
                print_parts(&written.name, &content).map_err(OutputError::StandardOutput)?;
            }
            Target::Staged { file, version } => {
                let number = version.publish(&file).await?;
                return Ok((written, Some(number)));
            }
        }
        Ok((written, None))
    }

    /// Gives the file up; nothing stays behind, as far as that can be done.
    pub async fn abort(self) {
        if let Target::Object { mut writer, url } = self.target
            && let Err(error) = writer.abort().await
        {
            tracing::warn!(url, %error, "an upload could not be taken back");
        }
    }
}

fn print_parts(name: &str, content: &[u8]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    let chunks: Vec<&[u8]> =
        if content.is_empty() { vec![&[]] } else { content.chunks(PART_BYTES).collect() };
    let parts = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
    for (part, bytes) in (0..).zip(chunks) {
        let part = OutputPart { file: name.to_owned(), part, parts, data: STANDARD.encode(bytes) };
        writeln!(output, "{OUTPUT_MARKER}{}", serde_json::to_string(&part)?)?;
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use object_store::local::LocalFileSystem;
    use tempfile::TempDir;

    use super::*;

    const FILES: [&str; 3] = ["result.csv", "c.svg", "c.vl.json"];

    /// A bucket whose objects are files, with all files complete.
    async fn complete(root: &TempDir) -> Destination {
        let store = LocalFileSystem::new_with_prefix(root.path()).expect("store");
        let (store, prefix) = (Arc::new(store), ObjectPath::from("out"));
        let kind = Kind::Bucket { store, prefix, url: "s3://lake/out".to_owned() };
        let mut destination = Destination { kind, finished: Vec::new() };
        for name in FILES {
            // The result is larger than what is held until the end.
            let size = if name == FILES[0] { UPLOAD_PART_BYTES + 1 } else { 1 };
            destination.put(name, vec![b'x'; size].into()).await.expect("put");
        }
        destination
    }

    fn is_there(root: &TempDir) -> [bool; 3] {
        FILES.map(|name| root.path().join("out").join(name).is_file())
    }

    #[tokio::test]
    async fn objects_appear_when_all_are_complete() {
        let root = tempfile::tempdir().expect("folder");
        let destination = complete(&root).await;
        assert_eq!(is_there(&root), [false; 3]);
        let files = destination.publish().await.expect("publish").files;
        assert_eq!(is_there(&root), [true; 3]);
        assert_eq!(files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), FILES);
        assert_eq!(files[0].bytes as usize, UPLOAD_PART_BYTES + 1);
    }

    #[tokio::test]
    async fn what_is_given_up_does_not_appear() {
        let root = tempfile::tempdir().expect("folder");
        complete(&root).await.abort().await;
        assert_eq!(is_there(&root), [false; 3]);
    }

    #[tokio::test]
    async fn a_failure_in_between_tells_what_is_visible() {
        let root = tempfile::tempdir().expect("folder");
        let destination = complete(&root).await;
        // An object cannot take the place of a folder.
        fs::create_dir_all(root.path().join("out/c.svg/x")).expect("folder");
        let error = destination.publish().await.expect_err("a folder is in the way").to_string();
        assert!(error.starts_with("Writing to `s3://lake/out` failed: "), "{error}");
        assert!(error.ends_with(" These files had been replaced before: c.vl.json."), "{error}");
        assert_eq!(is_there(&root), [false, false, true]);
    }
}
