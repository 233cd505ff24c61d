//! Who may do what: the key of a request, how often it may be used, and its
//! scopes. Around all routes but those that anybody may see.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use service_kit::{Problem, identity};

use crate::counters::Refusal;
use crate::gateway::Gateway;
use crate::keys::Key;
use crate::proxy::API_KEY;
use crate::rate::Allowance;
use crate::scope::{self, Scope};

/// Who makes a request; an extension of every request that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The id of the key.
    pub id: String,
}

/// Lets in what has a key that may do it, and tells the routes whose it is.
pub async fn require(State(gateway): State<Arc<Gateway>>, mut request: Request, next: Next) -> Response {
    let key = match authenticated(&gateway, request.headers()).await {
        Ok(key) => key,
        Err(problem) => return problem.into_response(),
    };
    let live = gateway.live();
    let limit = key.rate_limit.unwrap_or(live.settings.rate_limit);
    let allowance = gateway.limiter.take(&key.id, limit);
    let path = request.uri().path();
    let needed = scope::required(request.method(), path)
        // A service that is not in the table is for administrators, until
        // somebody decides otherwise.
        .or_else(|| live.services.for_path(path).map(|_| Scope::Admin));
    let mut response = match admitted(&gateway, &key, allowance, needed) {
        Ok(()) => {
            request.extensions_mut().insert(Principal { id: key.id.clone() });
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    };
    allowance.write(response.headers_mut());
    response
}

/// Lets in to the metrics what has a key that may see them. The probes
/// next to them are for everybody: a kubelet has no key.
pub async fn guard_metrics(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    if request.uri().path() == scope::METRICS {
        require(State(gateway), request, next).await
    } else {
        next.run(request).await
    }
}

async fn authenticated(gateway: &Gateway, headers: &HeaderMap) -> Result<Arc<Key>, Problem> {
    let text = identity::bearer(headers)
        .or_else(|| headers.get(API_KEY).and_then(|value| value.to_str().ok()).map(str::trim))
        .ok_or_else(|| {
            gateway.counters.refused(Refusal::NoKey);
            Problem::unauthorized("Send an API key, as `Authorization: Bearer KEY` or as `X-Api-Key: KEY`.")
        })?;
    gateway.keys.find(text).await?.ok_or_else(|| {
        gateway.counters.refused(Refusal::UnknownKey);
        Problem::unauthorized("The API key is not known here, was revoked or has expired.")
    })
}

fn admitted(
    gateway: &Gateway,
    key: &Key,
    allowance: Allowance,
    needed: Option<Scope>,
) -> Result<(), Problem> {
    if let Some(wait) = allowance.wait {
        gateway.counters.refused(Refusal::TooOften);
        return Err(Problem::too_many_requests("The API key is used more often than it may be.", wait));
    }
    match needed {
        Some(scope) if !key.may(scope) => {
            gateway.counters.refused(Refusal::NoScope);
            let detail = format!("The API key may not do this: it needs the scope `{scope}`.");
            Err(Problem::forbidden(detail).with("missingScope", scope.as_str()))
        }
        _ => Ok(()),
    }
}
