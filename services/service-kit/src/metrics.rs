//! What a service counts, served at `/metrics` in the OpenMetrics format.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// A route that a request has: its pattern, so that there are few.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: String,
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResponseLabels {
    method: String,
    route: String,
    status: u16,
}

/// The counters of a service. Cheap to clone: all clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    responses: Family<ResponseLabels, Counter>,
    durations: Family<RouteLabels, Histogram>,
    in_flight: Gauge,
    resident_memory: Gauge,
}

impl Metrics {
    /// The counters that every service has. `prefix` goes before the names of all of them.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        let mut registry = Registry::with_prefix(prefix);
        let responses = Family::default();
        let durations = Family::<RouteLabels, Histogram>::new_with_constructor(|| {
            // From half a millisecond to half a minute.
            Histogram::new(exponential_buckets(0.0005, 2.0, 17))
        });
        let in_flight = Gauge::default();
        let resident_memory = Gauge::default();
        registry.register("http_responses", "Responses, by route and status", responses.clone());
        registry.register_with_unit(
            "http_response_duration",
            "From the head of a request to the head of its response",
            Unit::Seconds,
            durations.clone(),
        );
        registry.register("http_requests_in_flight", "Requests that are being answered", in_flight.clone());
        registry.register_with_unit(
            "resident_memory",
            "Memory that the process holds",
            Unit::Bytes,
            resident_memory.clone(),
        );
        Self { registry: Arc::new(Mutex::new(registry)), responses, durations, in_flight, resident_memory }
    }

    /// Adds a service's own counters.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// All counters as text.
    ///
    /// # Errors
    /// If a counter cannot be written as text.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        if let Some(bytes) = resident_memory_bytes() {
            self.resident_memory.set(bytes);
        }
        let mut rendered = String::new();
        text::encode(&mut rendered, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(rendered)
    }

    fn answered(&self, method: String, route: String, status: StatusCode, took: Duration) {
        let labels = ResponseLabels { method: method.clone(), route: route.clone(), status: status.as_u16() };
        self.responses.get_or_create(&labels).inc();
        self.durations.get_or_create(&RouteLabels { method, route }).observe(took.as_secs_f64());
    }
}

/// Memory that this process holds, as the kernel counts it (`proc(5)`).
#[must_use]
pub fn resident_memory_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// `/metrics`.
pub(crate) fn routes(metrics: Metrics) -> Router {
    Router::new().route("/metrics", get(render)).with_state(metrics)
}

async fn render(State(metrics): State<Metrics>) -> Response {
    match metrics.render() {
        Ok(text) => {
            let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, media_type)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Takes a request off the number of those in flight, whichever way it ends.
struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts a request and its response. For use around routes that are matched already.
pub(crate) async fn count(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    metrics.in_flight.inc();
    let in_flight = InFlight(metrics.in_flight.clone());
    let method = known_method(request.method()).to_owned();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let response = next.run(request).await;
    metrics.answered(method, route, response.status(), begun.elapsed());
    drop(in_flight);
    response
}

/// Methods that are not known count as one, so that nobody can make up labels.
fn known_method(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
