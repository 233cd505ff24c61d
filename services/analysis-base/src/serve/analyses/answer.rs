//! What a client is told of an analysis.

use std::time::Duration;

use axum::http::{Extensions, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use service_kit::Problem;
use service_kit::extract::Json;
use service_kit::limits::Deadline;
use service_kit::problem::chain;
use tokio::time::Instant;

use super::model::{Analysis, AnalysisRecord, ResultRows, Status, address};
use super::run::{FAULT, STORAGE_FULL};
use super::store;
use crate::serve::error::ServeError;
use crate::serve::rows;
use crate::serve::state::{LOOK, Service};
use crate::serve::table::TableError;

/// Rows of a result that are told with the analysis.
const FIRST_ROWS: u64 = 100;
/// What an answer takes after the wait for it.
const MARGIN: Duration = Duration::from_secs(2);
/// When it may be worth asking again for an analysis that has not ended.
const SOON: Duration = Duration::from_secs(1);

/// As much of a wait as the caller and the limits of the service leave.
#[must_use]
pub fn at_most(wait: Duration, extensions: &Extensions) -> Duration {
    let left = extensions.get::<Deadline>().map_or(wait, |deadline| deadline.left().saturating_sub(MARGIN));
    wait.min(left)
}

/// The analysis once it has ended, or when the wait is over.
///
/// # Errors
/// 404, if there is none.
pub async fn wait(service: &Service, id: &str, wait: Duration) -> Result<AnalysisRecord, ServeError> {
    let until = Instant::now() + wait;
    let mut listener = service.changes.listen();
    loop {
        let record = store::find(&service.database, id).await?.ok_or_else(|| missing(id))?;
        let left = until.saturating_duration_since(Instant::now());
        if record.status.is_ended() || left.is_zero() {
            return Ok(record);
        }
        listener.changed(id, left.min(LOOK)).await;
    }
}

/// There is no such analysis.
#[must_use]
pub fn missing(id: &str) -> Problem {
    Problem::not_found(format!(
        "There is no analysis with the id `{id}`. Results that have expired are removed."
    ))
}

/// An analysis with the beginning of its result.
///
/// # Errors
/// If the result cannot be read.
pub async fn whole(service: &Service, record: AnalysisRecord) -> Result<Analysis, ServeError> {
    let rows = match &record.result {
        Some(result) => first_rows(service, &result.table()).await?,
        None => None,
    };
    Ok(Analysis::whole(record, rows))
}

/// What cannot be shown as JSON is no reason not to show the rest.
async fn first_rows(service: &Service, table: &str) -> Result<Option<ResultRows>, ServeError> {
    match rows::page(service, table, 0, FIRST_ROWS).await {
        Ok(rows) => Ok(Some(rows)),
        Err(ServeError::Table(error @ (TableError::TooLarge | TableError::Format(_)))) => {
            tracing::warn!(error = %chain(&error), "The rows of a result cannot be shown.");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The answer to who waits for an analysis. That its result cannot be read at
/// present is none: who has asked for it would ask for another one.
///
/// # Errors
/// If it has failed or was cancelled.
pub async fn outcome(service: &Service, record: AnalysisRecord) -> Result<Response, Problem> {
    match record.status {
        Status::Failed | Status::Cancelled => Err(no_result(&record)),
        Status::Queued | Status::Running => Ok(look_later(Analysis::whole(record, None))),
        Status::Succeeded => Ok(match whole(service, record.clone()).await {
            Ok(analysis) => located(StatusCode::OK, header::CONTENT_LOCATION, analysis),
            Err(error) => {
                let analysis = &record.id;
                tracing::warn!(error = %chain(&error), analysis, "The result of an analysis cannot be read.");
                look_later(Analysis::whole(record, None))
            }
        }),
    }
}

/// The answer to who has asked for an analysis that is accepted, and cannot be
/// looked up.
#[must_use]
pub fn accepted(id: &str, error: &ServeError) -> Response {
    tracing::warn!(error = %chain(error), analysis = id, "An accepted analysis cannot be looked up.");
    look_later(Analysis::accepted(id))
}

/// Where the analysis is, and when it may be worth looking.
fn look_later(analysis: Analysis) -> Response {
    let mut response = located(StatusCode::ACCEPTED, header::LOCATION, analysis);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(SOON.as_secs()));
    response
}

fn located(status: StatusCode, name: HeaderName, analysis: Analysis) -> Response {
    let location = HeaderValue::try_from(address(&analysis.id)).ok();
    let mut response = (status, Json(analysis)).into_response();
    if let Some(location) = location {
        response.headers_mut().insert(name, location);
    }
    response
}

/// Why an analysis has no result.
#[must_use]
pub fn no_result(record: &AnalysisRecord) -> Problem {
    let problem = match record.status {
        Status::Failed => failed(record),
        Status::Cancelled => Problem::new(
            StatusCode::CONFLICT,
            "analysis-cancelled",
            "Analysis cancelled",
            "The analysis was cancelled.",
        ),
        status => Problem::new(
            StatusCode::CONFLICT,
            "analysis-under-way",
            "Analysis under way",
            format!("The analysis has no result yet: it is {}.", status.as_str()),
        )
        .retry_after(SOON),
    };
    problem.with("analysis", address(&record.id)).with("analysisStatus", record.status.as_str())
}

fn failed(record: &AnalysisRecord) -> Problem {
    let reason = record.reason.as_deref().unwrap_or(FAULT);
    let status = match reason {
        FAULT => StatusCode::INTERNAL_SERVER_ERROR,
        STORAGE_FULL => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let message = record.message.clone().unwrap_or_default();
    Problem::new(status, "analysis-failed", "Analysis failed", message).with("reason", reason)
}
