//! `POST /v1/requests`: storing what is asked for, and waiting a while for the end.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use service_kit::Problem;
use service_kit::database::{Transaction, now_milliseconds};
use service_kit::extract::Json;
use service_kit::idempotency::{
    Begun, Fingerprint, IdempotencyError, IdempotencyKey, Reservation, Scope, StoredResponse, give_up, hold,
};
use service_kit::prefer::{PREFERENCE_APPLIED, Preference};
use service_kit::problem::ProblemBody;
use service_kit::queue::NewJob;
use service_kit::trace_context::TraceContext;
use uuid::Uuid;

use super::body::Taken;
use super::form::{Form, RequestForm};
use super::order::Order;
use super::state::{RequestStatus, RequestView, State as Course, WebhookState};
use super::store::{self, Stored};
use super::waits::Client;
use super::{wait, whole};
use crate::access::Principal;
use crate::gateway::Gateway;
use crate::problems;

const ROUTE: &str = "POST /v1/requests";
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Make a request
///
/// What takes up to some seconds is answered at once, all else by 202 and the
/// address where it will be. While very many wait, everything is answered by 202.
///
/// Files can be sent along as multipart/form-data: first the part `request`
/// with the request as JSON, then a part for each file, under the name of the
/// data that it is. An entry of this name in `data` may say how it is read.
#[utoipa::path(
    post,
    path = "/v1/requests",
    operation_id = "createRequest",
    tag = "requests",
    params(
        ("Prefer" = Option<String>, Header, description = "`wait=SECONDS` (20 if left out, at most 25) or `respond-async` (RFC 7240)"),
        ("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same key finds the request that is there")
    ),
    request_body(content((Order = "application/json"), (RequestForm = "multipart/form-data"))),
    responses(
        (status = 200, description = "It has ended: see its status", body = RequestView),
        (status = 202, description = "It is accepted. `Location` says where it will be", body = RequestView),
        (status = 408, description = "The body has not come in time", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "A request with the same key is being accepted", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "It cannot be done as it is", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub async fn create(
    State(gateway): State<Arc<Gateway>>,
    Extension(principal): Extension<Principal>,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let client = Client::of(request.extensions());
    let trace = request.extensions().get::<TraceContext>().cloned().unwrap_or_else(TraceContext::root);
    let (order, mut taken, form) = if Form::is_one(&headers) {
        let (order, taken, form) = Form::begin(&gateway.requests.room_of_forms, request).await?;
        (order, taken, Some(form))
    } else {
        let (order, taken) = gateway.requests.room.read(request).await?;
        (order, taken, None)
    };
    let preference = Preference::of(&headers);
    let reservation = match begin(&gateway, &principal, &headers, &order).await? {
        None => None,
        Some(Begun::Run(reservation)) => Some(reservation),
        Some(Begun::Replay(stored)) => {
            let id = id_of(&stored)
                .ok_or_else(|| Problem::conflict("The repeated request is not there any more."))?;
            // It is there already: nothing of this one is kept meanwhile.
            drop((order, form, taken));
            let mut response = answer(&gateway, &client, &id, preference).await?;
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            return Ok(response);
        }
    };
    let new = New { order, created_by: principal.id, trace };
    // For as long as its files come, a repeat must not begin it again.
    let completed = hold(reservation.as_ref(), new.complete(&gateway, form, &mut taken)).await;
    let accepted = match completed {
        Ok(request) => accept(&gateway, &request, reservation).await.map(|()| request.id),
        Err(problem) => {
            give_up(reservation).await;
            Err(problem)
        }
    };
    // It is stored: nothing of it is kept while its end is waited for.
    drop(taken);
    answer(&gateway, &client, &accepted?, preference).await
}

/// A request before it is stored.
struct New {
    order: Order,
    created_by: String,
    trace: TraceContext,
}

impl New {
    /// With its files, and checked.
    async fn complete(
        mut self,
        gateway: &Gateway,
        form: Option<Form>,
        taken: &mut Taken,
    ) -> Result<Stored, Problem> {
        let id = Uuid::now_v7().to_string();
        if let Some(form) = form {
            form.files(gateway, &id, &self.trace, &mut self.order, taken).await?;
        }
        self.order.check(gateway.live().settings.allow_private_webhooks)?;
        let now = now_milliseconds();
        let webhook = self.order.webhook.as_ref().map(|webhook| WebhookState {
            url: webhook.url.clone(),
            status: "pending".to_owned(),
            attempts: 0,
            error: None,
        });
        Ok(Stored {
            id,
            status: RequestStatus::Queued,
            state: Course::default(),
            revision: 1,
            webhook,
            trace: self.trace.traceparent(),
            created_by: self.created_by,
            created_at: now,
            updated_at: now,
            deadline_at: now + i64::from(self.order.deadline_seconds()) * 1000,
            ended_at: None,
            order: self.order,
        })
    }
}

/// Stores a request, the work on it and that its key was used: all or nothing.
async fn accept(
    gateway: &Gateway,
    request: &Stored,
    reservation: Option<Reservation>,
) -> Result<(), Problem> {
    match prepared(gateway, request, reservation.as_ref()).await {
        // If this fails, it is not known whether it was done: the key is kept
        // from a repeat until that is clear.
        Ok(transaction) => transaction.commit().await.map_err(problems::database),
        Err(problem) => {
            give_up(reservation).await;
            Err(problem)
        }
    }
}

/// All of it, but for the commit. If it fails, there is nothing of it.
async fn prepared(
    gateway: &Gateway,
    request: &Stored,
    reservation: Option<&Reservation>,
) -> Result<Transaction, Problem> {
    let mut transaction = gateway.database.begin().await.map_err(problems::database)?;
    store::insert(&mut transaction, request).await.map_err(problems::database)?;
    let job = NewJob::new(&request.id).map_err(problems::queue)?;
    gateway.requests.queue.enqueue(&mut transaction, &job).await.map_err(problems::queue)?;
    if let Some(reservation) = reservation {
        let response = StoredResponse {
            status: StatusCode::ACCEPTED.as_u16(),
            headers: vec![("location".to_owned(), address(&request.id))],
            body: None,
        };
        reservation.finish_in(&mut transaction, &response).await.map_err(refused)?;
    }
    Ok(transaction)
}

/// Whether the request was made before, if it has a key that tells.
async fn begin(
    gateway: &Gateway,
    principal: &Principal,
    headers: &HeaderMap,
    order: &Order,
) -> Result<Option<Begun>, Problem> {
    let Some(key) = IdempotencyKey::of(headers).map_err(refused)? else { return Ok(None) };
    let scope = Scope::new(&principal.id, ROUTE);
    // Of files it is not known before they have come; the name of each is in the order or it is not.
    let asked = serde_json::to_vec(order).map_err(|error| Problem::internal(&error))?;
    let fingerprint = Fingerprint::new(&[ROUTE.as_bytes(), &asked]);
    let begun = gateway.requests.idempotency.begin(&scope, &key, &fingerprint).await;
    Ok(Some(begun.map_err(refused)?))
}

fn refused(error: IdempotencyError) -> Problem {
    match error {
        IdempotencyError::InvalidKey => Problem::bad_request(format!("{error}.")),
        IdempotencyError::InProgress => {
            Problem::conflict("A request with this Idempotency-Key is being accepted.")
                .retry_after(Duration::from_secs(1))
        }
        IdempotencyError::Mismatch => {
            Problem::unprocessable("This Idempotency-Key was used for a different request.")
        }
        IdempotencyError::LeaseLost => {
            Problem::conflict("The request took so long that it was begun again by a repeat.")
        }
        IdempotencyError::Database(error) => problems::database(error),
    }
}

fn address(id: &str) -> String {
    format!("/v1/requests/{id}")
}

fn id_of(response: &StoredResponse) -> Option<String> {
    let (_, location) = response.headers.iter().find(|(name, _)| name == "location")?;
    location.rsplit('/').next().map(str::to_owned)
}

/// The request when it has ended, or as far as it has come while the client waits.
async fn answer(
    gateway: &Gateway,
    client: &Client,
    id: &str,
    preference: Preference,
) -> Result<Response, Problem> {
    let waiting = gateway.requests.waits.begin(client, preference.wait());
    // What it would have waited is not told if it has not.
    let applied = preference.applied().filter(|_| waiting.is_some() || preference.wait().is_zero());
    let request = wait(gateway, id, waiting).await?;
    let is_final = request.status.is_final();
    let view = whole(gateway, &request).await?;
    let status = if is_final { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = (status, [(header::LOCATION, address(id))], Json(view)).into_response();
    let headers = response.headers_mut();
    if !is_final {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if let Some(applied) = applied {
        headers.insert(PREFERENCE_APPLIED, applied);
    }
    Ok(response)
}
