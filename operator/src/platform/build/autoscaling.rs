use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec,
    MetricTarget, ResourceMetricSource,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Parts;
use crate::labels;

/// Percentage of the requested CPU that pods are to use if nothing is said.
const TARGET_UTILIZATION: i32 = 80;

impl Parts<'_> {
    /// `None` if the number of pods is fixed.
    pub(super) fn autoscaler(&self) -> Option<HorizontalPodAutoscaler> {
        let autoscaling = self.service.autoscaling.as_ref()?;
        let utilization = autoscaling.target_cpu_utilization_percentage.unwrap_or(TARGET_UTILIZATION);
        Some(HorizontalPodAutoscaler {
            metadata: self.metadata(self.service.deployment.as_str()),
            spec: Some(HorizontalPodAutoscalerSpec {
                scale_target_ref: CrossVersionObjectReference {
                    api_version: Some("apps/v1".to_owned()),
                    kind: "Deployment".to_owned(),
                    name: self.service.deployment.to_string(),
                },
                min_replicas: Some(autoscaling.min_replicas.unwrap_or(1)),
                max_replicas: autoscaling.max_replicas,
                metrics: Some(vec![MetricSpec {
                    type_: "Resource".to_owned(),
                    resource: Some(ResourceMetricSource {
                        name: "cpu".to_owned(),
                        target: MetricTarget {
                            type_: "Utilization".to_owned(),
                            average_utilization: Some(utilization),
                            ..MetricTarget::default()
                        },
                    }),
                    ..MetricSpec::default()
                }]),
                behavior: None,
            }),
            status: None,
        })
    }

    /// Nodes that are drained take one pod at a time. `None` for a service of
    /// one pod, of which nothing is left then anyway.
    pub(super) fn disruption_budget(&self) -> Option<PodDisruptionBudget> {
        (self.service.most_replicas() > 1).then(|| PodDisruptionBudget {
            metadata: self.metadata(self.service.deployment.as_str()),
            spec: Some(PodDisruptionBudgetSpec {
                max_unavailable: Some(IntOrString::Int(1)),
                selector: Some(LabelSelector {
                    match_labels: Some(labels::platform_service_selector(
                        &self.validated.name,
                        self.service.definition.name,
                    )),
                    ..LabelSelector::default()
                }),
                ..PodDisruptionBudgetSpec::default()
            }),
            status: None,
        })
    }
}
