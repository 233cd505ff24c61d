use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use crds::analysis::SourceFormat;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use service_kit::Problem;
use service_kit::extract::{Json, Path};
use service_kit::problem::ProblemBody;
use utoipa::ToSchema;
use uuid::Uuid;

use super::LIFE;
use super::headers::{
    LENGTH, METADATA, OFFSET, abilities, answered, bytes, check_version, expires, metadata,
};
use super::store::{self, NewUpload, UploadRecord, UploadStatus, prefix};
use crate::serve::datasets::{self, DatasetName, read_options};
use crate::serve::error::ServeError;
use crate::serve::garbage::Garbage;
use crate::serve::schema;
use crate::serve::state::Service;

/// A resumable upload.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResumableUpload {
    /// Its id.
    id: String,
    /// Where it stands.
    status: UploadStatus,
    /// Name of the data set of which it becomes a version.
    #[schema(example = "flights")]
    dataset: String,
    /// Format of the data.
    #[schema(schema_with = schema::source_format)]
    format: SourceFormat,
    /// Its size in bytes.
    #[schema(example = 52_428_800)]
    bytes: i64,
    /// How many of them are there.
    #[schema(example = 8_388_608)]
    received: i64,
    /// Number of the version that it has become.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 3)]
    version: Option<i64>,
    /// Why it has not become a version, and whether it still can.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ProblemBody>)]
    problem: Option<Value>,
    /// When it was begun.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it is removed, if nothing comes.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl From<UploadRecord> for ResumableUpload {
    fn from(record: UploadRecord) -> Self {
        Self {
            id: record.id,
            status: record.status,
            dataset: record.dataset,
            format: record.format,
            bytes: record.bytes,
            received: record.received,
            version: record.version,
            problem: record.problem,
            created_at: record.created_at,
            expires_at: record.expires_at,
        }
    }
}

/// Learn what resumable uploads can do
///
/// tus 1.0: <https://tus.io/protocols/resumable-upload>. A client that cannot send PATCH or DELETE sends POST with the
/// header `X-HTTP-Method-Override`, which names the method.
#[utoipa::path(
    options,
    path = "/v1/uploads",
    operation_id = "uploadOptions",
    tag = "uploads",
    responses((status = 204, description = "The headers say it", headers(
        ("Tus-Version" = String, description = "The version of the protocol"),
        ("Tus-Extension" = String, description = "The extensions that are there"),
        ("Tus-Max-Size" = i64, description = "Most bytes of an upload")
    )))
)]
pub(crate) async fn options(State(service): State<Arc<Service>>) -> Response {
    let abilities = abilities(service.bounds().upload_limit_bytes);
    answered(Ok((StatusCode::NO_CONTENT, abilities).into_response()))
}

/// Begin a resumable upload
///
/// The data come in parts, which can be sent again from where they broke off. The last part makes the version.
#[utoipa::path(
    post,
    path = "/v1/uploads",
    operation_id = "beginUpload",
    tag = "uploads",
    params(
        ("Tus-Resumable" = String, Header, description = "`1.0.0`", example = json!("1.0.0")),
        ("Upload-Length" = i64, Header, description = "Size of the data in bytes"),
        ("Upload-Metadata" = String, Header, description = "Keys, each with a value in base64: `name` of the data \
            set, `format` (csv, jsonLines, parquet or arrow) and, if need be, `options` as JSON",
            example = json!("name ZmxpZ2h0cw==,format Y3N2"))
    ),
    responses(
        (status = 201, description = "It is begun", headers(
            ("Location" = String, description = "Where the parts go"),
            ("Upload-Expires" = String, description = "When it is removed, if nothing comes")
        )),
        (status = 400, description = "A header cannot be understood", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 412, description = "The version of the protocol is not spoken here", body = ProblemBody,
            content_type = "application/problem+json",
            headers(("Tus-Version" = String, description = "The version that is"))),
        (status = 413, description = "There are more bytes than are accepted", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 422, description = "The name or the options do not fit", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn create(State(service): State<Arc<Service>>, headers: HeaderMap) -> Response {
    answered(begin(&service, &headers).await)
}

async fn begin(service: &Service, headers: &HeaderMap) -> Result<Response, ServeError> {
    check_version(headers)?;
    let bytes = bytes(headers, &LENGTH)?;
    let limit = service.bounds().upload_limit_bytes;
    if bytes > limit {
        return Err(Problem::too_large(limit).into());
    }
    if bytes == 0 {
        return Err(Problem::unprocessable("There are no data: `Upload-Length` is 0.").into());
    }
    let text = headers.get(METADATA).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let said = metadata(text)?;
    let required = |key: &str| {
        let value = said.get(key);
        value.ok_or_else(|| Problem::bad_request(format!("`Upload-Metadata` has no `{key}`.")))
    };
    let dataset = DatasetName::parse(required("name")?)?;
    let format: SourceFormat = serde_json::from_value(Value::String(required("format")?.clone()))
        .map_err(|error| Problem::bad_request(format!("`Upload-Metadata`, `format`: {error}.")))?;
    let options = read_options(said.get("options").map(String::as_str))?;
    datasets::check(service, format, &options)?;
    let id = Uuid::now_v7().to_string();
    let new = NewUpload {
        id: id.clone(),
        dataset: dataset.as_str().to_owned(),
        format,
        options,
        metadata: text.to_owned(),
        bytes,
    };
    store::insert(&service.database, &new, LIFE).await?;
    let record = find(service, &id).await?;
    let headers = [(header::LOCATION, format!("/v1/uploads/{id}")), expires(record.expires_at)];
    Ok((StatusCode::CREATED, headers).into_response())
}

/// Learn how much of an upload is there
#[utoipa::path(
    head,
    path = "/v1/uploads/{id}",
    operation_id = "getUploadOffset",
    tag = "uploads",
    params(
        ("id" = String, Path, description = "Id of the upload"),
        ("Tus-Resumable" = String, Header, description = "`1.0.0`", example = json!("1.0.0"))
    ),
    responses(
        (status = 200, description = "The headers say it", headers(
            ("Upload-Offset" = i64, description = "Where the next part begins"),
            ("Upload-Length" = i64, description = "Size of the data"),
            ("Upload-Metadata" = String, description = "As it was given")
        )),
        (status = 404, description = "There is no such upload, or it has expired"),
        (status = 412, description = "The version of the protocol is not spoken here",
            headers(("Tus-Version" = String, description = "The version that is")))
    )
)]
pub(crate) async fn head(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    answered(offset(&service, &headers, &id).await)
}

async fn offset(service: &Service, headers: &HeaderMap, id: &str) -> Result<Response, ServeError> {
    check_version(headers)?;
    let record = find(service, id).await?;
    let headers = [
        (OFFSET, record.received.to_string()),
        (LENGTH, record.bytes.to_string()),
        (METADATA, record.metadata),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        expires(record.expires_at),
    ];
    Ok(headers.into_response())
}

/// Get an upload
///
/// Not of the protocol, but for who wants to know what has become of the last part.
#[utoipa::path(
    get,
    path = "/v1/uploads/{id}",
    operation_id = "getUpload",
    tag = "uploads",
    params(("id" = String, Path, description = "Id of the upload")),
    responses(
        (status = 200, description = "The upload", body = ResumableUpload),
        (status = 404, description = "There is no such upload, or it has expired", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn get(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
) -> Result<Json<ResumableUpload>, ServeError> {
    Ok(Json(find(&service, &id).await?.into()))
}

/// Give up an upload
#[utoipa::path(
    delete,
    path = "/v1/uploads/{id}",
    operation_id = "deleteUpload",
    tag = "uploads",
    params(
        ("id" = String, Path, description = "Id of the upload"),
        ("Tus-Resumable" = String, Header, description = "`1.0.0`", example = json!("1.0.0"))
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no such upload, or it has expired", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "It is becoming a version just now", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 412, description = "The version of the protocol is not spoken here", body = ProblemBody,
            content_type = "application/problem+json",
            headers(("Tus-Version" = String, description = "The version that is"))),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn delete(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    answered(give_up(&service, &headers, &id).await)
}

async fn give_up(service: &Service, headers: &HeaderMap, id: &str) -> Result<Response, ServeError> {
    check_version(headers)?;
    find(service, id).await?;
    let mut transaction = service.database.begin().await?;
    if !store::delete(&mut transaction, id).await? {
        return Err(
            Problem::conflict("All parts of the upload are there, and it is becoming a version.").into()
        );
    }
    Garbage::discard(&mut transaction, &prefix(id)).await?;
    transaction.commit().await?;
    service.garbage.wake();
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn find(service: &Service, id: &str) -> Result<UploadRecord, ServeError> {
    let record = store::find(&service.database, id).await?;
    Ok(record.ok_or_else(|| Problem::not_found(format!("There is no upload with the id `{id}`.")))?)
}
