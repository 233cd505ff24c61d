use std::io;

use crds::analysis::{FailureReason, WrittenFile};

use super::CONFIG_MAP_LIMIT_BYTES;
use crate::datasets::DatasetError;
use crate::failure::{Failure, Size};

/// Why a result was not written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The destination is not one.
    #[error("The output cannot be used: {0}.")]
    Specification(String),
    /// It does not fit into a ConfigMap.
    #[error(
        "The result is larger than the {} that fit into a ConfigMap. Select less, write `format: parquet`, or put the \
         result on a persistentVolumeClaim or in s3.",
        Size(CONFIG_MAP_LIMIT_BYTES)
    )]
    TooLargeForConfigMap,
    /// It does not fit on the volume.
    #[error(
        "The volume of claim `{claim}` is full: the result does not fit. Give the claim more storage, or select less."
    )]
    VolumeFull { claim: String },
    /// It does not fit into a file.
    #[error("The result is larger than a file may be on the volume of claim `{claim}`. Select less.")]
    FileTooLarge { claim: String },
    /// The volume refuses to be written.
    #[error(
        "The volume of claim `{claim}` refuses to be written: {detail}. Set `workload.securityContext.fsGroup`, or \
         mount a claim that can be written."
    )]
    VolumeDenied { claim: String, detail: String },
    /// The volume fails.
    #[error("Writing to the volume of claim `{claim}` failed: {detail}.")]
    Volume { claim: String, detail: String },
    /// A folder has the name of a file.
    #[error(
        "On the volume of claim `{claim}` a folder has the name `{name}`. Remove it, or give the output another path."
    )]
    FolderInTheWay { claim: String, name: String },
    /// The bucket refuses to be written.
    #[error("Writing to `{url}` was refused. Check the credentials in the Secret and what they may do.")]
    BucketDenied { url: String },
    /// The bucket does not exist.
    #[error("Writing to `{url}` failed: the bucket is not there.")]
    BucketNotFound { url: String },
    /// The store fails.
    #[error("Writing to `{url}` failed: {detail}.")]
    Bucket { url: String, detail: String },
    /// The format cannot hold a type.
    #[error(
        "The result cannot be written as {format}: {detail}. Cast the column to another type, or use another format."
    )]
    Format { format: &'static str, detail: String },
    /// The data set gets no version.
    #[error("The result did not become a version of the data set `{name}`: {error}.{}", advice(error))]
    Dataset {
        /// Its name.
        name: String,
        /// What was in the way.
        error: DatasetError,
    },
    /// Standard output is closed.
    #[error("The result cannot be handed to the operator: {0}.")]
    StandardOutput(io::Error),
    /// Some of the files are visible already.
    #[error("{error} These files had been replaced before: {visible}.")]
    Partly { error: Box<OutputError>, visible: String },
}

impl OutputError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Specification(_) | Self::BucketNotFound { .. } | Self::FolderInTheWay { .. } => {
                FailureReason::InvalidSpecification
            }
            Self::TooLargeForConfigMap | Self::VolumeFull { .. } | Self::FileTooLarge { .. } => {
                FailureReason::OutputTooLarge
            }
            Self::VolumeDenied { .. } | Self::BucketDenied { .. } => FailureReason::AccessDenied,
            Self::Volume { .. } | Self::Bucket { .. } | Self::StandardOutput(_) => {
                FailureReason::OutputUnavailable
            }
            Self::Dataset { error, .. } => match error {
                DatasetError::Unavailable(_) => FailureReason::OutputUnavailable,
                DatasetError::TooLarge(_) => FailureReason::OutputTooLarge,
                DatasetError::NoRoom { .. } => FailureReason::DiskExhausted,
                DatasetError::File(_) => FailureReason::InternalError,
                DatasetError::Specification(_) | DatasetError::NotFound(_) | DatasetError::Refused(_) => {
                    FailureReason::InvalidSpecification
                }
            },
            Self::Format { .. } => FailureReason::InvalidQuery,
            Self::Partly { error, .. } => error.reason(),
        }
    }

    /// This error, which came when some files were visible already.
    pub(super) fn after(self, visible: &[WrittenFile]) -> Self {
        if visible.is_empty() {
            return self;
        }
        let names: Vec<&str> = visible.iter().map(|file| file.name.as_str()).collect();
        Self::Partly { error: Box::new(self), visible: names.join(", ") }
    }

    /// What an error of a file on a volume means.
    pub(super) fn volume(claim: &str, error: &io::Error) -> Self {
        let claim = claim.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::VolumeFull { claim },
            io::ErrorKind::FileTooLarge => Self::FileTooLarge { claim },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::VolumeDenied { claim, detail: error.to_string() }
            }
            _ => Self::Volume { claim, detail: error.to_string() },
        }
    }

    /// What an error of an object store means.
    pub(super) fn bucket(url: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let url = url.to_owned();
        let mut current = Some(error);
        while let Some(candidate) = current {
            // The source of an I/O error is not what it holds, but the source of that.
            let held = candidate.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            let candidate: &(dyn std::error::Error + 'static) = match held {
                Some(held) => held,
                None => candidate,
            };
            match candidate.downcast_ref::<object_store::Error>() {
                Some(
                    object_store::Error::PermissionDenied { .. }
                    | object_store::Error::Unauthenticated { .. },
                ) => return Self::BucketDenied { url },
                Some(object_store::Error::NotFound { .. }) => return Self::BucketNotFound { url },
                _ => current = candidate.source(),
            }
        }
        let detail = crate::source::root_cause(error);
        if detail.contains("NoSuchBucket") {
            Self::BucketNotFound { url }
        } else {
            Self::Bucket { url, detail }
        }
    }
}

/// What to do about it, if it does not say so itself.
fn advice(error: &DatasetError) -> String {
    match error {
        DatasetError::NoRoom { limit_bytes } => {
            let share = limit_bytes.map(|limit| format!(" {} of it are for the result.", Size(limit)));
            format!(
                "{} Create it again with a higher spec.workload.resources.limits.ephemeral-storage, or select less.",
                share.unwrap_or_default()
            )
        }
        DatasetError::Refused(_) => {
            " `format: parquet` holds every result, one without rows included.".to_owned()
        }
        _ => String::new(),
    }
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Self {
        Self::new(error.reason(), error.to_string())
    }
}
