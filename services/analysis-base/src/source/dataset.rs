//! A data set of a Platform, copied to the temporary folder.
//!
//! It is read from the copy as often as the analysis wants, and stays the same
//! even if the Platform goes away meanwhile.

use std::path::Path;

use crds::analysis::{DatasetSource, Source};

use super::place::{Place, local};
use super::{Downloads, Progress, SourceError};
use crate::datasets::{Dataset, DatasetError, Platforms, Version};
use crate::failure::Failure;

/// Copies the version that the source means. Gives the source with how it is
/// read, and where the copy is.
pub(super) async fn fetch(
    source: &Source,
    meant: &DatasetSource,
    platforms: &Platforms,
    downloads: &Downloads,
    progress: &Progress,
) -> Result<(Source, Place), Failure> {
    let path = downloads.folder.join(&source.name);
    let version = copy(meant, platforms, &path, downloads.limit_bytes)
        .await
        .map_err(|error| failure(&source.name, error))?;
    progress.add_bytes(version.bytes);
    let name = format!("{} version {}", meant.name, version.version);
    tracing::info!(
        source = source.name,
        dataset = meant.name,
        version = version.version,
        "a data set was read"
    );
    let described = Source {
        format: Some(version.format),
        csv: version.options.csv,
        json_lines: version.options.json_lines,
        columns: version.options.columns,
        ..source.clone()
    };
    let mut place = local(&described, &downloads.folder, vec![(name, path)])?;
    place.counts = false;
    Ok((described, place))
}

async fn copy(
    meant: &DatasetSource,
    platforms: &Platforms,
    path: &Path,
    limit_bytes: Option<u64>,
) -> Result<Version, DatasetError> {
    let dataset: Dataset = platforms.dataset(meant.platform.as_deref(), &meant.name)?;
    // From here on it is this version, whatever else is uploaded.
    let version = dataset.version(meant.version).await?;
    dataset.download(&version, path, limit_bytes).await?;
    Ok(version)
}

fn failure(source_name: &str, error: DatasetError) -> Failure {
    let source_name = source_name.to_owned();
    match error {
        DatasetError::NotFound(what) => SourceError::NotFound { source_name, what }.into(),
        DatasetError::Unavailable(what) => SourceError::Unavailable { source_name, what }.into(),
        DatasetError::Specification(problem)
        | DatasetError::Refused(problem)
        | DatasetError::TooLarge(problem) => SourceError::Specification { source_name, problem }.into(),
        DatasetError::NoRoom { limit_bytes: Some(limit_bytes) } => {
            SourceError::DownloadTooLarge { source_name, limit_bytes }.into()
        }
        DatasetError::NoRoom { limit_bytes: None } => Failure::disk_exhausted(None),
        DatasetError::File(error) => Failure::internal(error),
    }
}
