use std::time::Duration;

use super::children::ChildKind;
use crate::errors;

/// Something that may succeed when it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A referenced object could not be read.
    #[error("failed to read {kind} `{name}`")]
    ReadReference {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// The issuer of service-account tokens could not be read.
    #[error(
        "failed to read the keys of service-account tokens, which the ClusterRole `system:service-account-issuer-discovery` allows"
    )]
    ReadIssuer(#[source] kube::Error),
    /// An object was not written.
    #[error("failed to write {kind} `{name}`")]
    Apply {
        /// Kind of the object.
        kind: ChildKind,
        /// Its name.
        name: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// An object that should not be there any more was not deleted.
    #[error("failed to delete {kind} `{name}`")]
    Delete {
        /// Kind of the object.
        kind: ChildKind,
        /// Its name.
        name: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// The Secret with the administrator's key was not created.
    #[error("failed to create the Secret with the API key of the administrator")]
    CreateAdminKey(#[source] kube::Error),
    /// The status was not written.
    #[error("failed to write the status")]
    ApplyStatus(#[source] kube::Error),
    /// The API server did not answer at all.
    #[error("the API server did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
}

impl Error {
    /// The variant as one word: reason of the condition and of the event, and
    /// label of the metric.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::ReadReference { .. } => "ReadReference",
            Self::ReadIssuer(_) => "ReadIssuer",
            Self::Apply { kind, .. } => kind.apply_reason(),
            Self::Delete { .. } => "DeleteObject",
            Self::CreateAdminKey(_) => "CreateAdminKey",
            Self::ApplyStatus(_) => "ApplyStatus",
            Self::TimedOut(_) => "TimedOut",
        }
    }

    /// What the API server said, if it refused a write.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Apply { source, .. } | Self::Delete { source, .. } | Self::CreateAdminKey(source) => {
                errors::refusal(source)
            }
            Self::ReadReference { .. } | Self::ReadIssuer(_) | Self::ApplyStatus(_) | Self::TimedOut(_) => {
                None
            }
        }
    }
}

/// Why a Platform is not accepted. It waits for a change: of itself, or of what
/// it refers to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A rule of the CRD is broken.
    #[error("{}", .0.join("; "))]
    InvalidSpecification(Vec<String>),
    /// A referenced Secret does not exist.
    #[error("Secret `{0}` does not exist in this namespace: create it, and the platform goes on by itself")]
    SecretNotFound(String),
    /// A referenced key does not exist.
    #[error("Secret `{name}` has no key `{key}`: add it, and the platform goes on by itself")]
    SecretKeyNotFound {
        /// Name of the Secret.
        name: String,
        /// The missing key.
        key: String,
    },
    /// There is an object of a name of ours that is not ours.
    #[error(
        "{kind} `{name}` exists and does not belong to this Platform: delete it, or give the Platform another name"
    )]
    NameTaken {
        /// Kind of the object.
        kind: ChildKind,
        /// Its name.
        name: String,
    },
    /// What is left of a deleted Platform of the same name does not go away.
    #[error(
        "objects of a deleted Platform of this name are still being removed: the platform starts when they are gone. See their finalizers and the pods that use their claims"
    )]
    PredecessorRemains,
}

impl Rejection {
    /// The variant as one word: reason of the condition and of the event.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::InvalidSpecification(_) => "InvalidSpecification",
            Self::SecretNotFound(_) => "SecretNotFound",
            Self::SecretKeyNotFound { .. } => "SecretKeyNotFound",
            Self::NameTaken { .. } => "NameTaken",
            Self::PredecessorRemains => "PredecessorRemains",
        }
    }

    /// Whether a change elsewhere mends it: then it is looked at again.
    #[must_use]
    pub const fn is_missing_reference(&self) -> bool {
        !matches!(self, Self::InvalidSpecification(_))
    }
}
