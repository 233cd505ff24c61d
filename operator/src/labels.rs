//! Labels, annotations and field managers: every name that the operator
//! leaves on objects.

use std::collections::BTreeMap;

use crate::names::LabelName;

/// The field manager of everything that the operator writes.
pub const FIELD_MANAGER: &str = "ai-saas-platform-operator";
/// Value of `app.kubernetes.io/managed-by`, and the reporter of events.
pub const MANAGED_BY: &str = "ai-saas-platform-operator";
/// Component of the objects of AnalysisJobs.
pub const ANALYSIS_JOB_COMPONENT: &str = "analysis-job";
/// Name of the AnalysisJob that an object belongs to.
pub const ANALYSIS_JOB: &str = "aisaas.dev/analysis-job";
/// Digest of what the pod template of a Job was made from.
pub const TEMPLATE_DIGEST: &str = "aisaas.dev/template-digest";
/// Kueue's label: the queue that a Job waits in.
pub const QUEUE_NAME: &str = "kueue.x-k8s.io/queue-name";
/// Kueue's label: the priority of a Job in its queue.
pub const QUEUE_PRIORITY: &str = "kueue.x-k8s.io/priority-class";

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

/// Selects the children of all AnalysisJobs.
#[must_use]
pub fn analysis_job_selector() -> String {
    format!("app.kubernetes.io/managed-by={MANAGED_BY},app.kubernetes.io/component={ANALYSIS_JOB_COMPONENT}")
}
