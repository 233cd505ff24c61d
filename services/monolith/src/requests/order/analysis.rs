//! What the analyses are asked for: as text at once, since the parts that only
//! they understand are kept as text.

use serde::Serialize;

use super::{Data, DatasetReference, Format, Order, TaskOrder};
use crate::requests::verbatim::Verbatim;

/// The body of a request to the analyses.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    active_deadline_seconds: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    charts: Option<&'a [Verbatim]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Profile<'a>>,
    sources: Vec<Source<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sql: Option<&'a str>,
}

#[derive(Serialize)]
struct Profile<'a> {
    columns: &'a [String],
    source: &'a str,
}

#[derive(Serialize)]
struct Source<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset: Option<&'a DatasetReference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inline: Option<&'a str>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<Uri<'a>>,
    #[serde(flatten)]
    reading: Reading<'a>,
}

#[derive(Serialize)]
struct Uri<'a> {
    url: &'a str,
}

/// How data are read.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reading<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    columns: Option<&'a Verbatim>,
    #[serde(skip_serializing_if = "Option::is_none")]
    csv: Option<&'a Verbatim>,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_lines: Option<&'a Verbatim>,
}

impl Order {
    /// The body with which a task is given to the analyses, as JSON. The same
    /// each time, so that it can be given again under the same idempotency key.
    pub fn analysis(&self, task: &TaskOrder) -> String {
        let is_read = |data: &Data| match (&task.profile, &task.analysis) {
            (Some(profile), _) => profile.data == data.name,
            (None, Some(analysis)) => analysis.data.is_empty() || analysis.data.contains(&data.name),
            (None, None) => false,
        };
        let analysis = task.analysis.as_ref().filter(|_| task.profile.is_none());
        let body = Body {
            active_deadline_seconds: self.deadline_seconds(),
            charts: analysis.map(|analysis| analysis.charts.as_slice()),
            profile: task
                .profile
                .as_ref()
                .map(|profile| Profile { columns: &profile.columns, source: &profile.data }),
            sources: self.data.iter().filter(|data| is_read(data)).map(Data::source).collect(),
            sql: analysis.map(|analysis| analysis.sql.as_str()),
        };
        json(&body)
    }
}

impl Data {
    /// As a source of an analysis.
    fn source(&self) -> Source<'_> {
        Source {
            dataset: self.dataset.as_ref(),
            format: self.format,
            inline: self.inline.as_deref(),
            name: &self.name,
            uri: self.url.as_deref().map(|url| Uri { url }),
            reading: self.parts(),
        }
    }

    /// How the data are read, as JSON.
    pub fn reading(&self) -> String {
        json(&self.parts())
    }

    fn parts(&self) -> Reading<'_> {
        Reading {
            columns: self.columns.as_ref(),
            csv: self.csv.as_ref(),
            json_lines: self.json_lines.as_ref(),
        }
    }
}

fn json(value: &impl Serialize) -> String {
    // Texts, numbers and lists of them always can be written.
    serde_json::to_string(value).unwrap_or_default()
}
