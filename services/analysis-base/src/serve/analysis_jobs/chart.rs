use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use service_kit::Problem;
use service_kit::extract::{Json, Path};
use service_kit::paging::Listed;
use service_kit::problem::ProblemBody;

use super::find;
use super::model::chart_links;
use super::place::{self, Place};
use crate::serve::analyses::ChartLink;
use crate::serve::analyses::result::{ALWAYS, JSON, PICTURE_POLICY, SVG, VEGA_LITE};
use crate::serve::error::ServeError;
use crate::serve::negotiate::negotiate;
use crate::serve::state::Service;

/// List the charts of an AnalysisJob
///
/// All of them: there are at most 16.
#[utoipa::path(
    get,
    path = "/v1/analysis-jobs/{name}/charts",
    operation_id = "listAnalysisJobCharts",
    tag = "analysis-jobs",
    params(("name" = String, Path, description = "Name of the AnalysisJob")),
    responses(
        (status = 200, description = "Its charts", body = Listed<ChartLink>),
        (status = 404, description = "There is no such AnalysisJob", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "It has not ended, or its charts are on a volume or in a bucket: `location` says \
            where", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "It has failed", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 503, description = "The API server of Kubernetes cannot be read", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<Json<Listed<ChartLink>>, ServeError> {
    let job = find(&service, &name).await?;
    let output = place::output(&job)?;
    let items = chart_links(&job);
    match place::of_charts(output) {
        Place::Elsewhere(location) if !items.is_empty() => Err(place::elsewhere(&job, &location).into()),
        _ => Ok(Json(Listed { items, next_cursor: None })),
    }
}

/// Get a chart of an AnalysisJob
///
/// As a picture, or as a Vega-Lite specification with its data.
#[utoipa::path(
    get,
    path = "/v1/analysis-jobs/{name}/charts/{chart}",
    operation_id = "getAnalysisJobChart",
    tag = "analysis-jobs",
    params(
        ("name" = String, Path, description = "Name of the AnalysisJob"),
        ("chart" = String, Path, description = "Name of the chart")
    ),
    responses(
        (status = 200, description = "The chart", content(
            ("image/svg+xml"),
            ("application/vnd.vegalite.v6+json"),
            ("application/json")
        )),
        (status = 404, description = "There is no such AnalysisJob or chart, or its ConfigMap was deleted",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 406, description = "`Accept` names no format that there is", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "The AnalysisJob has not ended, or its charts are on a volume or in a bucket: \
            `location` says where", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The AnalysisJob has failed", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 503, description = "The API server of Kubernetes cannot be read", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn get(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    Path((name, chart)): Path<(String, String)>,
) -> Result<Response, ServeError> {
    let media_type = negotiate(&headers, &[(SVG, SVG), (VEGA_LITE, VEGA_LITE), (JSON, JSON)])?;
    let job = find(&service, &name).await?;
    let output = place::output(&job)?;
    if !job.charts().contains(&chart) {
        return Err(Problem::not_found(format!("The AnalysisJob has no chart `{chart}`.")).into());
    }
    let config_map = match place::of_charts(output) {
        Place::ConfigMap(config_map) => config_map,
        Place::Dataset { .. } => return Err(place::elsewhere(&job, &output.location).into()),
        Place::Elsewhere(location) => return Err(place::elsewhere(&job, &location).into()),
    };
    let ending = if media_type == SVG { "svg" } else { "vl.json" };
    let bytes = place::file(&service, &job, &config_map, &format!("{chart}.{ending}")).await?;
    let described = [(header::CONTENT_TYPE, media_type), (header::CONTENT_SECURITY_POLICY, PICTURE_POLICY)];
    Ok((described, ALWAYS, Body::from(bytes)).into_response())
}
