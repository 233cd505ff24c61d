use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::api::ObjectMeta;
use serde::Deserialize;

use super::crash::{Crash, crash};
use super::owner;
use crate::children::{Child, Owner};
use crate::labels;
use crate::waiting::{PodCondition, waiting};

/// A pod, as far as it is read.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Pod)]
pub struct WatchedPod {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: WatchedSpec,
    #[serde(default)]
    status: WatchedStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WatchedSpec {
    service_account_name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WatchedStatus {
    conditions: Vec<PodCondition>,
    container_statuses: Vec<ContainerStatus>,
}

/// What is known of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodState {
    /// Its name.
    pub name: String,
    /// The service that it is of.
    pub service: String,
    /// The service account that it runs under.
    pub service_account: String,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// How its container ended last, if it is not ready since.
    pub crash: Option<Crash>,
    /// Why it does not run yet: reason and message.
    pub waiting: Option<(String, String)>,
}

impl Child for PodState {
    type Watched = WatchedPod;

    fn observe(pod: WatchedPod) -> Option<(Owner, Self)> {
        let WatchedPod { metadata, spec, status } = pod;
        let owner = owner(&metadata)?;
        let service =
            metadata.labels.as_ref().and_then(|labels| labels.get(labels::NAME)).cloned().unwrap_or_default();
        // There is one, unless something was put into the pod beside it.
        let container = status.container_statuses.iter().find(|container| container.name == service);
        let crash = container.and_then(crash);
        // How it ended says more than that it waits to be started again.
        let waiting = match &crash {
            Some(_) => None,
            None => waiting(&status.conditions, container.and_then(|container| container.state.as_ref())),
        };
        Some((
            owner,
            Self {
                service,
                name: metadata.name.unwrap_or_default(),
                service_account: spec.service_account_name,
                created_at: metadata.creation_timestamp.map(|time| time.0),
                deleting: metadata.deletion_timestamp.is_some(),
                crash,
                waiting,
            },
        ))
    }

    fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn observe(state: &Value, last_state: &Value, ready: bool) -> PodState {
        let pod = json!({
            "metadata": {
                "name": "p-x", "namespace": "demo",
                "labels": { labels::PLATFORM: "p", labels::NAME: "monolith" },
            },
            "spec": { "serviceAccountName": "doorman", "containers": [] },
            "status": { "containerStatuses": [
                { "name": "proxy", "image": "i", "imageID": "", "ready": true, "restartCount": 0 },
                { "name": "monolith", "image": "i", "imageID": "", "ready": ready, "restartCount": 3, "state": state, "lastState": last_state },
            ] },
        });
        PodState::observe(serde_json::from_value(pod).unwrap()).unwrap().1
    }

    #[test]
    fn a_process_that_ends_again_and_again_is_told_in_one_way() {
        let end = json!({ "terminated": { "exitCode": 1, "reason": "Error", "message": "no database\n" } });
        let back_off = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 40s" } });
        let over = observe(&end, &json!({}), false);
        let waits = observe(&back_off, &end, false);
        let runs = observe(&json!({ "running": {} }), &end, false);
        assert_eq!(over, waits);
        assert_eq!(waits, runs);
        let expected = Crash { exit_code: 1, reason: "Error".to_owned(), message: "no database".to_owned() };
        assert_eq!(runs.crash, Some(expected));
        assert_eq!(runs.service_account, "doorman");
        assert_eq!(observe(&json!({ "running": {} }), &end, true).crash, None);
    }
}
