//! A collector of spans, as far as the tests need one: it takes them by OTLP
//! and remembers them.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::bench::eventually;

pub const SERVER: i32 = 2;
pub const CLIENT: i32 = 3;
pub const CONSUMER: i32 = 5;

/// What a span says, in words.
#[derive(Clone, Debug)]
pub struct Told {
    pub service: String,
    pub name: String,
    pub kind: i32,
    pub trace: String,
    pub id: String,
    pub parent: String,
    attributes: Vec<KeyValue>,
}

impl Told {
    pub fn attribute(&self, name: &str) -> String {
        attribute(&self.attributes, name).unwrap_or_else(|| panic!("no `{name}` in {self:?}"))
    }
}

#[derive(Clone, Debug, Default)]
pub struct Collector {
    /// Where it is, as the environment of a service has it.
    pub endpoint: String,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Collector {
    /// On a port of its own.
    pub fn start() -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").expect("listener"))
    }

    pub fn start_on(listener: TcpListener) -> Self {
        listener.set_nonblocking(true).expect("listener");
        let endpoint = format!("http://{}", listener.local_addr().expect("address"));
        let collector = Self { endpoint, told: Arc::default() };
        let router = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        tokio::spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("listener");
            axum::serve(listener, router).await.expect("serve");
        });
        collector
    }

    /// The spans of a trace that it was told of so far.
    pub fn of(&self, trace: &str) -> Vec<Told> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.iter().filter(|span| span.trace == trace).cloned().collect()
    }

    /// The one span of a trace that a service has made of this kind, when it is there.
    pub async fn span(&self, trace: &str, service: &str, kind: i32) -> Told {
        let found = || {
            let spans = self.of(trace).into_iter();
            spans.filter(|span| span.service == service && span.kind == kind).collect::<Vec<_>>()
        };
        eventually(&format!("a span of {service} of the kind {kind}"), async || !found().is_empty()).await;
        let mut spans = found();
        assert_eq!(spans.len(), 1, "{spans:?}");
        spans.remove(0)
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    assert_eq!(headers["x-key"], "a key");
    let request = ExportTraceServiceRequest::decode(body).expect("spans");
    for resource in request.resource_spans {
        let attributes = resource.resource.expect("resource").attributes;
        let service = attribute(&attributes, "service.name").expect("name");
        let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        let told = spans.map(|span| told(&service, span));
        collector.told.lock().unwrap_or_else(PoisonError::into_inner).extend(told);
    }
    StatusCode::OK
}

fn told(service: &str, span: Span) -> Told {
    Told {
        service: service.to_owned(),
        name: span.name,
        kind: span.kind,
        trace: hexadecimal(&span.trace_id),
        id: hexadecimal(&span.span_id),
        parent: hexadecimal(&span.parent_span_id),
        attributes: span.attributes,
    }
}

fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{name}: {other:?}"),
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
