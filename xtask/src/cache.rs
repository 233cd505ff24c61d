//! Where things are kept: what can be built again in the cache folder, what a node needs in the state folder.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

const NAME: &str = "ai-saas-platform";

/// The root of the checkout.
pub(crate) fn repository() -> Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    let root = manifest.parent().unwrap_or(Path::new(".")).to_path_buf();
    if !root.join("Cargo.toml").is_file() {
        bail!("{} is not the checkout; run this through `cargo xtask` inside of it", root.display());
    }
    Ok(root)
}

fn base(variable: &str, fallback: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute()) {
        return Ok(path.join(NAME));
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = home.with_context(|| format!("neither {variable} nor HOME is set; set one of them"))?;
    Ok(home.join(fallback).join(NAME))
}

/// What can be deleted at any time.
pub(crate) fn cache() -> Result<PathBuf> {
    base("XDG_CACHE_HOME", ".cache")
}

/// What the local node keeps.
pub(crate) fn state() -> Result<PathBuf> {
    Ok(base("XDG_STATE_HOME", ".local/state")?.join("cluster"))
}

/// Cargo's target folder, shared by every checkout and by tests and images.
pub(crate) fn target() -> Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(path) => Ok(path),
        None => Ok(cache()?.join("target")),
    }
}

/// A digest over several parts, none of which can run into the next.
#[derive(Debug, Default)]
pub(crate) struct Key(Sha256);

impl Key {
    #[must_use]
    pub(crate) fn text(mut self, text: &str) -> Self {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    pub(crate) fn file(mut self, path: &Path) -> Result<Self> {
        let content = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        self.0.update((content.len() as u64).to_le_bytes());
        self.0.update(&content);
        Ok(self)
    }

    /// The first 16 hexadecimal digits: short enough for a file name or an image tag.
    pub(crate) fn short(self) -> String {
        self.0.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Writes a file so that it is there completely or not at all.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    let mut file = fs::File::create(&partial).with_context(|| format!("creating {}", partial.display()))?;
    file.write_all(content).with_context(|| format!("writing {}", partial.display()))?;
    fs::rename(&partial, path).with_context(|| format!("replacing {}", path.display()))
}

/// Holds a lock for as long as the returned file lives.
pub(crate) fn lock(path: &Path, what: &str) -> Result<fs::File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let file = fs::File::create(path).with_context(|| format!("creating {}", path.display()))?;
    if file.try_lock().is_err() {
        crate::step::detail(&format!("waiting for another run that is {what}"));
        file.lock().with_context(|| format!("locking {}", path.display()))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_key_do_not_run_together() {
        assert_ne!(Key::default().text("ab").text("c").short(), Key::default().text("a").text("bc").short());
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("inner/file.json");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
