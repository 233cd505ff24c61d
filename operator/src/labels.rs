//! Labels, annotations and field managers: every name that the operator
//! leaves on objects.

use std::collections::BTreeMap;

use kube::{Resource, ResourceExt};

use crate::names::LabelName;

/// The field manager of everything that the operator writes.
pub const FIELD_MANAGER: &str = "ai-saas-platform-operator";
/// Value of `app.kubernetes.io/managed-by`, and the reporter of events.
pub const MANAGED_BY: &str = "ai-saas-platform-operator";
/// What an object is: the name of a service.
pub const NAME: &str = "app.kubernetes.io/name";
/// Component of the objects of AnalysisJobs.
pub const ANALYSIS_JOB_COMPONENT: &str = "analysis-job";
/// Name of the AnalysisJob that an object belongs to.
pub const ANALYSIS_JOB: &str = "aisaas.dev/analysis-job";
/// Digest of what the pod template of a Job was made from.
pub const TEMPLATE_DIGEST: &str = "aisaas.dev/template-digest";
/// Component of the objects of Platforms.
pub const PLATFORM_COMPONENT: &str = "platform";
/// Name of the Platform that an object belongs to.
pub const PLATFORM: &str = "aisaas.dev/platform";
/// Annotation of an object that the operator is to leave alone, if it is `true`.
pub const PAUSED: &str = "aisaas.dev/paused";
/// Digest of the keys of Secrets that a pod reads when it starts.
pub const SECRETS_DIGEST: &str = "aisaas.dev/secrets-digest";
/// Digest of where a service keeps its data, and of what hands out its work.
pub const STORAGE_DIGEST: &str = "aisaas.dev/storage-digest";
/// Kueue's label: the queue that a Job waits in.
pub const QUEUE_NAME: &str = "kueue.x-k8s.io/queue-name";
/// Kueue's label: the priority of a Job in its queue.
pub const QUEUE_PRIORITY: &str = "kueue.x-k8s.io/priority-class";

/// Whether the operator is to leave an object alone.
#[must_use]
pub fn is_paused<K: Resource>(object: &K) -> bool {
    object.annotations().get(PAUSED).is_some_and(|value| value == "true")
}

/// The labels among these that a queueing system reads.
pub fn of_queue(labels: &BTreeMap<String, String>) -> impl Iterator<Item = (String, String)> {
    labels
        .iter()
        .filter(|(key, _)| matches!(key.as_str(), QUEUE_NAME | QUEUE_PRIORITY))
        .map(|(key, value)| (key.clone(), value.clone()))
}

/// The recommended labels of an object that belongs to an AnalysisJob.
#[must_use]
pub fn analysis_job(name: &LabelName) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), "analysis-base".to_owned()),
        ("app.kubernetes.io/instance".to_owned(), name.to_string()),
        ("app.kubernetes.io/component".to_owned(), ANALYSIS_JOB_COMPONENT.to_owned()),
        ("app.kubernetes.io/part-of".to_owned(), "ai-saas-platform".to_owned()),
        ("app.kubernetes.io/managed-by".to_owned(), MANAGED_BY.to_owned()),
        (ANALYSIS_JOB.to_owned(), name.to_string()),
    ])
}

/// The labels that the pods of all AnalysisJobs have, and no others of the
/// operator's.
#[must_use]
pub fn analysis_job_pods() -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/component".to_owned(), ANALYSIS_JOB_COMPONENT.to_owned()),
        ("app.kubernetes.io/managed-by".to_owned(), MANAGED_BY.to_owned()),
    ])
}

/// Selects the children of all AnalysisJobs, and the NetworkPolicies of their
/// pods.
#[must_use]
pub fn analysis_job_selector() -> String {
    format!("app.kubernetes.io/managed-by={MANAGED_BY},app.kubernetes.io/component={ANALYSIS_JOB_COMPONENT}")
}

/// The recommended labels of an object that belongs to a service of a Platform.
#[must_use]
pub fn platform_service(platform: &LabelName, service: &str) -> BTreeMap<String, String> {
    let mut labels = platform_service_selector(platform, service);
    labels.extend([
        ("app.kubernetes.io/part-of".to_owned(), "ai-saas-platform".to_owned()),
        ("app.kubernetes.io/managed-by".to_owned(), MANAGED_BY.to_owned()),
        (PLATFORM.to_owned(), platform.to_string()),
    ]);
    labels
}

/// Selects the pods of a service of a Platform. A Deployment never changes its
/// selector, so this stays as it is.
#[must_use]
pub fn platform_service_selector(platform: &LabelName, service: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (NAME.to_owned(), service.to_owned()),
        ("app.kubernetes.io/instance".to_owned(), platform.to_string()),
        ("app.kubernetes.io/component".to_owned(), PLATFORM_COMPONENT.to_owned()),
    ])
}

/// Selects the objects of all Platforms.
#[must_use]
pub fn platform_selector() -> String {
    format!("app.kubernetes.io/managed-by={MANAGED_BY},app.kubernetes.io/component={PLATFORM_COMPONENT}")
}
