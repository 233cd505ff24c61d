//! A service's routes with all that every service has around them.
//!
//! ```text
//!   /livez /readyz /metrics /openapi.json ─────────────────────────────┐
//!   routes:  trace ▸ count ▸ limits ▸ panics caught ▸ [identity] ▸ the service's own
//!   streams: the same, without a limit of time                        ─┘
//! ```

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::{Info, License, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use crate::documentation;
use crate::health::{self, Readiness};
use crate::identity::{self, Trust};
use crate::limits::{self, Enforced, Limits};
use crate::metrics::{self, Metrics};
use crate::problem::Problem;
use crate::telemetry;

/// A stream may take this long: its own bounds are those of bytes and of silence.
const STREAM_TIME: Duration = Duration::from_secs(24 * 3600);

/// What makes a service.
pub struct Application {
    /// Its name, as in the table of services.
    pub name: &'static str,
    /// What its API is, in one or two sentences.
    pub description: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its routes.
    pub routes: OpenApiRouter,
    /// Routes whose requests or responses may go on for hours.
    pub streams: OpenApiRouter,
    /// What has to be well for it to be sent requests.
    pub readiness: Readiness,
    /// Its counters.
    pub metrics: Metrics,
    /// How much it takes on.
    pub limits: Limits,
    /// Who may call it; `None` lets everybody.
    pub trust: Option<Arc<Trust>>,
}

impl std::fmt::Debug for Application {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Application").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Application {
    /// The document that describes its API.
    #[must_use]
    pub fn document(&self) -> OpenApi {
        let mut document = self.routes.get_openapi().clone();
        document.merge(self.streams.get_openapi().clone());
        let mut info = Info::new(format!("ai-saas-platform: {}", self.name), self.version.to_owned());
        info.description = Some(self.description.to_owned());
        info.license = Some(License::new("Apache-2.0"));
        document.info = info;
        documentation::complete(&mut document);
        document
    }

    /// The router of all of it.
    ///
    /// # Errors
    /// If the document that describes the API cannot be written as JSON.
    pub fn into_router(self) -> Result<Router, serde_json::Error> {
        let document: Arc<str> = serde_json::to_string_pretty(&self.document())?.into();
        let (routes, _) = self.routes.split_for_parts();
        let (streams, _) = self.streams.split_for_parts();
        let trusted = |router: Router| match &self.trust {
            Some(trust) => router.layer(from_fn_with_state(Arc::clone(trust), identity::require)),
            None => router,
        };
        let limited = |router: Router, limits: Limits| {
            router
                .layer(CatchPanicLayer::custom(caught))
                .layer(DefaultBodyLimit::max(limits.body_bytes))
                .layer(from_fn_with_state(Enforced::new(&limits), limits::enforce))
        };
        let routes = limited(trusted(routes), self.limits);
        let streams = limited(trusted(streams), Limits { time: STREAM_TIME, ..self.limits });
        let api = routes
            .merge(streams)
            .layer(from_fn_with_state(self.metrics.clone(), metrics::count))
            .layer(from_fn(telemetry::trace))
            .fallback(|| async { Problem::not_found("There is nothing at this address. See /openapi.json.") })
            .method_not_allowed_fallback(|| async {
                Problem::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method-not-allowed",
                    "Method not allowed",
                    "This address does not have this method. See /openapi.json.",
                )
            });
        Ok(api
            .merge(health::routes(self.readiness))
            .merge(metrics::routes(self.metrics))
            .route("/openapi.json", get(move || async move { json(&document) })))
    }
}

fn json(document: &str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.to_owned()).into_response()
}

/// What a panic in a handler becomes. Where it was is logged by the hook.
fn caught(_payload: Box<dyn Any + Send + 'static>) -> Response {
    Problem::internal_logged().into_response()
}
