//! What a request asks for, and whether that can be done.

mod analysis;
mod parts;
mod unknown;

use serde::{Deserialize, Serialize};
use service_kit::Problem;
use utoipa::ToSchema;

pub use self::unknown::refuse_unknown;
use super::verbatim::Verbatim;
use crate::webhooks;

const MOST_INPUT_CHARACTERS: usize = 10_000;
const MOST_DATA: usize = 16;
const MOST_TASKS: usize = 16;
/// Longer inline data are uploaded as a data set instead.
pub const MOST_INLINE_BYTES: usize = 32 << 10;
const MOST_SQL_BYTES: usize = 32 << 10;
const MOST_URL_BYTES: usize = 2048;
const USUAL_DEADLINE: u32 = 300;
const LONGEST_DEADLINE: u32 = 3600;
const MOST_NAME_CHARACTERS: usize = 63;

/// A question or an instruction, the data that it is about, and, if it is
/// known, what is to be done with them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = NewRequest)]
pub struct Order {
    /// The question or instruction, in words.
    #[schema(min_length = 1, max_length = 10_000, example = "What is the average delay by carrier?")]
    pub input: String,
    /// The data. Each becomes a table of its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 16)]
    pub data: Vec<Data>,
    /// What to do. If left out, it is derived from the input and the data: a
    /// profile of each data, and a query if the input names columns and
    /// something to compute from them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 16)]
    pub tasks: Vec<TaskOrder>,
    /// Whom to tell when the request has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// After so many seconds what has not ended is given up: 1 to 3600, 300 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3600)]
    pub deadline_seconds: Option<u32>,
}

/// Data: exactly one of `dataset`, `inline` and `url`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Data {
    /// Name of the table that it becomes: lower-case letters, digits and `_`.
    #[schema(max_length = 63, pattern = "^[a-z_][a-z0-9_]*$", example = "flights")]
    pub name: String,
    /// A data set that was uploaded before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<DatasetReference>,
    /// The data itself, as text of at most 32 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 32768)]
    pub inline: Option<String>,
    /// The address of a file, `https://…` or `http://…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2048)]
    pub url: Option<String>,
    /// Format of `inline` and `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// How CSV is read, as in an AnalysisJob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub csv: Option<Verbatim>,
    /// How JSON lines are read, as in an AnalysisJob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub json_lines: Option<Verbatim>,
    /// Types of columns, as in an AnalysisJob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub columns: Option<Verbatim>,
}

/// A data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatasetReference {
    /// Its name.
    #[schema(max_length = 63, example = "flights")]
    pub name: String,
    /// Its version; the latest if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub version: Option<u32>,
}

/// Format of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Format {
    /// Comma-separated values.
    Csv,
    /// One JSON object a line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow IPC.
    Arrow,
}

impl Format {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "jsonLines",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }
}

/// One thing to do: exactly one of `analysis` and `profile`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskOrder {
    /// Its name, unique in the request: lower-case letters, digits, `-` and `_`.
    #[schema(max_length = 63, pattern = "^[a-z0-9][a-z0-9_-]*$", example = "delays")]
    pub name: String,
    /// Run a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<AnalysisOrder>,
    /// Describe data column by column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileOrder>,
}

/// A query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisOrder {
    /// One SQL query over the data.
    #[schema(
        min_length = 1,
        max_length = 32768,
        example = "SELECT carrier, avg(delay) AS delay FROM flights GROUP BY carrier"
    )]
    pub sql: String,
    /// Charts of the result, as in an AnalysisJob.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>, max_items = 16)]
    pub charts: Vec<Verbatim>,
    /// Names of the data that it reads; all if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 16)]
    pub data: Vec<String>,
}

/// A profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProfileOrder {
    /// Name of the data to describe.
    #[schema(example = "flights")]
    pub data: String,
    /// Columns to describe; all if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 256)]
    pub columns: Vec<String>,
}

/// Whom to tell when the request has ended, by the Standard Webhooks
/// specification (<https://www.standardwebhooks.com>).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Where a CloudEvent is sent to by POST.
    #[schema(max_length = 2048, example = "https://example.com/hooks/requests")]
    pub url: String,
    /// What it is signed with: `whsec_` and 24 to 64 bytes as base64. Never shown again.
    #[schema(write_only)]
    pub secret: String,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Webhook").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Order {
    /// How many seconds it may take.
    pub fn deadline_seconds(&self) -> u32 {
        self.deadline_seconds.unwrap_or(USUAL_DEADLINE)
    }

    /// Whether it can be done, as far as that can be told before.
    ///
    /// # Errors
    /// If it cannot: what has to be changed, and where.
    pub fn check(&self, allow_private_webhooks: bool) -> Result<(), Problem> {
        let characters = self.input.chars().count();
        // PostgreSQL keeps no text with NUL characters.
        if self.input.trim().is_empty() || characters > MOST_INPUT_CHARACTERS || self.input.contains('\0') {
            return Err(wrong("input", format!("has 1 to {MOST_INPUT_CHARACTERS} characters, and no NUL")));
        }
        if self.data.is_empty() || self.data.len() > MOST_DATA {
            return Err(wrong("data", format!("has 1 to {MOST_DATA} entries")));
        }
        if self.tasks.len() > MOST_TASKS {
            return Err(wrong("tasks", format!("has at most {MOST_TASKS} entries")));
        }
        if !(1..=LONGEST_DEADLINE).contains(&self.deadline_seconds()) {
            return Err(wrong("deadlineSeconds", format!("is from 1 to {LONGEST_DEADLINE}")));
        }
        for (index, data) in self.data.iter().enumerate() {
            let place = format!("data[{index}]");
            data.check(&place)?;
            if self.data[..index].iter().any(|other| other.name == data.name) {
                return Err(wrong(&place, format!("has the name `{}`, as another one has", data.name)));
            }
        }
        for (index, task) in self.tasks.iter().enumerate() {
            let place = format!("tasks[{index}]");
            task.check(&place, &self.data)?;
            if self.tasks[..index].iter().any(|other| other.name == task.name) {
                return Err(wrong(&place, format!("has the name `{}`, as another one has", task.name)));
            }
        }
        match &self.webhook {
            Some(webhook) => webhooks::check(webhook, allow_private_webhooks),
            None => Ok(()),
        }
    }
}

impl Data {
    /// A name, and nothing that has it yet.
    pub fn empty(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            dataset: None,
            inline: None,
            url: None,
            format: None,
            csv: None,
            json_lines: None,
            columns: None,
        }
    }

    /// Whether there are no data in it.
    pub const fn is_empty(&self) -> bool {
        self.dataset.is_none() && self.inline.is_none() && self.url.is_none()
    }

    fn check(&self, place: &str) -> Result<(), Problem> {
        let is_start = |character: char| character.is_ascii_lowercase() || character == '_';
        let is_name = self.name.starts_with(is_start)
            && self.name.len() <= MOST_NAME_CHARACTERS
            && self.name.chars().all(|character| is_start(character) || character.is_ascii_digit());
        if !is_name || self.name == "result" {
            return Err(wrong(
                &format!("{place}.name"),
                "is a name of lower-case letters, digits and `_`, and not `result`, which is the name of the result",
            ));
        }
        self.check_dataset(place)?;
        match (&self.dataset, &self.inline, &self.url) {
            (Some(_), None, None) => Ok(()),
            (None, Some(text), None) if text.is_empty() || text.len() > MOST_INLINE_BYTES => Err(wrong(
                &format!("{place}.inline"),
                format!(
                    "has 1 to {MOST_INLINE_BYTES} bytes. Send more as a file (multipart/form-data), or as a data set"
                ),
            )),
            (None, None, Some(url))
                if url.len() > MOST_URL_BYTES
                    || !(url.starts_with("https://") || url.starts_with("http://")) =>
            {
                let what =
                    format!("begins with `https://` or `http://`, and has at most {MOST_URL_BYTES} bytes");
                Err(wrong(&format!("{place}.url"), what))
            }
            (None, Some(_), None) | (None, None, Some(_)) if self.format.is_none() => {
                Err(wrong(place, "needs a `format`: csv, jsonLines, parquet or arrow"))
            }
            (None, Some(_), None) | (None, None, Some(_)) => Ok(()),
            _ => Err(wrong(place, "has exactly one of `dataset`, `inline` and `url`")),
        }
    }
}

impl TaskOrder {
    fn check(&self, place: &str, data: &[Data]) -> Result<(), Problem> {
        let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_name = self.name.bytes().next().is_some_and(is_good)
            && self.name.len() <= MOST_NAME_CHARACTERS
            && self.name.bytes().all(|byte| is_good(byte) || byte == b'-' || byte == b'_');
        if !is_name {
            return Err(wrong(
                &format!("{place}.name"),
                "is a name of lower-case letters, digits, `-` and `_`",
            ));
        }
        let named = match (&self.analysis, &self.profile) {
            (Some(analysis), None)
                if !analysis.sql.trim().is_empty() && analysis.sql.len() <= MOST_SQL_BYTES =>
            {
                analysis.data.as_slice()
            }
            (Some(_), None) => {
                let place = format!("{place}.analysis.sql");
                return Err(wrong(&place, format!("is a query of at most {MOST_SQL_BYTES} bytes")));
            }
            (None, Some(profile)) => std::slice::from_ref(&profile.data),
            _ => return Err(wrong(place, "has exactly one of `analysis` and `profile`")),
        };
        match named.iter().find(|name| !data.iter().any(|data| data.name == **name)) {
            Some(name) => Err(wrong(place, format!("names data `{name}` that the request does not have"))),
            None => Ok(()),
        }
    }
}

fn wrong(place: &str, what: impl std::fmt::Display) -> Problem {
    Problem::unprocessable(format!("`{place}` {what}.")).with("pointer", place)
}

#[cfg(test)]
mod tests;
