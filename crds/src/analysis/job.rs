use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{AnalysisJobStatus, Chart, Output, Profile, Source};
use crate::workload::WorkloadSpec;

/// Specification of an analysis that runs once, to completion.
///
/// What is analysed and how (`sources`, `sql`, `profile`, `charts`, `output`)
/// cannot be changed once the object exists; how it runs can, until it has
/// ended.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "aisaas.dev",
    version = "v1alpha1",
    kind = "AnalysisJob",
    plural = "analysisjobs",
    shortname = "aj",
    category = "aisaas",
    namespaced,
    status = "AnalysisJobStatus",
    derive = "PartialEq",
    doc = "AnalysisJob reads data sources, runs one analysis over them (a SQL query or a profile), and leaves a result and charts. It runs once, to completion.",
    validation = Rule::new("self.metadata.name.size() <= 52")
        .message("metadata.name may have at most 52 characters: the names of the Job and of the result are made from it"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Complete\")].reason", description = "Where the analysis stands, or why it failed"),
    printcolumn(name = "Rows", type_ = "integer", json_path = ".status.rowsWritten", description = "Rows in the result"),
    printcolumn(name = "Duration", type_ = "string", json_path = ".status.duration", description = "How long the analysis took in its pod"),
    printcolumn(name = "Result", type_ = "string", json_path = ".status.output.location", description = "Where the result is"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Complete\")].message", description = "What there is to say about the status", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.sql) != has(self.profile)")
        .message("give exactly one of `sql` and `profile`"),
    validation = Rule::new("!has(self.profile) || self.sources.exists(source, source.name == self.profile.source)")
        .message("profile.source must be the name of one of the sources"),
    validation = Rule::new("!has(self.charts) || self.charts.size() == 0 || has(self.output)")
        .message("charts need an `output` to be written to"),
    validation = Rule::new("!has(self.profile) || !has(self.charts) || self.charts.all(chart, has(chart.sql))")
        .message("beside a profile each chart needs a `sql` of its own that selects its data"),
    validation = Rule::new("!has(self.workload) || !has(self.workload.replicas) || self.workload.replicas == 1")
        .message("an AnalysisJob runs in one pod: leave `workload.replicas` out"),
    validation = Rule::new("has(self.sql) == has(oldSelf.sql) && has(self.profile) == has(oldSelf.profile) && has(self.charts) == has(oldSelf.charts) && has(self.output) == has(oldSelf.output)")
        .message("the analysis cannot be changed: create a new AnalysisJob")
)]
pub struct AnalysisJobSpec {
    /// The data to read. Each source becomes a table of its name.
    #[schemars(length(min = 1, max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("the analysis cannot be changed: create a new AnalysisJob"))]
    pub sources: Vec<Source>,

    /// One SQL query over the sources; what it returns is the result. It
    /// reads nothing but the sources and cannot write: only a query (SELECT,
    /// WITH, VALUES) is accepted. Exactly one of `sql` and `profile` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32768))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("the analysis cannot be changed: create a new AnalysisJob"))]
    pub sql: Option<String>,

    /// Describe a source column by column instead of querying it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("the analysis cannot be changed: create a new AnalysisJob"))]
    pub profile: Option<Profile>,

    /// Charts to draw, each as SVG and as Vega-Lite JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("the analysis cannot be changed: create a new AnalysisJob"))]
    pub charts: Vec<Chart>,

    /// Where the result and the charts go. Without it, only the first rows of
    /// the result are kept, in `status.preview`. On a volume or in S3, files of
    /// the same name are replaced, and they stay when the AnalysisJob is
    /// deleted, as a version of a data set does; a ConfigMap goes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("the analysis cannot be changed: create a new AnalysisJob"))]
    pub output: Option<Output>,

    /// Do not run, or stop running: the Job and its pod are removed, and the
    /// analysis starts from the beginning when this becomes false. What it
    /// refers to need not exist before. With the label
    /// `kueue.x-k8s.io/queue-name`, it leaves its queue and joins it again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,

    /// Seconds after its start at which an analysis that has not ended is
    /// stopped and counts as failed. Without it there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31536000))]
    pub active_deadline_seconds: Option<i64>,

    /// How often an analysis is tried again after a failure that may pass,
    /// such as a server that did not answer. A failure that would only repeat
    /// itself (a wrong query, too little memory) is not tried again. 3 if left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub backoff_limit: Option<i32>,

    /// Seconds after its end at which this object is deleted, with its Job and
    /// a result that is in a ConfigMap. Without it, it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 315360000))]
    pub ttl_seconds_after_finished: Option<i32>,

    /// How the pod runs. A change takes effect when the analysis is suspended
    /// and resumed. The memory limit is also the query engine's: beyond
    /// it the engine writes to a temporary folder, and when that does not help
    /// the analysis fails with the reason MemoryExhausted. Requests are 100m
    /// cpu, 128Mi memory and 64Mi ephemeral-storage, limits 2 cpu, 1Gi memory
    /// and 8Gi ephemeral-storage, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadSpec>,
}

impl AnalysisJobSpec {
    /// Whether a data set is read or written.
    #[must_use]
    pub fn uses_datasets(&self) -> bool {
        self.sources.iter().any(|source| source.dataset.is_some())
            || self.output.as_ref().is_some_and(|output| output.dataset.is_some())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}
