//! `/v1/requests`, but for making one.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{Extensions, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use service_kit::Problem;
use service_kit::extract::{Json, Path, Query};
use service_kit::paging::{Listed, Page};
use service_kit::prefer::LONGEST_WAIT;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::finish::finish;
use super::state::{RequestStatus, RequestSummary, RequestView};
use super::store::{self, Listing, SaveError, Stored};
use super::waits::Client;
use super::{create, events, known, wait, whole};
use crate::gateway::Gateway;
use crate::{problems, time};

/// How long it is waited for a cancellation to take effect.
const CANCEL_WAIT: Duration = Duration::from_secs(6);

/// The routes that are answered soon.
pub fn routes() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(cancel))
        .routes(routes!(events::follow))
}

/// Those that may take as long as an upload does.
pub fn streams() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new().routes(routes!(create::create))
}

/// Which requests.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct RequestsPage {
    /// How many items: 1 to 200, 50 if left out.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// Where to go on: the `nextCursor` of the page before.
    cursor: Option<String>,
    /// Only those of this status.
    status: Option<RequestStatus>,
}

/// How long to wait.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Waiting {
    /// Seconds to wait for the end, more than 25 as 25; none if left out.
    #[param(minimum = 0, format = "uint64")]
    wait: Option<u64>,
}

/// List requests
///
/// Those made last come first.
#[utoipa::path(
    get,
    path = "/v1/requests",
    operation_id = "listRequests",
    tag = "requests",
    params(RequestsPage),
    responses((status = 200, description = "A page of requests", body = Listed<RequestSummary>))
)]
async fn list(
    State(gateway): State<Arc<Gateway>>,
    Query(page): Query<RequestsPage>,
) -> Result<Json<Listed<RequestSummary>>, Problem> {
    let limit = Page { limit: page.limit, cursor: None }.limit()?;
    let before = match page.cursor.as_deref() {
        // Comes after all ids, in any order of letters.
        None => "z",
        Some(cursor) if Uuid::parse_str(cursor).is_ok() => cursor,
        Some(_) => return Err(Problem::bad_request("`cursor` is none that was given out.")),
    };
    let found =
        store::page(&gateway.database, before, page.status, limit + 1).await.map_err(problems::database)?;
    let listed = Listed::of(found, limit, |request| request.id.clone());
    let items = listed.items.into_iter().filter_map(summary).collect();
    Ok(Json(Listed { items, next_cursor: listed.next_cursor }))
}

/// A request in a list; one that cannot be read is no reason not to show the others.
fn summary(request: Listing) -> Option<RequestSummary> {
    let Some(status) = RequestStatus::parse(&request.status) else {
        tracing::error!(
            request = request.id,
            status = request.status,
            "The status of a request is not known here: it is left out of lists."
        );
        return None;
    };
    Some(RequestSummary {
        id: request.id,
        status,
        input: request.input,
        created_by: request.created_by,
        created_at: time::at(request.created_at),
        ended_at: request.ended_at.map(time::at),
    })
}

/// Get a request
///
/// As far as it has come, or as it is when it has ended, if that is waited for.
#[utoipa::path(
    get,
    path = "/v1/requests/{id}",
    operation_id = "getRequest",
    tag = "requests",
    params(("id" = String, Path, description = "Its id"), Waiting),
    responses((status = 200, description = "The request", body = RequestView))
)]
async fn show(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    Query(waiting): Query<Waiting>,
    extensions: Extensions,
) -> Result<Response, Problem> {
    let time = Duration::from_secs(waiting.wait.unwrap_or(0)).min(LONGEST_WAIT);
    let waiting = gateway.requests.waits.begin(&Client::of(&extensions), time);
    let request = wait(&gateway, &id, waiting).await?;
    shown(&gateway, &request, StatusCode::OK).await
}

/// Cancel a request
///
/// What is under way for it is stopped.
#[utoipa::path(
    post,
    path = "/v1/requests/{id}/cancel",
    operation_id = "cancelRequest",
    tag = "requests",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "It has ended, by this or before", body = RequestView),
        (status = 202, description = "It will be cancelled in a moment", body = RequestView)
    )
)]
async fn cancel(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    extensions: Extensions,
) -> Result<Response, Problem> {
    let mut request = known(&gateway, &id).await?;
    if !request.status.is_final() {
        let is_over =
            request.status == RequestStatus::Queued && cancel_before(&gateway, &mut request).await?;
        if !is_over && store::cancel(&gateway.database, &id).await.map_err(problems::database)? {
            gateway.requests.changed(&id);
        }
        let waiting = gateway.requests.waits.begin(&Client::of(&extensions), CANCEL_WAIT);
        request = wait(&gateway, &id, waiting).await?;
    }
    let status = if request.status.is_final() { StatusCode::OK } else { StatusCode::ACCEPTED };
    shown(&gateway, &request, status).await
}

/// Ends a request that nobody works on yet; false if somebody does by now.
async fn cancel_before(gateway: &Gateway, request: &mut Stored) -> Result<bool, Problem> {
    match finish(gateway, request, RequestStatus::Cancelled, None).await {
        Ok(()) => Ok(true),
        Err(SaveError::Outdated) => Ok(false),
        Err(SaveError::Database(error)) => Err(problems::database(error)),
        Err(SaveError::Queue(error)) => Err(problems::queue(error)),
    }
}

async fn shown(gateway: &Gateway, request: &Stored, status: StatusCode) -> Result<Response, Problem> {
    let view = whole(gateway, request).await?;
    let mut response = (status, Json(view)).into_response();
    if !request.status.is_final() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Ok(response)
}
