use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What the operator saw last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisJobStatus {
    /// `metadata.generation` of the specification that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Accepted: the specification is valid and what it refers to exists.
    /// Ready: the analysis runs, or has ended well. Complete: it has ended
    /// well, or the reason says why not. Reconciling is False while the
    /// annotation `aisaas.dev/paused: "true"` keeps the operator from changing
    /// anything, and is left out otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// Name of the batch/v1 Job that runs the analysis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_name: Option<String>,

    /// When the Job started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// When the analysis ended, well or badly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,

    /// How often a pod of this analysis failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_attempts: Option<i32>,

    /// Rows read from the sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_read: Option<i64>,

    /// Bytes read from the sources, as stored there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_read: Option<i64>,

    /// Rows in the result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_written: Option<i64>,

    /// How long the analysis took in its pod, without the start of the pod,
    /// in words such as `1.25s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,

    /// The same in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_milliseconds: Option<i64>,

    /// The most memory that the process held at once, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<i64>,

    /// Where the result and the charts are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OutputStatus>,

    /// The first rows of the result, as CSV of at most 1 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub preview: Option<String>,
}

/// Where the result is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputStatus {
    /// Where the result is, in words: `configmap/NAME`, `pvc/NAME/PATH`, an s3
    /// address or `dataset/NAME/VERSION`.
    pub location: String,
    /// Name of the ConfigMap with the result, if it is in one; of that with the
    /// charts, if the result is in a data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<String>,
    /// The files there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub files: Vec<WrittenFile>,
}

/// A file of the result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WrittenFile {
    /// Name of the file, or key in the ConfigMap.
    pub name: String,
    /// Its size in bytes.
    pub bytes: i64,
}
