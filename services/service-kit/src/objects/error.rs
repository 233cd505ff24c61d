use std::error::Error;
use std::io;

/// What went wrong underneath.
type Cause = Box<dyn Error + Send + Sync + 'static>;

/// Why something with objects was not done.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no such object.
    #[error("there is no object `{key}`")]
    NotFound {
        /// Its key.
        key: String,
    },
    /// The key is none.
    #[error("`{key}` cannot be the key of an object: {problem}")]
    InvalidKey {
        /// The key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The object has no such part.
    #[error("object `{key}` has {bytes} bytes, and none of them are in the part that was asked for")]
    InvalidRange {
        /// Its key.
        key: String,
        /// The size of the object.
        bytes: u64,
    },
    /// There is no room.
    #[error("there is no room left in {place}: give it more storage")]
    Full {
        /// Where.
        place: String,
        /// What was not written.
        source: Cause,
    },
    /// Access is refused.
    #[error("access to {place} is refused: check the credentials, or who may write to the volume")]
    Denied {
        /// Where.
        place: String,
        /// What was refused.
        source: Cause,
    },
    /// The place cannot be used as it is configured.
    #[error("objects cannot be kept in {place}: {problem}")]
    Configuration {
        /// Where.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// The place does not answer, or fails. Trying again can help.
    #[error("{place} fails")]
    Unavailable {
        /// Where.
        place: String,
        /// What was in the way.
        source: Cause,
    },
    /// A part of the object was not written before.
    #[error("object `{key}` cannot be finished: writing to it has failed before")]
    Broken {
        /// Its key.
        key: String,
    },
    /// The object is larger than what was asked for.
    #[error("object `{key}` has more than {most} bytes")]
    TooLarge {
        /// Its key.
        key: String,
        /// What was asked for.
        most: u64,
    },
}

impl ObjectError {
    /// Whether the same can succeed a little later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    pub(super) fn of_io(place: &str, key: &str, error: io::Error) -> Self {
        let place = place.to_owned();
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full { place, source: error.into() }
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { place, source: error.into() }
            }
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => Self::InvalidKey {
                key: key.to_owned(),
                problem: "another object has a key with which this one cannot be together".to_owned(),
            },
            _ => Self::Unavailable { place, source: error.into() },
        }
    }

    pub(super) fn of_store(place: &str, key: &str, error: object_store::Error) -> Self {
        use object_store::Error as StoreError;
        let kind = io_kind(&error);
        if let Some(kind @ (io::ErrorKind::StorageFull | io::ErrorKind::PermissionDenied)) = kind {
            return Self::of_io(place, key, io::Error::new(kind, error));
        }
        let place = place.to_owned();
        if matches!(error, StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. }) {
            return Self::Denied { place, source: error.into() };
        }
        let text = crate::problem::chain(&error);
        if text.contains("NoSuchBucket") {
            return Self::Configuration { place, problem: "the bucket is not there".to_owned() };
        }
        if matches!(error, StoreError::NotFound { .. }) {
            return Self::NotFound { key: key.to_owned() };
        }
        // What MinIO and those that follow it say.
        if text.contains("StorageFull") {
            return Self::Full { place, source: error.into() };
        }
        Self::Unavailable { place, source: error.into() }
    }
}

/// The kind of the error of a file below an error of a store.
fn io_kind(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        current = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let error = |kind: io::ErrorKind| ObjectError::of_io("/data", "a", io::Error::from(kind));
        assert!(matches!(error(io::ErrorKind::StorageFull), ObjectError::Full { .. }));
        assert!(matches!(error(io::ErrorKind::QuotaExceeded), ObjectError::Full { .. }));
        assert!(matches!(error(io::ErrorKind::PermissionDenied), ObjectError::Denied { .. }));
        assert!(error(io::ErrorKind::TimedOut).is_retryable());

        let source = io::Error::from(io::ErrorKind::StorageFull).into();
        let store = object_store::Error::Generic { store: "local", source };
        assert!(matches!(ObjectError::of_store("/data", "a", store), ObjectError::Full { .. }));
        let store = object_store::Error::Generic { store: "S3", source: "XMinioStorageFull".into() };
        assert!(matches!(ObjectError::of_store("s3://a", "a", store), ObjectError::Full { .. }));
        let store = object_store::Error::NotFound { path: "a".to_owned(), source: "404".into() };
        assert!(matches!(ObjectError::of_store("s3://a", "a", store), ObjectError::NotFound { .. }));
    }
}
