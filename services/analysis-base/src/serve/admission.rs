//! What callers other than the gateway may ask for.
//!
//! The gateway has looked at the key of its client, and says for whom it asks.
//! Pods of AnalysisJobs come by themselves, and show a token that any pod of
//! the namespace can be given: so they may read data sets and add versions to
//! them, and nothing else.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use crds::platform::configuration::ANALYSIS_JOB_CALLER;
use service_kit::Problem;
use service_kit::identity::Caller;

use super::idempotent::PRINCIPAL;

/// All that the pod of an AnalysisJob may ask for.
const OF_ANALYSIS_JOBS: [(&str, &str); 4] = [
    ("GET", "/v1/datasets"),
    ("PUT", "/v1/datasets/{name}"),
    ("GET", "/v1/datasets/{name}/versions/{version}"),
    ("GET", "/v1/datasets/{name}/versions/{version}/content"),
];

/// Whether a caller is the pod of an AnalysisJob.
pub fn is_analysis_job(caller: &Caller) -> bool {
    caller.service == ANALYSIS_JOB_CALLER
}

/// Refuses what a caller may not ask for.
pub async fn enforce(mut request: Request, next: Next) -> Response {
    if request.extensions().get::<Caller>().is_some_and(is_analysis_job) {
        let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
        if !OF_ANALYSIS_JOBS.contains(&(request.method().as_str(), route)) {
            let detail =
                "The pod of an AnalysisJob may read data sets and add versions to them, and nothing else.";
            tracing::info!(method = %request.method(), route, "A request of an AnalysisJob was refused.");
            return Problem::forbidden(detail).into_response();
        }
        // For whom a request is made is for the gateway to say.
        request.headers_mut().remove(PRINCIPAL);
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_analysis_jobs_may_ask_for_is_there() {
        let document = serde_json::to_value(crate::serve::document()).expect("document");
        for (method, path) in OF_ANALYSIS_JOBS {
            assert!(document["paths"][path][method.to_lowercase()].is_object(), "{method} {path}");
        }
    }

    #[test]
    fn nothing_that_they_may_ask_for_removes_or_computes() {
        for (method, path) in OF_ANALYSIS_JOBS {
            assert!(matches!(method, "GET" | "PUT"), "{method} {path}");
            assert!(path.starts_with("/v1/datasets"), "{method} {path}");
            // Asking for a profile begins an analysis.
            assert!(!path.contains("statistics"), "{method} {path}");
        }
    }
}
