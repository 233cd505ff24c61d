//! A folder for what programs of others read and write.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// A folder that is removed with the value.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// # Errors
    /// If it cannot be created.
    pub fn create(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("conformance-{name}"));
        std::fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of something in it, as an argument.
    pub fn argument(&self, name: &str) -> String {
        self.0.join(name).to_string_lossy().into_owned()
    }

    /// Writes a document into it; gives its path.
    ///
    /// # Errors
    /// If there is no room.
    pub fn write(&self, name: &str, document: &Value) -> Result<String> {
        let path = self.argument(name);
        std::fs::write(&path, document.to_string()).with_context(|| format!("writing {path}"))?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
