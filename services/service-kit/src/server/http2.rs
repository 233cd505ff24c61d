//! Answers by HTTP/2 of which nothing is taken.
//!
//! A client of HTTP/2 grants for each answer how much may be sent of it
//! (RFC 9113, section 5.2). One that grants nothing keeps its answer, and all
//! that it is made from, while its connection takes whatever else is sent.
//!
//! hyper runs a task for each request. It takes a piece of the answer, and comes
//! for the next one when the client has granted room for the last. The task is
//! ended when it does not come back for too long; then the request is reset.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::{Instant, sleep};

use super::connection::OpenRequest;
use super::stall::LastWait;

/// Answers are handed over in pieces of this size: that of a frame. Whoever
/// takes one in the time that is given takes something.
const PIECE_BYTES: usize = 16 << 10;

tokio::task_local! {
    /// The answer that the task sends.
    static ANSWER: Arc<Turn>;
}

/// Runs the tasks of HTTP/2 connections.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    limit: Duration,
    last_wait: LastWait,
}

impl Streams {
    pub(super) const fn new(limit: Duration, last_wait: LastWait) -> Self {
        Self { limit, last_wait }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        let (limit, last_wait, turn) = (self.limit, self.last_wait.clone(), Arc::new(Turn::default()));
        tokio::spawn(async move {
            let stream = pin!(ANSWER.scope(Arc::clone(&turn), stream));
            tokio::select! {
                biased;
                _ = stream => {}
                () = until_stalled(&turn, &last_wait, limit) => {
                    tracing::debug!("An answer of which the client takes nothing is broken off.");
                }
            }
        });
    }
}

/// Becomes ready when nothing of an answer was taken for so long, although the
/// connection took what was sent. If it does not even do that, it is ended as a
/// whole.
async fn until_stalled(turn: &Turn, last_wait: &LastWait, limit: Duration) {
    loop {
        sleep(limit / 4).await;
        if let Some(since) = turn.of_client_since()
            && since.max(last_wait.at()).elapsed() >= limit
        {
            return;
        }
    }
}

/// Whose turn it is.
#[derive(Debug, Default)]
struct Turn(Mutex<Option<Instant>>);

impl Turn {
    /// The client has to take what it was given.
    fn pass_to_client(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// The answer has to go on; that can take as long as it likes.
    fn pass_to_answer(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn of_client_since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches whether an answer is taken, if it goes out by HTTP/2. The request is
/// open until then.
pub(super) fn watched(answer: Response, open: Option<OpenRequest>) -> Response {
    let Ok(turn) = ANSWER.try_with(Arc::clone) else { return answer };
    answer.map(|body| Body::new(WatchedBody { body, rest: Bytes::new(), turn, _open: open }))
}

/// The content of an answer, piece by piece.
#[derive(Debug)]
struct WatchedBody {
    body: Body,
    /// What is still to be handed over of a larger piece.
    rest: Bytes,
    turn: Arc<Turn>,
    _open: Option<OpenRequest>,
}

impl hyper::body::Body for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            this.turn.pass_to_answer();
            let frame = match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            };
            match frame.into_data() {
                Ok(data) => this.rest = data,
                Err(other) => return Poll::Ready(Some(Ok(other))),
            }
        }
        this.turn.pass_to_client();
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(inner.lower().saturating_add(rest));
        hint
    }
}

#[cfg(test)]
mod tests;
