use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::request::AnalysisRequest;
use crate::serve::schema::ColumnDescription;

/// Where an analysis stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// It waits for its turn.
    Queued,
    /// It runs.
    Running,
    /// It has ended well: there is a result.
    Succeeded,
    /// It has ended badly: `reason` and `message` say why.
    Failed,
    /// It was stopped because somebody asked for it.
    Cancelled,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status that is written like this.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether nothing changes any more.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// What an analysis took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Rows read from the sources.
    pub rows_read: i64,
    /// Bytes read from the sources, as stored there.
    pub bytes_read: i64,
    /// Rows in the result.
    pub rows_written: i64,
    /// The most memory that the process held at once, in bytes.
    pub peak_memory_bytes: i64,
    /// How long it took, in milliseconds.
    pub duration_milliseconds: i64,
}

/// A result as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResult {
    /// What its objects begin with.
    pub prefix: String,
    /// Its columns.
    pub columns: Vec<ColumnDescription>,
    /// Size of its Parquet file.
    pub bytes: i64,
}

impl StoredResult {
    /// The object with the rows.
    #[must_use]
    pub fn table(&self) -> String {
        self.object("result.parquet")
    }

    /// The object of this name.
    #[must_use]
    pub fn object(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }
}

/// An analysis as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct AnalysisRecord {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub status: Status,
    /// What was asked for, with the versions of data sets.
    pub request: AnalysisRequest,
    /// How long it may run.
    pub deadline: Duration,
    /// Whether its result does not expire.
    pub is_kept: bool,
    /// Whether somebody wants it to end.
    pub is_cancelled: bool,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it began to run, the last time.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When it is removed, with its result.
    pub expires_at: Option<Timestamp>,
    /// Why it failed.
    pub reason: Option<String>,
    /// What there is to say.
    pub message: Option<String>,
    /// What it took, once it has ended.
    pub figures: Option<Figures>,
    /// Its result, if it has one.
    pub result: Option<StoredResult>,
}

/// An analysis.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// Its id.
    #[schema(example = "019a4d2e-7b1c-7c3a-9a54-3f2f6f0f6b1e")]
    pub id: String,
    /// Where it stands.
    pub status: Status,
    /// Why it failed, in one word: `InvalidQuery`, `InvalidData`, `MemoryExhausted`, `DeadlineExceeded` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "InvalidQuery")]
    pub reason: Option<String>,
    /// What there is to say about it, for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "The result has 16 rows, in 1 file.")]
    pub message: Option<String>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it began to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// When it is removed, with its result.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Rows read from the sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 336_776)]
    pub rows_read: Option<i64>,
    /// Bytes read from the sources, as stored there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 52_428_800)]
    pub bytes_read: Option<i64>,
    /// Rows in the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 16)]
    pub rows_written: Option<i64>,
    /// The most memory that the analysis held at once, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 134_217_728)]
    pub peak_memory_bytes: Option<i64>,
    /// How long the analysis took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 412)]
    pub duration_milliseconds: Option<i64>,
    /// What was asked for, with the versions of data sets that are read. Lists leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<AnalysisRequest>,
    /// The beginning of the result, once it has ended well. Lists leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<ResultRows>,
    /// Its charts, once it has ended well. Lists leave them out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<ChartLink>,
}

/// A chart of an analysis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChartLink {
    /// Its name.
    #[schema(example = "delays")]
    pub name: String,
    /// Where it is, as `image/svg+xml` or `application/vnd.vegalite.v6+json`.
    #[schema(example = "/v1/analyses/019a4d2e-7b1c-7c3a-9a54-3f2f6f0f6b1e/charts/delays")]
    pub url: String,
}

/// Rows of a result or of a data set.
///
/// A page can have fewer rows than were asked for, when they are large: go on at `offset` plus the number of rows.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResultRows {
    /// The columns, in their order.
    pub columns: Vec<ColumnDescription>,
    /// An object for each row, with a member for each column. A number that a double-precision float cannot hold is
    /// a string: integers beyond 2^53, and decimals with more than 15 digits.
    #[schema(value_type = Vec<Object>, example = json!([{"carrier": "UA", "flights": 58665, "delay": 3.56}]))]
    pub rows: Box<RawValue>,
    /// Number of the first of these rows, from 0.
    #[schema(example = 0)]
    pub offset: u64,
    /// How many rows there are in all.
    #[schema(example = 16)]
    pub total: u64,
}

impl Analysis {
    /// As it is shown in a list.
    #[must_use]
    pub fn brief(record: AnalysisRecord) -> Self {
        let figure = |of: fn(Figures) -> i64| record.figures.map(of);
        Self {
            rows_read: figure(|figures| figures.rows_read),
            bytes_read: figure(|figures| figures.bytes_read),
            rows_written: figure(|figures| figures.rows_written),
            peak_memory_bytes: figure(|figures| figures.peak_memory_bytes),
            duration_milliseconds: figure(|figures| figures.duration_milliseconds),
            id: record.id,
            status: record.status,
            reason: record.reason,
            message: record.message,
            created_at: record.created_at,
            started_at: record.started_at,
            finished_at: record.finished_at,
            expires_at: record.expires_at,
            request: None,
            result: None,
            charts: Vec::new(),
        }
    }

    /// As it is shown while nothing but its id is known.
    #[must_use]
    pub fn accepted(id: &str) -> Self {
        let message = "The analysis was accepted. How far it is cannot be looked up at present.";
        Self {
            id: id.to_owned(),
            status: Status::Queued,
            reason: None,
            message: Some(message.to_owned()),
            created_at: accepted_at(id).unwrap_or_else(Timestamp::now),
            started_at: None,
            finished_at: None,
            expires_at: None,
            rows_read: None,
            bytes_read: None,
            rows_written: None,
            peak_memory_bytes: None,
            duration_milliseconds: None,
            request: None,
            result: None,
            charts: Vec::new(),
        }
    }

    /// As it is shown by itself; `result` is the beginning of its result.
    #[must_use]
    pub fn whole(record: AnalysisRecord, result: Option<ResultRows>) -> Self {
        let request = record.request.clone();
        let charts = if record.status == Status::Succeeded { request.charts.as_slice() } else { &[] };
        let charts = charts
            .iter()
            .map(|chart| ChartLink {
                name: chart.name.clone(),
                url: format!("{}/charts/{}", address(&record.id), chart.name),
            })
            .collect();
        Self { request: Some(request), result, charts, ..Self::brief(record) }
    }
}

/// When an analysis was accepted: the beginning of its id is the time.
fn accepted_at(id: &str) -> Option<Timestamp> {
    let (seconds, nanoseconds) = Uuid::parse_str(id).ok()?.get_timestamp()?.to_unix();
    Timestamp::new(i64::try_from(seconds).ok()?, i32::try_from(nanoseconds).ok()?).ok()
}

/// Where an analysis is.
#[must_use]
pub fn address(id: &str) -> String {
    format!("/v1/analyses/{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_written_as_it_is_read() {
        for status in Status::ALL {
            assert_eq!(serde_json::to_value(status).expect("json"), status.as_str());
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
        assert_eq!(Status::parse("Queued"), None);
    }

    #[test]
    fn what_is_accepted_says_when() {
        let analysis = Analysis::accepted("019a4d2e-7b1c-7c3a-9a54-3f2f6f0f6b1e");
        assert_eq!(analysis.created_at.as_millisecond(), 0x019a_4d2e_7b1c);
        assert_eq!(analysis.status, Status::Queued);
    }
}
