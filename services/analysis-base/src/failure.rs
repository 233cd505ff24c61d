//! Why a run fails, in words for the person who declared it.
//!
//! Every module has an error enum of its own. They meet here: a [`Failure`] is
//! a reason from the contract and one or two sentences. It also travels
//! through the query engine (as an external error) and comes out unchanged.

use crds::analysis::FailureReason;
use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

/// What to do about a temporary folder that is full, in an AnalysisJob.
pub const DISK_ADVICE: &str = "Create it again with a higher spec.workload.resources.limits.ephemeral-storage, or \
                               with a higher memory limit, so that less has to be written to temporary files.";

/// Why a run failed, and what to do about it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The reason, of which there are few.
    pub reason: FailureReason,
    /// One or two sentences for the user.
    pub message: String,
}

impl Failure {
    /// A failure with this reason and this message.
    pub fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// More memory was needed than `limit_bytes`; the message says what to raise.
    #[must_use]
    pub fn memory_exhausted(limit_bytes: u64) -> Self {
        Self::new(
            FailureReason::MemoryExhausted,
            format!(
                "The analysis needs more memory than its limit of {} allows, even with temporary files. \
                 Create it again with a higher spec.workload.resources.limits.memory, or let the query join, \
                 sort or group less at once.",
                Size(limit_bytes)
            ),
        )
    }

    /// The temporary folder may hold `limit_bytes` (if that is known), and that was too little.
    #[must_use]
    pub fn disk_exhausted(limit_bytes: Option<u64>) -> Self {
        let limit = limit_bytes.map(|bytes| format!(" of {}", Size(bytes))).unwrap_or_default();
        Self::new(FailureReason::DiskExhausted, format!("The temporary folder{limit} is full. {DISK_ADVICE}"))
    }

    /// The pod was told to stop.
    #[must_use]
    pub fn interrupted() -> Self {
        Self::new(FailureReason::Interrupted, "The pod was told to stop before the analysis had ended.")
    }

    /// A fault of the program itself.
    pub fn internal(detail: impl std::fmt::Display) -> Self {
        Self::new(
            FailureReason::InternalError,
            format!("The analysis program has a fault, please report it: {detail}"),
        )
    }

    /// This failure as an error of the query engine, from which [`Failure::from_engine`] gets it back.
    #[must_use]
    pub fn into_engine_error(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }

    /// What an error of the query engine means to the user.
    #[must_use]
    pub fn from_engine(error: &DataFusionError, limits: Limits) -> Self {
        match error {
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
                Self::from_engine(inner, limits)
            }
            DataFusionError::Shared(inner) => Self::from_engine(inner, limits),
            DataFusionError::Collection(errors) => {
                errors.first().map_or_else(|| Self::internal(error), |first| Self::from_engine(first, limits))
            }
            DataFusionError::External(inner) => Self::from_external(inner.as_ref(), limits),
            DataFusionError::ArrowError(inner, _) => Self::from_arrow(inner, limits),
            DataFusionError::ParquetError(inner) => Self::from_parquet(inner, limits),
            DataFusionError::ObjectStore(inner) => crate::source::store_failure("the source", inner),
            DataFusionError::IoError(inner) => Self::from_io(inner, limits),
            DataFusionError::ResourcesExhausted(message) => {
                if message.contains("disk") {
                    Self::disk_exhausted(limits.temporary_bytes)
                } else {
                    Self::memory_exhausted(limits.memory_bytes)
                }
            }
            DataFusionError::SQL(inner, _) => Self::new(
                FailureReason::InvalidQuery,
                format!("The query is not valid SQL: {}.", trim_message(&inner.to_string())),
            ),
            DataFusionError::SchemaError(inner, _) => Self::from_schema(inner),
            DataFusionError::Plan(message) => Self::new(
                FailureReason::InvalidQuery,
                format!("The query cannot be planned: {}.", trim_message(message)),
            ),
            DataFusionError::NotImplemented(message) => Self::new(
                FailureReason::InvalidQuery,
                format!("The query uses something that is not supported: {}.", trim_message(message)),
            ),
            DataFusionError::Execution(message) | DataFusionError::Configuration(message) => Self::new(
                FailureReason::QueryFailed,
                format!("The query failed on these data: {}.", trim_message(message)),
            ),
            DataFusionError::ExecutionJoin(inner) => Self::internal(inner),
            other => Self::internal(trim_message(&other.strip_backtrace())),
        }
    }

    fn from_external(error: &(dyn std::error::Error + 'static), limits: Limits) -> Self {
        // An error may have been wrapped more than once on its way.
        let mut current = Some(error);
        while let Some(candidate) = current {
            if let Some(failure) = candidate.downcast_ref::<Self>() {
                return failure.clone();
            }
            if let Some(inner) = candidate.downcast_ref::<DataFusionError>() {
                return Self::from_engine(inner, limits);
            }
            if let Some(inner) = candidate.downcast_ref::<ArrowError>() {
                return Self::from_arrow(inner, limits);
            }
            if let Some(inner) = candidate.downcast_ref::<object_store::Error>() {
                return crate::source::store_failure("the source", inner);
            }
            current = candidate.source();
        }
        Self::internal(error)
    }

    fn from_arrow(error: &ArrowError, limits: Limits) -> Self {
        match error {
            ArrowError::ExternalError(inner) => Self::from_external(inner.as_ref(), limits),
            ArrowError::DivideByZero => Self::new(
                FailureReason::QueryFailed,
                "The query divides by zero. Write `a / nullif(b, 0)` to get a missing value instead.",
            ),
            ArrowError::IoError(_, inner) => Self::from_io(inner, limits),
            ArrowError::MemoryError(_) => Self::memory_exhausted(limits.memory_bytes),
            ArrowError::IpcError(message) | ArrowError::ParquetError(message) => Self::new(
                FailureReason::InvalidData,
                format!("A source cannot be read: {}.", trim_message(message)),
            ),
            ArrowError::CastError(message) | ArrowError::ParseError(message) => Self::new(
                FailureReason::QueryFailed,
                format!("The query cannot convert a value: {}.", trim_message(message)),
            ),
            other => Self::new(
                FailureReason::QueryFailed,
                format!("The query failed on these data: {}.", trim_message(&other.to_string())),
            ),
        }
    }

    fn from_parquet(error: &datafusion::parquet::errors::ParquetError, limits: Limits) -> Self {
        if let datafusion::parquet::errors::ParquetError::External(inner) = error {
            let failure = Self::from_external(inner.as_ref(), limits);
            if failure.reason != FailureReason::InternalError {
                return failure;
            }
        }
        Self::new(
            FailureReason::InvalidData,
            format!("A Parquet file cannot be read: {}.", trim_message(&error.to_string())),
        )
    }

    fn from_io(error: &std::io::Error, limits: Limits) -> Self {
        if let Some(inner) = error.get_ref() {
            let failure = Self::from_external(inner, limits);
            if failure.reason != FailureReason::InternalError {
                return failure;
            }
        }
        match error.kind() {
            std::io::ErrorKind::StorageFull
            | std::io::ErrorKind::QuotaExceeded
            | std::io::ErrorKind::FileTooLarge => Self::disk_exhausted(limits.temporary_bytes),
            _ if error.to_string().contains("disk space") => Self::disk_exhausted(limits.temporary_bytes),
            _ => Self::new(FailureReason::InternalError, format!("A file operation failed: {error}.")),
        }
    }

    fn from_schema(error: &SchemaError) -> Self {
        let SchemaError::FieldNotFound { field, valid_fields } = error else {
            return Self::new(
                FailureReason::InvalidQuery,
                format!("The query cannot be planned: {}.", trim_message(&error.to_string())),
            );
        };
        let mut names: Vec<String> = valid_fields.iter().map(|field| quote_if_needed(&field.name)).collect();
        names.dedup();
        let there = if names.is_empty() {
            "There are no columns here".to_owned()
        } else {
            format!("The columns are {}", listed(&names, 40))
        };
        // Unquoted names are folded to lower case, which is the usual reason
        // that a column with capitals is not found.
        let hint = match valid_fields.iter().find(|valid| valid.name.eq_ignore_ascii_case(&field.name)) {
            Some(valid) => format!(" Write \"{}\" in double quotes, since it has capitals.", valid.name),
            None => String::new(),
        };
        Self::new(
            FailureReason::InvalidQuery,
            format!("The query names a column `{}` that is not there. {there}.{hint}", field.flat_name()),
        )
    }
}

/// The limits of a run, for messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// The container's memory limit.
    pub memory_bytes: u64,
    /// How much the temporary folder may hold, if that is limited.
    pub temporary_bytes: Option<u64>,
}

/// A number of bytes, shown in the largest binary unit that leaves a number of 1 or more.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub u64);

impl std::fmt::Display for Size {
    #[expect(clippy::cast_precision_loss, reason = "a size is shown with one digit behind the point")]
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut value = self.0 as f64;
        let mut unit = "B";
        for larger in ["KiB", "MiB", "GiB", "TiB"] {
            if value < 1024.0 {
                break;
            }
            value /= 1024.0;
            unit = larger;
        }
        if value.fract() < 0.05 {
            write!(formatter, "{value:.0} {unit}")
        } else {
            write!(formatter, "{value:.1} {unit}")
        }
    }
}

/// The first `most` of the names, and how many more there are.
#[must_use]
pub fn listed<S: AsRef<str>>(names: &[S], most: usize) -> String {
    let mut text = names.iter().take(most).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if names.len() > most {
        text.push_str(&format!(" and {} more", names.len() - most));
    }
    text
}

fn quote_if_needed(name: &str) -> String {
    let plain = name
        .chars()
        .all(|character| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_');
    if plain { name.to_owned() } else { format!("\"{name}\"") }
}

/// What an error of the engine says, without its kind.
pub(crate) fn engine_text(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::Internal(message)
        | DataFusionError::Execution(message)
        | DataFusionError::Plan(message) => trim_message(message),
        other => trim_message(&other.strip_backtrace()),
    }
}

/// An engine's message without what only its programmers need: prefixes,
/// backtraces, the final full stop.
fn trim_message(message: &str) -> String {
    let first = message.split("\n\nbacktrace:").next().unwrap_or(message);
    let mut text = first.trim();
    for prefix in [
        "Error during planning: ",
        "Execution error: ",
        "External error: ",
        "Arrow error: ",
        "Parser error: ",
        "sql parser error: ",
        "Cast error: ",
        "Invalid argument error: ",
        "Compute error: ",
        "Parquet error: ",
    ] {
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    text.trim_end_matches('.').to_owned()
}
