use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition};
use k8s_openapi::api::core::v1::SecretVolumeSource;
use kube::Resource;
use kube::api::ObjectMeta;
use serde::Deserialize;

use super::{ChildState, own_fields};
use crate::children::{Child, Owner};
use crate::labels;

/// A Deployment, as far as it is read.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Deployment)]
pub struct WatchedDeployment {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: WatchedSpec,
    #[serde(default)]
    status: WatchedStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WatchedSpec {
    replicas: Option<i32>,
    template: WatchedTemplate,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WatchedTemplate {
    metadata: ObjectMeta,
    spec: WatchedPodSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WatchedPodSpec {
    volumes: Vec<WatchedVolume>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WatchedVolume {
    secret: Option<SecretVolumeSource>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WatchedStatus {
    observed_generation: Option<i64>,
    replicas: Option<i32>,
    updated_replicas: Option<i32>,
    ready_replicas: Option<i32>,
    available_replicas: Option<i32>,
    conditions: Vec<DeploymentCondition>,
}

/// What is known of a Deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeploymentState {
    /// What is known of every object.
    pub child: ChildState,
    /// How many pods it should have.
    pub replicas: i32,
    /// Whether the operator said so last, and no autoscaler after it.
    pub owns_replicas: bool,
    /// Whether the Deployment controller has seen what the specification says
    /// now. The counts below are worth nothing before.
    pub is_observed: bool,
    /// How many pods it has.
    pub present: i32,
    /// How many of them are of the template of now.
    pub updated: i32,
    /// How many of them are ready.
    pub ready: i32,
    /// How many of them have been ready for long enough.
    pub available: i32,
    /// Whether its last change has not come to an end in time.
    pub is_stalled: bool,
    /// Why its pods cannot be created.
    pub refusal: Option<String>,
    /// Digest of the Secrets that its pods mount.
    pub secrets_digest: Option<String>,
    /// The Secrets that its pods mount.
    pub secrets: Vec<MountedSecret>,
}

/// A Secret that pods mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountedSecret {
    /// Its name.
    pub name: String,
    /// The one key that is mounted; all of them if `None`.
    pub key: Option<String>,
}

impl MountedSecret {
    fn read(volume: SecretVolumeSource) -> Option<Self> {
        let key = volume.items.and_then(|items| items.into_iter().next()).map(|item| item.key);
        Some(Self { name: volume.secret_name?, key })
    }
}

impl DeploymentState {
    /// Whether all of its pods are there, are of the template of now, and serve.
    #[must_use]
    pub const fn is_rolled_out(&self) -> bool {
        self.is_observed
            && self.present == self.replicas
            && self.updated == self.replicas
            && self.available == self.replicas
    }
}

impl Child for DeploymentState {
    type Watched = WatchedDeployment;

    fn observe(deployment: WatchedDeployment) -> Option<(Owner, Self)> {
        let WatchedDeployment { metadata, spec, status } = deployment;
        let (owner, child) = ChildState::read(&metadata)?;
        let condition = |condition_type: &str, status_text: &str| {
            status
                .conditions
                .iter()
                .find(|condition| condition.type_ == condition_type && condition.status == status_text)
        };
        let state = Self {
            child,
            replicas: spec.replicas.unwrap_or(1),
            owns_replicas: own_fields(&metadata)
                .is_some_and(|fields| !fields["f:spec"]["f:replicas"].is_null()),
            is_observed: status.observed_generation >= metadata.generation,
            present: status.replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            is_stalled: condition("Progressing", "False").is_some(),
            refusal: condition("ReplicaFailure", "True")
                .map(|failure| failure.message.clone().unwrap_or_default()),
            secrets_digest: spec
                .template
                .metadata
                .annotations
                .and_then(|mut annotations| annotations.remove(labels::SECRETS_DIGEST)),
            secrets: spec
                .template
                .spec
                .volumes
                .into_iter()
                .filter_map(|volume| MountedSecret::read(volume.secret?))
                .collect(),
        };
        Some((owner, state))
    }

    fn name(&self) -> &str {
        &self.child.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn observe(fields: &Value, manager: &str) -> DeploymentState {
        let deployment = json!({
            "metadata": {
                "name": "p", "namespace": "demo", "uid": "d", "generation": 2, "resourceVersion": "7",
                "labels": { labels::PLATFORM: "p" },
                "managedFields": [
                    { "manager": manager, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields },
                    { "manager": manager, "operation": "Update", "subresource": "status", "fieldsV1": {} },
                ],
            },
            "spec": { "replicas": 2, "template": {
                "metadata": { "annotations": { labels::SECRETS_DIGEST: "x" } },
                "spec": { "containers": [], "volumes": [
                    { "name": "temporary", "emptyDir": {} },
                    { "name": "database", "secret": { "secretName": "d", "items": [{ "key": "url", "path": "u" }] } },
                    { "name": "objects", "secret": { "secretName": "o" } },
                ] },
            } },
            "status": {
                "observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
                "conditions": [{ "type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable" }],
            },
        });
        DeploymentState::observe(serde_json::from_value(deployment).unwrap()).unwrap().1
    }

    #[test]
    fn who_decides_on_the_number_of_pods_is_told_by_the_account_of_the_fields() {
        let with_replicas = json!({ "f:spec": { "f:replicas": {}, "f:template": {} } });
        let without = json!({ "f:spec": { "f:template": {} } });
        assert!(observe(&with_replicas, labels::FIELD_MANAGER).owns_replicas);
        assert!(!observe(&without, labels::FIELD_MANAGER).owns_replicas);
        assert!(!observe(&with_replicas, "somebody else").owns_replicas);
    }

    #[test]
    fn a_field_that_somebody_else_took_over_is_a_difference() {
        let all =
            observe(&json!({ "f:spec": { "f:replicas": {}, "f:template": {} } }), labels::FIELD_MANAGER);
        let less = observe(&json!({ "f:spec": { "f:replicas": {} } }), labels::FIELD_MANAGER);
        assert_ne!(all.child, less.child);
        assert_ne!(all.child.own_fields, less.child.own_fields);
        assert_eq!(all.child, ChildState { version: 8, ..all.child.clone() });
    }

    #[test]
    fn a_deployment_is_rolled_out_when_all_of_its_pods_are_new_and_serve() {
        let state = observe(&json!({}), labels::FIELD_MANAGER);
        assert!(state.is_rolled_out() && !state.is_stalled);
        assert_eq!(state.secrets_digest.as_deref(), Some("x"));
        let mounted = |name: &str, key: Option<&str>| MountedSecret {
            name: name.to_owned(),
            key: key.map(str::to_owned),
        };
        assert_eq!(state.secrets, [mounted("d", Some("url")), mounted("o", None)]);
        assert!(!DeploymentState { present: 3, ..state.clone() }.is_rolled_out());
        assert!(!DeploymentState { is_observed: false, ..state }.is_rolled_out());
    }
}
