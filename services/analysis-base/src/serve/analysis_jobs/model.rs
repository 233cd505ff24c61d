use crds::analysis::WrittenFile;
use crds::condition;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::address;
use super::object::{AnyJob, Job, JobCondition};
use crate::serve::analyses::ChartLink;

/// Where an AnalysisJob stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = AnalysisJobStatus)]
#[serde(rename_all = "camelCase")]
pub enum JobStatus {
    /// Its pod does not run yet.
    Pending,
    /// Its pod runs.
    Running,
    /// It is told not to run, by its specification or by a queueing system.
    Suspended,
    /// It cannot run as it is: `reason` and `message` say what to mend.
    Rejected,
    /// It has ended well.
    Succeeded,
    /// It has ended badly: `reason` and `message` say why.
    Failed,
}

impl JobStatus {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Suspended, Self::Rejected, Self::Succeeded, Self::Failed];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Suspended => "suspended",
            Self::Rejected => "rejected",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// The status that is written like this.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// An AnalysisJob.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AnalysisJob)]
#[serde(rename_all = "camelCase")]
pub struct JobAnswer {
    /// Its name.
    #[schema(example = "penguins")]
    pub name: String,
    /// Where it stands.
    pub status: JobStatus,
    /// Why it stands there, in one word: `Succeeded`, `InvalidQuery`, `SecretNotFound` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Succeeded")]
    reason: Option<String>,
    /// What there is to say about it, for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "The result has 5 rows, in 7 files.")]
    message: Option<String>,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it began to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    /// How often a pod of it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1)]
    failed_attempts: Option<i32>,
    /// Rows read from the sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 344)]
    rows_read: Option<i64>,
    /// Bytes read from the sources, as stored there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 15_241)]
    bytes_read: Option<i64>,
    /// Rows in the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 5)]
    rows_written: Option<i64>,
    /// How long the analysis took in its pod, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 181)]
    duration_milliseconds: Option<i64>,
    /// The most memory that the analysis held at once, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 134_217_728)]
    peak_memory_bytes: Option<i64>,
    /// Where the result is, once it has ended well, if it has an `output`.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<JobOutput>,
    /// The first rows of the result as CSV, of at most 1 KiB. Lists leave them out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "species,penguins\nAdelie,152\n")]
    preview: Option<String>,
    /// The conditions of its status. Lists leave them out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    conditions: Vec<JobCondition>,
    /// Its specification as the API server has it, without the environment variables of its pod, which may hold
    /// secrets. Lists leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    spec: Option<Value>,
    /// Its charts, once it has ended well. Lists leave them out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    charts: Vec<ChartLink>,
}

/// Where a result is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AnalysisJobOutput)]
#[serde(rename_all = "camelCase")]
pub struct JobOutput {
    /// In words: `configmap/NAME`, `pvc/NAME/PATH`, an s3 address, or `dataset/NAME/VERSION`.
    #[schema(example = "configmap/penguins-result")]
    location: String,
    /// The files there.
    files: Vec<JobFile>,
    /// Where this API gives it, or says how it is got.
    #[schema(example = "/v1/analysis-jobs/penguins/result")]
    result: String,
}

/// A file of a result.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AnalysisJobFile)]
pub struct JobFile {
    /// Its name.
    #[schema(example = "result.csv")]
    name: String,
    /// Its size in bytes.
    #[schema(example = 371)]
    bytes: i64,
}

impl JobAnswer {
    /// As it is shown in a list.
    pub(super) fn brief<S>(job: AnyJob<S>) -> Self {
        let status = job.stands();
        let name = job.metadata.name;
        let state = job.status.unwrap_or_default();
        // A condition of an earlier state may say more than that of this one.
        let telling = if status == JobStatus::Rejected { condition::ACCEPTED } else { condition::COMPLETE };
        let telling = state.condition(telling);
        Self {
            reason: telling.map(|condition| condition.reason.clone()),
            message: telling.map(|condition| condition.message.clone()),
            output: state.output.map(|output| JobOutput {
                location: output.location,
                files: output.files.into_iter().map(JobFile::from).collect(),
                result: format!("{}/result", address(&name)),
            }),
            name,
            status,
            created_at: job.metadata.creation_timestamp,
            started_at: state.start_time,
            finished_at: state.completion_time,
            failed_attempts: state.failed_attempts,
            rows_read: state.rows_read,
            bytes_read: state.bytes_read,
            rows_written: state.rows_written,
            duration_milliseconds: state.duration_milliseconds,
            peak_memory_bytes: state.peak_memory_bytes,
            preview: None,
            conditions: Vec::new(),
            spec: None,
            charts: Vec::new(),
        }
    }

    /// As it is shown by itself.
    pub(super) fn whole(job: Job) -> Self {
        let charts = if job.stands() == JobStatus::Succeeded { chart_links(&job) } else { Vec::new() };
        let preview = job.status.as_ref().and_then(|state| state.preview.clone());
        let conditions = job.status.as_ref().map(|state| state.conditions.clone()).unwrap_or_default();
        let spec = without_environment(job.spec.clone());
        Self { preview, conditions, spec: Some(spec), charts, ..Self::brief(job) }
    }
}

impl From<WrittenFile> for JobFile {
    fn from(file: WrittenFile) -> Self {
        Self { name: file.name, bytes: file.bytes }
    }
}

/// Where the charts of an AnalysisJob are.
pub(super) fn chart_links(job: &Job) -> Vec<ChartLink> {
    let address = address(&job.metadata.name);
    let link = |name: String| ChartLink { url: format!("{address}/charts/{name}"), name };
    job.charts().into_iter().map(link).collect()
}

/// Whoever may see an analysis is not one who may see what its pod is given.
fn without_environment(mut spec: Value) -> Value {
    if let Some(workload) = spec.get_mut("workload").and_then(Value::as_object_mut) {
        workload.remove("env");
    }
    spec
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_written_as_it_is_read() {
        for status in JobStatus::ALL {
            assert_eq!(serde_json::to_value(status).expect("json"), status.as_str());
            assert_eq!(JobStatus::parse(status.as_str()), Some(status));
        }
        assert_eq!(JobStatus::parse("complete"), None);
    }

    #[test]
    fn the_environment_of_a_pod_is_not_shown() {
        let spec =
            json!({"sql": "SELECT 1", "workload": {"env": [{"name": "A", "value": "b"}], "image": "i"}});
        assert_eq!(without_environment(spec), json!({"sql": "SELECT 1", "workload": {"image": "i"}}));
        assert_eq!(without_environment(json!({"sql": "SELECT 1"})), json!({"sql": "SELECT 1"}));
    }
}
