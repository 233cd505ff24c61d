//! Results and charts, in the format that the client likes best.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use crds::analysis::OutputFormat;
use serde::Deserialize;
use service_kit::Problem;
use service_kit::extract::{Json, Path, Query};
use service_kit::problem::ProblemBody;
use utoipa::IntoParams;

use super::answer::{missing, no_result};
use super::model::{AnalysisRecord, ResultRows, StoredResult};
use super::store;
use crate::serve::error::ServeError;
use crate::serve::json::JsonLines;
use crate::serve::negotiate::negotiate;
use crate::serve::rows::{self, Writer};
use crate::serve::state::Service;
use crate::serve::table::{Table, TableError};

/// Rows of a page that does not say how many.
const USUAL_ROWS: u64 = 1000;
/// Most rows of a page.
const MOST_ROWS: u64 = 10_000;

pub(in crate::serve) const JSON: &str = "application/json";
const CSV: &str = "text/csv";
const LINES: &str = "application/x-ndjson";
const PARQUET: &str = "application/vnd.apache.parquet";
const ARROW: &str = "application/vnd.apache.arrow.file";
pub(in crate::serve) const SVG: &str = "image/svg+xml";
pub(in crate::serve) const VEGA_LITE: &str = "application/vnd.vegalite.v6+json";

/// What a browser may do with a picture that somebody else has drawn: show it.
pub(in crate::serve) const PICTURE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// It is what it says it is, and something else for who accepts something else.
pub(in crate::serve) const ALWAYS: [(HeaderName, &str); 2] =
    [(header::X_CONTENT_TYPE_OPTIONS, "nosniff"), (header::VARY, "accept")];

/// A format of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::serve) enum Format {
    /// A page of JSON.
    Page,
    /// JSON lines, with exact numbers.
    Lines,
    /// What the engine itself writes.
    Engine(OutputFormat),
}

impl Format {
    /// Its media type.
    pub(in crate::serve) fn media_type(self) -> &'static str {
        let found = FORMATS.iter().find(|(_, format)| *format == self);
        found.map_or(LINES, |(media_type, _)| *media_type)
    }

    /// What a file of it is called.
    pub(in crate::serve) const fn file_name(self) -> &'static str {
        match self {
            Self::Engine(format) => format.file_name(),
            Self::Page | Self::Lines => OutputFormat::JsonLines.file_name(),
        }
    }
}

/// The formats that a client can choose from.
pub(in crate::serve) const FORMATS: [(&str, Format); 5] = [
    (JSON, Format::Page),
    (CSV, Format::Engine(OutputFormat::Csv)),
    (LINES, Format::Lines),
    (PARQUET, Format::Engine(OutputFormat::Parquet)),
    (ARROW, Format::Engine(OutputFormat::Arrow)),
];

/// Which rows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct Part {
    /// How many rows to pass over. Not for Parquet.
    #[param(minimum = 0, format = "uint64")]
    offset: Option<u64>,
    /// How many rows to give: for JSON up to 10,000, 1,000 if left out; otherwise all, if left out. Not for Parquet.
    #[param(minimum = 0, format = "uint64")]
    limit: Option<u64>,
}

impl Part {
    /// Whether it is all of it.
    pub(in crate::serve) const fn is_whole(&self) -> bool {
        self.offset.is_none() && self.limit.is_none()
    }

    /// The first row, and how many rows, of a page.
    pub(in crate::serve) fn page(&self) -> Result<(u64, u64), Problem> {
        let limit = self.limit.unwrap_or(USUAL_ROWS);
        if limit > MOST_ROWS {
            let detail = format!("`limit` is {limit}, and has to be from 0 to {MOST_ROWS} for JSON.");
            return Err(Problem::bad_request(detail));
        }
        Ok((self.offset.unwrap_or_default(), limit))
    }

    /// The first row, and how many rows, of what is no page: Parquet is given as
    /// a whole.
    pub(in crate::serve) fn rows(&self, format: Format) -> Result<(u64, Option<u64>), Problem> {
        if format == Format::Engine(OutputFormat::Parquet) && !self.is_whole() {
            let detail = "A Parquet file is given as a whole: leave out `offset` and `limit`.";
            return Err(Problem::bad_request(detail));
        }
        Ok((self.offset.unwrap_or_default(), self.limit))
    }
}

/// Get the result of an analysis
///
/// As JSON a page at a time; in other formats as a whole, which is sent as it is read.
#[utoipa::path(
    get,
    path = "/v1/analyses/{id}/result",
    operation_id = "getResult",
    tag = "analyses",
    params(("id" = String, Path, description = "Id of the analysis"), Part),
    responses(
        (status = 200, description = "Rows of the result. What breaks off before its end is not whole.", content(
            (ResultRows = "application/json"),
            ("text/csv", example = json!("carrier,flights\nUA,58665\n")),
            ("application/x-ndjson", example = json!("{\"carrier\":\"UA\",\"flights\":58665}\n")),
            ("application/vnd.apache.parquet"),
            ("application/vnd.apache.arrow.file")
        )),
        (status = 404, description = "There is no such analysis, or it has expired", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 406, description = "`Accept` names no format that there is", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "The analysis has not ended, or was cancelled", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 422, description = "The analysis has failed, or its result cannot be written in this format",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn get(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Query(part): Query<Part>,
) -> Result<Response, ServeError> {
    let format = negotiate(&headers, &FORMATS)?;
    let (record, result) = ended_well(&service, &id).await?;
    let table = result.table();
    let body = match format {
        Format::Page => {
            let (offset, limit) = part.page()?;
            let rows = rows::page(&service, &table, offset, limit).await?;
            return Ok((ALWAYS, Json(rows)).into_response());
        }
        Format::Engine(OutputFormat::Parquet) => {
            part.rows(format)?;
            let content = service.objects.read(&table).await?;
            Body::from_stream(content.into_stream())
        }
        Format::Engine(_) | Format::Lines => streamed(&service, &table, &part, format).await?,
    };
    let file_name = format.file_name();
    let disposition = format!("attachment; filename=\"{}-{file_name}\"", record.id);
    let described =
        [(header::CONTENT_TYPE, format.media_type().to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    Ok((described, ALWAYS, body).into_response())
}

async fn streamed(service: &Service, table: &str, part: &Part, format: Format) -> Result<Body, ServeError> {
    let (offset, limit) = part.rows(format)?;
    let turn = service.turns.streams.soon().await?;
    let table = Table::open(&service.objects, table).await?;
    let writer = writer(&table, format)?;
    Ok(rows::body(table.read(offset, limit)?, writer, turn))
}

/// What writes the rows of a table in a format.
pub(in crate::serve) fn writer(table: &Table, format: Format) -> Result<Writer, TableError> {
    match format {
        Format::Engine(format) => Writer::other(table.schema(), format),
        Format::Lines | Format::Page => Ok(Writer::Lines(JsonLines::default())),
    }
}

/// Get a chart of an analysis
///
/// As a picture, or as a Vega-Lite specification with its data.
#[utoipa::path(
    get,
    path = "/v1/analyses/{id}/charts/{name}",
    operation_id = "getChart",
    tag = "analyses",
    params(
        ("id" = String, Path, description = "Id of the analysis"),
        ("name" = String, Path, description = "Name of the chart")
    ),
    responses(
        (status = 200, description = "The chart", content(
            ("image/svg+xml"),
            ("application/vnd.vegalite.v6+json"),
            ("application/json")
        )),
        (status = 404, description = "There is no such analysis or chart, or it has expired", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 406, description = "`Accept` names no format that there is", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "The analysis has not ended, or was cancelled", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 422, description = "The analysis has failed", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn chart(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    Path((id, name)): Path<(String, String)>,
) -> Result<Response, ServeError> {
    let media_type = negotiate(&headers, &[(SVG, SVG), (VEGA_LITE, VEGA_LITE), (JSON, JSON)])?;
    let (record, result) = ended_well(&service, &id).await?;
    if !record.request.charts.iter().any(|chart| chart.name == name) {
        return Err(Problem::not_found(format!("The analysis has no chart `{name}`.")).into());
    }
    let ending = if media_type == SVG { "svg" } else { "vl.json" };
    let content = service.objects.read(&result.object(&format!("{name}.{ending}"))).await?;
    let described = [(header::CONTENT_TYPE, media_type), (header::CONTENT_SECURITY_POLICY, PICTURE_POLICY)];
    Ok((described, ALWAYS, Body::from_stream(content.into_stream())).into_response())
}

/// The analysis and its result.
async fn ended_well(service: &Service, id: &str) -> Result<(AnalysisRecord, StoredResult), ServeError> {
    let record = store::find(&service.database, id).await?.ok_or_else(|| missing(id))?;
    match record.result.clone() {
        Some(result) => Ok((record, result)),
        None => Err(no_result(&record).into()),
    }
}
