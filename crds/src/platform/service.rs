use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::workload::WorkloadSpec;

/// How one service of a platform runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.name != 'monolith' || !has(self.enabled) || self.enabled")
        .message("the monolith is the front door and cannot be disabled: set `spec.suspend` to stop the platform"),
    validation = Rule::new("!has(self.autoscaling) || !has(self.workload) || !has(self.workload.replicas)")
        .message("the autoscaler decides how many pods there are: give one of `autoscaling` and `workload.replicas`")
)]
pub struct PlatformService {
    /// The service: `monolith`, the gateway that everybody talks to;
    /// `analysis-base`, which analyses data.
    pub name: ServiceName,

    /// Whether the service runs; true if left out. A service that is disabled
    /// is removed, but its claim and with it its data stay until the Platform
    /// is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// How its pods run. One pod if `replicas` is left out; more than one needs
    /// `spec.database.postgresql`, and for services that keep objects also
    /// `spec.storage.s3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<WorkloadSpec>,

    /// Have the number of pods follow the load, in place of
    /// `workload.replicas`. The cluster needs a metrics server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
}

/// A service of a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceName {
    /// The gateway.
    Monolith,
    /// Analyses of data.
    AnalysisBase,
}

impl ServiceName {
    /// Every service.
    pub const ALL: [Self; 2] = [Self::Monolith, Self::AnalysisBase];

    /// The name as it is written in a specification.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Monolith => "monolith",
            Self::AnalysisBase => "analysis-base",
        }
    }
}

/// How the number of pods follows the load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.minReplicas) || self.minReplicas <= self.maxReplicas")
        .message("minReplicas may not be more than maxReplicas")
)]
pub struct Autoscaling {
    /// The least number of pods; 1 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: Option<i32>,

    /// The greatest number of pods.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,

    /// Percentage of the requested CPU that the pods are to use on average:
    /// above it there will be more pods, below it fewer. 80 if left out.
    #[serde(default, rename = "targetCPUUtilizationPercentage", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_cpu_utilization_percentage: Option<i32>,
}
