//! Analyses: one query or one profile over data sets and other data.
//!
//! ```text
//!   request, check   what a client asks for, and what is wrong with it
//!   accept           stored and in the queue
//!   run              from the queue to the end, in a process of its own
//!   explain          why it failed, in words for a client
//!   answer, result   what a client is told and given
//!   routes           the addresses
//!   store, model     in the database, and in memory
//! ```

mod accept;
mod answer;
mod check;
mod explain;
mod model;
mod request;
pub(in crate::serve) mod result;
mod routes;
mod run;
pub(in crate::serve) mod store;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(in crate::serve) use accept::{Work, accept};
pub(in crate::serve) use answer::{at_most, no_result, outcome, wait};
pub(in crate::serve) use model::{Analysis, ChartLink, ResultRows, Status, address};
pub(in crate::serve) use request::{AnalysisRequest, parquet_output};
pub(in crate::serve) use run::Runner;

use super::state::Service;

/// What is answered within moments.
pub(in crate::serve) fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::default()
        .routes(routes!(routes::create, routes::list))
        .routes(routes!(routes::get, routes::delete))
        .routes(routes!(routes::cancel))
        .routes(routes!(result::chart))
}

/// What may go on for hours.
pub(in crate::serve) fn streams() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::default().routes(routes!(result::get))
}
