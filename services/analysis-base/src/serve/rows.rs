//! Rows of stored results on their way to a client.

use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use crds::analysis::OutputFormat;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::error::ArrowError;
use futures::{TryStreamExt, stream};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::analyses::ResultRows;
use super::error::ServeError;
use super::json::{JsonLines, JsonList};
use super::pace::Pace;
use super::schema::describe;
use super::state::{MyTurn, Service};
use super::table::{Rows, Table, TableError};
use crate::output::{Encoder, OutputError};

/// A page ends here, even if more rows were asked for.
const PAGE_BYTES: usize = 8 << 20;
/// A client that takes nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether somebody waits for a client that takes nothing.
const LOOK: Duration = Duration::from_millis(250);

/// Reads a page of a stored table.
///
/// # Errors
/// If it is not there, or has rows that are too large.
pub async fn page(service: &Service, key: &str, offset: u64, limit: u64) -> Result<ResultRows, ServeError> {
    Ok(read(service, key, offset, limit).await?.0)
}

/// Reads a stored table that has few rows.
///
/// # Errors
/// If it is larger than a page.
pub async fn whole(service: &Service, key: &str) -> Result<ResultRows, ServeError> {
    let (rows, count) = read(service, key, 0, u64::MAX).await?;
    if count < rows.total { Err(TableError::TooLarge.into()) } else { Ok(rows) }
}

/// Gives the rows, and how many they are.
async fn read(
    service: &Service,
    key: &str,
    offset: u64,
    limit: u64,
) -> Result<(ResultRows, u64), ServeError> {
    let turn = service.turns.pages.soon().await?;
    let table = Table::open(&service.objects, key).await?;
    let page = page_of(table, offset, limit).await;
    drop(turn);
    page
}

/// The same of a table that is open.
///
/// # Errors
/// If it has rows that are too large, or values that JSON has nothing for.
pub async fn page_of(table: Table, offset: u64, limit: u64) -> Result<(ResultRows, u64), ServeError> {
    let (columns, total) = (describe(table.schema()), table.rows());
    let mut list = JsonList::default();
    let mut count = 0;
    if offset < total && limit > 0 {
        let mut rows = table.read(offset, Some(limit))?;
        while let Some(batch) = rows.try_next().await.map_err(TableError::from)? {
            list.write(&batch).map_err(unwritable)?;
            count += batch.num_rows() as u64;
            if list.size() >= PAGE_BYTES {
                break;
            }
        }
    }
    let text = String::from_utf8(list.finish().map_err(unwritable)?)
        .map_err(|error| TableError::Format(error.to_string()))?;
    Ok((ResultRows { columns, rows: RawValue::from_string(text)?, offset, total }, count))
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn unwritable(error: ArrowError) -> TableError {
    TableError::Format(format!("The result cannot be written as JSON: {error}. Ask for another format."))
}

/// Writes rows in a format.
#[derive(Debug)]
pub enum Writer {
    /// JSON, a row a line.
    Lines(JsonLines),
    /// What the engine itself writes.
    Other(Box<Encoder>),
}

impl Writer {
    /// A writer of the engine's.
    ///
    /// # Errors
    /// If the format cannot hold the schema.
    pub fn other(schema: &Schema, format: OutputFormat) -> Result<Self, TableError> {
        Ok(Self::Other(Box::new(Encoder::new(schema, format).map_err(format_error)?)))
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<Bytes, TableError> {
        match self {
            Self::Lines(lines) => {
                lines.write(batch).map_err(unwritable)?;
                Ok(lines.take())
            }
            Self::Other(encoder) => encoder.write(batch).map_err(format_error),
        }
    }

    fn finish(self) -> Result<Bytes, TableError> {
        match self {
            Self::Lines(lines) => Ok(lines.finish().map_err(unwritable)?.into()),
            Self::Other(encoder) => encoder.finish().map_err(format_error),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn format_error(error: OutputError) -> TableError {
    TableError::Format(error.to_string())
}

/// What is sent to a client.
enum Piece {
    Bytes(Result<Bytes, TableError>),
    End,
}

impl Piece {
    fn size(&self) -> usize {
        match self {
            Self::Bytes(Ok(bytes)) => bytes.len(),
            Self::Bytes(Err(_)) | Self::End => 0,
        }
    }
}

/// Rows as the body of an answer. What cannot be read, or is not taken, breaks
/// the body off, so that nobody takes a part for the whole.
pub fn body(rows: Rows, writer: Writer, turn: MyTurn) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    let mut client = Client { sender, turn, pace: Pace::default() };
    tokio::spawn(async move { send(rows, writer, &mut client).await });
    Body::from_stream(stream::try_unfold(receiver, |mut receiver| async move {
        match receiver.recv().await {
            Some(Piece::Bytes(bytes)) => bytes.map(|bytes| Some((bytes, receiver))),
            Some(Piece::End) => Ok(None),
            None => Err(TableError::Format("the client took nothing for too long".to_owned())),
        }
    }))
}

async fn send(mut rows: Rows, mut writer: Writer, client: &mut Client) {
    loop {
        let written = match rows.try_next().await {
            Ok(Some(batch)) => writer.write(&batch),
            Ok(None) => break,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = &written {
            tracing::error!(error = %service_kit::problem::chain(error), "A result is broken off.");
        }
        let is_broken = written.is_err();
        if !client.pass(Piece::Bytes(written)).await || is_broken {
            return;
        }
    }
    if client.pass(Piece::Bytes(writer.finish())).await {
        client.pass(Piece::End).await;
    }
}

/// Who takes the rows. While it is waited for, its turn and what is read for
/// it are held.
struct Client {
    sender: mpsc::Sender<Piece>,
    turn: MyTurn,
    pace: Pace,
}

impl Client {
    /// False if the client is gone, or too slow for those who wait for its turn.
    async fn pass(&mut self, piece: Piece) -> bool {
        let mut silent = Duration::ZERO;
        loop {
            let begun = Instant::now();
            let room = tokio::time::timeout(LOOK, self.sender.reserve()).await;
            let waited = begun.elapsed();
            silent += waited;
            if self.turn.is_awaited() {
                self.pace.waited(waited);
            }
            if silent >= SILENCE || self.pace.is_too_slow() {
                tracing::info!("A client takes its result too slowly. It is broken off.");
                return false;
            }
            match room {
                Ok(Ok(room)) => {
                    self.pace.took(piece.size());
                    room.send(piece);
                    return true;
                }
                Ok(Err(_)) => return false,
                Err(_) => {}
            }
        }
    }
}
