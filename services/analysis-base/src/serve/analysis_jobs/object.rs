//! What is read of an AnalysisJob. Fields of later versions are passed over, and
//! what a field has that is not told here is not held in memory.

use crds::analysis::{Chart, OutputFormat, WrittenFile};
use crds::condition;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::model::JobStatus;

/// Names have so many characters at most (RFC 1123, as Kubernetes takes it).
const LONGEST_NAME: usize = 253;

/// Whether an object can have this name.
pub(super) fn is_name(name: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends_well = |byte: Option<&u8>| byte.is_some_and(|byte| is_letter(*byte));
    let bytes = name.as_bytes();
    bytes.len() <= LONGEST_NAME
        && ends_well(bytes.first())
        && ends_well(bytes.last())
        && bytes.iter().all(|byte| is_letter(*byte) || matches!(byte, b'-' | b'.'))
}

/// An AnalysisJob, and its specification as far as `S` has it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct AnyJob<S> {
    pub(super) metadata: Metadata,
    pub(super) spec: S,
    #[serde(default)]
    pub(super) status: Option<State>,
}

/// An AnalysisJob in a list.
pub(super) type JobInList = AnyJob<SpecInList>;
/// An AnalysisJob as a whole.
pub(super) type Job = AnyJob<Value>;

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: String,
    #[serde(default)]
    pub(super) uid: String,
    pub(super) creation_timestamp: Timestamp,
}

/// Of a specification, what a list says of it: nothing.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct SpecInList {}

/// The status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct State {
    pub(super) conditions: Vec<JobCondition>,
    pub(super) start_time: Option<Timestamp>,
    pub(super) completion_time: Option<Timestamp>,
    pub(super) failed_attempts: Option<i32>,
    pub(super) rows_read: Option<i64>,
    pub(super) bytes_read: Option<i64>,
    pub(super) rows_written: Option<i64>,
    pub(super) duration_milliseconds: Option<i64>,
    pub(super) peak_memory_bytes: Option<i64>,
    pub(super) output: Option<OutputState>,
    pub(super) preview: Option<String>,
}

/// Where the result is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct OutputState {
    pub(super) location: String,
    pub(super) config_map: Option<String>,
    pub(super) files: Vec<WrittenFile>,
}

/// A condition of an AnalysisJob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobCondition {
    /// What it is about: `Accepted`, `Ready` or `Complete`.
    #[serde(rename = "type")]
    #[schema(example = "Complete")]
    pub condition_type: String,
    /// `True`, `False` or `Unknown`.
    #[schema(example = "True")]
    pub status: String,
    /// Why, in one word.
    #[serde(default)]
    #[schema(example = "Succeeded")]
    pub reason: String,
    /// Why, for a person.
    #[serde(default)]
    #[schema(example = "The result has 5 rows, in 4 files.")]
    pub message: String,
    /// Since when it is so.
    #[schema(value_type = String, format = DateTime)]
    pub last_transition_time: Timestamp,
}

impl<S> AnyJob<S> {
    /// Where it stands.
    pub(super) fn stands(&self) -> JobStatus {
        let Some(state) = &self.status else { return JobStatus::Pending };
        let is = |condition_type: &str, status: &str| {
            let found = state.condition(condition_type);
            found.is_some_and(|found| found.status == status)
        };
        if is(condition::COMPLETE, "True") {
            JobStatus::Succeeded
        } else if state.completion_time.is_some() {
            JobStatus::Failed
        } else if is(condition::ACCEPTED, "False") {
            JobStatus::Rejected
        } else {
            match state.condition(condition::COMPLETE).map(|found| found.reason.as_str()) {
                Some("Running") => JobStatus::Running,
                Some("Suspended") => JobStatus::Suspended,
                _ => JobStatus::Pending,
            }
        }
    }
}

impl State {
    /// The condition of a type.
    pub(super) fn condition(&self, condition_type: &str) -> Option<&JobCondition> {
        self.conditions.iter().find(|found| found.condition_type == condition_type)
    }
}

impl Job {
    /// Its charts, by their names.
    pub(super) fn charts(&self) -> Vec<String> {
        let charts: Vec<Chart> = self.part("/charts").unwrap_or_default();
        charts.into_iter().map(|chart| chart.name).collect()
    }

    /// The format of its result, if that is kept anywhere.
    pub(super) fn format(&self) -> Option<OutputFormat> {
        self.part("/output/format")
    }

    /// The Platform whose data set gets its result, if one is named.
    pub(super) fn dataset_platform(&self) -> Option<String> {
        self.part("/output/dataset/platform")
    }

    fn part<T: DeserializeOwned>(&self, pointer: &str) -> Option<T> {
        serde_json::from_value(self.spec.pointer(pointer)?.clone()).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "it is made where it is passed")]
    fn stands(status: Value) -> JobStatus {
        let object = json!({
            "metadata": {"name": "penguins", "creationTimestamp": "2025-11-24T09:01:00Z", "labels": {}},
            "spec": {"sources": [], "sql": "SELECT 1"},
            "status": status,
        });
        serde_json::from_value::<JobInList>(object).expect("object").stands()
    }

    fn condition(condition_type: &str, status: &str, reason: &str) -> Value {
        json!({
            "type": condition_type, "status": status, "reason": reason, "message": "",
            "lastTransitionTime": "2025-11-24T09:01:00Z", "observedGeneration": 1,
        })
    }

    #[test]
    fn where_it_stands_is_told_by_its_conditions() {
        let complete = |status, reason| condition("Complete", status, reason);
        let accepted = |status| condition("Accepted", status, "Valid");
        let ended = "2025-11-24T09:02:00Z";
        for (status, expected) in [
            (Value::Null, JobStatus::Pending),
            (json!({}), JobStatus::Pending),
            (json!({"conditions": [accepted("True"), complete("False", "Pending")]}), JobStatus::Pending),
            (json!({"conditions": [accepted("True"), complete("False", "CreateJob")]}), JobStatus::Pending),
            (json!({"conditions": [complete("False", "Running")]}), JobStatus::Running),
            (json!({"conditions": [complete("False", "Suspended")]}), JobStatus::Suspended),
            (
                json!({"conditions": [accepted("False"), complete("False", "SecretNotFound")]}),
                JobStatus::Rejected,
            ),
            (
                json!({"conditions": [complete("True", "Succeeded")], "completionTime": ended}),
                JobStatus::Succeeded,
            ),
            (
                json!({"conditions": [complete("False", "InvalidQuery")], "completionTime": ended}),
                JobStatus::Failed,
            ),
        ] {
            assert_eq!(stands(status.clone()), expected, "{status}");
        }
    }

    #[test]
    fn only_names_of_objects_are_asked_for() {
        for name in ["a", "penguins", "a-b.c", "9"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "A", "..", "a/b", "a%2fb", "-a", "a-", "a?b", "a b", "ü", &"a".repeat(254)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
