//! A service behind the gateway, as the tests need it: it shows what it gets,
//! and behaves well or badly on request.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use futures::{SinkExt as _, StreamExt as _};
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::analyses::{self, Analyses};

/// How far apart the parts of a stream are.
pub const TICK: Duration = Duration::from_millis(150);

/// The service. It has a runtime of its own, so that it can go away with all
/// of its connections.
#[derive(Debug)]
pub struct Upstream {
    pub url: String,
    pub state: Arc<UpstreamState>,
    runtime: Option<Runtime>,
}

/// What it has seen.
#[derive(Debug, Default)]
pub struct UpstreamState {
    pub analyses: Analyses,
    /// Requests that were given up while they waited.
    pub given_up: AtomicUsize,
}

impl Upstream {
    pub fn start() -> Self {
        let mut upstream =
            Self { url: "http://127.0.0.1:0".to_owned(), state: Arc::default(), runtime: None };
        upstream.start_again();
        upstream
    }

    /// Starts where it was before, and remembers what it knew.
    pub fn start_again(&mut self) {
        let listener = loop {
            match TcpListener::bind(self.url.trim_start_matches("http://")) {
                Ok(listener) => break listener,
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        listener.set_nonblocking(true).expect("listener");
        self.url = format!("http://{}", listener.local_addr().expect("address"));
        let router = router().merge(analyses::router()).with_state(Arc::clone(&self.state));
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("listener");
            axum::serve(listener, router).await.expect("serve");
        });
        self.runtime = Some(runtime);
    }

    /// Goes away, with all connections that are open.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

fn router() -> Router<Arc<UpstreamState>> {
    Router::new()
        .route("/v1/datasets/seen", any(seen))
        .route("/v1/datasets/ticks", get(ticks))
        .route("/v1/datasets/echo", post(echo))
        .route("/v1/datasets/breaks", get(breaks))
        .route("/v1/datasets/trailers", get(trailers))
        .route("/v1/datasets/never", get(never))
        .route("/v1/datasets/unbelieving", get(|| async { StatusCode::UNAUTHORIZED }))
        .route("/v1/datasets/socket", any(socket))
        .route("/v1/uploads", any(tus))
}

/// What the service got.
async fn seen(request: Request) -> axum::Json<Value> {
    let (parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.expect("body");
    let mut headers = Map::new();
    for name in parts.headers.keys() {
        let values: Vec<Value> = parts
            .headers
            .get_all(name)
            .iter()
            .map(|value| json!(String::from_utf8_lossy(value.as_bytes())))
            .collect();
        headers.insert(name.to_string(), json!(values));
    }
    axum::Json(json!({
        "method": parts.method.as_str(),
        "uri": parts.uri.to_string(),
        "headers": headers,
        "bytes": bytes.len(),
    }))
}

/// Five parts, one after the other.
async fn ticks() -> Response {
    let parts = futures::stream::unfold(0, |number| async move {
        if number == 5 {
            return None;
        }
        if number > 0 {
            tokio::time::sleep(TICK).await;
        }
        Some((Ok::<_, Infallible>(Bytes::from(format!("data: {number}\n\n"))), number + 1))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(parts)).into_response()
}

/// Every part as it comes.
async fn echo(body: Body) -> Body {
    Body::from_stream(body.into_data_stream())
}

/// An answer that breaks off.
async fn breaks() -> Body {
    let parts =
        futures::stream::iter([Ok(Bytes::from("the beginning")), Err(std::io::Error::other("the end"))]);
    // The beginning is on its way before the end comes.
    Body::from_stream(parts.then(|part| async move {
        tokio::time::sleep(TICK).await;
        part
    }))
}

/// An answer with trailers.
async fn trailers() -> Response {
    let mut last = HeaderMap::new();
    last.insert("x-checksum", HeaderValue::from_static("abc"));
    let frames = [Ok::<_, Infallible>(Frame::data(Bytes::from("rows"))), Ok(Frame::trailers(last))];
    let body = Body::new(StreamBody::new(futures::stream::iter(frames)));
    ([(header::TRAILER, "x-checksum")], body).into_response()
}

/// No answer. It is counted when it is not waited for any more.
async fn never(State(state): State<Arc<UpstreamState>>) {
    struct GivenUp(Arc<UpstreamState>);
    impl Drop for GivenUp {
        fn drop(&mut self) {
            self.0.given_up.fetch_add(1, Ordering::SeqCst);
        }
    }
    let _given_up = GivenUp(state);
    std::future::pending::<()>().await;
}

/// A web socket: every message as it comes.
async fn socket(mut request: Request) -> Response {
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let accepted = derive_accept_key(key.as_bytes());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let io = TokioIo::new(upgrade.await.expect("upgrade"));
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() || socket.send(message).await.is_err() {
                return;
            }
        }
    });
    let headers = [
        (header::CONNECTION, "upgrade"),
        (header::UPGRADE, "websocket"),
        (header::SEC_WEBSOCKET_ACCEPT, accepted.as_str()),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

/// What resumable uploads ask for by OPTIONS.
async fn tus() -> Response {
    (StatusCode::NO_CONTENT, [("tus-version", "1.0.0"), ("access-control-allow-origin", "*")]).into_response()
}
