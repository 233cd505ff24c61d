//! Logs: one JSON object a line, on standard error, with the trace that a line belongs to.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;
use tracing_subscriber::EnvFilter;

use crate::spans::Span;

/// Why logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter makes no sense.
    #[error("the log filter `{filter}` cannot be read: {problem}")]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Something logs already.
    #[error("logging was started before")]
    Started,
}

/// Starts logging what the filter lets through, as in `info` or `info,sqlx=debug`.
///
/// # Errors
/// If the filter cannot be read, or logging was started before.
pub fn start(filter: &str) -> Result<(), TelemetryError> {
    // The client of NATS logs each try to connect as an error; what becomes of
    // NATS is told by the queues. What comes later in a filter prevails.
    let filter = EnvFilter::try_new(format!("async_nats=off,{filter}"))
        .map_err(|error| TelemetryError::Filter { filter: filter.to_owned(), problem: error.to_string() })?;
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init()
        .map_err(|_| TelemetryError::Started)
}

/// Gives a request its place in a trace, and logs how it ended. The answer
/// carries the trace, so that a person who reports a problem can name it.
pub(crate) async fn trace(mut request: Request, next: Next) -> Response {
    let mut served = Span::server(&request);
    let context = served.context().clone();
    let span = tracing::info_span!(
        "request",
        trace_id = context.trace_id(),
        method = %request.method(),
        path = request.uri().path(),
    );
    request.extensions_mut().insert(context.clone());
    async move {
        let begun = std::time::Instant::now();
        let mut response = next.run(request).await;
        let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let status = response.status();
        served.responded(status);
        // Server errors are for a person to look at; the rest is for who asks for it.
        if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
            tracing::warn!(status = status.as_u16(), milliseconds, "A request failed.");
        } else {
            tracing::debug!(status = status.as_u16(), milliseconds, "A request was answered.");
        }
        context.inject(response.headers_mut());
        response
    }
    .instrument(span)
    .await
}
