use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use service_kit::Problem;
use service_kit::extract::{Json, Path, Query};
use service_kit::paging::{Listed, Page, wrong_cursor};
use service_kit::problem::ProblemBody;
use utoipa::IntoParams;

use super::find;
use super::model::{JobAnswer, JobStatus};
use super::object::JobInList;
use crate::serve::error::ServeError;
use crate::serve::kubernetes::{KubernetesError, Part};
use crate::serve::state::Service;

/// So many AnalysisJobs are looked at for a page of those of one status.
const MOST_LOOKED_AT: usize = 1000;
/// Longest cursor: those of the API server have a few hundred characters.
const CURSOR_LIMIT: usize = 4096;

/// Which AnalysisJobs are listed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Only those that stand there: `pending`, `running`, `suspended`, `rejected`, `succeeded` or `failed`. Kubernetes
    /// keeps no account of it, so that up to 1,000 are looked at for a page, which may have fewer items than asked for
    /// or none: go on while there is a `nextCursor`.
    #[param(example = json!("running"))]
    status: Option<String>,
}

/// List AnalysisJobs
///
/// Those of the namespace of the Platform, by name. Pages are those of the Kubernetes API: a `nextCursor` is good for
/// some minutes, and shows the list as it was when its first page was given.
#[utoipa::path(
    get,
    path = "/v1/analysis-jobs",
    operation_id = "listAnalysisJobs",
    tag = "analysis-jobs",
    params(Page, Filter),
    responses(
        (status = 200, description = "A page of AnalysisJobs", body = Listed<JobAnswer>),
        (status = 400, description = "`limit`, `cursor` or `status` make no sense", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 410, description = "The cursor has expired: begin again without it", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 503, description = "The API server of Kubernetes cannot be read: `detail` says what is missing",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
    Query(page): Query<Page>,
    Query(filter): Query<Filter>,
) -> Result<Json<Listed<JobAnswer>>, ServeError> {
    let limit = page.limit()?;
    let status = filter.status.as_deref().map(status_named).transpose()?;
    if page.cursor.as_ref().is_some_and(|cursor| cursor.is_empty() || cursor.len() > CURSOR_LIMIT) {
        return Err(wrong_cursor().into());
    }
    let mut cursor = page.cursor;
    let (mut items, mut looked_at) = (Vec::new(), 0);
    // The API server says where to go on only behind all that it was asked for,
    // so it is never asked for more than there is room for.
    loop {
        let part = part(&service, limit - items.len(), cursor.as_deref()).await?;
        cursor = part.next();
        looked_at += part.items.len();
        let wanted = part.items.into_iter().filter(|job| status.is_none_or(|status| job.stands() == status));
        items.extend(wanted.map(JobAnswer::brief));
        if cursor.is_none() || items.len() >= limit || looked_at >= MOST_LOOKED_AT {
            return Ok(Json(Listed { items, next_cursor: cursor }));
        }
    }
}

/// A part of the list; a smaller one than wanted, if the objects are large.
async fn part(
    service: &Service,
    mut limit: usize,
    cursor: Option<&str>,
) -> Result<Part<JobInList>, ServeError> {
    loop {
        let at_most = u32::try_from(limit).unwrap_or(u32::MAX);
        match service.kubernetes.analysis_jobs(at_most, cursor).await {
            Err(KubernetesError::TooLarge) if limit > 1 => limit = limit.div_ceil(4),
            Err(KubernetesError::Invalid(_)) if cursor.is_some() => return Err(wrong_cursor().into()),
            other => return Ok(other?),
        }
    }
}

fn status_named(name: &str) -> Result<JobStatus, Problem> {
    JobStatus::parse(name).ok_or_else(|| {
        let names = JobStatus::ALL.map(JobStatus::as_str).join(", ");
        Problem::bad_request(format!("`status` is `{name}`, and has to be one of {names}."))
    })
}

/// Get an AnalysisJob
#[utoipa::path(
    get,
    path = "/v1/analysis-jobs/{name}",
    operation_id = "getAnalysisJob",
    tag = "analysis-jobs",
    params(("name" = String, Path, description = "Its name", example = json!("penguins"))),
    responses(
        (status = 200, description = "The AnalysisJob: what it is to do, where it stands, and where its result is",
            body = JobAnswer),
        (status = 404, description = "There is none of this name", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 503, description = "The API server of Kubernetes cannot be read: `detail` says what is missing",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn get(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<Json<JobAnswer>, ServeError> {
    Ok(Json(JobAnswer::whole(find(&service, &name).await?)))
}
