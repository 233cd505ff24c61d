//! Reading requests: so many bytes at once in all, and so long, whoever sends
//! them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest as _, Request};
use axum::http::{HeaderMap, header};
use bytes::BytesMut;
use futures::StreamExt as _;
use service_kit::Problem;
use service_kit::extract::Json;
use tokio::sync::{Mutex, MutexGuard, OwnedSemaphorePermit, Semaphore};

use super::MOST_BODY_BYTES;
use super::order::{Order, refuse_unknown};

/// Most bytes of requests that are read and not stored yet.
const MOST_BYTES_AT_ONCE: usize = 32 << 20;
/// How long a client may take to send one.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// What a text means is found out for one at a time: for that moment, it takes
/// several times the room of the text.
static TURN: Mutex<()> = Mutex::const_new(());

/// The turn to find out what the text of a request means.
pub async fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().await
}

/// The room for requests, and the time that each may take.
#[derive(Clone, Debug)]
pub struct Room {
    bytes: Arc<Semaphore>,
    time: Duration,
}

impl Default for Room {
    fn default() -> Self {
        Self { bytes: Arc::new(Semaphore::new(MOST_BYTES_AT_ONCE)), time: TIME_LIMIT }
    }
}

/// The room that a request has, until this is dropped.
#[derive(Debug)]
pub struct Taken {
    bytes: Arc<Semaphore>,
    permit: OwnedSemaphorePermit,
}

impl Room {
    /// Reads a request that is JSON.
    ///
    /// # Errors
    /// If it is too long, comes too slowly or does not fit, or there is no room.
    pub async fn read(&self, request: Request) -> Result<(Order, Taken), Problem> {
        let mut taken = self.take(announced(request.headers())?)?;
        let order = self.in_time(read(request, &mut taken)).await?;
        Ok((order, taken))
    }

    /// Room for so many bytes to begin with.
    ///
    /// # Errors
    /// If there is none.
    pub fn take(&self, bytes: usize) -> Result<Taken, Problem> {
        Ok(Taken { permit: take(&self.bytes, bytes)?, bytes: Arc::clone(&self.bytes) })
    }

    /// Gives up what takes too long to come.
    ///
    /// # Errors
    /// If it does.
    pub async fn in_time<T>(&self, reading: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
        tokio::time::timeout(self.time, reading).await.map_err(|_| {
            Problem::request_timeout(format!("The request has not come within {} s.", self.time.as_secs()))
        })?
    }
}

impl Taken {
    /// Takes room for so many bytes more.
    ///
    /// # Errors
    /// If there is none.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        self.permit.merge(take(&self.bytes, bytes)?);
        Ok(())
    }

    /// Appends what has come to the text of a request, and takes the room for it.
    ///
    /// # Errors
    /// If the text is too long, or there is no room.
    pub fn append(&mut self, text: &mut BytesMut, come: &[u8]) -> Result<(), Problem> {
        let length = text.len() + come.len();
        if length > MOST_BODY_BYTES {
            return Err(Problem::too_large(MOST_BODY_BYTES as u64));
        }
        // What was announced has its room.
        self.grow(length.saturating_sub(self.permit.num_permits()))?;
        text.extend_from_slice(come);
        Ok(())
    }
}

fn take(from: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
    let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
    Arc::clone(from).try_acquire_many_owned(permits).map_err(|_| {
        Problem::unavailable(
            "As many requests are being read as there is room for. Try again in a moment.",
            Duration::from_secs(1),
        )
    })
}

/// How long a body is, as far as that is said before.
fn announced(headers: &HeaderMap) -> Result<usize, Problem> {
    let announced: Option<usize> =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    match announced.unwrap_or(0) {
        length if length > MOST_BODY_BYTES => Err(Problem::too_large(MOST_BODY_BYTES as u64)),
        length => Ok(length),
    }
}

async fn read(request: Request, taken: &mut Taken) -> Result<Order, Problem> {
    let (head, body) = request.into_parts();
    let mut parts = body.into_data_stream();
    // In one piece: a client may send it in pieces of one byte, each of which
    // takes more room than that.
    let mut text = BytesMut::new();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| Problem::bad_request("The body broke off."))?;
        taken.append(&mut text, &part)?;
    }
    let text = text.freeze();
    let _turn = turn().await;
    let request = Request::from_parts(head, Body::from(text.clone()));
    let Json(mut order) = Json::<Order>::from_request(request, &()).await?;
    refuse_unknown(&text, &order)?;
    order.settle()?;
    Ok(order)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::http::StatusCode;
    use futures::stream;

    use super::*;
    use crate::requests::form::Form;

    const TEXT: &str = r#"{ "input": "What is in it?" }"#;

    fn request(body: Body) -> Request {
        Request::builder().header(header::CONTENT_TYPE, "application/json").body(body).unwrap()
    }

    fn announced(bytes: usize) -> Request {
        let mut request = request(Body::from(TEXT));
        request.headers_mut().insert(header::CONTENT_LENGTH, bytes.into());
        request
    }

    #[tokio::test]
    async fn there_is_room_for_so_many_bytes() {
        let room = Room::default();
        let mut taken = Vec::new();
        for _ in 0..MOST_BYTES_AT_ONCE / MOST_BODY_BYTES {
            taken.push(room.read(announced(MOST_BODY_BYTES)).await.unwrap().1);
        }
        let refused = room.read(announced(MOST_BODY_BYTES)).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        // Of unknown length: there is none for what comes, either.
        let refused = room.read(request(Body::from(TEXT))).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        taken.pop();
        drop(room.read(announced(MOST_BODY_BYTES)).await.unwrap());
    }

    #[tokio::test]
    async fn what_is_not_announced_takes_the_room_of_what_comes() {
        let room = Room { bytes: Arc::new(Semaphore::new(TEXT.len() + 10)), ..Room::default() };
        let (_, mut taken) = room.read(request(Body::from(TEXT))).await.unwrap();
        assert_eq!(room.bytes.available_permits(), 10);
        taken.grow(10).unwrap();
        assert_eq!(taken.grow(1).unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
        drop(taken);
        assert_eq!(room.bytes.available_permits(), TEXT.len() + 10);
    }

    #[tokio::test]
    async fn the_request_of_a_form_takes_room_and_time_as_well() {
        let begun = "--b\r\ncontent-disposition: form-data; name=\"request\"\r\n\r\n";
        let form = |body: Body| {
            let head = Request::builder().header(header::CONTENT_TYPE, "multipart/form-data; boundary=b");
            head.body(body).unwrap()
        };
        let whole = || form(Body::from(format!("{begun}{TEXT}\r\n--b--\r\n")));
        let room = Room { bytes: Arc::new(Semaphore::new(TEXT.len())), time: Duration::from_millis(100) };
        let (_, taken, _) = Form::begin(&room, whole()).await.unwrap();
        assert_eq!(room.bytes.available_permits(), 0);
        let refused = Form::begin(&room, whole()).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        drop(taken);
        let paused = stream::iter([Ok::<_, Infallible>(begun)]).chain(stream::pending());
        let refused = Form::begin(&room, form(Body::from_stream(paused))).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::REQUEST_TIMEOUT);
    }

    #[tokio::test]
    async fn what_is_too_long_is_refused() {
        let room = Room::default();
        let long = Body::from("x".repeat(MOST_BODY_BYTES + 1));
        assert_eq!(room.read(request(long)).await.unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
        let refused = room.read(announced(MOST_BODY_BYTES + 1)).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn what_does_not_come_is_not_waited_for() {
        let body = Body::from_stream(stream::pending::<Result<bytes::Bytes, std::io::Error>>());
        let room = Room { time: Duration::from_millis(100), ..Room::default() };
        let refused = room.read(request(body)).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::REQUEST_TIMEOUT);
    }
}
