//! The Job and the pods of an AnalysisJob, cut down to the facts that decide.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;
use kube::api::ObjectMeta;
use serde::Deserialize;

use super::build::CONTAINER;
use crate::children::{Child, Owner};
use crate::labels;
use crate::waiting::{PodCondition, waiting};

/// Label that the Job controller puts on the pods of a Job: the Job's uid.
pub const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";

/// A Job, as far as it is read.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Job)]
pub struct WatchedJob {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: WatchedJobSpec,
    #[serde(default)]
    status: WatchedJobStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WatchedJobSpec {
    suspend: Option<bool>,
    active_deadline_seconds: Option<i64>,
    backoff_limit: Option<i32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WatchedJobStatus {
    active: Option<i32>,
    ready: Option<i32>,
    terminating: Option<i32>,
    failed: Option<i32>,
    start_time: Option<Time>,
    completion_time: Option<Time>,
    conditions: Vec<JobCondition>,
}

/// What is known of a Job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobState {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The uid of the AnalysisJob that owns it.
    pub owner_uid: Option<String>,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Digest of what its pod template was made from.
    pub template_digest: Option<String>,
    /// Whether it is suspended.
    pub suspended: bool,
    /// Its deadline in seconds.
    pub active_deadline_seconds: Option<i64>,
    /// How often it is tried again.
    pub backoff_limit: Option<i32>,
    /// The labels that a queueing system reads.
    pub queue_labels: Vec<(String, String)>,
    /// How many of its pods are not finished.
    pub active: i32,
    /// How many of its pods run.
    pub ready: i32,
    /// How many of its pods are being removed.
    pub terminating: i32,
    /// How many of its pods failed.
    pub failed: i32,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// How it ended, if it did.
    pub end: Option<JobEnd>,
}

/// How a Job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobEnd {
    /// When.
    pub at: Timestamp,
    /// Why it failed: reason and message. `None` if it succeeded.
    pub failure: Option<(String, String)>,
}

impl Child for JobState {
    type Watched = WatchedJob;

    fn observe(job: WatchedJob) -> Option<(Owner, Self)> {
        let WatchedJob { metadata, spec, status } = job;
        let owner = owner(&metadata)?;
        let end = end(&status);
        let controller =
            metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let state = Self {
            owner_uid: controller.map(|reference| reference.uid.clone()),
            name: metadata.name.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            queue_labels: metadata.labels.iter().flat_map(labels::of_queue).collect(),
            template_digest: metadata
                .annotations
                .and_then(|mut annotations| annotations.remove(labels::TEMPLATE_DIGEST)),
            suspended: spec.suspend.unwrap_or(false),
            active_deadline_seconds: spec.active_deadline_seconds,
            backoff_limit: spec.backoff_limit,
            active: status.active.unwrap_or(0),
            ready: status.ready.unwrap_or(0),
            terminating: status.terminating.unwrap_or(0),
            failed: status.failed.unwrap_or(0),
            started_at: status.start_time.map(|time| time.0),
            end,
        };
        Some((owner, state))
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// A Job as it stands with its pods. The Job controller counts a pod up to a
/// second after it has ended; as one completion is all that is asked for, a
/// pod that has ended well is the end of the Job, and nobody needs to wait.
///
/// Unless something may still come between: another container that runs on in
/// the pod, or an eviction. Then the Job may start another pod, and the end is
/// what the Job says.
#[must_use]
pub fn with_pods(job: Arc<JobState>, pods: &[Arc<PodState>]) -> Arc<JobState> {
    if job.end.is_some() || job.suspended || job.deleting {
        return job;
    }
    let ended_well = |pod: &Arc<PodState>| {
        let end = pod.ended.as_ref().filter(|_| pod.is_over && !pod.is_disrupted)?;
        if end.exit_code == 0 { end.at } else { None }
    };
    match pods.iter().find_map(ended_well) {
        Some(at) => Arc::new(JobState {
            end: Some(JobEnd { at, failure: None }),
            active: 0,
            ready: 0,
            ..JobState::clone(&job)
        }),
        None => job,
    }
}

/// The pod that was created last.
#[must_use]
pub fn latest<'a>(pods: impl IntoIterator<Item = &'a Arc<PodState>>) -> Option<&'a Arc<PodState>> {
    pods.into_iter().max_by_key(|pod| (pod.created_at, pod.name.clone()))
}

fn end(status: &WatchedJobStatus) -> Option<JobEnd> {
    let holds = |condition_type: &str| {
        status
            .conditions
            .iter()
            .find(|condition| condition.type_ == condition_type && condition.status == "True")
    };
    let at = |condition: &JobCondition| {
        condition.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
    };
    if let Some(complete) = holds("Complete") {
        let at = status.completion_time.as_ref().map_or_else(|| at(complete), |time| time.0);
        return Some(JobEnd { at, failure: None });
    }
    holds("Failed").map(|failed| JobEnd {
        at: at(failed),
        failure: Some((
            failed.reason.clone().unwrap_or_else(|| "JobFailed".to_owned()),
            failed.message.clone().unwrap_or_default(),
        )),
    })
}

/// A pod, as far as it is read.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Pod)]
pub struct WatchedPod {
    metadata: ObjectMeta,
    #[serde(default)]
    status: WatchedPodStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WatchedPodStatus {
    phase: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    conditions: Vec<PodCondition>,
    container_statuses: Vec<ContainerStatus>,
}

/// What is known of a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct PodState {
    /// Its name.
    pub name: String,
    /// The uid of the Job that it belongs to.
    pub job_uid: Option<String>,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// Why it does not run yet: reason and message.
    pub waiting: Option<(String, String)>,
    /// Since when its container runs, if it does.
    pub running_since: Option<Timestamp>,
    /// How its container ended, if it did.
    pub ended: Option<ContainerEnd>,
    /// Whether no container of it runs any more, and nobody is removing it.
    pub is_over: bool,
    /// Whether it was evicted or is about to be, which the Job does not count
    /// as a failure.
    pub is_disrupted: bool,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerEnd {
    /// Its exit code.
    pub exit_code: i32,
    /// The reason that the kubelet gives, such as `OOMKilled`.
    pub reason: Option<String>,
    /// What it left behind.
    pub message: Option<String>,
    /// When, if the kubelet knows.
    pub at: Option<Timestamp>,
}

impl Child for PodState {
    type Watched = WatchedPod;

    fn observe(pod: WatchedPod) -> Option<(Owner, Self)> {
        let WatchedPod { metadata, status } = pod;
        let owner = owner(&metadata)?;
        let container = status.container_statuses.iter().find(|container| container.name == CONTAINER);
        let state = container.and_then(|container| container.state.as_ref());
        let ended = state.and_then(|state| state.terminated.as_ref()).map(|terminated| ContainerEnd {
            exit_code: terminated.exit_code,
            reason: terminated.reason.clone(),
            message: terminated.message.clone(),
            at: terminated.finished_at.as_ref().map(|time| time.0),
        });
        let ended = ended.or_else(|| evicted(&status));
        let running_since = state
            .and_then(|state| state.running.as_ref())
            .filter(|_| ended.is_none())
            .map(|running| running.started_at.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0));
        let waiting = if running_since.is_some() || ended.is_some() {
            None
        } else {
            waiting(&status.conditions, state)
        };
        let is_over = metadata.deletion_timestamp.is_none()
            && status.phase.as_deref() != Some("Failed")
            && status.container_statuses.iter().all(has_terminated);
        let is_disrupted = status
            .conditions
            .iter()
            .any(|condition| condition.condition_type == "DisruptionTarget" && condition.status == "True");
        let job_uid = metadata.labels.and_then(|mut labels| labels.remove(CONTROLLER_UID));
        Some((
            owner,
            Self {
                name: metadata.name.unwrap_or_default(),
                job_uid,
                created_at: metadata.creation_timestamp.map(|time| time.0),
                waiting,
                running_since,
                ended,
                is_over,
                is_disrupted,
            },
        ))
    }

    fn name(&self) -> &str {
        &self.name
    }
}

fn has_terminated(container: &ContainerStatus) -> bool {
    container.state.as_ref().is_some_and(|state| state.terminated.is_some())
}

/// A pod that failed as a whole (evicted, its node lost) may have no state of
/// its container.
fn evicted(status: &WatchedPodStatus) -> Option<ContainerEnd> {
    (status.phase.as_deref() == Some("Failed")).then(|| ContainerEnd {
        exit_code: -1,
        reason: status.reason.clone(),
        message: status.message.clone(),
        at: None,
    })
}

fn owner(metadata: &ObjectMeta) -> Option<Owner> {
    let name = metadata.labels.as_ref()?.get(labels::ANALYSIS_JOB)?.clone();
    Some(Owner { namespace: metadata.namespace.clone()?, name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn observe(status: &serde_json::Value) -> PodState {
        let pod = json!({
            "metadata": { "name": "a-x", "namespace": "demo", "labels": { labels::ANALYSIS_JOB: "a" } },
            "status": status,
        });
        let (owner, state) = PodState::observe(serde_json::from_value(pod).unwrap()).unwrap();
        assert_eq!(owner, Owner { namespace: "demo".to_owned(), name: "a".to_owned() });
        state
    }

    fn waited(reason: &str, message: &str) -> Option<(String, String)> {
        observe(&json!({
            "phase": "Pending",
            "containerStatuses": [{
                "name": CONTAINER, "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "waiting": { "reason": reason, "message": message } },
            }],
        }))
        .waiting
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_told_in_one_way() {
        let told = waited("ErrImagePull", "failed to pull: no such host");
        let back_off = "Back-off pulling image \"i\": ErrImagePull: failed to pull: no such host";
        assert_eq!(waited("ImagePullBackOff", back_off), told);
        assert_eq!(told.unwrap().0, "ImagePullBackOff");
    }

    #[test]
    fn a_pod_that_fits_nowhere_says_so() {
        let state = observe(&json!({
            "phase": "Pending",
            "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes" }],
        }));
        assert_eq!(state.waiting, Some(("Unschedulable".to_owned(), "0/1 nodes".to_owned())));
    }

    #[test]
    fn a_pod_is_over_when_all_of_its_containers_are() {
        let container = |name: &str, state: &serde_json::Value| json!({ "name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state });
        let done = container(CONTAINER, &json!({ "terminated": { "exitCode": 0 } }));
        let proxy = container("proxy", &json!({ "running": {} }));
        assert!(observe(&json!({ "phase": "Pending", "containerStatuses": [done] })).is_over);
        assert!(!observe(&json!({ "phase": "Running", "containerStatuses": [done, proxy] })).is_over);
        let evicted = observe(&json!({
            "phase": "Failed",
            "containerStatuses": [done],
            "conditions": [{ "type": "DisruptionTarget", "status": "True" }],
        }));
        assert!(!evicted.is_over && evicted.is_disrupted);
    }

    #[test]
    fn a_pod_that_was_evicted_has_ended_though_no_container_says_so() {
        let state = observe(&json!({ "phase": "Failed", "reason": "Evicted", "message": "low on memory" }));
        let end = state.ended.unwrap();
        assert_eq!((end.exit_code, end.reason.as_deref()), (-1, Some("Evicted")));
    }

    #[test]
    fn a_job_ends_by_its_condition_and_not_by_its_counts() {
        let observe = |status: serde_json::Value| {
            let job = json!({
                "metadata": { "name": "a", "namespace": "demo", "labels": { labels::ANALYSIS_JOB: "a" } },
                "status": status,
            });
            JobState::observe(serde_json::from_value(job).unwrap()).unwrap().1
        };
        assert_eq!(observe(json!({ "succeeded": 1 })).end, None);
        let failed = observe(json!({
            "failed": 1,
            "conditions": [{ "type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z" }],
        }));
        assert_eq!(failed.end.unwrap().failure, Some(("DeadlineExceeded".to_owned(), "m".to_owned())));
        let complete = observe(json!({
            "completionTime": "2026-01-01T00:00:01Z",
            "conditions": [{ "type": "Complete", "status": "True" }],
        }));
        assert_eq!(complete.end.unwrap().failure, None);
    }
}
