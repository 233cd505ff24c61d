use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use crds::analysis::OutputFormat;
use service_kit::Problem;
use service_kit::extract::{Json, Path, Query};
use service_kit::problem::ProblemBody;

use super::object::Job;
use super::place::{self, Place};
use super::{content, find};
use crate::serve::analyses::ResultRows;
use crate::serve::analyses::result::{ALWAYS, FORMATS, Format, Part, writer};
use crate::serve::error::ServeError;
use crate::serve::negotiate::negotiate;
use crate::serve::rows;
use crate::serve::state::Service;

/// Get the result of an AnalysisJob
///
/// A result in a ConfigMap is given in every format: in that in which it is stored as it is, and in others as far as
/// these can hold it. CSV and JSON lines say nothing of types: the columns get those that their values suggest. A
/// result in a data set is there, and is redirected to. Where a result on a volume or in a bucket is, and how to get
/// it, is told.
#[utoipa::path(
    get,
    path = "/v1/analysis-jobs/{name}/result",
    operation_id = "getAnalysisJobResult",
    tag = "analysis-jobs",
    params(("name" = String, Path, description = "Name of the AnalysisJob"), Part),
    responses(
        (status = 200, description = "Rows of the result. What breaks off before its end is not whole.", content(
            (ResultRows = "application/json"),
            ("text/csv", example = json!("species,penguins\nAdelie,152\n")),
            ("application/x-ndjson", example = json!("{\"species\":\"Adelie\",\"penguins\":152}\n")),
            ("application/vnd.apache.parquet"),
            ("application/vnd.apache.arrow.file")
        )),
        (status = 303, description = "The result is a version of a data set, which the scope `datasets:read` shows",
            headers(("Location" = String, description = "Address of the data of the version"))),
        (status = 404, description = "There is no such AnalysisJob, it has no `output`, or its ConfigMap was deleted",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 406, description = "`Accept` names no format that there is", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "The AnalysisJob has not ended, with `Retry-After`, or its result is on a volume \
            or in a bucket: `location` says where", body = ProblemBody, content_type = "application/problem+json",
            example = json!({
                "type": "https://aisaas.dev/problems/result-elsewhere",
                "title": "Result is elsewhere",
                "status": 409,
                "detail": "The files of the AnalysisJob are on the PersistentVolumeClaim `flights`, in the folder \
                    `delays`, which analysis-base does not mount: read them in a pod that does. A result of an \
                    AnalysisJob whose `output` is a `configMap` is given here.",
                "location": "pvc/flights/delays",
                "analysisJob": "/v1/analysis-jobs/delays"
            })),
        (status = 422, description = "The AnalysisJob has failed, or its result cannot be written in this format",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The API server of Kubernetes cannot be read", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn get(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Query(part): Query<Part>,
) -> Result<Response, ServeError> {
    let format = negotiate(&headers, &FORMATS)?;
    let job = find(&service, &name).await?;
    let config_map = match place::of_result(place::output(&job)?) {
        Place::ConfigMap(config_map) => config_map,
        Place::Dataset { name, version } => return Ok(in_dataset(&service, &job, &name, &version)?),
        Place::Elsewhere(location) => return Err(place::elsewhere(&job, &location).into()),
    };
    let stored = job.format().unwrap_or(OutputFormat::Csv);
    let bytes = place::file(&service, &job, &config_map, stored.file_name()).await?;
    if part.is_whole() && is_stored_so(format, stored) {
        return Ok(file(&name, format, Body::from(bytes)));
    }
    converted(&service, &name, stored, bytes, format, &part).await
}

/// Whether the bytes that are stored are of this format.
fn is_stored_so(format: Format, stored: OutputFormat) -> bool {
    match format {
        Format::Page => false,
        Format::Lines => stored == OutputFormat::JsonLines,
        Format::Engine(format) => stored == format,
    }
}

async fn converted(
    service: &Service,
    name: &str,
    stored: OutputFormat,
    bytes: Bytes,
    format: Format,
    part: &Part,
) -> Result<Response, ServeError> {
    let as_stored = || {
        let media_type = Format::Engine(stored).media_type();
        format!(
            "The result has rows that are too large to be converted. Ask for it as {media_type}, in which it is \
             stored."
        )
    };
    if format == Format::Page {
        let (offset, limit) = part.page()?;
        let table = content::table(service, stored.file_name(), stored, bytes).await?;
        let turn = service.turns.pages.soon().await?;
        let page = rows::page_of(table, offset, limit).await;
        drop(turn);
        let (rows, _) = page.map_err(|error| error.instead(as_stored))?;
        return Ok((ALWAYS, Json(rows)).into_response());
    }
    let (offset, limit) = part.rows(format)?;
    let table = content::table(service, stored.file_name(), stored, bytes).await?;
    let turn = service.turns.streams.soon().await?;
    let writer = writer(&table, format)?;
    let rows = table.read(offset, limit).map_err(|error| ServeError::from(error).instead(as_stored))?;
    Ok(file(name, format, rows::body(rows, writer, turn)))
}

fn file(name: &str, format: Format, body: Body) -> Response {
    let disposition = format!("attachment; filename=\"{name}-{}\"", format.file_name());
    let described =
        [(header::CONTENT_TYPE, format.media_type().to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    (described, ALWAYS, body).into_response()
}

/// Where the data set is that has the result; a Platform keeps its own only.
fn in_dataset(service: &Service, job: &Job, name: &str, version: &str) -> Result<Response, Problem> {
    let own = service.settings.current().platform.clone();
    if let Some(other) = job.dataset_platform().filter(|other| own.as_ref().is_some_and(|own| own != other)) {
        let detail = format!(
            "The result is version {version} of the data set `{name}` of the Platform `{other}`: get it from that one, \
             at `/v1/datasets/{name}/versions/{version}/content`."
        );
        let problem = Problem::new(StatusCode::CONFLICT, "result-elsewhere", "Result is elsewhere", detail);
        return Err(problem.with("location", format!("dataset/{name}/{version}")));
    }
    let address = format!("/v1/datasets/{name}/versions/{version}/content");
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, address)]).into_response())
}
