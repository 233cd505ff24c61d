//! Reading a request that is JSON: so many bytes at once in all, and so long,
//! whoever sends them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequest as _, Request};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::LengthLimitError;
use service_kit::Problem;
use service_kit::extract::Json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::MOST_BODY_BYTES;
use super::order::{Order, refuse_unknown};

/// Most bytes of requests that are read and not stored yet.
const MOST_BYTES_AT_ONCE: usize = 64 << 20;
/// How long a client may take to send one.
const TIME_LIMIT: Duration = Duration::from_secs(30);

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

impl Room {
    /// Reads a request. It has its room until that is dropped.
    ///
    /// # Errors
    /// If it is too long, comes too slowly or does not fit, or there is no room.
    pub async fn read(&self, request: Request) -> Result<(Order, OwnedSemaphorePermit), Problem> {
        let taken = self.take(length(request.headers())?)?;
        let order = tokio::time::timeout(self.time, read(request)).await.map_err(|_| {
            Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "request-timeout",
                "Request timeout",
                format!("The body has not come within {} s.", self.time.as_secs()),
            )
        })?;
        Ok((order?, taken))
    }

    fn take(&self, bytes: u32) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.bytes).try_acquire_many_owned(bytes).map_err(|_| {
            Problem::unavailable(
                "As many requests are being read as there is room for. Try again in a moment.",
                Duration::from_secs(1),
            )
        })
    }
}

/// How long a body is, at most.
fn length(headers: &HeaderMap) -> Result<u32, Problem> {
    let announced: Option<usize> =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let length = announced.unwrap_or(MOST_BODY_BYTES);
    match u32::try_from(length) {
        Ok(bytes) if length <= MOST_BODY_BYTES => Ok(bytes),
        _ => Err(Problem::too_large(MOST_BODY_BYTES as u64)),
    }
}

async fn read(request: Request) -> Result<Order, Problem> {
    let (head, body) = request.into_parts();
    let text = to_bytes(body, MOST_BODY_BYTES).await.map_err(|error| {
        let is_too_long =
            std::error::Error::source(&error).is_some_and(<dyn std::error::Error>::is::<LengthLimitError>);
        if is_too_long {
            Problem::too_large(MOST_BODY_BYTES as u64)
        } else {
            Problem::bad_request("The body broke off.")
        }
    })?;
    let request = Request::from_parts(head, Body::from(text.clone()));
    let Json(mut order) = Json::<Order>::from_request(request, &()).await?;
    refuse_unknown(&text, &order)?;
    order.settle()?;
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(body: Body) -> Request {
        Request::builder().header(header::CONTENT_TYPE, "application/json").body(body).unwrap()
    }

    #[tokio::test]
    async fn there_is_room_for_so_many_bytes() {
        let room = Room::default();
        let order = json!({ "input": "What is in it?" }).to_string();
        // Of unknown length: it takes as much as it may have.
        let mut taken = Vec::new();
        for _ in 0..MOST_BYTES_AT_ONCE / MOST_BODY_BYTES {
            taken.push(room.read(request(Body::from(order.clone()))).await.unwrap().1);
        }
        let refused = room.read(request(Body::from(order.clone()))).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        taken.pop();
        drop(room.read(request(Body::from(order))).await.unwrap());
    }

    #[tokio::test]
    async fn what_is_too_long_is_refused() {
        let room = Room::default();
        let long = Body::from("x".repeat(MOST_BODY_BYTES + 1));
        assert_eq!(room.read(request(long)).await.unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
        let mut announced = request(Body::empty());
        announced.headers_mut().insert(header::CONTENT_LENGTH, "3000000".parse().unwrap());
        assert_eq!(room.read(announced).await.unwrap_err().status, StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn what_does_not_come_is_not_waited_for() {
        let body = Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
        let room = Room { time: Duration::from_millis(100), ..Room::default() };
        let refused = room.read(request(body)).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::REQUEST_TIMEOUT);
    }
}
