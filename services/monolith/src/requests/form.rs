//! Requests with files: multipart/form-data (RFC 7578). Small texts become a
//! part of the request, all else is passed on to a data set as it comes.

mod parts;

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use service_kit::Problem;
use service_kit::trace_context::TraceContext;
use tokio::sync::mpsc;
use utoipa::ToSchema;
use uuid::Uuid;

use self::parts::{Part, Parts};
use super::analyses::{Analyses, Trouble};
use super::body::{Room, Taken, turn};
use super::order::{Data, DatasetReference, Format, MOST_INLINE_BYTES, Order, refuse_unknown};
use super::tidy;
use crate::gateway::Gateway;
use crate::problems;

/// How long an upload may take that goes on.
const UPLOAD_LIMIT: Duration = Duration::from_secs(6 * 3600);
const MOST_FILES: usize = 16;

/// A request with files.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it describes the form for the documentation")]
pub struct RequestForm {
    /// The request, as JSON. The first part.
    request: Order,
    /// Each further part is a file; its name is that of the data. Its format
    /// is told by its media type or by the ending of its file name.
    #[schema(value_type = String, format = Binary, required = false)]
    file: Vec<u8>,
}

/// A form of which the request was read, and the files were not.
#[derive(Debug)]
pub struct Form {
    parts: Parts,
}

impl Form {
    /// Whether the body of a request is a form.
    pub fn is_one(headers: &HeaderMap) -> bool {
        headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.to_ascii_lowercase().starts_with("multipart/form-data"))
    }

    /// Reads the request.
    pub async fn begin(room: &Room, request: Request) -> Result<(Order, Taken, Self), Problem> {
        let mut parts = Parts::of(request).await?;
        let mut taken = room.take(0)?;
        let order = room.in_time(first(&mut parts, &mut taken)).await?;
        Ok((order, taken, Self { parts }))
    }

    /// Reads the files and makes them data of the request.
    pub async fn files(
        mut self,
        gateway: &Gateway,
        id: &str,
        trace: &TraceContext,
        order: &mut Order,
        taken: &mut Taken,
    ) -> Result<(), Problem> {
        let mut count = 0;
        while let Some(mut part) = self.parts.next().await? {
            count += 1;
            if count > MOST_FILES {
                return Err(Problem::unprocessable(format!("A request has at most {MOST_FILES} files.")));
            }
            let name = part.name().unwrap_or_default().to_owned();
            let index = place(order, &name)?;
            let Some(format) = order.data[index].format.or_else(|| format_of(&part)) else {
                return Err(Problem::unprocessable(format!(
                    "The format of the file `{name}` is not known. Give its part a media type (text/csv, \
                     application/x-ndjson, application/vnd.apache.parquet, application/vnd.apache.arrow.file) or a \
                     file name that ends in .csv, .jsonl, .parquet or .arrow."
                )));
            };
            let beginning = beginning(&mut part).await?;
            let data = &mut order.data[index];
            let bytes = match beginning {
                Beginning::All(text) if matches!(format, Format::Csv | Format::JsonLines) => {
                    taken.grow(text.len())?;
                    data.format = Some(format);
                    data.inline = Some(text);
                    continue;
                }
                Beginning::All(text) => Bytes::from(text),
                Beginning::Part(bytes) => bytes,
            };
            let dataset = dataset_name(id, index);
            upload(gateway, (id, &dataset), trace, data, format, (bytes, &mut part)).await?;
        }
        Ok(())
    }
}

/// The request of a form: its first part.
async fn first(parts: &mut Parts, taken: &mut Taken) -> Result<Order, Problem> {
    let Some(mut first) = parts.next().await?.filter(|first| first.name() == Some("request")) else {
        return Err(Problem::unprocessable(
            "The first part of the form is `request`, with the request as JSON.",
        ));
    };
    let mut text = BytesMut::new();
    while let Some(chunk) = first.chunk().await? {
        taken.append(&mut text, &chunk)?;
    }
    let _turn = turn().await;
    let mut order: Order = serde_json::from_slice(&text)
        .map_err(|error| Problem::unprocessable(format!("The part `request` does not fit: {error}.")))?;
    refuse_unknown(&text, &order)?;
    order.settle()?;
    Ok(order)
}

/// The data that a file is: an entry of its name without data, or a new one.
fn place(order: &mut Order, name: &str) -> Result<usize, Problem> {
    let is_name =
        |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
    if name.is_empty() || name.len() > 63 || !name.chars().all(is_name) {
        return Err(Problem::unprocessable(format!(
            "The name of a part, `{name}`, is that of a table: lower-case letters, digits and `_`."
        )));
    }
    match order.data.iter().position(|data| data.name == name) {
        Some(index) if order.data[index].is_empty() => Ok(index),
        Some(_) => Err(Problem::unprocessable(format!("There are two data of the name `{name}`."))),
        None => {
            order.data.push(Data::empty(name));
            Ok(order.data.len() - 1)
        }
    }
}

/// What a file begins with.
enum Beginning {
    /// All of it, which is text and short.
    All(String),
    /// More comes, or it is no text.
    Part(Bytes),
}

async fn beginning(part: &mut Part<'_>) -> Result<Beginning, Problem> {
    let mut read = BytesMut::new();
    while let Some(chunk) = part.chunk().await? {
        read.extend_from_slice(&chunk);
        if read.len() > MOST_INLINE_BYTES {
            return Ok(Beginning::Part(read.freeze()));
        }
    }
    match String::from_utf8(read.to_vec()) {
        Ok(text) => Ok(Beginning::All(text)),
        Err(_) => Ok(Beginning::Part(read.freeze())),
    }
}

/// The name of the data set of a file. It has the place of the data in the
/// request instead of their name: with that it would be longer than names of
/// data sets are, and names that are cut off may be the same.
fn dataset_name(id: &str, index: usize) -> String {
    let unique = Uuid::parse_str(id).map_or_else(|_| id.to_owned(), |id| id.simple().to_string());
    format!("request-{unique}-{index}")
}

/// Passes a file on to a data set of its own.
async fn upload(
    gateway: &Gateway,
    (id, dataset): (&str, &str),
    trace: &TraceContext,
    data: &mut Data,
    format: Format,
    (beginning, rest): (Bytes, &mut Part<'_>),
) -> Result<(), Problem> {
    // Before there is one: whatever happens now, somebody knows of it.
    tidy::note_upload(&gateway.database, dataset, id).await.map_err(problems::database)?;
    let options = data.reading();
    let (sender, receiver) = mpsc::channel::<Result<Bytes, Problem>>(4);
    let stream = futures::stream::unfold(receiver, |mut receiver| async move {
        let item = receiver.recv().await?;
        // The cause is told by the other side.
        Some((item.map_err(|_| std::io::Error::other("the upload broke off")), receiver))
    });
    let live = gateway.live();
    let analyses = Analyses::new(&live, trace);
    let body = reqwest::Body::wrap_stream(stream);
    let uploading = analyses.upload(dataset, format.as_str(), &options, body, UPLOAD_LIMIT);
    let (passed_on, uploaded) = tokio::join!(pass_on(beginning, rest, sender), uploading);
    passed_on?;
    uploaded.map_err(|trouble| match trouble {
        Trouble::Passing(trouble) => {
            tracing::warn!(trouble, dataset, "A file could not be passed on.");
            Problem::unavailable("The file could not be kept at present.", Duration::from_secs(2))
        }
        Trouble::Lasting(problem) => Problem::unprocessable(format!(
            "The file `{}` cannot be used: {}",
            data.name,
            problem["detail"].as_str().unwrap_or("the analyses do not say why.")
        )),
    })?;
    *data = Data {
        dataset: Some(DatasetReference { name: dataset.to_owned(), version: Some(1) }),
        ..Data::empty(&data.name)
    };
    Ok(())
}

/// Passes on a file until its end, or until nobody takes it any more.
async fn pass_on(
    beginning: Bytes,
    rest: &mut Part<'_>,
    sender: mpsc::Sender<Result<Bytes, Problem>>,
) -> Result<(), Problem> {
    if sender.send(Ok(beginning)).await.is_err() {
        return Ok(());
    }
    loop {
        match rest.chunk().await {
            Ok(Some(chunk)) => {
                if sender.send(Ok(chunk)).await.is_err() {
                    return Ok(());
                }
            }
            Ok(None) => return Ok(()),
            Err(problem) => {
                let _ = sender.send(Err(problem.clone())).await;
                return Err(problem);
            }
        }
    }
}

/// What the part of a file says of its format.
fn format_of(part: &Part<'_>) -> Option<Format> {
    let media_type = part.content_type().and_then(|value| value.split(';').next()).unwrap_or_default();
    let by_type = match media_type.trim() {
        "text/csv" => Some(Format::Csv),
        "application/x-ndjson" | "application/jsonl" | "application/x-jsonlines" => Some(Format::JsonLines),
        "application/vnd.apache.parquet" => Some(Format::Parquet),
        "application/vnd.apache.arrow.file" | "application/vnd.apache.arrow.stream" => Some(Format::Arrow),
        _ => None,
    };
    by_type.or_else(|| {
        let (_, ending) = part.file_name()?.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "csv" => Some(Format::Csv),
            "jsonl" | "ndjson" => Some(Format::JsonLines),
            "parquet" => Some(Format::Parquet),
            "arrow" | "arrows" | "feather" | "ipc" => Some(Format::Arrow),
            _ => None,
        }
    })
}
