use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use service_kit::Problem;
use service_kit::extract::{Json, Path, Query};
use service_kit::paging::{Listed, Page, and_one_more, wrong_cursor};
use service_kit::problem::ProblemBody;
use utoipa::{IntoParams, ToSchema};

use super::inspect::PREVIEW_ROWS;
use super::model::{Dataset, DatasetName, Number, Version};
use super::store::{self, Deleted, prefix};
use super::{find_version, missing};
use crate::serve::analyses::{self, ResultRows};
use crate::serve::error::ServeError;
use crate::serve::garbage::Garbage;
use crate::serve::rows;
use crate::serve::schema::ColumnDescription;
use crate::serve::state::Service;

/// Rows of a preview that does not say how many.
const USUAL_ROWS: u64 = 20;

/// List data sets
///
/// In the order of their names.
#[utoipa::path(
    get,
    path = "/v1/datasets",
    operation_id = "listDatasets",
    tag = "datasets",
    params(Page),
    responses(
        (status = 200, description = "A page of data sets", body = Listed<Dataset>),
        (status = "default", description = "A problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
    Query(page): Query<Page>,
) -> Result<Json<Listed<Dataset>>, ServeError> {
    let limit = page.limit()?;
    let after = page.cursor.unwrap_or_default();
    if !after.is_empty() {
        DatasetName::parse(&after).map_err(|_| wrong_cursor())?;
    }
    let datasets = store::page(&service.database, &after, and_one_more(limit)).await?;
    Ok(Json(Listed::of(datasets, limit, |dataset| dataset.name.clone())))
}

/// Get a data set
#[utoipa::path(
    get,
    path = "/v1/datasets/{name}",
    operation_id = "getDataset",
    tag = "datasets",
    params(("name" = String, Path, description = "Name of the data set", example = json!("flights"))),
    responses(
        (status = 200, description = "The data set with its latest version", body = Dataset),
        (status = 404, description = "There is none of this name", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn get(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<Json<Dataset>, ServeError> {
    let dataset = store::find_dataset(&service.database, &name).await?;
    Ok(Json(dataset.ok_or_else(|| missing(&name))?))
}

/// List the versions of a data set
///
/// Those that came last come first.
#[utoipa::path(
    get,
    path = "/v1/datasets/{name}/versions",
    operation_id = "listVersions",
    tag = "datasets",
    params(("name" = String, Path, description = "Name of the data set"), Page),
    responses(
        (status = 200, description = "A page of versions", body = Listed<Version>),
        (status = 404, description = "There is no data set of this name", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn list_versions(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    Query(page): Query<Page>,
) -> Result<Json<Listed<Version>>, ServeError> {
    let limit = page.limit()?;
    let before = match page.cursor.as_deref().map(str::parse) {
        None => i64::MAX,
        Some(Ok(before)) => before,
        Some(Err(_)) => return Err(wrong_cursor().into()),
    };
    let versions = store::page_of_versions(&service.database, &name, before, and_one_more(limit)).await?;
    if versions.is_empty() && store::find_dataset(&service.database, &name).await?.is_none() {
        return Err(missing(&name).into());
    }
    Ok(Json(Listed::of(versions, limit, |version| version.version.to_string())))
}

/// Get a version of a data set
#[utoipa::path(
    get,
    path = "/v1/datasets/{name}/versions/{version}",
    operation_id = "getVersion",
    tag = "datasets",
    params(
        ("name" = String, Path, description = "Name of the data set"),
        ("version" = String, Path, description = "Number of the version, or `latest`", example = json!("latest"))
    ),
    responses(
        (status = 200, description = "The version", body = Version),
        (status = 404, description = "There is no such version", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn get_version(
    State(service): State<Arc<Service>>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<Version>, ServeError> {
    Ok(Json(find_version(&service, &name, &version).await?.version))
}

/// The columns of a version.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionSchema {
    /// The columns, in their order.
    columns: Vec<ColumnDescription>,
}

/// Get the columns of a version
#[utoipa::path(
    get,
    path = "/v1/datasets/{name}/versions/{version}/schema",
    operation_id = "getSchema",
    tag = "datasets",
    params(
        ("name" = String, Path, description = "Name of the data set"),
        ("version" = String, Path, description = "Number of the version, or `latest`", example = json!("latest"))
    ),
    responses(
        (status = 200, description = "The columns with their types", body = VersionSchema),
        (status = 404, description = "There is no such version", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn get_schema(
    State(service): State<Arc<Service>>,
    Path((name, version)): Path<(String, String)>,
) -> Result<Json<VersionSchema>, ServeError> {
    let columns = find_version(&service, &name, &version).await?.version.columns;
    Ok(Json(VersionSchema { columns }))
}

/// How much of the beginning.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct Beginning {
    /// How many rows: up to 100, 20 if left out.
    #[param(minimum = 0, maximum = 100)]
    limit: Option<u64>,
}

/// Get the first rows of a version
///
/// `total` is the number of rows that can be shown here, not of those that the data have.
#[utoipa::path(
    get,
    path = "/v1/datasets/{name}/versions/{version}/preview",
    operation_id = "getPreview",
    tag = "datasets",
    params(
        ("name" = String, Path, description = "Name of the data set"),
        ("version" = String, Path, description = "Number of the version, or `latest`", example = json!("latest")),
        Beginning
    ),
    responses(
        (status = 200, description = "The first rows", body = ResultRows),
        (status = 404, description = "There is no such version", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn get_preview(
    State(service): State<Arc<Service>>,
    Path((name, version)): Path<(String, String)>,
    Query(beginning): Query<Beginning>,
) -> Result<Json<ResultRows>, ServeError> {
    let limit = beginning.limit.unwrap_or(USUAL_ROWS);
    if limit > PREVIEW_ROWS {
        let detail = format!("`limit` is {limit}, and has to be from 0 to {PREVIEW_ROWS}.");
        return Err(Problem::bad_request(detail).into());
    }
    let record = find_version(&service, &name, &version).await?;
    let rows = rows::page(&service, &record.preview(), 0, limit).await.map_err(|error| {
        error.instead(|| {
            let (dataset, number) = (&record.version.dataset, record.version.version);
            format!(
                "The first rows are too large to be shown. Get the data themselves: \
                 `/v1/datasets/{dataset}/versions/{number}/content`."
            )
        })
    })?;
    Ok(Json(rows))
}

/// Delete a data set
///
/// With all of its versions, unless an analysis that is under way uses one of them. Their numbers are not given again:
/// a later upload under the name goes on counting.
#[utoipa::path(
    delete,
    path = "/v1/datasets/{name}",
    operation_id = "deleteDataset",
    tag = "datasets",
    params(("name" = String, Path, description = "Name of the data set")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is none of this name", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "An analysis uses it: `analyses` says which", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn delete(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<StatusCode, ServeError> {
    if store::find_dataset(&service.database, &name).await?.is_none() {
        return Err(missing(&name).into());
    }
    remove(&service, Deleted { name: &name, version: None }).await
}

/// Delete a version of a data set
///
/// Unless an analysis that is under way uses it. The numbers of the other versions stay, and its own is not used again.
#[utoipa::path(
    delete,
    path = "/v1/datasets/{name}/versions/{version}",
    operation_id = "deleteVersion",
    tag = "datasets",
    params(
        ("name" = String, Path, description = "Name of the data set"),
        ("version" = i64, Path, description = "Number of the version")
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no such version", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "An analysis uses it: `analyses` says which", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn delete_version(
    State(service): State<Arc<Service>>,
    Path((name, version)): Path<(String, String)>,
) -> Result<StatusCode, ServeError> {
    if Number::parse(&version)? == Number::Latest {
        // Another one may be the latest by now.
        return Err(Problem::bad_request("Say the number of the version that is to be deleted.").into());
    }
    let number = find_version(&service, &name, &version).await?.version.version;
    remove(&service, Deleted { name: &name, version: Some(number) }).await
}

async fn remove(service: &Service, deleted: Deleted<'_>) -> Result<StatusCode, ServeError> {
    let mut transaction = service.database.begin().await?;
    let users = store::users(&mut transaction, deleted).await?;
    if !users.is_empty() {
        return Err(in_use(&users).into());
    }
    let remains = store::delete(&mut transaction, deleted).await.map_err(|error| {
        if store::is_in_use(&error) { in_use(&[]).into() } else { ServeError::from(error) }
    })?;
    for id in &remains.versions {
        Garbage::discard(&mut transaction, &prefix(id)).await?;
    }
    for id in &remains.statistics {
        analyses::store::expire(&mut transaction, id).await?;
    }
    transaction.commit().await?;
    service.garbage.wake();
    Ok(StatusCode::NO_CONTENT)
}

fn in_use(analyses: &[String]) -> Problem {
    let detail = "An analysis that is under way uses it. Wait for its end, or cancel it.";
    let addresses: Vec<String> = analyses.iter().map(|id| analyses::address(id)).collect();
    Problem::conflict(detail).with("analyses", addresses)
}
