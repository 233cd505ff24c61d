use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use service_kit::Problem;
use service_kit::extract::{Json, Path, Query};
use service_kit::idempotency::StoredResponse;
use service_kit::paging::{Listed, Page, and_one_more, wrong_cursor};
use service_kit::prefer::{LONGEST_WAIT, PREFERENCE_APPLIED, Preference};
use service_kit::problem::ProblemBody;
use service_kit::trace_context::TraceContext;
use utoipa::IntoParams;

use super::accept::accept;
use super::answer::{self, at_most, missing};
use super::model::{Analysis, Status, address};
use super::request::AnalysisRequest;
use super::store;
use crate::serve::error::ServeError;
use crate::serve::idempotent::{self, Begin};
use crate::serve::state::Service;

/// How long a request to cancel waits for the end.
const END: Duration = Duration::from_secs(5);
/// Comes after all ids, which have hexadecimal digits, whatever the rules of the database are.
const AFTER_ALL: &str = "g";

/// Run an analysis
///
/// Runs one query, or one profile, over data sets and other data. What is accepted is stored, and is run even if the
/// service is restarted.
#[utoipa::path(
    post,
    path = "/v1/analyses",
    operation_id = "createAnalysis",
    tag = "analyses",
    params(
        ("Prefer" = Option<String>, Header, description = "`wait=SECONDS`: wait up to 25 seconds for the end, 20 if \
            left out; `respond-async`: do not wait (RFC 7240).", example = json!("wait=10")),
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client's choice, of up to 255 \
            characters. A repetition of the request with the same key runs nothing, and is answered with the \
            analysis that the first one has made.")
    ),
    request_body(
        content = AnalysisRequest,
        description = "What to read and what to do with it.",
        examples(
            ("query" = (summary = "Query a data set", value = json!({
                "sources": [{"name": "flights", "dataset": {"name": "flights"}}],
                "sql": "SELECT carrier, count(*) AS flights, avg(dep_delay) AS delay FROM flights GROUP BY carrier",
                "charts": [{
                    "name": "delays",
                    "mark": "bar",
                    "encoding": {"xAxis": {"field": "carrier"}, "yAxis": {"field": "delay"}}
                }]
            }))),
            ("profile" = (summary = "Describe data column by column", value = json!({
                "sources": [{"name": "t", "format": "csv", "inline": "a,b\n1,x\n2,y\n"}],
                "profile": {"source": "t"}
            })))
        )
    ),
    responses(
        (status = 200, description = "It has ended well; the first 100 rows are in `result`", body = Analysis,
            headers(("Content-Location" = String, description = "Address of the analysis"))),
        (status = 202, description = "It has not ended in time, or cannot be looked up at present", body = Analysis,
            headers(
                ("Location" = String, description = "Address of the analysis"),
                ("Retry-After" = u32, description = "When it may be worth asking again, in seconds")
            )),
        (status = 400, description = "The request cannot be understood", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "It was cancelled meanwhile", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 422, description = "It cannot be run, or has failed: `reason` says why in one word, and `analysis` \
            where it is", body = ProblemBody, content_type = "application/problem+json",
            example = json!({
                "type": "https://aisaas.dev/problems/analysis-failed",
                "title": "Analysis failed",
                "status": 422,
                "detail": "The query names a column `delay` that is not there. The columns are carrier, dep_delay.",
                "reason": "InvalidQuery",
                "analysis": "/v1/analyses/019a4d2e-7b1c-7c3a-9a54-3f2f6f0f6b1e",
                "analysisStatus": "failed"
            })),
        (status = 503, description = "As many analyses wait as are taken on, or something does not answer",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn create(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    extensions: Extensions,
    Json(request): Json<AnalysisRequest>,
) -> Result<Response, ServeError> {
    let preference = Preference::of(&headers);
    request.check(service.bounds().allow_private_sources)?;
    let id = begin(&service, &headers, &extensions, request).await?;
    // From here on it runs, so that every answer says where it is: otherwise it
    // would be asked for once more.
    let mut response = match answer::wait(&service, &id, at_most(preference.wait(), &extensions)).await {
        Ok(record) => match answer::outcome(&service, record).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        },
        Err(error @ ServeError::Problem(_)) => error.into_response(),
        Err(error) => answer::accepted(&id, &error),
    };
    if let Some(applied) = preference.applied() {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}

/// Accepts the analysis, unless the same request has made one before; gives its
/// id. Its key is used up in the transaction that accepts it: a crash leaves
/// both or neither.
async fn begin(
    service: &Service,
    headers: &HeaderMap,
    extensions: &Extensions,
    request: AnalysisRequest,
) -> Result<String, ServeError> {
    let text = serde_json::to_vec(&request)?;
    let route = "POST /v1/analyses";
    let mut transaction = service.database.begin().await?;
    let begun = idempotent::begin_in(service, &mut transaction, headers, extensions, route, &[&text]).await?;
    let reservation = match begun {
        Begin::Run(reservation) => reservation,
        // The analysis may be further by now than when this was kept.
        Begin::Replay(stored) => {
            return Ok(String::from_utf8_lossy(&stored.body.unwrap_or_default()).into_owned());
        }
    };
    let id = accept(service, &mut transaction, request, false, extensions.get::<TraceContext>()).await?;
    if let Some(reservation) = reservation {
        let stored = StoredResponse {
            status: StatusCode::ACCEPTED.as_u16(),
            headers: vec![("location".to_owned(), address(&id))],
            body: Some(Bytes::from(id.clone())),
        };
        reservation.finish_in(&mut transaction, &stored).await?;
    }
    transaction.commit().await?;
    Ok(id)
}

/// Which analyses are listed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Only those that stand there: `queued`, `running`, `succeeded`, `failed` or `cancelled`.
    #[param(value_type = Option<Status>, example = json!("running"))]
    status: Option<String>,
}

/// List analyses
///
/// Those accepted last come first.
#[utoipa::path(
    get,
    path = "/v1/analyses",
    operation_id = "listAnalyses",
    tag = "analyses",
    params(Page, Filter),
    responses(
        (status = 200, description = "A page of analyses", body = Listed<Analysis>),
        (status = "default", description = "A problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
    Query(page): Query<Page>,
    Query(filter): Query<Filter>,
) -> Result<Json<Listed<Analysis>>, ServeError> {
    let limit = page.limit()?;
    let status = filter.status.as_deref().map(status_named).transpose()?;
    let before = page.cursor.as_deref().unwrap_or(AFTER_ALL);
    if before != AFTER_ALL && uuid::Uuid::parse_str(before).is_err() {
        return Err(wrong_cursor().into());
    }
    let records = store::page(&service.database, before, status, and_one_more(limit)).await?;
    let analyses = records.into_iter().map(Analysis::brief).collect();
    Ok(Json(Listed::of(analyses, limit, |analysis: &Analysis| analysis.id.clone())))
}

fn status_named(name: &str) -> Result<Status, Problem> {
    Status::parse(name).ok_or_else(|| {
        let names = Status::ALL.map(Status::as_str).join(", ");
        Problem::bad_request(format!("`status` is `{name}`, and has to be one of {names}."))
    })
}

/// How long to wait.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct Wait {
    /// How many seconds to wait for the end, more than 25 as 25; not at all if left out.
    #[param(minimum = 0, format = "uint64")]
    wait: Option<u64>,
}

/// Get an analysis
#[utoipa::path(
    get,
    path = "/v1/analyses/{id}",
    operation_id = "getAnalysis",
    tag = "analyses",
    params(("id" = String, Path, description = "Its id"), Wait),
    responses(
        (status = 200, description = "The analysis, with the first 100 rows of its result if it has one",
            body = Analysis),
        (status = 404, description = "There is none, or it has expired", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn get(
    State(service): State<Arc<Service>>,
    extensions: Extensions,
    Path(id): Path<String>,
    Query(wait): Query<Wait>,
) -> Result<Json<Analysis>, ServeError> {
    let wait = Duration::from_secs(wait.wait.unwrap_or_default()).min(LONGEST_WAIT);
    let record = answer::wait(&service, &id, at_most(wait, &extensions)).await?;
    Ok(Json(answer::whole(&service, record).await?))
}

/// Cancel an analysis
///
/// One that runs is stopped, which takes a moment. One that was cancelled before stays so.
#[utoipa::path(
    post,
    path = "/v1/analyses/{id}/cancel",
    operation_id = "cancelAnalysis",
    tag = "analyses",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "It is cancelled", body = Analysis),
        (status = 202, description = "It is being stopped", body = Analysis,
            headers(("Location" = String, description = "Address of the analysis"))),
        (status = 404, description = "There is none, or it has expired", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "It had ended before", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn cancel(
    State(service): State<Arc<Service>>,
    extensions: Extensions,
    Path(id): Path<String>,
) -> Result<Response, ServeError> {
    let mut transaction = service.database.begin().await?;
    store::cancel(&mut transaction, &id, false, service.retention()).await?;
    transaction.commit().await?;
    service.changes.tell(&id);
    let record = answer::wait(&service, &id, at_most(END, &extensions)).await?;
    match record.status {
        Status::Cancelled => Ok(Json(Analysis::whole(record, None)).into_response()),
        Status::Queued | Status::Running => {
            let location = [(header::LOCATION, address(&id))];
            Ok((StatusCode::ACCEPTED, location, Json(Analysis::whole(record, None))).into_response())
        }
        Status::Succeeded | Status::Failed => {
            let detail = format!("The analysis had ended before: it has {}.", record.status.as_str());
            Err(Problem::conflict(detail).with("analysisStatus", record.status.as_str()).into())
        }
    }
}

/// Delete an analysis
///
/// It is stopped if it has not ended, and its result is removed.
#[utoipa::path(
    delete,
    path = "/v1/analyses/{id}",
    operation_id = "deleteAnalysis",
    tag = "analyses",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is none, or it has expired", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn delete(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
) -> Result<StatusCode, ServeError> {
    let mut transaction = service.database.begin().await?;
    if !store::cancel(&mut transaction, &id, true, service.retention()).await? {
        return Err(missing(&id).into());
    }
    transaction.commit().await?;
    service.changes.tell(&id);
    service.garbage.wake();
    Ok(StatusCode::NO_CONTENT)
}
