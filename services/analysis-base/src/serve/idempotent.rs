//! Requests with an `Idempotency-Key`.

use std::time::Duration;

use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use service_kit::Problem;
use service_kit::database::Transaction;
use service_kit::idempotency::{
    Begun, Fingerprint, Idempotency, IdempotencyKey, Reservation, Scope, StoredResponse,
};
use service_kit::identity::Caller;

use super::admission::is_analysis_job;
use super::error::ServeError;
use super::state::Service;

/// For whom the gateway makes a request.
pub const PRINCIPAL: HeaderName = HeaderName::from_static("aisaas-principal");
/// The pod of an AnalysisJob that was killed after its upload is followed by
/// another one, which uploads when it has computed everything again: perhaps
/// after days, but not after so many.
const ANALYSIS_JOB_RETENTION: Duration = Duration::from_secs(60 * 24 * 60 * 60);

/// What to do with a request.
#[derive(Debug)]
pub enum Begin {
    /// Do it; with a reservation, if it has a key.
    Run(Option<Reservation>),
    /// It was done. This is what was kept of the answer.
    Replay(StoredResponse),
}

impl From<Begun> for Begin {
    fn from(begun: Begun) -> Self {
        match begun {
            Begun::Run(reservation) => Self::Run(Some(reservation)),
            Begun::Replay(stored) => Self::Replay(stored),
        }
    }
}

/// Looks whether a request was done already. `route` and `parts` are what tells
/// it from others.
///
/// # Errors
/// If the key is wrong, or the request is being done.
pub async fn begin(
    service: &Service,
    headers: &HeaderMap,
    extensions: &Extensions,
    route: &str,
    parts: &[&[u8]],
) -> Result<Begin, ServeError> {
    let Some((keys, scope, key)) = asked(service, headers, extensions, route)? else {
        return Ok(Begin::Run(None));
    };
    Ok(keys.begin(&scope, &key, &Fingerprint::new(parts)).await?.into())
}

/// The same for a request that is done in one transaction.
///
/// # Errors
/// If the key is wrong.
pub async fn begin_in(
    service: &Service,
    transaction: &mut Transaction,
    headers: &HeaderMap,
    extensions: &Extensions,
    route: &str,
    parts: &[&[u8]],
) -> Result<Begin, ServeError> {
    let Some((keys, scope, key)) = asked(service, headers, extensions, route)? else {
        return Ok(Begin::Run(None));
    };
    let fingerprint = Fingerprint::new(parts);
    Ok(keys.begin_in(transaction, &scope, &key, &fingerprint).await?.into())
}

/// Where its key is kept, whose request it is, and its key, if it has one.
fn asked(
    service: &Service,
    headers: &HeaderMap,
    extensions: &Extensions,
    route: &str,
) -> Result<Option<(Idempotency, Scope, IdempotencyKey)>, ServeError> {
    let Some(key) = IdempotencyKey::of(headers)? else { return Ok(None) };
    let caller = extensions.get::<Caller>();
    let principal = match (headers.get(PRINCIPAL), caller) {
        (Some(principal), _) => principal.to_str().unwrap_or_default(),
        (None, Some(caller)) => caller.service.as_str(),
        (None, None) => "",
    };
    let keys = if caller.is_some_and(is_analysis_job) {
        service.idempotency.retaining(ANALYSIS_JOB_RETENTION)
    } else {
        service.idempotency.clone()
    };
    Ok(Some((keys, Scope::new(principal, route), key)))
}

/// What was answered, once more.
///
/// # Errors
/// If too little of it was kept.
pub fn replay(stored: StoredResponse) -> Result<Response, ServeError> {
    let (Ok(status), Some(body)) = (StatusCode::from_u16(stored.status), stored.body) else {
        return Err(Problem::conflict("The request was done already, and its answer is not kept.").into());
    };
    let mut response = (status, body).into_response();
    for (name, value) in stored.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}
