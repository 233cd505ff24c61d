//! The body of a request, watched on its way to a service.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

/// When the body last moved.
#[derive(Debug)]
pub struct Movement {
    begun: Instant,
    /// Milliseconds after `begun`.
    last: AtomicU64,
}

impl Movement {
    /// It moves now.
    #[must_use]
    pub fn begin() -> Arc<Self> {
        Arc::new(Self { begun: Instant::now(), last: AtomicU64::new(0) })
    }

    /// When it last did.
    #[must_use]
    pub fn last(&self) -> Instant {
        self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed))
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
