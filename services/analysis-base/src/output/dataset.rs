use std::io;
use std::path::PathBuf;

use crds::analysis::{DatasetOutput, OutputFormat};
use tempfile::NamedTempFile;

use super::OutputError;
use crate::datasets::{Dataset, DatasetError, Platforms};

/// Where a result that is to become a version of a data set is until it is
/// complete.
#[derive(Debug)]
pub struct Staging<'a> {
    /// The Platforms that keep data sets.
    pub platforms: &'a Platforms,
    /// A folder of its own.
    pub folder: PathBuf,
    /// Most bytes of the result; `None` for no limit but the disk's.
    pub limit_bytes: Option<u64>,
}

/// A data set that is to get a version.
#[derive(Debug)]
pub(super) struct NewVersion {
    dataset: Dataset,
    name: String,
    format: OutputFormat,
    key: String,
    folder: PathBuf,
    limit_bytes: Option<u64>,
}

impl NewVersion {
    /// Makes ready. Nothing is asked of the Platform yet.
    pub(super) fn open(
        output: &DatasetOutput,
        format: OutputFormat,
        staging: Staging<'_>,
    ) -> Result<Self, OutputError> {
        let failed = |error| OutputError::Dataset { name: output.name.clone(), error };
        let dataset = staging.platforms.dataset(output.platform.as_deref(), &output.name).map_err(failed)?;
        let key = staging.platforms.idempotency_key().map_err(failed)?.to_owned();
        Ok(Self {
            dataset,
            name: output.name.clone(),
            format,
            key,
            folder: staging.folder,
            limit_bytes: staging.limit_bytes,
        })
    }

    /// Whether the file of this name is the version; others are charts.
    pub(super) fn is(&self, file: &str) -> bool {
        file == self.format.file_name()
    }

    /// Begins the file. It removes itself.
    pub(super) fn create(&self) -> Result<NamedTempFile, OutputError> {
        NamedTempFile::new_in(&self.folder).map_err(|error| self.not_staged(error))
    }

    /// Sees to it that so many bytes may be written.
    pub(super) fn check(&self, bytes: u64) -> Result<(), OutputError> {
        match self.limit_bytes {
            Some(limit) if bytes > limit => {
                Err(self.failed(DatasetError::NoRoom { limit_bytes: self.limit_bytes }))
            }
            _ => Ok(()),
        }
    }

    /// Makes the file the next version, and gives its number.
    pub(super) async fn publish(&self, file: &NamedTempFile) -> Result<i64, OutputError> {
        let added = self.dataset.add(self.format, &self.key, file.path()).await;
        added.map(|version| version.version).map_err(|error| self.failed(error))
    }

    /// What an error of the file means.
    pub(super) fn not_staged(&self, error: io::Error) -> OutputError {
        self.failed(DatasetError::local(error, self.limit_bytes))
    }

    fn failed(&self, error: DatasetError) -> OutputError {
        OutputError::Dataset { name: self.name.clone(), error }
    }
}
