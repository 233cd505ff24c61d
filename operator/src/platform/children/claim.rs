use k8s_openapi::api::core::v1::{PersistentVolumeClaim, VolumeResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::Resource;
use kube::api::ObjectMeta;
use serde::Deserialize;

use super::ChildState;
use crate::children::{Child, Owner};

/// A claim, as far as it is read.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = PersistentVolumeClaim)]
pub struct WatchedClaim {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: WatchedSpec,
    #[serde(default)]
    status: WatchedStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WatchedSpec {
    storage_class_name: Option<String>,
    resources: VolumeResourceRequirements,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WatchedStatus {
    phase: Option<String>,
}

/// What is known of a claim.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClaimState {
    /// What is known of every object.
    pub child: ChildState,
    /// How much room it asks for.
    pub size: Option<Quantity>,
    /// Its storage class; `None` if it has none, and there is no default one.
    pub storage_class: Option<String>,
    /// `Pending`, `Bound` or `Lost`.
    pub phase: String,
}

impl Child for ClaimState {
    type Watched = WatchedClaim;

    fn observe(claim: WatchedClaim) -> Option<(Owner, Self)> {
        let WatchedClaim { metadata, spec, status } = claim;
        let (owner, child) = ChildState::read(&metadata)?;
        let size = spec.resources.requests.and_then(|mut requests| requests.remove("storage"));
        let phase = status.phase.unwrap_or_else(|| "Pending".to_owned());
        Some((owner, Self { child, size, storage_class: spec.storage_class_name, phase }))
    }

    fn name(&self) -> &str {
        &self.child.name
    }
}
