//! How much a service takes on: how many requests at once, how long each may take, and how much it may send.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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

/// The place of a request among those that are answered at once; an extension
/// of every request, which has it until it is answered.
#[derive(Clone, Debug)]
pub struct Place(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Place {
    fn taken(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(Mutex::new(Some(permit))))
    }

    /// Gives it to others before the answer is there. For who only waits from
    /// now on, and is counted otherwise: those who wait do no work, and must not
    /// keep out those who come for some.
    pub fn give_back(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
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
    let place = Place::taken(permit);
    let time = asked(request.headers()).map_or(limits.time, |asked| asked.min(limits.time));
    request.extensions_mut().insert(Deadline::after(time));
    request.extensions_mut().insert(place.clone());
    let response = match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::timed_out(format!(
            "The answer was not ready within {} ms. Ask for less at once, or ask for it asynchronously.",
            time.as_millis()
        ))
        .into_response(),
    };
    place.give_back();
    response
}

fn asked(headers: &HeaderMap) -> Option<Duration> {
    let milliseconds: u64 = headers.get(DEADLINE)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use axum::Extension;
    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    fn request(path: &str) -> Request {
        Request::builder().uri(path).body(Body::empty()).expect("request")
    }

    #[tokio::test]
    async fn who_has_given_its_place_back_keeps_nobody_out() {
        let limits = Limits { requests_at_once: 1, ..Limits::default() };
        let patient = |Extension(place): Extension<Place>| async move {
            place.give_back();
            std::future::pending::<()>().await;
        };
        let router = Router::new()
            .route("/works", get(std::future::pending::<()>))
            .route("/waits", get(patient))
            .route("/", get(|| async { "here" }))
            .layer(from_fn_with_state(Enforced::new(&limits), enforce));
        let status = async || router.clone().oneshot(request("/")).await.expect("answer").status();
        for (path, expected) in [("/waits", StatusCode::OK), ("/works", StatusCode::SERVICE_UNAVAILABLE)] {
            let one = tokio::spawn(router.clone().oneshot(request(path)));
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(status().await, expected, "{path}");
            one.abort();
            assert!(one.await.expect_err("it has no end").is_cancelled());
            // Who goes away gives it back as well.
            assert_eq!(status().await, StatusCode::OK, "{path}");
        }
    }
}
