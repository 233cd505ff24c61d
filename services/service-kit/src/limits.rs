//! How much a service takes on: how many requests at once, how long each may take, and how much it may send.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use crate::problem::Problem;

/// How many milliseconds a caller will still wait for the answer. A service
/// does not work longer than that, and hands on what is left.
pub const DEADLINE: HeaderName = HeaderName::from_static("aisaas-deadline-milliseconds");

/// Bounds of a service.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests that are answered at once; more are refused with 503.
    pub requests_at_once: usize,
    /// From the head of a request to the head of its response.
    pub time: Duration,
    /// Most bytes of a body that is read as a whole. A route that takes a
    /// stream has its own bound.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { requests_at_once: 512, time: Duration::from_secs(30), body_bytes: 2 << 20 }
    }
}

/// When the answer to a request has to be there; an extension of every request.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub Instant);

impl Deadline {
    /// A deadline so far from now.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        let now = Instant::now();
        // A time beyond all clocks is as good as a year.
        Self(now.checked_add(time).unwrap_or_else(|| now + Duration::from_secs(365 * 24 * 3600)))
    }

    /// What is left; zero when it has passed.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// The header that hands on what is left.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from(u64::try_from(self.left().as_millis()).unwrap_or(u64::MAX))
    }
}

/// The limits as they are enforced.
#[derive(Clone, Debug)]
pub(crate) struct Enforced {
    permits: Arc<Semaphore>,
    time: Duration,
}

impl Enforced {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self { permits: Arc::new(Semaphore::new(limits.requests_at_once)), time: limits.time }
    }
}

/// Refuses what is too much, and gives up what takes too long. A response that
/// has begun may stream on for as long as it likes.
pub(crate) async fn enforce(State(limits): State<Enforced>, mut request: Request, next: Next) -> Response {
    let Ok(permit) = Arc::clone(&limits.permits).try_acquire_owned() else {
        let detail = "The service has as many requests at once as it takes on. Try again in a moment.";
        return Problem::unavailable(detail, Duration::from_secs(1)).into_response();
    };
    let time = asked(request.headers()).map_or(limits.time, |asked| asked.min(limits.time));
    request.extensions_mut().insert(Deadline::after(time));
    let response = match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::timed_out(format!(
            "The answer was not ready within {} ms. Ask for less at once, or ask for it asynchronously.",
            time.as_millis()
        ))
        .into_response(),
    };
    drop(permit);
    response
}

fn asked(headers: &HeaderMap) -> Option<Duration> {
    let milliseconds: u64 = headers.get(DEADLINE)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(milliseconds))
}
