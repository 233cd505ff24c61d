//! Resumable uploads: tus 1.0 with the extensions creation, termination and
//! expiration (<https://tus.io/protocols/resumable-upload>).
//!
//! ```text
//!   POST ─▶ PATCH … PATCH ─▶ all there: a job ─▶ the parts joined, inspected ─▶ a version
//!                    ▲                   │
//!                    └── empty ── failed ┘ for no fault of the data: the parts are kept
//! ```
//!
//! Objects cannot be added to, so each PATCH makes one of its own.

mod finish;
mod headers;
mod hold;
mod method;
mod receive;
mod routes;
pub(in crate::serve) mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service_kit::Problem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(in crate::serve) use finish::Finisher;

use super::error::NO_ROOM;
use super::state::Service;

/// How long it is waited for the next part, or for a client that has another
/// version tried of parts that the service could make none of.
pub(in crate::serve) const LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// What a job of the queue carries.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::serve) struct Work {
    /// Id of the upload.
    pub(in crate::serve) upload: String,
}

/// What is answered within moments.
pub(in crate::serve) fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::default().routes(routes!(routes::create, routes::options)).routes(routes!(
        routes::get,
        routes::head,
        routes::delete
    ))
}

/// What may go on for hours.
pub(in crate::serve) fn streams() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::default().routes(routes!(receive::patch))
}

/// The routes of the service for clients that name the method of a request in
/// a header. A layer of the routes themselves would come too late: they are
/// chosen by the method.
pub(in crate::serve) fn with_named_methods(routes: Router) -> Router {
    Router::new().fallback_service(routes).layer(from_fn(method::named))
}

/// What is told of an upload of which the service could make no version, for no
/// fault of the data.
pub(in crate::serve) fn failed_problem(is_storage_full: bool) -> Value {
    const AGAIN: &str = "All parts are kept until the upload expires: send an empty one at their end to have them \
                         tried again.";
    let problem = if is_storage_full {
        Problem::storage_full(format!("{NO_ROOM} {AGAIN}"))
    } else {
        let detail = "The service has tried many times to make a version of the upload. Its log says more.";
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, "internal", "Internal error", format!("{detail} {AGAIN}"))
    };
    problem.body()
}
