//! Data that come in, and become a version.
//!
//! ```text
//!   body ─▶ object (garbage until …) ─▶ inspected ─▶ one transaction: a version refers to it
//! ```

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use crds::analysis::SourceFormat;
use futures::StreamExt;
use serde::Deserialize;
use service_kit::Problem;
use service_kit::database::{Transaction, now_milliseconds};
use service_kit::extract::{Path, Query};
use service_kit::idempotency::{Reservation, StoredResponse, give_up, hold};
use service_kit::objects::Written;
use service_kit::problem::ProblemBody;
use tracing::Instrument;
use utoipa::IntoParams;
use uuid::Uuid;

use super::digest::ExpectedDigest;
use super::inspect::{check, inspect};
use super::model::{DatasetName, ReadOptions, Version, format_of};
use super::store::{self, NewVersion, data_object, prefix};
use crate::serve::error::ServeError;
use crate::serve::garbage::Garbage;
use crate::serve::idempotent::{self, Begin};
use crate::serve::state::{MyTurn, Patience, Service};

/// A client that sends nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// No upload takes longer.
const LONGEST: Duration = Duration::from_secs(25 * 60 * 60);
/// So much is taken in of data that are refused.
const DRAIN_BYTES: u64 = 1 << 20;

/// How the data are read.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Reading {
    /// Format of the data: `csv`, `jsonLines`, `parquet` or `arrow`. If left out, `Content-Type` says it.
    #[param(value_type = Option<String>, example = json!("csv"))]
    format: Option<SourceFormat>,
    /// How they are read, as JSON with `csv`, `jsonLines` and `columns` as in a source of an AnalysisJob.
    #[param(example = json!("{\"csv\":{\"nullValues\":[\"NA\"]}}"))]
    options: Option<String>,
}

impl Reading {
    fn resolve(&self, headers: &HeaderMap) -> Result<(SourceFormat, ReadOptions), Problem> {
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let format = self.format.or_else(|| media_type.and_then(format_of)).ok_or_else(|| {
            Problem::bad_request(
                "Say which format the data have: `?format=csv`, `jsonLines`, `parquet` or `arrow`, or send it as \
                 `Content-Type`.",
            )
        })?;
        Ok((format, read_options(self.options.as_deref())?))
    }
}

/// Reads options that are given as JSON.
///
/// # Errors
/// 400, if they are something else.
pub fn read_options(text: Option<&str>) -> Result<ReadOptions, Problem> {
    let Some(text) = text else { return Ok(ReadOptions::default()) };
    serde_json::from_str(text)
        .map_err(|error| Problem::bad_request(format!("`options` cannot be understood: {error}.")))
}

/// Upload a version of a data set
///
/// The body is the data. They become the next version of the data set, which is made if there is none of the name;
/// versions never change. Their beginning is read before, so that what cannot be read is refused. An upload that is
/// broken off leaves nothing. For large data over unreliable networks see the resumable uploads.
#[utoipa::path(
    put,
    path = "/v1/datasets/{name}",
    operation_id = "uploadVersion",
    tag = "datasets",
    params(
        ("name" = String, Path, description = "Name of the data set: a lower-case letter, then up to 62 lower-case \
            letters, digits, `_` and `-`", max_length = 63,
            pattern = "^[a-z][a-z0-9_-]*$", example = json!("flights")),
        Reading,
        ("Content-Digest" = Option<String>, Header, description = "`sha-256=:BASE64:` (RFC 9530), or `Repr-Digest`: \
            checked, if it is sent"),
        ("Idempotency-Key" = Option<String>, Header, description = "A text of the client's choice, of up to 255 \
            characters. A repetition of the upload with the same key makes no other version.")
    ),
    request_body(description = "The data", content(
        ("text/csv", example = json!("carrier,dep_delay\nUA,2\n")),
        ("application/x-ndjson"),
        ("application/vnd.apache.parquet"),
        ("application/vnd.apache.arrow.file"),
        ("application/octet-stream")
    )),
    responses(
        (status = 201, description = "The version is there", body = Version,
            headers(("Location" = String, description = "Address of the version"))),
        (status = 400, description = "The digest does not match, or the request cannot be understood",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 408, description = "Nothing came for a minute", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 409, description = "A request with the same key is being processed", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 413, description = "There are more bytes than are accepted", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 422, description = "The data cannot be read: `detail` says where and why", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 503, description = "Too much is being uploaded; nothing was made", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 507, description = "There is no room left", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn put(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
    Query(reading): Query<Reading>,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
) -> Result<Response, ServeError> {
    let announced = announce(&service, &name, &reading, &headers, &extensions).await;
    let (incoming, reservation) = match announced {
        Ok((incoming, Begin::Run(reservation))) => (incoming, reservation),
        Ok((incoming, Begin::Replay(stored))) => {
            drain(body.into_data_stream(), incoming.limit).await;
            return idempotent::replay(stored);
        }
        Err(error) => {
            // Who asks before sending has sent nothing yet.
            if !headers.contains_key(header::EXPECT) {
                drain(body.into_data_stream(), DRAIN_BYTES).await;
            }
            return Err(error);
        }
    };
    let client = Arc::new(());
    let waiting = Arc::downgrade(&client);
    // In a task of its own, that cleans up when the client is gone.
    let receiving = async move { receive(&service, incoming, body, reservation, &waiting).await };
    let received = tokio::spawn(receiving.in_current_span()).await;
    drop(client);
    received?
}

/// Looks at everything that is known before the data come.
async fn announce(
    service: &Service,
    name: &str,
    reading: &Reading,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<(Incoming, Begin), ServeError> {
    let dataset = DatasetName::parse(name)?;
    let (format, options) = reading.resolve(headers)?;
    check(service, format, &options)?;
    let expected = ExpectedDigest::of(headers)?;
    let limit = service.bounds().upload_limit_bytes;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|bytes: u64| bytes > limit) {
        return Err(Problem::too_large(limit).into());
    }
    let turn = service.turns.uploads.soon().await?;
    let route = format!("PUT /v1/datasets/{name}");
    let how = serde_json::to_vec(&(format, &options))?;
    let length = length.unwrap_or_default().to_be_bytes();
    let parts: [&[u8]; 3] = [&how, &length, expected.as_bytes()];
    let begin = idempotent::begin(service, headers, extensions, &route, &parts).await?;
    Ok((Incoming { dataset, format, options, expected, limit, turn }, begin))
}

/// Data that are announced.
struct Incoming {
    dataset: DatasetName,
    format: SourceFormat,
    options: ReadOptions,
    expected: ExpectedDigest,
    limit: u64,
    /// Kept until all of them are there.
    turn: MyTurn,
}

async fn receive(
    service: &Service,
    incoming: Incoming,
    body: Body,
    reservation: Option<Reservation>,
    waiting: &Weak<()>,
) -> Result<Response, ServeError> {
    let working = receive_version(service, incoming, body);
    let published = match hold(reservation.as_ref(), working).await {
        // Who was told that it failed sends it again, and without a key that
        // would be another version.
        Ok(new) if reservation.is_none() && waiting.strong_count() == 0 => {
            service.garbage.give_up(&prefix(&new.id)).await;
            Err(Problem::timed_out("The client did not wait for the version.").into())
        }
        Ok(new) => {
            let objects = prefix(&new.id);
            let published = publish_alone(service, new, reservation.as_ref()).await;
            if published.is_err() {
                service.garbage.give_up(&objects).await;
            }
            published
        }
        Err(error) => Err(error),
    };
    if published.is_err() {
        give_up(reservation).await;
    }
    published
}

/// Receives data up to where they can become a version.
async fn receive_version(
    service: &Service,
    incoming: Incoming,
    body: Body,
) -> Result<NewVersion, ServeError> {
    let id = Uuid::now_v7().to_string();
    service.garbage.reserve(&prefix(&id), LONGEST).await?;
    let complete = async {
        let written = write(service, &data_object(&id), body, incoming.limit).await?;
        drop(incoming.turn);
        incoming.expected.check(&written.sha256)?;
        let how = (incoming.format, incoming.options);
        inspected(service, &id, incoming.dataset, how, written, Patience::Client).await
    };
    let complete = complete.await;
    if complete.is_err() {
        service.garbage.give_up(&prefix(&id)).await;
    }
    complete
}

/// Looks at the data of an object that is to become a version.
///
/// # Errors
/// If they cannot be read, or a client would wait for long.
pub async fn inspected(
    service: &Service,
    id: &str,
    dataset: DatasetName,
    (format, options): (SourceFormat, ReadOptions),
    written: Written,
    patience: Patience,
) -> Result<NewVersion, ServeError> {
    let columns = inspect(service, id, format, &options, patience).await?;
    let Written { bytes, sha256, .. } = written;
    Ok(NewVersion { id: id.to_owned(), dataset, format, options, bytes, sha256, columns })
}

/// Writes a body to an object.
async fn write(service: &Service, key: &str, body: Body, limit: u64) -> Result<Written, ServeError> {
    let mut chunks = body.into_data_stream();
    let mut upload = match service.objects.create(key).await {
        Ok(upload) => upload,
        Err(error) => {
            drain(chunks, DRAIN_BYTES).await;
            return Err(error.into());
        }
    };
    while let Some(chunk) = next_chunk(&mut chunks).await? {
        if upload.bytes() + chunk.len() as u64 > limit {
            drain(chunks, DRAIN_BYTES).await;
            return Err(Problem::too_large(limit).into());
        }
        service.metrics.uploaded.inc_by(chunk.len() as u64);
        if let Err(error) = upload.write(chunk).await {
            drain(chunks, DRAIN_BYTES).await;
            return Err(error.into());
        }
    }
    Ok(upload.finish().await?)
}

/// The next part of a body.
///
/// # Errors
/// 408, if nothing comes; 400, if it is broken off.
pub async fn next_chunk(chunks: &mut BodyDataStream) -> Result<Option<Bytes>, Problem> {
    match tokio::time::timeout(SILENCE, chunks.next()).await {
        Ok(chunk) => chunk
            .transpose()
            .map_err(|error| Problem::bad_request(format!("The upload was broken off: {error}."))),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "request-timeout",
            "Request timeout",
            format!("Nothing came for {} seconds.", SILENCE.as_secs()),
        )),
    }
}

/// Takes in what nobody needs: a client that sends without looking would not
/// see an answer that comes before it has sent everything.
async fn drain(mut chunks: BodyDataStream, most: u64) {
    let mut bytes = 0;
    while let Ok(Some(chunk)) = next_chunk(&mut chunks).await {
        bytes += chunk.len() as u64;
        if bytes > most {
            return;
        }
    }
}

async fn publish_alone(
    service: &Service,
    new: NewVersion,
    reservation: Option<&Reservation>,
) -> Result<Response, ServeError> {
    let mut transaction = service.database.begin().await?;
    let version = publish(&mut transaction, new).await?;
    let location = address(&version);
    let body = Bytes::from(serde_json::to_vec(&version)?);
    if let Some(reservation) = reservation {
        let headers = vec![
            ("location".to_owned(), location.clone()),
            ("content-type".to_owned(), "application/json".to_owned()),
        ];
        let stored =
            StoredResponse { status: StatusCode::CREATED.as_u16(), headers, body: Some(body.clone()) };
        reservation.finish_in(&mut transaction, &stored).await?;
    }
    transaction.commit().await?;
    let headers = [(header::LOCATION, location), (header::CONTENT_TYPE, "application/json".to_owned())];
    Ok((StatusCode::CREATED, headers, body).into_response())
}

/// Makes the version, which refers to its objects from then on.
///
/// # Errors
/// If they were written for so long that they are garbage by now.
pub async fn publish(transaction: &mut Transaction, new: NewVersion) -> Result<Version, ServeError> {
    if !Garbage::keep(transaction, &prefix(&new.id)).await? {
        return Err(ServeError::TooLate);
    }
    Ok(store::insert(transaction, new, now_milliseconds()).await?)
}

fn address(version: &Version) -> String {
    format!("/v1/datasets/{}/versions/{}", version.dataset, version.version)
}
