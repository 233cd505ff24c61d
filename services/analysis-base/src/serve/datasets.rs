//! Data sets: names with versions, which are data that never change.
//!
//! ```text
//!   upload, digest    data that come in
//!   inspect           a look at them before they become a version
//!   content           data that go out
//!   statistics        a profile, computed once
//!   routes            the other addresses
//!   store, model      in the database, and in memory
//! ```

mod content;
mod digest;
mod inspect;
mod model;
mod routes;
mod statistics;
pub(in crate::serve) mod store;
mod upload;

use std::sync::Arc;

use service_kit::Problem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(in crate::serve) use inspect::{check, look, query};
pub(in crate::serve) use model::{DatasetName, Number, ReadOptions, format_name};
pub(in crate::serve) use store::{data_object, prefix};
pub(in crate::serve) use upload::{inspected, next_chunk, publish, read_options};

use self::store::VersionRecord;
use super::error::ServeError;
use super::state::Service;

/// What is answered within moments.
pub(in crate::serve) fn routes() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::default()
        .routes(routes!(routes::list))
        .routes(routes!(routes::get, routes::delete))
        .routes(routes!(routes::list_versions))
        .routes(routes!(routes::get_version, routes::delete_version))
        .routes(routes!(routes::get_schema))
        .routes(routes!(routes::get_preview))
        .routes(routes!(statistics::get))
}

/// What may go on for hours.
pub(in crate::serve) fn streams() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::default().routes(routes!(upload::put)).routes(routes!(content::get))
}

/// The version of the data set.
///
/// # Errors
/// 404, if there is none.
async fn find_version(service: &Service, name: &str, version: &str) -> Result<VersionRecord, ServeError> {
    let number = Number::parse(version)?;
    let found = store::find(&service.database, name, number).await?;
    Ok(found.ok_or_else(|| {
        Problem::not_found(format!("There is no data set `{name}` with the version {number}."))
    })?)
}

/// There is no such data set.
fn missing(name: &str) -> Problem {
    Problem::not_found(format!("There is no data set `{name}`."))
}
