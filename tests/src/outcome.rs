//! What became of an AnalysisJob, as its status says it.

use crds::{AnalysisJob, condition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

/// The condition of a type.
#[must_use]
pub fn condition_of<'a>(job: &'a AnalysisJob, condition_type: &str) -> Option<&'a Condition> {
    job.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == condition_type)
}

/// Whether a condition holds.
#[must_use]
pub fn holds(job: &AnalysisJob, condition_type: &str) -> bool {
    condition_of(job, condition_type).is_some_and(|condition| condition.status == "True")
}

/// The reason of the condition `Complete`: where the analysis stands.
#[must_use]
pub fn reason(job: &AnalysisJob) -> &str {
    condition_of(job, condition::COMPLETE).map_or("", |condition| condition.reason.as_str())
}

/// The message of the condition `Complete`: what a user is told.
#[must_use]
pub fn message(job: &AnalysisJob) -> &str {
    condition_of(job, condition::COMPLETE).map_or("", |condition| condition.message.as_str())
}

/// Whether the analysis has ended, well or badly.
#[must_use]
pub fn has_ended(job: &AnalysisJob) -> bool {
    job.status.as_ref().is_some_and(|status| status.completion_time.is_some())
}

/// Whether the analysis has ended well.
#[must_use]
pub fn has_succeeded(job: &AnalysisJob) -> bool {
    has_ended(job) && holds(job, condition::COMPLETE)
}

/// The first rows of the result, as the status keeps them.
#[must_use]
pub fn preview(job: &AnalysisJob) -> &str {
    job.status.as_ref().and_then(|status| status.preview.as_deref()).unwrap_or_default()
}

/// An AnalysisJob in one line, for what a test says when it fails.
#[must_use]
pub fn in_words(job: &AnalysisJob) -> String {
    format!("`{}` is {}: {}", job.name_any(), reason(job), message(job))
}
