//! AnalysisJobs: analyses that were declared to Kubernetes, as this API shows them.
//!
//! ```text
//!   object         what is read of an AnalysisJob
//!   model          what a client is told of it
//!   place          where its result is, or why there is none
//!   content        a result in a ConfigMap as a table
//!   result, chart  what a client is given of it
//!   routes         the other addresses
//! ```
//!
//! They are never written here: whoever declares them has kubectl.

mod chart;
mod content;
mod model;
mod object;
mod place;
mod result;
mod routes;

use std::sync::Arc;

use service_kit::Problem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::object::{Job, is_name};
use super::error::ServeError;
use super::state::Service;

/// The addresses of AnalysisJobs.
pub(in crate::serve) fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::default()
        .routes(routes!(routes::list))
        .routes(routes!(routes::get))
        .routes(routes!(result::get))
        .routes(routes!(chart::list))
        .routes(routes!(chart::get))
}

/// Where an AnalysisJob is.
fn address(name: &str) -> String {
    format!("/v1/analysis-jobs/{name}")
}

/// The AnalysisJob of this name.
async fn find(service: &Service, name: &str) -> Result<Job, ServeError> {
    let missing = || Problem::not_found(format!("There is no AnalysisJob `{name}` here."));
    // Nothing else is put into an address of the API server.
    if !is_name(name) {
        return Err(missing().into());
    }
    Ok(service.kubernetes.analysis_job(name).await?.ok_or_else(missing)?)
}
