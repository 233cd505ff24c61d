use serde::{Deserialize, Serialize};

use super::WrittenFile;

/// A container's termination message is cut at this size by the kubelet
/// (Kubernetes, `ContainerStateTerminated`), so a summary must fit into it.
pub const SUMMARY_LIMIT_BYTES: usize = 4096;

/// What a run leaves behind for the operator, as its termination message.
///
/// A run leaves one with [`FailureReason::Aborted`] before each of its steps,
/// in case that it cannot leave another.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    /// Why the run failed; `None` when it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureReason>,
    /// One or two sentences for the user: what happened, or what to mend.
    pub message: String,
    /// Rows read from the sources.
    pub rows_read: i64,
    /// Bytes read from the sources, as stored there.
    pub bytes_read: i64,
    /// Rows in the result.
    pub rows_written: i64,
    /// From the start of the process to the end of its work.
    pub duration_milliseconds: i64,
    /// The most memory that the process held at once.
    pub peak_memory_bytes: i64,
    /// The files that were written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<WrittenFile>,
    /// The number of the version that the result is, if it is in a data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset_version: Option<i64>,
    /// The first rows of the result as CSV, at most 1 KiB.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub preview: String,
}

/// Why a run failed. The name is the reason of the condition `Complete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureReason {
    /// The specification cannot be run.
    InvalidSpecification,
    /// A source is not there.
    SourceNotFound,
    /// Access to a source or to the output was refused.
    AccessDenied,
    /// A source did not answer. It may be tried again.
    SourceUnavailable,
    /// A source is not what its specification says: ragged CSV, wrong types.
    InvalidData,
    /// The query is wrong: unknown columns, syntax, not a query.
    InvalidQuery,
    /// The query is right but failed on these data: a division by zero.
    QueryFailed,
    /// A chart cannot be drawn from these data.
    InvalidChart,
    /// More memory was needed than the limit allows, spilling included.
    MemoryExhausted,
    /// The temporary folder is full.
    DiskExhausted,
    /// The result is larger than its place allows.
    OutputTooLarge,
    /// The result could not be written. It may be tried again.
    OutputUnavailable,
    /// The pod was told to stop. It may be tried again.
    Interrupted,
    /// The system ended the program while it worked, since something in the
    /// query or in the data asked for more than there is.
    Aborted,
    /// A fault of the program. It may be tried again.
    InternalError,
}

impl FailureReason {
    /// Whether the same run may succeed later with nothing changed.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::SourceUnavailable | Self::OutputUnavailable | Self::Interrupted | Self::InternalError
        )
    }
}
