//! The body of a request, watched on its way to a service.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

/// When the body last moved, and who lets it wait.
#[derive(Debug)]
pub struct Movement {
    begun: Instant,
    /// Milliseconds after `begun`.
    last: AtomicU64,
    is_awaited: AtomicBool,
}

impl Movement {
    /// It moves now.
    #[must_use]
    pub fn begin() -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), last: AtomicU64::new(0), is_awaited: AtomicBool::new(false) })
    }

    /// When it last did.
    #[must_use]
    pub fn last(&self) -> Instant {
        self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    /// Whether there is room for more of the body on its way, and the client
    /// has not sent it. False when it has come to its end, and when the service
    /// does not take what has come.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.is_awaited.load(Ordering::Relaxed)
    }

    fn moved(&self) {
        let milliseconds = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(milliseconds, Ordering::Relaxed);
    }
}

/// A body that tells when it moves, and is otherwise passed on as it comes.
#[derive(Debug)]
pub struct Watched {
    body: Body,
    movement: Arc<Movement>,
}

impl Watched {
    /// Watches a body.
    #[must_use]
    pub const fn new(body: Body, movement: Arc<Movement>) -> Self {
        Self { body, movement }
    }
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.movement.is_awaited.store(polled.is_pending(), Ordering::Relaxed);
        if polled.is_ready() {
            self.movement.moved();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn it_is_known_who_lets_a_body_wait() {
        let parts = stream::iter([Ok::<_, std::convert::Infallible>("a")]);
        let movement = Movement::begin();
        let mut body = Watched::new(Body::from_stream(parts.clone()), Arc::clone(&movement));
        // The service has not asked for any of it.
        assert!(!movement.is_awaited());
        assert!(body.frame().await.unwrap().is_ok());
        // Nor for more than that.
        assert!(!movement.is_awaited());
        assert!(body.frame().await.is_none());
        assert!(!movement.is_awaited());

        let movement = Movement::begin();
        let paused = Body::from_stream(parts.chain(stream::pending()));
        let mut body = Watched::new(paused, Arc::clone(&movement));
        assert!(body.frame().await.unwrap().is_ok());
        let more = tokio::time::timeout(Duration::from_millis(20), body.frame()).await;
        assert!(more.is_err() && movement.is_awaited());
    }
}
