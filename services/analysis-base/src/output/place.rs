use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crds::analysis::{OUTPUT_MARKER, Output, OutputPart, WrittenFile};
use object_store::ObjectStore;
use object_store::buffered::BufWriter;
use object_store::path::Path as ObjectPath;
use tokio::io::AsyncWriteExt;

use super::{CONFIG_MAP_LIMIT_BYTES, OutputError};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::source::{Bucket, Secret, open_bucket};

/// Bytes of a file that go into one line of the log.
const PART_BYTES: usize = 8 << 10;
/// An upload goes out in parts of this size, of which a few are held at once.
const UPLOAD_PART_BYTES: usize = 6 << 20;

/// Where the files of a result go.
#[derive(Debug)]
pub struct Destination {
    kind: Kind,
    written: Vec<Finished>,
}

#[derive(Debug)]
enum Kind {
    Folder { folder: PathBuf, claim: String },
    Bucket { store: Arc<dyn ObjectStore>, prefix: ObjectPath, url: String },
    ConfigMap,
}

/// A file that is complete, but may not be visible yet.
#[derive(Debug)]
struct Finished {
    file: WrittenFile,
    /// Where it lies until everything is complete, on a volume.
    temporary: Option<PathBuf>,
    /// What is in it, for a ConfigMap.
    content: Vec<u8>,
}

impl Destination {
    /// Makes ready to write; makes the folder if it is not there.
    ///
    /// # Errors
    /// If the destination is not one, or cannot be written.
    pub fn open(output: &Output, environment: &Environment) -> Result<Self, Failure> {
        let kind = if let Some(claim) = &output.persistent_volume_claim {
            let folder = folder(&environment.folders.output, &claim.path, &claim.claim_name)?;
            Kind::Folder { folder, claim: claim.claim_name.clone() }
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
        } else {
            let problem = "give exactly one of `configMap`, `persistentVolumeClaim` and `s3`";
            return Err(OutputError::Specification(problem.to_owned()).into());
        };
        Ok(Self { kind, written: Vec::new() })
    }

    /// Starts a file.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn start(&self, name: &str) -> Result<Upload, OutputError> {
        let target = match &self.kind {
            Kind::Folder { folder, claim } => {
                // Hidden, so that nothing takes it for a result.
                let temporary = folder.join(format!(".{name}.partial"));
                let file = File::create(&temporary).map_err(|error| OutputError::volume(claim, &error))?;
                Target::File { file, temporary, claim: claim.clone() }
            }
            Kind::Bucket { store, prefix, url } => {
                let path = prefix.clone().join(name);
                let writer = BufWriter::with_capacity(Arc::clone(store), path, UPLOAD_PART_BYTES)
                    .with_max_concurrency(2);
                Target::Object { writer, url: url.clone() }
            }
            Kind::ConfigMap => {
                let before = self.written.iter().map(|finished| finished.content.len() as u64).sum();
                Target::Memory { content: Vec::new(), before }
            }
        };
        Ok(Upload { name: name.to_owned(), bytes: 0, target })
    }

    /// Ends a file.
    ///
    /// # Errors
    /// If its last bytes cannot be written.
    pub async fn finish(&mut self, upload: Upload) -> Result<(), OutputError> {
        let file = WrittenFile { name: upload.name, bytes: i64::try_from(upload.bytes).unwrap_or(i64::MAX) };
        let (temporary, content) = match upload.target {
            Target::File { file, temporary, claim } => {
                file.sync_all().map_err(|error| OutputError::volume(&claim, &error))?;
                (Some(temporary), Vec::new())
            }
            Target::Object { mut writer, url } => {
                writer.shutdown().await.map_err(|error| OutputError::bucket(&url, &error))?;
                (None, Vec::new())
            }
            Target::Memory { content, .. } => (None, content),
        };
        self.written.push(Finished { file, temporary, content });
        Ok(())
    }

    /// Makes all files visible: called once, when everything has succeeded.
    ///
    /// # Errors
    /// If that fails.
    pub fn publish(self) -> Result<Vec<WrittenFile>, OutputError> {
        match &self.kind {
            Kind::Folder { folder, claim } => {
                let failed = |error: io::Error| OutputError::volume(claim, &error);
                for finished in &self.written {
                    if let Some(temporary) = &finished.temporary {
                        fs::rename(temporary, folder.join(&finished.file.name)).map_err(failed)?;
                    }
                }
                // The names are in the folder: it has to reach the disk as well.
                File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
            }
            Kind::Bucket { .. } => {}
            Kind::ConfigMap => {
                let mut output = std::io::stdout().lock();
                print_parts(&mut output, &self.written).map_err(OutputError::StandardOutput)?;
            }
        }
        Ok(self.written.into_iter().map(|finished| finished.file).collect())
    }
}

fn print_parts(output: &mut impl Write, files: &[Finished]) -> io::Result<()> {
    for Finished { file, content, .. } in files {
        let chunks: Vec<&[u8]> =
            if content.is_empty() { vec![&[]] } else { content.chunks(PART_BYTES).collect() };
        let parts = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
        for (part, bytes) in (0..).zip(chunks) {
            let part = OutputPart { file: file.name.clone(), part, parts, data: STANDARD.encode(bytes) };
            writeln!(output, "{OUTPUT_MARKER}{}", serde_json::to_string(&part)?)?;
        }
    }
    output.flush()
}

/// The folder on the volume; what is on the volume already cannot lead out of it.
fn folder(root: &Path, path: &str, claim: &str) -> Result<PathBuf, OutputError> {
    let relative = Path::new(path.trim_start_matches('/'));
    if relative.components().any(|part| matches!(part, Component::ParentDir)) {
        return Err(OutputError::Specification(format!("the path `{path}` contains `..`")));
    }
    let folder = root.join(relative);
    let failed = |error: io::Error| OutputError::volume(claim, &error);
    fs::create_dir_all(&folder).map_err(failed)?;
    let real = folder.canonicalize().map_err(failed)?;
    let root = root.canonicalize().map_err(failed)?;
    if !real.starts_with(root) {
        return Err(OutputError::Specification(format!(
            "`{path}` leads out of the volume of claim `{claim}`"
        )));
    }
    Ok(real)
}

/// A file that is being written.
#[derive(Debug)]
pub struct Upload {
    name: String,
    bytes: u64,
    target: Target,
}

#[derive(Debug)]
enum Target {
    File { file: File, temporary: PathBuf, claim: String },
    Object { writer: BufWriter, url: String },
    Memory { content: Vec<u8>, before: u64 },
}

impl Upload {
    /// Adds bytes to the file.
    ///
    /// # Errors
    /// If they cannot be written, or do not fit.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), OutputError> {
        self.bytes += bytes.len() as u64;
        match &mut self.target {
            Target::File { file, claim, .. } => {
                file.write_all(&bytes).map_err(|error| OutputError::volume(claim, &error))
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
        }
    }

    /// Gives the file up; nothing stays behind, as far as that can be done.
    pub async fn abort(self) {
        match self.target {
            Target::File { temporary, .. } => {
                let _ = fs::remove_file(temporary);
            }
            Target::Object { mut writer, url } => {
                if let Err(error) = writer.abort().await {
                    tracing::warn!(url, %error, "an upload could not be taken back");
                }
            }
            Target::Memory { .. } => {}
        }
    }
}
