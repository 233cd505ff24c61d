//! Spans: what is done for a request, and for how long, for a collector of
//! OpenTelemetry (<https://opentelemetry.io/docs/specs/otel/trace/>).
//!
//! ```text
//!   request ─▶ Span::server ─▶ Span::client ─▶ another service
//!                   └─▶ queue ─▶ Span::job
//!   ended spans ─▶ a queue with a bound ─▶ a thread of its own: batches ─▶ collector (OTLP over HTTP)
//! ```
//!
//! They are sent if the environment names a collector. If it does not, a
//! [`Span`] is a place in a trace and nothing else.
//!
//! They are not made of the spans that logs have: what is logged, and at which
//! level, changes nothing about them, nor they about the logs. Names and
//! attributes are those of the semantic conventions
//! (<https://opentelemetry.io/docs/specs/semconv/>).

mod collector;
mod environment;
mod span;

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

pub use self::span::Span;

use self::collector::Collector;

/// How long it may take to send what is left when the process ends. Together
/// with what requests may take then, it is less than a pod has to end.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);
/// What makes the spans, for who looks at them.
const SCOPE: &str = "ai-saas-platform";

/// Makes the spans of this process. Not there if nobody is told of them.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The environment asks for what there is not.
    #[error("the environment variable `{name}` cannot be used: {problem}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no HTTP client.
    #[error("no client for the collector of spans can be made")]
    Client(#[source] reqwest::Error),
    /// There is no exporter.
    #[error("the exporter of spans cannot be made")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    /// There is no runtime that could send them.
    #[error("spans can only be sent from within a runtime")]
    Runtime(#[source] tokio::runtime::TryCurrentError),
}

/// The export of spans, if there is one.
#[derive(Debug)]
pub struct Export {
    provider: Option<SdkTracerProvider>,
}

impl Export {
    /// Begins to send spans if the environment says where to
    /// (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>). The
    /// runtime that this is called in does the sending. `service` and `version`
    /// are what the spans are said to come from, unless the environment has
    /// other names.
    ///
    /// # Errors
    /// If the environment asks for what there is not.
    pub fn begin(service: &'static str, version: &'static str) -> Result<Self, ExportError> {
        let variable = |name: &str| std::env::var(name).ok();
        let Some(destination) = environment::destination(&variable)? else {
            return Ok(Self { provider: None });
        };
        environment::check_sampler(&variable);
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new(&destination)?)
            .with_endpoint(destination.endpoint.as_str())
            .with_timeout(destination.timeout)
            .build()
            .map_err(ExportError::Exporter)?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(environment::resource(&variable, service, version))
            .build();
        install(&provider);
        tracing::info!(collector = destination.shown(), "Spans are sent to a collector.");
        Ok(Self { provider: Some(provider) })
    }

    /// Sends what is left, for some seconds at most. There are no spans after that.
    pub async fn end(self) {
        let Some(provider) = self.provider else { return };
        let ended = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_LIMIT)).await;
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "The last spans were not sent."),
            Err(error) => tracing::warn!(%error, "The last spans were not sent."),
        }
    }
}

/// From now on the spans of this process are made there.
fn install(provider: &SdkTracerProvider) {
    // A process has one; whoever comes second changes nothing.
    let _ = TRACER.set(provider.tracer(SCOPE));
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use axum::Router;
    use axum::body::Body;
    use axum::http::{Method, Request, StatusCode};
    use axum::middleware::from_fn;
    use axum::response::IntoResponse as _;
    use axum::routing::get;
    use opentelemetry::trace::{SpanKind, Status};
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::SpanData;
    use tower::ServiceExt as _;

    use super::*;
    use crate::trace_context::TraceContext;

    /// Keeps what a collector would be told.
    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl opentelemetry_sdk::trace::SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(batch);
            Ok(())
        }
    }

    impl Kept {
        /// All spans of a trace, those that ended first come first.
        fn of(&self, trace: &str) -> Vec<SpanData> {
            let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.iter().filter(|span| span.span_context.trace_id().to_string() == trace).cloned().collect()
        }
    }

    /// One for all tests: a process has one tracer.
    fn kept() -> &'static Kept {
        static KEPT: OnceLock<Kept> = OnceLock::new();
        KEPT.get_or_init(|| {
            let kept = Kept::default();
            install(&SdkTracerProvider::builder().with_simple_exporter(kept.clone()).build());
            kept
        })
    }

    fn attribute(span: &SpanData, name: &str) -> Option<String> {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name)?;
        Some(found.value.as_str().into_owned())
    }

    /// Asks a service with a route that calls another service, which answers with this status.
    async fn asked(traceparent: &str, path: &str) -> axum::response::Response {
        let calls = |request: Request<Body>| async move {
            let trace = request.extensions().get::<TraceContext>().cloned().expect("trace");
            let url = "http://analysis-base:8080/v1/x?secret=1";
            let mut span = Span::client(&trace, "analysis-base", &Method::GET, &url);
            let status = match request.uri().path() {
                "/v1/things/missing" => StatusCode::NOT_FOUND,
                "/v1/things/broken" => StatusCode::INTERNAL_SERVER_ERROR,
                _ => StatusCode::OK,
            };
            span.answered(status);
            (status, span.context().traceparent()).into_response()
        };
        let router =
            Router::new().route("/v1/things/{id}", get(calls)).layer(from_fn(crate::telemetry::trace));
        let request = Request::get(path).header("traceparent", traceparent).body(Body::empty());
        router.oneshot(request.expect("request")).await.expect("answer")
    }

    #[tokio::test]
    async fn a_request_and_the_call_that_is_made_for_it_are_spans_of_one_trace() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let kept = kept();
        let answer = asked(&format!("00-{trace}-b7ad6b7169203331-01"), "/v1/things/1?secret=1").await;
        let spans = kept.of(trace);
        let [client, server] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!((&*server.name, &server.span_kind), ("GET /v1/things/{id}", &SpanKind::Server));
        assert_eq!(server.parent_span_id.to_string(), "b7ad6b7169203331");
        assert!(server.parent_span_is_remote);
        for (name, value) in [
            ("http.request.method", "GET"),
            ("http.route", "/v1/things/{id}"),
            ("url.path", "/v1/things/1"),
            ("http.response.status_code", "200"),
        ] {
            assert_eq!(attribute(server, name).as_deref(), Some(value), "{name}");
        }
        assert_eq!((&*client.name, &client.span_kind), ("GET", &SpanKind::Client));
        assert_eq!(client.parent_span_id, server.span_context.span_id());
        assert_eq!(attribute(client, "url.full").as_deref(), Some("http://analysis-base:8080/v1/x"));
        assert_eq!(attribute(client, "server.address").as_deref(), Some("analysis-base"));
        assert_eq!(attribute(client, "server.port").as_deref(), Some("8080"));
        assert_eq!((&client.status, &server.status), (&Status::Unset, &Status::Unset));
        // Who asked is told of the span of its request, and the other service of that of the call.
        let told = answer.headers()["traceparent"].to_str().expect("text").to_owned();
        assert_eq!(told, format!("00-{trace}-{}-01", server.span_context.span_id()));
        let sent = axum::body::to_bytes(answer.into_body(), 1000).await.expect("body");
        assert_eq!(sent, format!("00-{trace}-{}-01", client.span_context.span_id()));
    }

    #[tokio::test]
    async fn whose_fault_it_is_says_which_span_has_failed() {
        let trace = "0af7651916cd43dd8448eb211c803100";
        let kept = kept();
        for (path, fails) in [("/v1/things/missing", [true, false]), ("/v1/things/broken", [true, true])] {
            let before = kept.of(trace).len();
            asked(&format!("00-{trace}-b7ad6b7169203331-01"), path).await;
            let failed: Vec<bool> = kept.of(trace)[before..]
                .iter()
                .map(|span| {
                    matches!(span.status, Status::Error { .. }) && attribute(span, "error.type").is_some()
                })
                .collect();
            assert_eq!(failed, fails, "{path}");
        }
    }

    #[tokio::test]
    async fn a_trace_that_is_not_sampled_stays_so() {
        let trace = "0af7651916cd43dd8448eb211c803200";
        let kept = kept();
        let answer = asked(&format!("00-{trace}-b7ad6b7169203331-00"), "/v1/things/1").await;
        assert!(answer.headers()["traceparent"].to_str().expect("text").ends_with("-00"));
        assert!(kept.of(trace).is_empty());
    }
}
