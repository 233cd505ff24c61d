//! The routes, and what is around them.
//!
//! ```text
//!   CORS ▸ /openapi.json, /docs: for everybody
//!        ▸ /livez, /readyz: for everybody
//!        ▸ key, rate, scope ▸ /metrics
//!        ▸ trace ▸ count ▸ limits ▸ key, rate, scope ▸ the gateway's own routes
//!                                                    ▸ all others: to the services
//! ```

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::any;
use serde_json::{Value, json};
use service_kit::Application;
use service_kit::health::Readiness;
use service_kit::limits::Limits;
use service_kit::metrics::Metrics;
use utoipa_axum::router::OpenApiRouter;

use crate::gateway::Gateway;
use crate::{access, cors, documentation, keys, proxy, requests};

/// Bounds of the gateway. Most of what it does is waiting for others.
const LIMITS: Limits =
    Limits { requests_at_once: 2048, time: Duration::from_secs(30), body_bytes: requests::MOST_BODY_BYTES };

/// The gateway as a router.
///
/// # Errors
/// If the document that describes the API cannot be written as JSON.
pub fn router(
    gateway: &Arc<Gateway>,
    readiness: Readiness,
    metrics: Metrics,
) -> Result<Router, serde_json::Error> {
    let guarded = |router: OpenApiRouter<Arc<Gateway>>| -> OpenApiRouter {
        router.layer(from_fn_with_state(Arc::clone(gateway), access::require)).with_state(Arc::clone(gateway))
    };
    // No documentation: what is passed on is documented by the services.
    let streams = streams().route("/{*path}", any(proxy::forward));
    let application = application(guarded(routes()), guarded(streams), readiness, metrics);
    let application =
        application.into_router()?.layer(from_fn_with_state(Arc::clone(gateway), access::guard_metrics));
    Ok(documentation::routes()
        .with_state(Arc::clone(gateway))
        .fallback_service(application)
        .layer(from_fn_with_state(Arc::clone(gateway), cors::allow)))
}

/// The document that describes the gateway's own routes.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn document() -> Result<Value, serde_json::Error> {
    let described = |router: OpenApiRouter<Arc<Gateway>>| OpenApiRouter::with_openapi(router.into_openapi());
    let application = application(
        described(routes()),
        described(streams()),
        Readiness::default(),
        Metrics::new("monolith"),
    );
    let mut document = serde_json::to_value(application.document())?;
    documentation::describe(&mut document);
    tell_order(&mut document);
    Ok(document)
}

/// All lists of the gateway have one order, which those of other services need not have.
fn tell_order(document: &mut Value) {
    for (name, schema) in document["components"]["schemas"].as_object_mut().into_iter().flatten() {
        if name.starts_with("Listed_") {
            schema["properties"]["items"]["description"] = json!("The items, those made last first.");
        }
    }
}

fn routes() -> OpenApiRouter<Arc<Gateway>> {
    keys::routes().merge(requests::routes())
}

fn streams() -> OpenApiRouter<Arc<Gateway>> {
    requests::streams()
}

fn application(
    routes: OpenApiRouter,
    streams: OpenApiRouter,
    readiness: Readiness,
    metrics: Metrics,
) -> Application {
    Application {
        name: "monolith",
        description: "The front door of a platform: API keys, requests that several services work on, and the way \
            to the APIs of the services themselves.",
        version: env!("CARGO_PKG_VERSION"),
        routes,
        streams,
        readiness,
        metrics,
        limits: LIMITS,
        // It is called with API keys instead.
        trust: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_a_name_of_its_own_and_says_what_it_needs() {
        let document = document().unwrap();
        let mut names = Vec::new();
        for item in document["paths"].as_object().unwrap().values() {
            for operation in item.as_object().unwrap().values() {
                names.push(operation["operationId"].as_str().unwrap().to_owned());
                assert!(operation["security"][0]["apiKey"][0].is_string(), "{operation}");
                assert!(operation["summary"].is_string(), "{operation}");
            }
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(count >= 10);
    }

    #[test]
    fn every_list_says_in_what_order_it_is() {
        let document = document().unwrap();
        for list in ["Listed_ApiKey", "Listed_RequestSummary"] {
            let items = &document["components"]["schemas"][list]["properties"]["items"];
            assert_eq!(items["description"], "The items, those made last first.", "{list}");
            assert_eq!(items["type"], "array", "{list}");
        }
    }
}
