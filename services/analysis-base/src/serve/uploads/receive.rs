//! A part of an upload that comes in.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use service_kit::Problem;
use service_kit::database::Transaction;
use service_kit::extract::Path;
use service_kit::problem::ProblemBody;
use service_kit::queue::NewJob;
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use super::headers::{OFFSET, PART, answered, bytes, check_version, expires};
use super::hold::{EVERY, Hold, PARTS_LIFE};
use super::routes::find;
use super::store::{self, Part, UploadRecord, UploadStatus, prefix};
use super::{LIFE, Work};
use crate::serve::analyses::at_most;
use crate::serve::datasets::next_chunk;
use crate::serve::error::ServeError;
use crate::serve::garbage::Garbage;
use crate::serve::state::{LOOK, Service};

/// How long the last part waits for the version.
const FINISH: Duration = Duration::from_secs(20);
/// How often it is tried to make a version of all parts. With the waits between
/// them that is most of an hour: a store that is away, or full, may be seen to
/// by then, and a client that has sent everything does not look again.
const MOST_ATTEMPTS: u32 = 60;

/// Send a part of an upload
///
/// What has come before the connection broke is kept. The last part is answered when the version is there, or when
/// that takes longer than 20 seconds. If the service could make none, for no fault of the data, an empty part at their
/// end has it try again.
#[utoipa::path(
    patch,
    path = "/v1/uploads/{id}",
    operation_id = "sendPart",
    tag = "uploads",
    params(
        ("id" = String, Path, description = "Id of the upload"),
        ("Tus-Resumable" = String, Header, description = "`1.0.0`", example = json!("1.0.0")),
        ("Upload-Offset" = i64, Header, description = "Where the part begins: how much is there already")
    ),
    request_body(description = "The part", content(("application/offset+octet-stream"))),
    responses(
        (status = 204, description = "The part is there", headers(
            ("Upload-Offset" = i64, description = "Where the next part begins"),
            ("Content-Location" = String, description = "Address of the version, once it is there")
        )),
        (status = 404, description = "There is no such upload, or it has expired", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 408, description = "Nothing came for a minute", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "The part does not begin where the data that are there end", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 412, description = "The version of the protocol is not spoken here", body = ProblemBody,
            content_type = "application/problem+json",
            headers(("Tus-Version" = String, description = "The version that is"))),
        (status = 413, description = "The part goes beyond the size of the data", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 415, description = "It is not said to be a part", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 422, description = "The data cannot be read: `detail` says where and why", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn patch(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    extensions: Extensions,
    Path(id): Path<String>,
    body: Body,
) -> Response {
    // In a task of its own, that keeps what has come when the client is gone.
    let receiving = async move { receive(&service, &headers, &extensions, &id, body).await };
    answered(tokio::spawn(receiving.in_current_span()).await.unwrap_or_else(|error| Err(error.into())))
}

async fn receive(
    service: &Service,
    headers: &HeaderMap,
    extensions: &Extensions,
    id: &str,
    body: Body,
) -> Result<Response, ServeError> {
    check_version(headers)?;
    if headers.get(header::CONTENT_TYPE).is_none_or(|media_type| media_type != PART) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "Unsupported media type",
            format!("Send the part with the header `Content-Type: {PART}`."),
        )
        .into());
    }
    let record = find(service, id).await?;
    let starts_at = i64::try_from(bytes(headers, &OFFSET)?).unwrap_or(i64::MAX);
    if starts_at != record.received {
        return Err(wrong_offset(&record).into());
    }
    let rest = u64::try_from(record.bytes - record.received).unwrap_or_default();
    if rest > 0 {
        let _turn = service.turns.uploads.soon().await?;
        take(service, id, starts_at, rest, body).await?;
    } else if record.status == UploadStatus::Failed {
        queue_again(service, id).await?;
    }
    // If nothing was left to send, the client may not know what has become of it.
    told(service, id, extensions).await
}

/// Takes in a part, as far as it comes.
async fn take(service: &Service, id: &str, starts_at: i64, rest: u64, body: Body) -> Result<(), ServeError> {
    let Some(mut hold) = Hold::begin(&service.database, id, starts_at, EVERY).await? else {
        return Err(wrong_offset(&find(service, id).await?).into());
    };
    let object = format!("{}/{}", prefix(id), Uuid::now_v7());
    let mut upload = service.objects.create(&object).await?;
    let mut chunks = body.into_data_stream();
    let broken = loop {
        match next_chunk(&mut chunks).await {
            Ok(None) => break None,
            Ok(Some(chunk)) if upload.bytes() + chunk.len() as u64 > rest => {
                return Err(Problem::too_large(rest).into());
            }
            Ok(Some(chunk)) => {
                service.metrics.uploaded.inc_by(chunk.len() as u64);
                upload.write(chunk).await?;
                if !hold.go_on().await {
                    return Err(wrong_offset(&find(service, id).await?).into());
                }
            }
            Err(problem) => break Some(problem),
        }
    };
    if upload.bytes() > 0 {
        let written = upload.finish().await?;
        let part = Part { starts_at, bytes: written.bytes, object };
        let kept = keep(service, id, &part, part.bytes == rest).await;
        // After another error it is not known whether something refers to the object.
        if matches!(kept, Err(ServeError::Problem(_) | ServeError::TooLate)) {
            forget(service, &part.object).await;
        }
        kept?;
    }
    broken.map_or(Ok(()), |problem| Err(problem.into()))
}

async fn keep(service: &Service, id: &str, part: &Part, is_last: bool) -> Result<(), ServeError> {
    let mut transaction = service.database.begin().await?;
    if !store::receive(&mut transaction, id, part, LIFE).await? {
        transaction.rollback().await?;
        return Err(wrong_offset(&find(service, id).await?).into());
    }
    let prefix = prefix(id);
    let is_kept = if is_last {
        // They are needed until there is a version, whenever that is.
        enqueue(service, &mut transaction, id).await?;
        Garbage::keep(&mut transaction, &prefix).await?
    } else {
        // The part may have come in for a while, and the upload lives on from now.
        Garbage::extend(&mut transaction, &prefix, PARTS_LIFE).await?
    };
    if !is_kept {
        return Err(ServeError::TooLate);
    }
    Ok(transaction.commit().await?)
}

/// The parts are made a version once the transaction is committed.
async fn enqueue(service: &Service, transaction: &mut Transaction, id: &str) -> Result<(), ServeError> {
    let job = NewJob::new(&Work { upload: id.to_owned() })?.max_attempts(MOST_ATTEMPTS);
    service.finishing.enqueue(transaction, &job).await?;
    Ok(())
}

/// Has the parts tried again, if the service could not make a version of them.
async fn queue_again(service: &Service, id: &str) -> Result<(), ServeError> {
    let mut transaction = service.database.begin().await?;
    if !store::queue_again(&mut transaction, id, LIFE).await? {
        return Ok(transaction.rollback().await?);
    }
    enqueue(service, &mut transaction, id).await?;
    Ok(transaction.commit().await?)
}

async fn forget(service: &Service, object: &str) {
    if let Err(error) = service.objects.delete(object).await {
        let error = service_kit::problem::chain(&error);
        tracing::warn!(error, object, "A part that nobody needs stays until the upload expires.");
    }
}

/// What has become of the upload; if all of it is there, of the version.
async fn told(service: &Service, id: &str, extensions: &Extensions) -> Result<Response, ServeError> {
    let until = Instant::now() + at_most(FINISH, extensions);
    let mut listener = service.changes.listen();
    loop {
        let record = find(service, id).await?;
        if let Some(problem) = &record.problem {
            return Ok(kept_problem(problem));
        }
        let left = until.saturating_duration_since(Instant::now());
        if record.status == UploadStatus::Finishing && !left.is_zero() {
            listener.changed(id, left.min(LOOK)).await;
            continue;
        }
        let headers = [(OFFSET, record.received.to_string()), expires(record.expires_at)];
        let mut response = (StatusCode::NO_CONTENT, headers).into_response();
        if let Some(version) = record.version {
            let address = format!("/v1/datasets/{}/versions/{version}", record.dataset);
            if let Ok(address) = HeaderValue::try_from(address) {
                response.headers_mut().insert(header::CONTENT_LOCATION, address);
            }
        }
        return Ok(response);
    }
}

fn kept_problem(problem: &Value) -> Response {
    let status = problem["status"].as_u64().and_then(|status| u16::try_from(status).ok());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let media_type = [(header::CONTENT_TYPE, service_kit::problem::MEDIA_TYPE)];
    (status.unwrap_or(StatusCode::UNPROCESSABLE_ENTITY), media_type, problem.to_string()).into_response()
}

fn wrong_offset(record: &UploadRecord) -> Problem {
    Problem::conflict(format!("The next part begins at {0}: send `Upload-Offset: {0}`.", record.received))
        .with("received", record.received)
}
