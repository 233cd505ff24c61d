//! Passing requests on to the services, and their answers back: as they come,
//! chunk by chunk, in both directions.
//!
//! ```text
//!   client ──▶ head: key, scope, hop-by-hop out; identity, deadline, trace in ──▶ service
//!          ══▶ body, trailers ══════════════════════════════════════════════════▶
//!          ◀══════════════════════════════════════════════════ head, body, trailers
//! ```
//!
//! A client that goes away drops the future here, and with it the connection
//! to the service. A service that breaks off makes the body end with an error,
//! so that the connection to the client is broken off as well: nobody takes
//! half an answer for a whole one.

mod headers;
mod tunnel;
mod watched;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use service_kit::Problem;
use service_kit::limits::{DEADLINE, Deadline};
use service_kit::spans::Span;
use service_kit::trace_context::TraceContext;

pub use self::headers::API_KEY;
use self::tunnel::{Tunnel, Tunnels};
use self::watched::{Movement, Watched};
use crate::access::Principal;
use crate::counters::{Counters, Outcome};
use crate::gateway::{Gateway, Live};
use crate::services::Service;

/// A service of the same cluster either takes a connection within moments or not at all.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// The services close a connection that is idle for 15 s; it is not used
/// again when that is near.
const IDLE_LIMIT: Duration = Duration::from_secs(10);
/// A longer body is an upload, of which nobody knows how long it may take.
const UPLOAD_BYTES: u64 = 1 << 20;

type Upstream = Client<HttpConnector, Watched>;

/// The connections to the services.
#[derive(Debug)]
pub struct Proxy {
    upstream: Upstream,
    tunnels: Tunnels,
    counters: Counters,
}

/// The head of a request as a service gets it.
#[derive(Clone)]
struct Head {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Head {
    fn with(self, body: Watched) -> hyper::Request<Watched> {
        let mut request = hyper::Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        request
    }
}

/// The route for all that is not the gateway's own.
pub async fn forward(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    match gateway.proxy.forward(&gateway.live(), request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

impl Proxy {
    /// Without a connection yet.
    #[must_use]
    pub fn new(counters: Counters) -> Self {
        let mut connector = HttpConnector::new();
        // Small parts of a stream are sent at once.
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_LIMIT));
        let upstream = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_LIMIT)
            .pool_max_idle_per_host(256)
            .build(connector);
        Self { upstream, tunnels: Tunnels::new(counters.tunnels.clone()), counters }
    }

    async fn forward(&self, live: &Live, mut request: Request) -> Result<Response, Problem> {
        let path = request.uri().path();
        let Some(service) = live.services.for_path(path) else {
            return Err(Problem::not_found("There is nothing at this address. See /openapi.json."));
        };
        if headers::has_dot_segments(path) {
            return Err(Problem::bad_request("A path may not have the segments `.` and `..`."));
        }
        let wanted = headers::upgrade(request.headers()).filter(|_| request.version() == Version::HTTP_11);
        let tunnel = match &wanted {
            Some(_) => Some(self.tunnels.reserve(hyper::upgrade::on(&mut request))?),
            None => None,
        };
        let movement = Movement::begin();
        let limit = live.settings.response_time_limit();
        let trace = request.extensions().get::<TraceContext>().cloned().unwrap_or_else(TraceContext::root);
        let (mut head, body) = prepare(request, service, wanted, limit)?;
        let mut span = Span::client(&trace, &service.name, &head.method, &head.uri);
        span.context().inject(&mut head.headers);
        let body = Watched::new(body, Arc::clone(&movement));
        let answered = self.answer(head, body, &movement, limit).await;
        match &answered {
            Ok(response) => span.answered(response.status()),
            Err(Missing::TimedOut) => span.failed(Some("timeout")),
            Err(Missing::Unfinished) => span.failed(None),
            Err(Missing::Unreachable(error)) => span.failed(error.is_connect().then_some("connect")),
        }
        drop(span);
        self.counters.forwarded(
            &service.name,
            match &answered {
                Ok(_) => Outcome::Answered,
                Err(Missing::TimedOut) => Outcome::TimedOut,
                Err(Missing::Unfinished) => Outcome::Unfinished,
                Err(Missing::Unreachable(_)) => Outcome::Unreachable,
            },
        );
        let response = answered.map_err(|missing| missing.problem(service, limit))?;
        finish(response, service, tunnel)
    }

    /// The service's answer. What can be done twice without harm is, if the
    /// first connection turns out to be dead: pods come and go.
    async fn answer(
        &self,
        head: Head,
        body: Watched,
        movement: &Movement,
        limit: Duration,
    ) -> Result<hyper::Response<Incoming>, Missing> {
        let again = (head.method.is_idempotent() && body.is_end_stream()).then(|| head.clone());
        let first = within(self.upstream.request(head.with(body)), movement, limit).await;
        match (first, again) {
            (Err(Missing::Unreachable(error)), Some(head)) => {
                tracing::debug!(%error, "A request is made once more.");
                let body = Watched::new(Body::empty(), Movement::begin());
                within(self.upstream.request(head.with(body)), movement, limit).await
            }
            (first, _) => first,
        }
    }
}

/// Why there is no answer.
enum Missing {
    TimedOut,
    /// The service waits for the rest of the request, as it should.
    Unfinished,
    Unreachable(hyper_util::client::legacy::Error),
}

impl Missing {
    fn problem(self, service: &Service, limit: Duration) -> Problem {
        let name = &service.name;
        match self {
            Self::TimedOut => Problem::timed_out(format!(
                "The service `{name}` has not begun to answer within {} s.",
                limit.as_secs()
            )),
            Self::Unfinished => Problem::request_timeout(format!(
                "The request has not come to its end, and nothing of its body has come for {} s.",
                limit.as_secs()
            )),
            Self::Unreachable(error) => {
                let error = service_kit::problem::chain(&error);
                tracing::warn!(service = %name, %error, "A service cannot be reached.");
                Problem::unavailable(
                    format!("The service `{name}` cannot be reached at present."),
                    Duration::from_secs(2),
                )
            }
        }
    }
}

/// Waits for the head of an answer, for as long as the body of the request
/// moves and the limit after that.
async fn within(
    response: hyper_util::client::legacy::ResponseFuture,
    movement: &Movement,
    limit: Duration,
) -> Result<hyper::Response<Incoming>, Missing> {
    let mut response = pin!(response);
    loop {
        let until = movement.last() + limit;
        match tokio::time::timeout_at(until, &mut response).await {
            Ok(response) => return response.map_err(Missing::Unreachable),
            Err(_) if movement.last() + limit > until => {}
            Err(_) if movement.is_awaited() => return Err(Missing::Unfinished),
            Err(_) => return Err(Missing::TimedOut),
        }
    }
}

/// What the service gets of a request.
fn prepare(
    request: Request,
    service: &Service,
    wanted: Option<HeaderValue>,
    limit: Duration,
) -> Result<(Head, Body), Problem> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri = format!("{}{path}", service.base)
        .parse::<Uri>()
        .map_err(|error| Problem::bad_request(format!("The address cannot be passed on: {error}.")))?;
    let mut headers = parts.headers;
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
    headers::prepare(&mut headers, &parts.uri, peer);
    // HTTP says nothing about bodies of GET, so they need a sign that they come.
    if !body.is_end_stream() && !headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if let Some(protocol) = wanted {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
    if let Some(principal) = parts.extensions.get::<Principal>()
        && let Ok(id) = HeaderValue::from_str(&principal.id)
    {
        headers.insert(headers::PRINCIPAL, id);
    }
    if body.size_hint().upper().is_some_and(|bytes| bytes <= UPLOAD_BYTES) {
        let left = parts.extensions.get::<Deadline>().map_or(limit, |deadline| deadline.left().min(limit));
        headers.insert(DEADLINE, Deadline::after(left).header());
    }
    let token = service.client.token().map_err(|error| {
        tracing::error!(service = %service.name, %error, "The token for a service cannot be read.");
        Problem::unavailable(
            format!("The gateway has no identity for the service `{}` at present.", service.name),
            Duration::from_secs(5),
        )
    })?;
    if let Some(token) = token {
        headers.insert(header::AUTHORIZATION, token);
    }
    Ok((Head { method: parts.method, uri, headers }, body))
}

/// What the client gets of an answer.
fn finish(
    mut response: hyper::Response<Incoming>,
    service: &Service,
    tunnel: Option<Tunnel>,
) -> Result<Response, Problem> {
    let name = service.name.clone();
    // Services answer so if it is the gateway that they do not believe.
    if response.status() == StatusCode::UNAUTHORIZED {
        tracing::error!(service = %name, "A service does not accept the gateway's identity.");
        return Err(Problem::unavailable(
            format!("The service `{name}` does not accept the gateway at present."),
            Duration::from_secs(5),
        ));
    }
    crate::cors::forget(response.headers_mut());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(tunnel) = tunnel else { return Err(tunnel::unasked(&name)) };
        tunnel.join(hyper::upgrade::on(&mut response));
        let protocol = response.headers().get(header::UPGRADE).cloned();
        let (mut parts, _) = response.into_parts();
        headers::remove_hop_by_hop(&mut parts.headers);
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            parts.headers.insert(header::UPGRADE, protocol);
        }
        return Ok(Response::from_parts(parts, Body::empty()));
    }
    headers::remove_hop_by_hop(response.headers_mut());
    let body = |incoming: Incoming| {
        Body::new(incoming.map_err(move |error| {
            tracing::warn!(service = %name, %error, "A service has broken off in the middle of its answer.");
            error
        }))
    };
    Ok(response.map(body))
}
