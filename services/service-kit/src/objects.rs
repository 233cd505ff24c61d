//! Large things: objects in a folder on a volume, or in an S3-compatible store.
//! One code path for both; which one it is, is configuration.
//!
//! An object is there as a whole or not at all: what is being written is not
//! visible, and what was given up leaves nothing. When [`Upload::finish`]
//! returns, the object survives a loss of power. Nothing is held in memory but
//! the part that goes out just then.
//!
//! Keys are made by services, not by users: an id in them, never a file name
//! that somebody chose. See [`Objects::create`] for what they may consist of.

mod bucket;
mod connector;
mod error;
mod folder;
mod key;
mod read;
mod settings;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path as ObjectPath;
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt as _};
use sha2::{Digest as _, Sha256};

use self::bucket::BucketUpload;
pub use self::connector::{Patience, PatientConnector};
pub use self::error::ObjectError;
use self::folder::{Folder, FolderUpload};
pub use self::read::Content;
pub use self::settings::ObjectSettings;

/// Objects by their keys. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    /// Before all keys.
    prefix: ObjectPath,
    /// A folder is written without the store, which does not wait for the disk.
    folder: Option<Arc<Folder>>,
    /// For messages.
    place: Arc<str>,
}

/// What is known of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written, in milliseconds since 1970.
    pub modified_at: i64,
}

/// An object that has just been written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its key.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of what was written, in hexadecimal.
    pub sha256: String,
}

impl Objects {
    /// Opens the place; makes the folder if it is not there. A bucket is not
    /// asked before it is used.
    ///
    /// # Errors
    /// If the settings make no sense, or the folder cannot be written.
    pub fn open(settings: &ObjectSettings) -> Result<Self, ObjectError> {
        match settings {
            ObjectSettings::Folder { path } => {
                let folder = Folder::open(path)?;
                Ok(Self {
                    store: Arc::new(folder.store().clone()),
                    prefix: ObjectPath::default(),
                    place: path.display().to_string().into(),
                    folder: Some(Arc::new(folder)),
                })
            }
            ObjectSettings::S3 { url, .. } => {
                let (store, prefix) = bucket::open(settings, Patience::default())?;
                Ok(Self { store, prefix, folder: None, place: url.as_str().into() })
            }
        }
    }

    /// Begins to write an object. It takes the place of another one with this
    /// key when it is finished.
    ///
    /// A key consists of segments with `/` between them; a segment of letters,
    /// digits and any of `-_.=+@`, and does not begin with a dot. No key is the
    /// beginning segments of another one: in a folder, the first is a file and
    /// the second would need a folder of that name.
    ///
    /// # Errors
    /// If the key is none, or the disk is full.
    pub async fn create(&self, key: &str) -> Result<Upload, ObjectError> {
        let path = self.path(key)?;
        let target = match &self.folder {
            Some(folder) => {
                let upload = FolderUpload::start(folder, &path).await;
                Target::Folder(upload.map_err(|error| ObjectError::of_io(&self.place, key, error))?)
            }
            None => Target::Bucket(BucketUpload::new(&self.store, path)),
        };
        Ok(Upload {
            key: key.to_owned(),
            place: Arc::clone(&self.place),
            bytes: 0,
            digest: Sha256::new(),
            has_failed: false,
            target,
        })
    }

    /// Writes an object that is in memory.
    ///
    /// # Errors
    /// If the key is none, the disk is full or the store fails.
    pub async fn put(&self, key: &str, content: Bytes) -> Result<Written, ObjectError> {
        let mut upload = self.create(key).await?;
        upload.write(content).await?;
        upload.finish().await
    }

    /// What is known of an object.
    ///
    /// # Errors
    /// If it is not there, or the store fails.
    pub async fn head(&self, key: &str) -> Result<Object, ObjectError> {
        let options = GetOptions::new().with_head(true);
        let found = self.store.get_opts(&self.path(key)?, options).await;
        Ok(self.object(&found.map_err(|error| ObjectError::of_store(&self.place, key, error))?.meta))
    }

    /// Reads an object from its beginning to its end.
    ///
    /// # Errors
    /// If it is not there, or the store fails.
    pub async fn read(&self, key: &str) -> Result<Content, ObjectError> {
        self.get(key, None).await
    }

    /// Reads a part of an object: from `start` on, and not including `end`. If
    /// the object ends before, so does the part.
    ///
    /// # Errors
    /// If there is no such part or no such object, or the store fails.
    pub async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Content, ObjectError> {
        match self.get(key, Some(range.clone())).await {
            Err(ObjectError::Unavailable { .. } | ObjectError::InvalidRange { .. }) => {
                // Stores say in many ways that a range is outside of an object.
                let object = self.head(key).await?;
                if range.is_empty() || range.start >= object.bytes {
                    Err(ObjectError::InvalidRange { key: key.to_owned(), bytes: object.bytes })
                } else {
                    self.get(key, Some(range)).await
                }
            }
            got => got,
        }
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>) -> Result<Content, ObjectError> {
        if range.as_ref().is_some_and(Range::is_empty) {
            return Err(ObjectError::InvalidRange { key: key.to_owned(), bytes: 0 });
        }
        let options = GetOptions::new().with_range(range);
        let got = self.store.get_opts(&self.path(key)?, options).await;
        let got = got.map_err(|error| ObjectError::of_store(&self.place, key, error))?;
        Ok(Content::new(self.object(&got.meta), &self.place, got))
    }

    /// Removes an object. One that is not there is as good as removed.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn delete(&self, key: &str) -> Result<(), ObjectError> {
        let removed = self.store.delete(&self.path(key)?).await;
        match removed.map_err(|error| ObjectError::of_store(&self.place, key, error)) {
            Ok(()) | Err(ObjectError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// All objects whose keys begin with these segments, in no order; all there
    /// are if `prefix` is empty.
    ///
    /// # Errors
    /// If the prefix consists of something else than keys do. The stream ends
    /// with an error if the store fails.
    pub fn list(&self, prefix: &str) -> Result<BoxStream<'static, Result<Object, ObjectError>>, ObjectError> {
        let path = if prefix.is_empty() { self.prefix.clone() } else { self.path(prefix)? };
        let under = if prefix.is_empty() && self.prefix().is_empty() { None } else { Some(&path) };
        let objects = self.clone();
        let listed = self.store.list(under).map(move |found| match found {
            Ok(meta) => Ok(objects.object(&meta)),
            Err(error) => Err(ObjectError::of_store(&objects.place, "", error)),
        });
        Ok(listed.boxed())
    }

    /// Removes all objects whose keys begin with these segments.
    ///
    /// # Errors
    /// If the prefix is empty or none, or the store fails; some can be gone then.
    pub async fn delete_all(&self, prefix: &str) -> Result<(), ObjectError> {
        let path = self.path(prefix)?;
        let found = self.store.list(Some(&path)).map_ok(|meta| meta.location).boxed();
        let mut removed = self.store.delete_stream(found);
        while let Some(removed) = removed.next().await {
            match removed.map_err(|error| ObjectError::of_store(&self.place, prefix, error)) {
                Ok(_) | Err(ObjectError::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn prefix(&self) -> &str {
        self.prefix.as_ref()
    }

    /// Where an object is in the store.
    fn path(&self, key: &str) -> Result<ObjectPath, ObjectError> {
        key::check(key)?;
        let path = match self.prefix() {
            "" => key.to_owned(),
            prefix => format!("{prefix}/{key}"),
        };
        ObjectPath::parse(path)
            .map_err(|error| ObjectError::InvalidKey { key: key.to_owned(), problem: error.to_string() })
    }

    fn object(&self, meta: &ObjectMeta) -> Object {
        let path: &str = meta.location.as_ref();
        let key = path.strip_prefix(self.prefix()).unwrap_or(path).trim_start_matches('/');
        Object { key: key.to_owned(), bytes: meta.size, modified_at: meta.last_modified.timestamp_millis() }
    }
}

/// An object that is being written, and that nobody sees yet. Dropped, it
/// leaves nothing.
#[derive(Debug)]
pub struct Upload {
    key: String,
    place: Arc<str>,
    bytes: u64,
    digest: Sha256,
    /// What went wrong once has a hole.
    has_failed: bool,
    target: Target,
}

#[derive(Debug)]
enum Target {
    Folder(FolderUpload),
    Bucket(BucketUpload),
}

impl Upload {
    /// Adds to the object.
    ///
    /// # Errors
    /// If the disk is full, or the store fails. Then the object cannot be
    /// finished any more.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), ObjectError> {
        self.refuse_after_failure()?;
        self.bytes += bytes.len() as u64;
        self.digest.update(&bytes);
        // Also if the caller stops waiting: some of it may be written then.
        self.has_failed = true;
        match &mut self.target {
            Target::Folder(upload) => {
                upload
                    .write(&bytes)
                    .await
                    .map_err(|error| ObjectError::of_io(&self.place, &self.key, error))?;
            }
            Target::Bucket(upload) => {
                let written = upload.write(&bytes).await;
                written.map_err(|error| ObjectError::of_store(&self.place, &self.key, error))?;
            }
        }
        self.has_failed = false;
        Ok(())
    }

    /// Bytes so far.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the object visible.
    ///
    /// # Errors
    /// If the last bytes cannot be written; nothing stays behind.
    pub async fn finish(self) -> Result<Written, ObjectError> {
        self.refuse_after_failure()?;
        let Self { key, place, bytes, digest, target, .. } = self;
        match target {
            Target::Folder(upload) => {
                upload.finish().await.map_err(|error| ObjectError::of_io(&place, &key, error))?;
            }
            Target::Bucket(upload) => {
                upload.finish().await.map_err(|error| ObjectError::of_store(&place, &key, error))?;
            }
        }
        Ok(Written { key, bytes, sha256: format!("{:x}", digest.finalize()) })
    }

    /// Gives the object up, and waits until nothing of it is left. Dropping does
    /// the same without waiting.
    pub async fn abort(self) {
        match self.target {
            Target::Folder(upload) => drop(upload),
            Target::Bucket(upload) => upload.abort().await,
        }
    }

    fn refuse_after_failure(&self) -> Result<(), ObjectError> {
        if self.has_failed { Err(ObjectError::Broken { key: self.key.clone() }) } else { Ok(()) }
    }
}
