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
    /// The watch of Platforms has told of nothing yet.
    #[error(
        "the Platforms of the cluster could not be read yet: see the operator's log, and bring the CRDs and the permissions of the operator to its version"
    )]
    ReadPlatforms,
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
            Self::ReadPlatforms => "ReadPlatforms",
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
    /// The same of the ConfigMap for the charts beside a data set.
    #[error(
        "ConfigMap `{0}` exists and does not belong to this AnalysisJob, whose charts are to be in it: delete it, or create the AnalysisJob again under another name"
    )]
    ChartsNameTaken(String),
    /// There is no Platform that could keep a data set; of this name, if one is
    /// given.
    #[error("{}", no_platform(.0.as_deref()))]
    PlatformNotFound(Option<String>),
    /// Several Platforms could be meant.
    #[error(
        "this namespace has several Platforms ({}), and a data set does not say which of them keeps it: create the AnalysisJob again with its name in `platform` of each `dataset`",
        .0.join(", ")
    )]
    PlatformAmbiguous(Vec<String>),
    /// The Platform does not run the service that keeps data sets.
    #[error(
        "Platform `{0}` does not run analysis-base, which keeps the data sets: enable it in the spec.services of the Platform, and the analysis starts by itself"
    )]
    AnalysisBaseDisabled(String),
    /// The service that keeps data sets does not serve yet.
    #[error(
        "Waiting for analysis-base of Platform `{name}`, which keeps the data sets; the analysis starts by itself: {obstacle}"
    )]
    PlatformNotReady {
        /// Name of the Platform.
        name: String,
        /// What the Platform says of it.
        obstacle: String,
    },
}

fn no_platform(name: Option<&str>) -> String {
    let advice = "(examples/platform/platform.yaml is the smallest), and the analysis starts by itself";
    match name {
        Some(name) => format!(
            "Platform `{name}`, which is to keep the data sets, does not exist in this namespace: apply it {advice}"
        ),
        None => format!(
            "data sets are kept by a Platform, and there is none in this namespace: apply one {advice}"
        ),
    }
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
            Self::ConfigMapNameTaken(_) | Self::ChartsNameTaken(_) => "ConfigMapNameTaken",
            Self::PredecessorRemains(_) => "PredecessorRemains",
            Self::PlatformNotFound(_) => "PlatformNotFound",
            Self::PlatformAmbiguous(_) => "PlatformAmbiguous",
            Self::AnalysisBaseDisabled(_) => "AnalysisBaseDisabled",
            Self::PlatformNotReady { .. } => "PlatformNotReady",
        }
    }

    /// Whether all is as it should be, and only takes its time.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::PlatformNotReady { .. })
    }

    /// Whether a change elsewhere mends it: then it is looked at again.
    #[must_use]
    pub const fn is_missing_reference(&self) -> bool {
        !matches!(self, Self::InvalidSpecification(_) | Self::SpecificationTooLarge { .. })
    }
}
