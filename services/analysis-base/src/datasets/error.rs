use std::io;

use reqwest::{Response, StatusCode};
use serde::Deserialize;
use service_kit::client::ClientError;
use service_kit::problem::chain;

/// Why a data set cannot be used. Messages are parts of sentences.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The specification of the run does not say enough.
    #[error("{0}")]
    Specification(String),
    /// There is none, or no such version.
    #[error("{0}")]
    NotFound(String),
    /// The service does not do it at present.
    #[error("{0}")]
    Unavailable(String),
    /// The service has no room for it.
    #[error("{0}")]
    TooLarge(String),
    /// The service never will do it.
    #[error("{0}")]
    Refused(String),
    /// The temporary folder has no room for it.
    #[error("the temporary folder is full")]
    NoRoom {
        /// How much there is for it, if that is limited.
        limit_bytes: Option<u64>,
    },
    /// A file in the temporary folder fails.
    #[error("a file in the temporary folder failed: {0}")]
    File(io::Error),
}

impl DatasetError {
    /// Whether the same may succeed in a moment.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// What an error of a file in the temporary folder means.
    pub(crate) fn local(error: io::Error, limit_bytes: Option<u64>) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoRoom { limit_bytes },
            _ => Self::File(error),
        }
    }
}

impl From<ClientError> for DatasetError {
    fn from(error: ClientError) -> Self {
        Self::Unavailable(chain(&error))
    }
}

/// What a service says of a problem (RFC 9457).
#[derive(Debug, Deserialize)]
struct Problem {
    detail: String,
}

/// The answer, if it is none of a failure.
pub(super) async fn checked(response: Response) -> Result<Response, DatasetError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let said = response.bytes().await.ok().and_then(|text| serde_json::from_slice::<Problem>(&text).ok());
    let said = said.map_or_else(
        || format!("analysis-base answered {status}"),
        |problem| problem.detail.trim_end_matches('.').to_owned(),
    );
    Err(match status {
        StatusCode::NOT_FOUND => DatasetError::NotFound(said),
        // A Platform that has just been made, or updated, learns within a minute
        // or two whom it is to obey.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            DatasetError::Unavailable(format!("analysis-base does not let the pod in ({status}: {said})"))
        }
        // Another attempt may be being done still.
        StatusCode::CONFLICT
        | StatusCode::REQUEST_TIMEOUT
        | StatusCode::TOO_EARLY
        | StatusCode::TOO_MANY_REQUESTS => DatasetError::Unavailable(said),
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::INSUFFICIENT_STORAGE => DatasetError::TooLarge(said),
        status if status.is_server_error() => DatasetError::Unavailable(said),
        _ => DatasetError::Refused(said),
    })
}
