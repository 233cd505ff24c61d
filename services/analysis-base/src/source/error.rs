use crds::analysis::FailureReason;

use crate::failure::{Failure, Size};

/// What to do about a web server that refuses access, in an AnalysisJob.
pub const DENIED_ADVICE: &str = "Check the Secret that `uri.secret` names.";
/// What to do about a store that refuses access, in an AnalysisJob.
pub const CREDENTIALS_ADVICE: &str = "Check the credentials in the Secret.";
/// What to do about a download that has no room, in an AnalysisJob.
pub const DOWNLOAD_ADVICE: &str = "Raise spec.workload.resources.limits.ephemeral-storage, or put the file on a \
                                   volume or in an S3-compatible store.";

/// What can be wrong with a source. Messages name the source and the file.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The specification of the source makes no sense.
    #[error("Source `{source_name}`: {problem}.")]
    Specification { source_name: String, problem: String },
    /// The data is not there.
    #[error("Source `{source_name}`: {what}.")]
    NotFound { source_name: String, what: String },
    /// A web server refuses access.
    #[error("Source `{source_name}`: access to {what} was refused. {}", DENIED_ADVICE)]
    Denied { source_name: String, what: String },
    /// A folder of a volume cannot be read.
    #[error(
        "Source `{source_name}`: access to {what} was refused. Set `workload.securityContext.fsGroup`, or let everybody \
         read it."
    )]
    FolderDenied { source_name: String, what: String },
    /// The key of a Secret is missing.
    #[error("Secret `{secret}` has no key `{key}`.")]
    SecretKey { secret: String, key: String },
    /// A server did not answer.
    #[error("Source `{source_name}`: {what}.")]
    Unavailable { source_name: String, what: String },
    /// The data is wrong; `place` is a file, and a line where that is known.
    #[error("Source `{source_name}`, {place}: {problem}.")]
    Data { source_name: String, place: String, problem: String },
    /// Who asks must not reach what only the cluster can reach.
    #[error(
        "Source `{source_name}`: `{url}` leads to an address that is not public, which this service does not read. \
         Upload the data as a data set, or let the administrator allow private sources (spec.allowPrivateAddresses of the Platform)."
    )]
    NotPublic { source_name: String, url: String },
    /// A download does not fit into the temporary folder.
    #[error(
        "Source `{source_name}`: the file is larger than the {} that are free for it in the temporary folder. {}",
        Size(*limit_bytes),
        DOWNLOAD_ADVICE
    )]
    DownloadTooLarge { source_name: String, limit_bytes: u64 },
}

impl SourceError {
    const fn reason(&self) -> FailureReason {
        match self {
            Self::Specification { .. } | Self::NotPublic { .. } => FailureReason::InvalidSpecification,
            Self::NotFound { .. } => FailureReason::SourceNotFound,
            Self::Denied { .. } | Self::FolderDenied { .. } | Self::SecretKey { .. } => {
                FailureReason::AccessDenied
            }
            Self::Unavailable { .. } => FailureReason::SourceUnavailable,
            Self::Data { .. } => FailureReason::InvalidData,
            Self::DownloadTooLarge { .. } => FailureReason::DiskExhausted,
        }
    }

    /// Wrong data in a file.
    pub(super) fn data(source_name: &str, place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Data { source_name: source_name.to_owned(), place: place.into(), problem: problem.into() }
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::new(error.reason(), error.to_string())
    }
}

/// What an error of an object store means; `what` names what was read.
#[must_use]
pub fn store_failure(what: &str, error: &object_store::Error) -> Failure {
    use object_store::Error;
    // The store that the engine reads from has already said it, with the name of the file.
    if let Error::Generic { source, .. } = error
        && let Some(failure) = source.downcast_ref::<Failure>()
    {
        return failure.clone();
    }
    match error {
        Error::Precondition { .. } => Failure::new(
            FailureReason::SourceUnavailable,
            format!(
                "Reading {what} failed: the file changed while it was read. Run the analysis when nothing \
                 writes to the file."
            ),
        ),
        Error::NotFound { path, .. } => Failure::new(
            FailureReason::SourceNotFound,
            format!("Reading {what} failed: `{path}` is not there."),
        ),
        Error::PermissionDenied { path, .. } | Error::Unauthenticated { path, .. } => Failure::new(
            FailureReason::AccessDenied,
            format!("Reading {what} failed: access to `{path}` was refused. {CREDENTIALS_ADVICE}"),
        ),
        other => {
            let text = root_cause(other);
            // Some stores answer a wrong bucket or region with a generic error.
            if text.contains("NoSuchBucket") || text.contains("404 Not Found") {
                return Failure::new(
                    FailureReason::SourceNotFound,
                    format!("Reading {what} failed: the store says that the bucket or the key is not there."),
                );
            }
            Failure::new(FailureReason::SourceUnavailable, format!("Reading {what} failed: {text}."))
        }
    }
}

/// The innermost error: what happened, without who passed it on.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut current = error;
    while let Some(inner) = current.source() {
        current = inner;
    }
    current.to_string().trim_end_matches('.').to_owned()
}
