//! Writing to a folder. The library's own writer renames a file without waiting
//! for the disk: after a loss of power, a name could be there without content.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

use super::ObjectError;

/// Where files are until they are complete. No key begins with a dot.
const STAGING: &str = ".partial";
/// How often a file is moved to a folder that a delete has just removed.
const MOVES: u32 = 20;
/// So much room is left on the volume, because the embedded database is on it as
/// well: once that has none, not even a delete can be written down, and the
/// volume stays full. It is as much as its write-ahead log may grow.
const RESERVE_BYTES: u64 = 64 << 20;
/// Of a small volume, one part of so many.
const RESERVE_PARTS: u64 = 16;
/// How often it is looked whether there still is room.
const LOOK_BYTES: u64 = 1 << 20;

/// A folder with objects.
#[derive(Debug)]
pub(super) struct Folder {
    store: LocalFileSystem,
    root: PathBuf,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, ObjectError> {
        let place = path.display().to_string();
        let failed = |error: io::Error| match ObjectError::of_io(&place, "", error) {
            ObjectError::InvalidKey { .. } => {
                ObjectError::Configuration { place: place.clone(), problem: "it is no folder".to_owned() }
            }
            other => other,
        };
        fs::create_dir_all(path.join(STAGING)).map_err(failed)?;
        let root = path.canonicalize().map_err(failed)?;
        remove_incomplete(&root.join(STAGING)).map_err(failed)?;
        let store = LocalFileSystem::new_with_prefix(&root)
            .map_err(|error| ObjectError::of_store(&place, "", error))?
            // Folders would stay behind forever.
            .with_automatic_cleanup(true);
        Ok(Self { store, root })
    }

    pub(super) const fn store(&self) -> &LocalFileSystem {
        &self.store
    }
}

/// Removes what was left by a process that died. A folder belongs to one
/// process at a time, so nobody is writing any of it.
fn remove_incomplete(staging: &Path) -> io::Result<()> {
    for entry in fs::read_dir(staging)? {
        match fs::remove_file(entry?.path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct FolderUpload {
    file: File,
    staged: Staged,
    destination: PathBuf,
    root: PathBuf,
    /// Bytes since it was looked whether there is room.
    unlooked: u64,
}

impl FolderUpload {
    pub(super) async fn start(folder: &Arc<Folder>, path: &ObjectPath) -> io::Result<Self> {
        look_for_room(&folder.root).await?;
        let destination = folder.store.path_to_filesystem(path).map_err(io::Error::other)?;
        // The store lists nothing whose name ends like this.
        let staged = folder.root.join(STAGING).join(format!("{}#0", Uuid::now_v7()));
        let file = File::create_new(&staged).await?;
        let root = folder.root.clone();
        Ok(Self { file, staged: Staged(Some(staged)), destination, root, unlooked: 0 })
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.unlooked = self.unlooked.saturating_add(bytes.len() as u64);
        if self.unlooked >= LOOK_BYTES {
            self.unlooked = 0;
            look_for_room(&self.root).await?;
        }
        self.file.write_all(bytes).await
    }

    pub(super) async fn finish(self) -> io::Result<()> {
        let Self { mut file, staged, destination, root, .. } = self;
        // Waits for what is being written in the background, and for its errors.
        file.flush().await?;
        file.sync_all().await?;
        drop(file);
        tokio::task::spawn_blocking(move || staged.reveal(&destination, &root)).await?
    }
}

/// Fails if what is left of the volume is for the database.
async fn look_for_room(root: &Path) -> io::Result<()> {
    let root = root.to_owned();
    let volume = tokio::task::spawn_blocking(move || rustix::fs::statvfs(root.as_path())).await??;
    let bytes = |blocks: u64| blocks.saturating_mul(volume.f_frsize);
    if bytes(volume.f_bavail) < reserve(bytes(volume.f_blocks)) {
        let what = "what is left of the volume is for the database";
        return Err(io::Error::new(io::ErrorKind::StorageFull, what));
    }
    Ok(())
}

/// What objects leave of a volume of so many bytes.
fn reserve(bytes: u64) -> u64 {
    (bytes / RESERVE_PARTS).min(RESERVE_BYTES)
}

/// A file that is removed unless it gets its name.
#[derive(Debug)]
struct Staged(Option<PathBuf>);

impl Staged {
    /// Gives the file its name, and waits until the disk has that too.
    fn reveal(mut self, destination: &Path, root: &Path) -> io::Result<()> {
        let Some(staged) = &self.0 else { return Ok(()) };
        let parent = destination.parent().unwrap_or(root);
        let mut moves = 1;
        loop {
            match fs::create_dir_all(parent).and_then(|()| fs::rename(staged, destination)) {
                Ok(()) => break,
                // A delete has removed the folder, which was empty just then.
                Err(error) if error.kind() == io::ErrorKind::NotFound && moves < MOVES => moves += 1,
                Err(error) => return Err(error),
            }
        }
        self.0 = None;
        // The folders may be new as well.
        for folder in parent.ancestors() {
            match fs::File::open(folder).and_then(|folder| folder.sync_all()) {
                // The object was deleted again in between.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            if folder == root {
                break;
            }
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let Some(path) = self.0.take() else { return };
        let remove = move || {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "An incomplete file cannot be removed.");
            }
        };
        // Removing a large file takes its time.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_leave_some_room_to_the_database() {
        assert_eq!(reserve(15 << 30), 64 << 20);
        assert_eq!(reserve(64 << 20), 4 << 20);
        // A file system that does not say how large it is.
        assert_eq!(reserve(0), 0);
    }

    #[test]
    fn what_a_process_has_left_incomplete_is_removed() {
        let folder = tempfile::tempdir().expect("folder");
        let left = folder.path().join(STAGING).join("left#0");
        fs::create_dir_all(folder.path().join(STAGING)).expect("staging");
        fs::write(&left, "half").expect("write");
        Folder::open(folder.path()).expect("open");
        assert!(!left.exists());
    }
}
