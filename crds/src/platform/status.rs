use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What the operator saw last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlatformStatus {
    /// `metadata.generation` of the specification that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Accepted: the specification is valid and what it refers to exists.
    /// Ready: all services serve. MonolithReady, AnalysisBaseReady and so on:
    /// the service does. Exposed, if an Ingress or an HTTPRoute is asked for: it
    /// is there. Reconciling is False while the annotation
    /// `aisaas.dev/paused: "true"` keeps the operator from changing anything,
    /// and is left out otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// Where the gateway is reached: from outside if it has an Ingress, else from
    /// inside the cluster. At which of its addresses an HTTPRoute is reached,
    /// and whether with encryption, is for its Gateway to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,

    /// Secret with the API key of the first administrator, in `api-key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_key_secret: Option<String>,

    /// The services that run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub services: Vec<ServiceStatus>,
}

/// How a service goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceStatus {
    /// Name of the service.
    pub name: String,
    /// How many of its pods are ready, of how many: `1/1`.
    pub ready: String,
    /// Where it is reached inside the cluster.
    pub url: String,
}
