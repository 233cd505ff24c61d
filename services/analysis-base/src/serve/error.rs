use std::error::Error;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use service_kit::Problem;
use service_kit::database::DatabaseError;
use service_kit::idempotency::IdempotencyError;
use service_kit::objects::ObjectError;
use service_kit::problem::chain;
use service_kit::queue::QueueError;

use super::child::ChildError;
use super::kubernetes::KubernetesError;
use super::table::TableError;

/// When what does not answer may be asked again.
const SOON: Duration = Duration::from_secs(2);
/// When there may be room again in a queue that is full.
const LATER: Duration = Duration::from_secs(5);

/// What is said when nothing more can be kept.
pub const NO_ROOM: &str =
    "There is no room left in the storage of analysis-base. Delete data sets, or give it more.";

/// Why a request is not done.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Something for the client to mend.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    /// The database fails.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The place of the objects fails.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The queue is full, or fails.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The request is or was done already, or its key is wrong.
    #[error(transparent)]
    Idempotency(#[from] IdempotencyError),
    /// No process can be started.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// A stored result cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The API server of Kubernetes gives nothing.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// A task has panicked.
    #[error("a part of the service has failed")]
    Task(#[from] tokio::task::JoinError),
    /// What was made cannot be written as JSON.
    #[error("an answer cannot be written")]
    Json(#[from] serde_json::Error),
    /// Objects were written for too long.
    #[error("objects were removed before they were referred to, since writing them took too long")]
    TooLate,
    /// An attempt at an analysis failed for a reason that may pass.
    #[error("{0}")]
    Again(String),
}

impl ServeError {
    /// Whether there is no room left for what is to be kept.
    #[must_use]
    pub const fn is_storage_full(&self) -> bool {
        matches!(
            self,
            Self::Database(DatabaseError::Full { .. })
                | Self::Queue(QueueError::Database(DatabaseError::Full { .. }))
                | Self::Object(ObjectError::Full { .. })
        )
    }

    /// The same, but for what is too large to be given here: that says what to
    /// ask for instead.
    #[must_use]
    pub fn instead(self, advice: impl FnOnce() -> String) -> Self {
        match self {
            Self::Table(TableError::TooLarge) => Problem::unprocessable(advice()).into(),
            other => other,
        }
    }
}

impl From<Problem> for ServeError {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<sqlx::Error> for ServeError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<ServeError> for Problem {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Problem(problem) => *problem,
            ServeError::Database(error) => of_database(&error),
            ServeError::Object(error) => of_objects(&error),
            ServeError::Queue(QueueError::Database(error)) => of_database(&error),
            ServeError::Queue(QueueError::Full { bound, .. }) => Self::unavailable(
                format!("{bound} analyses wait or run already, and no more are taken on. Try again later."),
                LATER,
            ),
            ServeError::Queue(error) => Self::internal(&error),
            ServeError::Idempotency(error) => of_idempotency(&error),
            ServeError::Child(error) if error.is_storage_full() => full(&error),
            ServeError::Child(error) => Self::internal(&error),
            ServeError::Table(TableError::Object(error)) => of_objects(&error),
            ServeError::Table(error @ (TableError::TooLarge | TableError::Format(_))) => {
                Self::unprocessable(error.to_string())
            }
            ServeError::Table(error) => Self::internal(&error),
            ServeError::Kubernetes(error) => error.into(),
            ServeError::Task(error) => Self::internal(&error),
            ServeError::Json(error) => Self::internal(&error),
            ServeError::TooLate | ServeError::Again(_) => Self::internal(&error),
        }
    }
}

impl IntoResponse for ServeError {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

fn of_database(error: &DatabaseError) -> Problem {
    match error {
        DatabaseError::Unavailable { .. } => {
            unavailable("The database of the service does not answer.", error)
        }
        DatabaseError::Full { .. } => full(error),
        _ => Problem::internal(error),
    }
}

fn of_objects(error: &ObjectError) -> Problem {
    match error {
        ObjectError::Unavailable { .. } => unavailable("The place of the data does not answer.", error),
        ObjectError::Full { .. } => full(error),
        _ => Problem::internal(error),
    }
}

fn of_idempotency(error: &IdempotencyError) -> Problem {
    let detail = format!("{error}.");
    match error {
        IdempotencyError::InvalidKey => Problem::bad_request(detail),
        IdempotencyError::InProgress => Problem::conflict(detail).retry_after(SOON),
        IdempotencyError::Mismatch => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency-key-reused",
            "Idempotency-Key used before",
            detail,
        ),
        IdempotencyError::LeaseLost => Problem::conflict(detail),
        IdempotencyError::Database(error) => of_database(error),
    }
}

fn unavailable(detail: &str, error: &(dyn Error + 'static)) -> Problem {
    tracing::warn!(error = %chain(error), "{detail}");
    Problem::unavailable(detail, SOON)
}

fn full(error: &(dyn Error + 'static)) -> Problem {
    tracing::error!(error = %chain(error), "There is no room left.");
    Problem::storage_full(NO_ROOM)
}
