use std::path::{Path, PathBuf};

use super::SourceError;
use crate::failure::Failure;

/// The mounted keys of a Secret.
#[derive(Debug)]
pub(crate) struct Secret {
    name: String,
    folder: PathBuf,
}

impl Secret {
    pub(crate) fn new(secrets: &Path, name: &str) -> Self {
        Self { name: name.to_owned(), folder: secrets.join(name) }
    }

    /// The value of a key without the line break that editors leave at its end.
    pub(crate) fn get(&self, key: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.folder.join(key)).ok()?;
        Some(text.trim_end_matches(['\r', '\n']).to_owned())
    }

    pub(crate) fn require(&self, key: &str) -> Result<String, Failure> {
        self.get(key)
            .ok_or_else(|| SourceError::SecretKey { secret: self.name.clone(), key: key.to_owned() }.into())
    }
}
