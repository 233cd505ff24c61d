//! What faults of the storage are to a caller.

use std::time::Duration;

use service_kit::Problem;
use service_kit::database::DatabaseError;
use service_kit::queue::QueueError;

/// What a fault of the database is to a caller.
pub fn database(error: DatabaseError) -> Problem {
    match error {
        error @ DatabaseError::Unavailable { .. } => {
            tracing::warn!(error = %service_kit::problem::chain(&error), "The database does not answer.");
            Problem::unavailable("The database of the gateway does not answer.", Duration::from_secs(2))
        }
        error @ DatabaseError::Full { .. } => {
            tracing::error!(error = %service_kit::problem::chain(&error), "The disk of the database is full.");
            Problem::storage_full("There is no room left in the database of the gateway.")
        }
        error => Problem::internal(&error),
    }
}

/// What a fault of a queue is to a caller.
pub fn queue(error: QueueError) -> Problem {
    match error {
        QueueError::Database(error) => database(error),
        QueueError::Full { .. } => Problem::unavailable(
            "As many requests wait as the gateway takes on. Try again later.",
            Duration::from_secs(10),
        ),
        error => Problem::internal(&error),
    }
}
