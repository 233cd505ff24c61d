use std::fmt::Display;

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use url::Url;

use super::TRACER;
use crate::queue::{Job, JobFailure};
use crate::trace_context::TraceContext;

/// An error that has no name which many others have, too.
const OTHER: &str = "_OTHER";

/// Something that is done here, as a part of a trace. It ends when it is dropped.
#[derive(Debug)]
pub struct Span {
    context: TraceContext,
    /// `None` if nobody is told of it.
    told: Option<opentelemetry_sdk::trace::Span>,
}

/// What a span is done for.
#[derive(Clone, Copy, Debug)]
struct Parent<'a> {
    context: &'a TraceContext,
    /// Whether that is, or was, in another process.
    is_remote: bool,
}

impl Span {
    /// A request that is answered here, up to the head of the answer. For use
    /// around routes that are matched already.
    pub(crate) fn server(request: &Request) -> Self {
        let caller = TraceContext::of_caller(request.headers());
        let parent = caller.as_ref().map(|context| Parent { context, is_remote: true });
        let make = || {
            let method = known(request.method());
            let mut attributes = vec![
                KeyValue::new("http.request.method", method.unwrap_or(OTHER)),
                KeyValue::new("url.scheme", "http"),
                KeyValue::new("url.path", request.uri().path().to_owned()),
            ];
            let mut name = method.unwrap_or("HTTP").to_owned();
            if let Some(route) = request.extensions().get::<MatchedPath>() {
                name = format!("{name} {}", route.as_str());
                attributes.push(KeyValue::new("http.route", route.as_str().to_owned()));
            }
            SpanBuilder::from_name(name).with_kind(SpanKind::Server).with_attributes(attributes)
        };
        Self::begin(parent, make).unwrap_or_else(|| Self::untold(parent))
    }

    /// One attempt at calling another service, up to the head of its answer.
    /// `url` is where it is called; its query is nobody's business.
    #[must_use]
    pub fn client(parent: &TraceContext, service: &str, method: &Method, url: &impl Display) -> Self {
        let make = || {
            let method = known(method);
            let mut attributes = vec![
                KeyValue::new("http.request.method", method.unwrap_or(OTHER)),
                KeyValue::new("peer.service", service.to_owned()),
            ];
            if let Ok(mut url) = Url::parse(&url.to_string()) {
                url.set_query(None);
                if let Some(host) = url.host_str() {
                    attributes.push(KeyValue::new("server.address", host.to_owned()));
                }
                if let Some(port) = url.port_or_known_default() {
                    attributes.push(KeyValue::new("server.port", i64::from(port)));
                }
                attributes.push(KeyValue::new("url.full", String::from(url)));
            }
            SpanBuilder::from_name(method.unwrap_or("HTTP"))
                .with_kind(SpanKind::Client)
                .with_attributes(attributes)
        };
        Self::begin(Some(Parent { context: parent, is_remote: false }), make)
            // Without a span of its own, a call is made by the request that it is for.
            .unwrap_or_else(|| Self { context: parent.clone(), told: None })
    }

    /// One attempt at a job of a queue. `parent` is the request that has put it
    /// there, if that is known.
    #[must_use]
    pub fn job(queue: &str, job: &Job, parent: Option<&TraceContext>) -> Self {
        let parent = parent.map(|context| Parent { context, is_remote: true });
        let make = || {
            SpanBuilder::from_name(format!("process {queue}")).with_kind(SpanKind::Consumer).with_attributes(
                [
                    KeyValue::new("messaging.system", "aisaas"),
                    KeyValue::new("messaging.operation.name", "process"),
                    KeyValue::new("messaging.operation.type", "process"),
                    KeyValue::new("messaging.destination.name", queue.to_owned()),
                    KeyValue::new("messaging.message.id", job.id.to_string()),
                    KeyValue::new("aisaas.job.attempt", i64::from(job.attempt)),
                ],
            )
        };
        Self::begin(parent, make).unwrap_or_else(|| Self::untold(parent))
    }

    /// `None` if nobody wants to know of spans.
    fn begin(parent: Option<Parent<'_>>, make: impl FnOnce() -> SpanBuilder) -> Option<Self> {
        let tracer = TRACER.get()?;
        let surroundings = parent.map_or_else(Context::new, |parent| {
            Context::new().with_remote_span_context(parent.context.span_context(parent.is_remote))
        });
        let span = tracer.build_with_context(make(), &surroundings);
        // After the end of the export there is nothing of them.
        if !span.span_context().is_valid() {
            return None;
        }
        let context = TraceContext::of_span(span.span_context(), parent.map(|parent| parent.context));
        Some(Self { context, told: Some(span) })
    }

    fn untold(parent: Option<Parent<'_>>) -> Self {
        let context = parent.map_or_else(TraceContext::root, |parent| parent.context.child());
        Self { context, told: None }
    }

    /// Its place in the trace: what is done for it has that as its parent.
    #[must_use]
    pub const fn context(&self) -> &TraceContext {
        &self.context
    }

    /// A request was answered with this status. What the client has to mend is no failure.
    pub(crate) fn responded(&mut self, status: StatusCode) {
        self.status(status, status.is_server_error());
    }

    /// The call was answered with this status.
    pub fn answered(&mut self, status: StatusCode) {
        self.status(status, status.is_client_error() || status.is_server_error());
    }

    fn status(&mut self, status: StatusCode, is_failure: bool) {
        let Some(told) = &mut self.told else { return };
        told.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        if is_failure {
            self.failed_by(status.as_str().to_owned(), String::new());
        }
    }

    /// There is no answer, for this kind of reason: `timeout`, `connect`, or
    /// `None` if it is another one.
    pub fn failed(&mut self, kind: Option<&'static str>) {
        if self.told.is_some() {
            self.failed_by(kind.unwrap_or(OTHER).to_owned(), String::new());
        }
    }

    /// The attempt at a job has ended.
    pub fn attempted(&mut self, outcome: &Result<(), JobFailure>) {
        let Err(JobFailure::Again { error, .. } | JobFailure::Never { error }) = outcome else { return };
        if self.told.is_some() {
            self.failed_by(OTHER.to_owned(), error.clone());
        }
    }

    fn failed_by(&mut self, kind: String, description: String) {
        if let Some(told) = &mut self.told {
            told.set_attribute(KeyValue::new("error.type", kind));
            told.set_status(Status::error(description));
        }
    }
}

/// Methods that are not known are as good as one, so that nobody can make up names.
fn known(method: &Method) -> Option<&'static str> {
    Some(match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => return None,
    })
}
