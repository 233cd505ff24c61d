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
    /// The pods of a finished Job could not be read.
    #[error("failed to read the pods of the Job")]
    ReadPods(#[source] kube::Error),
    /// The log with the result could not be read.
    #[error("failed to read the result from the log of the pod")]
    ReadOutput(#[source] std::io::Error),
    /// The Job was not created.
    #[error("failed to create the Job")]
    CreateJob(#[source] kube::Error),
    /// The Job was not changed.
    #[error("failed to change the Job")]
    PatchJob(#[source] kube::Error),
    /// The Job was not deleted.
    #[error("failed to delete the Job")]
    DeleteJob(#[source] kube::Error),
    /// The ConfigMap with the result was not written.
    #[error("failed to write the ConfigMap with the result")]
    ApplyConfigMap(#[source] kube::Error),
    /// The NetworkPolicy of the namespace was not written.
    #[error("failed to write the NetworkPolicy")]
    ApplyNetworkPolicy(#[source] kube::Error),
    /// The status was not written.
    #[error("failed to write the status")]
    ApplyStatus(#[source] kube::Error),
    /// The API server did not answer at all.
    #[error("the API server did not answer within {} s", .0.as_secs())]
    TimedOut(std::time::Duration),
    /// An expired AnalysisJob was not deleted.
    #[error("failed to delete the expired AnalysisJob")]
    DeleteExpired(#[source] kube::Error),
}

impl Error {
    /// The variant as one word: reason of the condition and of the event, and
    /// label of the metric.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::ReadReference { .. } => "ReadReference",
            Self::ReadPods(_) => "ReadPods",
            Self::ReadOutput(_) => "ReadOutput",
            Self::CreateJob(_) => "CreateJob",
            Self::PatchJob(_) => "PatchJob",
            Self::DeleteJob(_) => "DeleteJob",
            Self::ApplyConfigMap(_) => "ApplyConfigMap",
            Self::ApplyNetworkPolicy(_) => "ApplyNetworkPolicy",
            Self::ApplyStatus(_) => "ApplyStatus",
            Self::DeleteExpired(_) => "DeleteExpired",
            Self::TimedOut(_) => "TimedOut",
        }
    }

    /// What the API server said, if it refused what the analysis needs.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        let (Self::CreateJob(source)
        | Self::PatchJob(source)
        | Self::DeleteJob(source)
        | Self::ApplyConfigMap(source)
        | Self::ApplyNetworkPolicy(source)) = self
        else {
            return None;
        };
        errors::refusal(source)
    }

    /// The error with its causes.
    #[must_use]
    pub fn chain(&self) -> String {
        errors::chain(self)
    }
}

/// Why an AnalysisJob is not accepted. It waits for a change: of itself, or of
/// what it refers to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A rule of the CRD is broken.
    #[error("{}", .0.join("; "))]
    InvalidSpecification(Vec<String>),
    /// The inline data are too large together.
    #[error(
        "the specification has {bytes} bytes, inline data included, and may have {limit}: put the data into a ConfigMap or on a volume"
    )]
    SpecificationTooLarge {
        /// Its size.
        bytes: usize,
        /// The largest that is allowed.
        limit: usize,
    },
    /// A referenced Secret does not exist.
    #[error("Secret `{0}` does not exist in this namespace: create it, and the analysis starts by itself")]
    SecretNotFound(String),
    /// A referenced ConfigMap does not exist.
    #[error("ConfigMap `{0}` does not exist in this namespace: create it, and the analysis starts by itself")]
    ConfigMapNotFound(String),
    /// A referenced key does not exist.
    #[error("ConfigMap `{name}` has no key `{key}`: add it, and the analysis starts by itself")]
    ConfigMapKeyNotFound {
        /// Name of the ConfigMap.
        name: String,
        /// The missing key.
        key: String,
    },
    /// A referenced claim does not exist.
    #[error(
        "PersistentVolumeClaim `{0}` does not exist in this namespace: create it, and the analysis starts by itself"
    )]
    PersistentVolumeClaimNotFound(String),
    /// There is a Job of the name that is not ours.
    #[error("Job `{0}` exists and does not belong to this AnalysisJob: delete it, or choose another name")]
    JobNameTaken(String),
    /// The Job of a deleted AnalysisJob of the same name does not go away.
    #[error(
        "Job `{0}` of a deleted AnalysisJob of this name is still being removed: the analysis starts when it is gone. See its finalizers and its pods"
    )]
    PredecessorRemains(String),
    /// There is a ConfigMap of the name that is not ours.
    #[error(
        "ConfigMap `{0}` exists and does not belong to this AnalysisJob: delete it, or create the AnalysisJob again with another output.configMap.name"
    )]
    ConfigMapNameTaken(String),
}

impl Rejection {
    /// The variant as one word: reason of the condition and of the event.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::InvalidSpecification(_) => "InvalidSpecification",
            Self::SpecificationTooLarge { .. } => "SpecificationTooLarge",
            Self::SecretNotFound(_) => "SecretNotFound",
            Self::ConfigMapNotFound(_) => "ConfigMapNotFound",
            Self::ConfigMapKeyNotFound { .. } => "ConfigMapKeyNotFound",
            Self::PersistentVolumeClaimNotFound(_) => "PersistentVolumeClaimNotFound",
            Self::JobNameTaken(_) => "JobNameTaken",
            Self::ConfigMapNameTaken(_) => "ConfigMapNameTaken",
            Self::PredecessorRemains(_) => "PredecessorRemains",
        }
    }

    /// Whether a change elsewhere mends it: then it is looked at again.
    #[must_use]
    pub const fn is_missing_reference(&self) -> bool {
        !matches!(self, Self::InvalidSpecification(_) | Self::SpecificationTooLarge { .. })
    }
}
