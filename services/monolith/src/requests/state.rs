//! How far a request has come, as it is kept and as it is shown.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::order::{AnalysisOrder, Data, ProfileOrder, TaskOrder};
use super::verbatim::Verbatim;

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum RequestStatus {
    /// It is accepted and waits for its turn.
    Queued,
    /// What is to be done is being found out.
    Planning,
    /// The tasks are being done.
    Running,
    /// All tasks have succeeded.
    Succeeded,
    /// Some tasks have succeeded.
    Partial,
    /// No task has succeeded.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl RequestStatus {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Planning => "planning",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        use RequestStatus::{Cancelled, Failed, Partial, Planning, Queued, Running, Succeeded};
        [Queued, Planning, Running, Succeeded, Partial, Failed, Cancelled]
            .into_iter()
            .find(|status| status.as_str() == text)
    }

    /// Whether nothing more comes.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Partial | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for RequestStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How far a task has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum TaskStatus {
    /// It waits for its turn.
    #[default]
    Pending,
    /// It is being done.
    Running,
    /// It is done.
    Succeeded,
    /// It could not be done.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl TaskStatus {
    /// Whether nothing more comes.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// What is done about a request, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Whether it was derived from the input and the data, because no tasks were given.
    pub is_derived: bool,
    /// Why it is this one.
    pub explanation: String,
    /// What the input asks for that the data cannot give as they are, and what would help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caveats: Vec<String>,
}

/// A task, and what has become of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// Its name.
    pub name: String,
    /// How far it has come.
    pub status: TaskStatus,
    /// A query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<AnalysisOrder>,
    /// A profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileOrder>,
    /// The address of the analysis that does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Why it has failed (RFC 9457).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub problem: Option<Value>,
    /// What has come out; kept by itself, because it can be large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<TaskResult>,
}

impl Task {
    /// A task that waits for its turn.
    pub fn pending(order: TaskOrder) -> Self {
        Self {
            name: order.name,
            status: TaskStatus::Pending,
            analysis: order.analysis,
            profile: order.profile,
            analysis_url: None,
            started_at: None,
            ended_at: None,
            problem: None,
            result: None,
        }
    }

    /// What was asked for.
    pub fn order(&self) -> TaskOrder {
        TaskOrder { name: self.name.clone(), analysis: self.analysis.clone(), profile: self.profile.clone() }
    }
}

/// What has come out of a task: its beginning, and where all of it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskResult {
    /// The columns.
    pub columns: Vec<Column>,
    /// The first rows, as objects by the names of the columns.
    #[schema(value_type = Vec<Object>)]
    pub rows: Vec<Verbatim>,
    /// How many rows there are in all.
    pub total: u64,
    /// Where all of it is, in JSON, CSV, NDJSON, Parquet and Arrow by `Accept`.
    pub url: String,
    /// Charts, as SVG and Vega-Lite by `Accept`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<Chart>,
}

/// A column of a result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The type of its values.
    #[serde(rename = "type", default)]
    pub kind: String,
}

impl Column {
    /// Whether it can be computed with.
    pub fn is_number(&self) -> bool {
        is_number(&self.kind)
    }
}

/// Whether values of a type can be computed with.
pub fn is_number(kind: &str) -> bool {
    matches!(kind, "integer" | "number" | "decimal")
}

/// A chart of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Chart {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: String,
}

/// The answer in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Answer {
    /// What has come out, in sentences.
    pub text: String,
    /// What has written it.
    #[schema(example = "template")]
    pub writer: String,
}

/// What is kept of the course of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<Task>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

impl State {
    /// What the outcomes of the tasks are together.
    pub fn outcome(&self) -> RequestStatus {
        let succeeded = self.tasks.iter().filter(|task| task.status == TaskStatus::Succeeded).count();
        match succeeded {
            0 => RequestStatus::Failed,
            some if some < self.tasks.len() => RequestStatus::Partial,
            _ => RequestStatus::Succeeded,
        }
    }
}

/// How the delivery of a webhook stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebhookState {
    /// Where it goes.
    pub url: String,
    /// `pending`, `delivered` or `failed`.
    pub status: String,
    /// How often it was tried.
    pub attempts: u32,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A request, and how far it has come.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Request)]
pub struct RequestView {
    pub id: String,
    pub status: RequestStatus,
    /// The question or instruction.
    pub input: String,
    /// The data, without those that were inline.
    pub data: Vec<Data>,
    /// What is done, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// Each task, and what has become of it.
    pub tasks: Vec<Task>,
    /// The answer in words, when the request has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// How telling somebody of the end stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookState>,
    /// The id of the API key that made it.
    pub created_by: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// What has not ended by then is given up.
    #[schema(value_type = String, format = DateTime)]
    pub deadline_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
}

/// A request in a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RequestSummary {
    pub id: String,
    pub status: RequestStatus,
    /// The beginning of the question or instruction.
    pub input: String,
    pub created_by: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_is_told_from_its_parts() {
        use TaskStatus::{Cancelled, Failed, Succeeded};
        let state = |statuses: &[TaskStatus]| State {
            tasks: statuses
                .iter()
                .map(|status| Task {
                    status: *status,
                    ..Task::pending(TaskOrder { name: String::new(), analysis: None, profile: None })
                })
                .collect(),
            ..State::default()
        };
        assert_eq!(state(&[Succeeded, Succeeded]).outcome(), RequestStatus::Succeeded);
        assert_eq!(state(&[Succeeded, Failed]).outcome(), RequestStatus::Partial);
        assert_eq!(state(&[Cancelled, Failed]).outcome(), RequestStatus::Failed);
        assert_eq!(state(&[]).outcome(), RequestStatus::Failed);
    }

    #[test]
    fn a_status_is_written_as_it_is_read() {
        for text in ["queued", "planning", "running", "succeeded", "partial", "failed", "cancelled"] {
            let status = RequestStatus::parse(text).unwrap();
            assert_eq!(serde_json::to_value(status).unwrap(), text);
        }
        assert_eq!(RequestStatus::parse("done"), None);
    }
}
