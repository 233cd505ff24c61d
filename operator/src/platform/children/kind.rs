use std::fmt;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{ApiResource, GroupVersionKind};

/// A kind of the objects that a Platform becomes, in the order in which they
/// are written: what a pod needs comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChildKind {
    /// The identity of a service.
    ServiceAccount,
    /// What it may do with the API server.
    Role,
    /// Who may do so.
    RoleBinding,
    /// Its configuration.
    ConfigMap,
    /// Its data.
    PersistentVolumeClaim,
    /// Who may connect to it.
    NetworkPolicy,
    /// Its address.
    Service,
    /// Its pods.
    Deployment,
    /// How many of its pods may be away.
    PodDisruptionBudget,
    /// How many pods it has.
    HorizontalPodAutoscaler,
    /// The way to the gateway.
    Ingress,
    /// The way to the gateway, by the Gateway API.
    HttpRoute,
}

impl ChildKind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::ConfigMap,
        Self::PersistentVolumeClaim,
        Self::NetworkPolicy,
        Self::Service,
        Self::Deployment,
        Self::PodDisruptionBudget,
        Self::HorizontalPodAutoscaler,
        Self::Ingress,
        Self::HttpRoute,
    ];

    /// Kinds that are watched, and of which only the metadata matter.
    pub const BY_METADATA: [Self; 9] = [
        Self::ServiceAccount,
        Self::Role,
        Self::RoleBinding,
        Self::ConfigMap,
        Self::NetworkPolicy,
        Self::Service,
        Self::PodDisruptionBudget,
        Self::HorizontalPodAutoscaler,
        Self::Ingress,
    ];

    /// What the API server calls it.
    #[must_use]
    pub fn resource(self) -> ApiResource {
        match self {
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::Role => ApiResource::erase::<Role>(&()),
            Self::RoleBinding => ApiResource::erase::<RoleBinding>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::PersistentVolumeClaim => ApiResource::erase::<PersistentVolumeClaim>(&()),
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Self::HorizontalPodAutoscaler => ApiResource::erase::<HorizontalPodAutoscaler>(&()),
            Self::Ingress => ApiResource::erase::<Ingress>(&()),
            Self::HttpRoute => ApiResource::from_gvk_with_plural(
                &GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"),
                "httproutes",
            ),
        }
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::Role => "Role",
            Self::RoleBinding => "RoleBinding",
            Self::ConfigMap => "ConfigMap",
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::Service => "Service",
            Self::Deployment => "Deployment",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Self::Ingress => "Ingress",
            Self::HttpRoute => "HTTPRoute",
        }
    }

    /// Reason of a condition that says that one cannot be written.
    #[must_use]
    pub const fn apply_reason(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ApplyServiceAccount",
            Self::Role => "ApplyRole",
            Self::RoleBinding => "ApplyRoleBinding",
            Self::ConfigMap => "ApplyConfigMap",
            Self::PersistentVolumeClaim => "ApplyPersistentVolumeClaim",
            Self::NetworkPolicy => "ApplyNetworkPolicy",
            Self::Service => "ApplyService",
            Self::Deployment => "ApplyDeployment",
            Self::PodDisruptionBudget => "ApplyPodDisruptionBudget",
            Self::HorizontalPodAutoscaler => "ApplyHorizontalPodAutoscaler",
            Self::Ingress => "ApplyIngress",
            Self::HttpRoute => "ApplyHTTPRoute",
        }
    }
}

impl fmt::Display for ChildKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
