//! Reading answers of services, of which nobody promises that they are short.

use std::ops::Deref;

use bytes::BytesMut;
use tokio::sync::{Semaphore, SemaphorePermit};

/// What is longer is long.
const SHORT_BYTES: usize = 256 << 10;
/// Long answers that are read, or looked at, at once.
const LONG_AT_ONCE: usize = 4;

static LONG: Semaphore = Semaphore::const_new(LONG_AT_ONCE);

/// Why an answer could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It broke off.
    #[error("the answer broke off")]
    Broken(#[from] reqwest::Error),
    /// It goes on and on.
    #[error("the answer is longer than {most} bytes")]
    TooLong {
        /// What would have been read.
        most: usize,
    },
}

/// An answer. While it is here and long, few others are.
#[derive(Debug, Default)]
pub struct Answer {
    bytes: BytesMut,
    turn: Option<SemaphorePermit<'static>>,
}

impl Deref for Answer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads an answer of at most so many bytes.
///
/// # Errors
/// If it is longer, or breaks off.
pub async fn read(mut response: reqwest::Response, most: usize) -> Result<Answer, BodyError> {
    let mut answer = Answer::default();
    while let Some(chunk) = response.chunk().await? {
        let length = answer.bytes.len() + chunk.len();
        if length > most {
            return Err(BodyError::TooLong { most });
        }
        if length > SHORT_BYTES && answer.turn.is_none() {
            // Its time limit is that of the call, also while it waits. It is never closed.
            answer.turn = LONG.acquire().await.ok();
        }
        answer.bytes.extend_from_slice(&chunk);
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::Response;

    use super::*;

    fn response(bytes: usize) -> reqwest::Response {
        Response::new("x".repeat(bytes)).into()
    }

    #[tokio::test]
    async fn a_few_long_answers_are_read_at_once() {
        let mut long = Vec::new();
        for _ in 0..LONG_AT_ONCE {
            long.push(read(response(SHORT_BYTES + 1), usize::MAX).await.unwrap());
        }
        let limit = Duration::from_millis(50);
        let one_more = tokio::time::timeout(limit, read(response(SHORT_BYTES + 1), usize::MAX)).await;
        assert!(one_more.is_err());
        // Short ones do not wait for them.
        assert_eq!(read(response(SHORT_BYTES), usize::MAX).await.unwrap().len(), SHORT_BYTES);
        long.pop();
        assert_eq!(read(response(SHORT_BYTES + 1), usize::MAX).await.unwrap().len(), SHORT_BYTES + 1);
    }

    #[tokio::test]
    async fn what_is_too_long_is_not_read() {
        assert!(matches!(read(response(11), 10).await, Err(BodyError::TooLong { most: 10 })));
        assert_eq!(&*read(response(10), 10).await.unwrap(), b"xxxxxxxxxx");
    }
}
