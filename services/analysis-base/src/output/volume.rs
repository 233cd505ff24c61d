use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use tempfile::{NamedTempFile, TempPath};

use super::OutputError;

/// How the name of a file ends that is not complete yet. Nothing else on a
/// volume is called so.
const PARTIAL: &str = ".analysis-partial";
/// Who has not written for so long has been killed, and left the file behind.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// A folder on the volume of a claim.
#[derive(Clone, Debug)]
pub(super) struct Volume {
    folder: PathBuf,
    claim: String,
}

impl Volume {
    /// The folder `path` on the volume that is mounted at `root`; it is made
    /// if it is not there. What is on the volume already cannot lead out of it.
    pub(super) fn open(root: &Path, path: &str, claim: &str) -> Result<Self, OutputError> {
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
        remove_stale(&real);
        Ok(Self { folder: real, claim: claim.to_owned() })
    }

    /// Starts a file. It is hidden, so that nothing takes it for a result, and
    /// has a name of its own, so that nobody else writes to it.
    pub(super) fn create(&self, name: &str) -> Result<NamedTempFile, OutputError> {
        if fs::symlink_metadata(self.folder.join(name)).is_ok_and(|there| there.is_dir()) {
            return Err(OutputError::FolderInTheWay { claim: self.claim.clone(), name: name.to_owned() });
        }
        let prefix = format!(".{name}.");
        tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(PARTIAL)
            // As any program makes a file: others than its owner may read it.
            .make_in(&self.folder, |path| OpenOptions::new().write(true).create_new(true).open(path))
            .map_err(|error| self.failed(&error))
    }

    /// Gives a complete file its name, in place of what had it before.
    pub(super) fn reveal(&self, hidden: TempPath, name: &str) -> Result<(), OutputError> {
        hidden.persist(self.folder.join(name)).map_err(|refused| self.failed(&refused.error))
    }

    /// Waits until the names have reached the disk, as the contents have.
    pub(super) fn sync(&self) -> Result<(), OutputError> {
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(|error| self.failed(&error))
    }

    /// What an error of a file in the folder means.
    pub(super) fn failed(&self, error: &io::Error) -> OutputError {
        OutputError::volume(&self.claim, error)
    }
}

/// Removes what killed processes have left behind. That must not keep an
/// analysis from its work: what cannot be removed stays.
fn remove_stale(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(PARTIAL)) {
            continue;
        }
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > STALE) {
            let removed = fs::remove_file(entry.path());
            tracing::info!(?name, ?removed, "a file was left behind by a process that was killed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::SystemTime;

    use super::*;

    fn volume(root: &tempfile::TempDir) -> Volume {
        Volume::open(root.path(), "out", "data").expect("volume")
    }

    fn write(volume: &Volume, name: &str, text: &str) -> TempPath {
        let mut file = volume.create(name).expect("file");
        file.as_file_mut().write_all(text.as_bytes()).expect("write");
        file.into_temp_path()
    }

    fn names(root: &tempfile::TempDir) -> Vec<String> {
        let entries = fs::read_dir(root.path().join("out")).expect("folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("entry").file_name().into_string().expect("name")).collect();
        names.sort();
        names
    }

    #[test]
    fn two_writers_of_one_name_do_not_mix() {
        let root = tempfile::tempdir().expect("folder");
        let volume = volume(&root);
        let (one, other) = (write(&volume, "result.csv", "one"), write(&volume, "result.csv", "other"));
        volume.reveal(one, "result.csv").expect("one");
        volume.reveal(other, "result.csv").expect("other");
        assert_eq!(fs::read_to_string(root.path().join("out/result.csv")).expect("result"), "other");
        drop(write(&volume, "result.csv", "given up"));
        assert_eq!(names(&root), ["result.csv"]);
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let root = tempfile::tempdir().expect("folder");
        let volume = volume(&root);
        let victim = root.path().join("victim");
        fs::write(&victim, "untouched").expect("file");
        let link = root.path().join("out/result.csv");
        // The name that was fixed once.
        for name in [".result.csv.partial", "result.csv"] {
            std::os::unix::fs::symlink(&victim, root.path().join("out").join(name)).expect("link");
        }
        volume.reveal(write(&volume, "result.csv", "new"), "result.csv").expect("reveal");
        assert_eq!(fs::read_to_string(&victim).expect("victim"), "untouched");
        assert!(fs::symlink_metadata(&link).expect("result").is_file());
        assert_eq!(fs::read_to_string(link).expect("result"), "new");
    }

    #[test]
    fn a_folder_in_the_way_is_named() {
        let root = tempfile::tempdir().expect("folder");
        let volume = volume(&root);
        fs::create_dir(root.path().join("out/result.csv")).expect("folder");
        assert_eq!(
            volume.create("result.csv").expect_err("a folder").to_string(),
            "On the volume of claim `data` a folder has the name `result.csv`. Remove it, or give the output \
             another path."
        );
    }

    #[test]
    fn others_may_read_a_result_as_any_file() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().expect("folder");
        let volume = volume(&root);
        volume.reveal(write(&volume, "result.csv", "x"), "result.csv").expect("reveal");
        let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode();
        fs::write(root.path().join("any"), "x").expect("file");
        assert_eq!(mode(&root.path().join("out/result.csv")), mode(&root.path().join("any")));
    }

    #[test]
    fn what_was_left_behind_goes_after_a_day() {
        let root = tempfile::tempdir().expect("folder");
        let volume = volume(&root);
        for (name, hours) in [("old", 25), ("young", 23)] {
            let path = write(&volume, name, "x").keep().expect("keep");
            let then = SystemTime::now() - Duration::from_secs(hours * 60 * 60);
            File::options().write(true).open(path).expect("file").set_modified(then).expect("time");
        }
        let other = File::create(root.path().join("out/.old.partial")).expect("file of somebody else");
        other.set_modified(SystemTime::UNIX_EPOCH).expect("time");
        let _ = Volume::open(root.path(), "out", "data").expect("volume");
        let names = names(&root);
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names[0] == ".old.partial" && names[1].starts_with(".young."), "{names:?}");
    }
}
