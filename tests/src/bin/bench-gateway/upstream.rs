//! The service behind the gateway: it answers at once and looks at nothing.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Where the small answer is.
pub(crate) const SMALL: &str = "/v1/datasets/small";
/// Where the stream is.
pub(crate) const STREAM: &str = "/v1/datasets/stream";
/// Parts of a stream, the first of which is sent at once.
pub(crate) const PARTS: u32 = 5;
/// How far apart they are.
pub(crate) const INTERVAL: Duration = Duration::from_millis(200);
/// Bytes of the small answer.
const SMALL_BYTES: usize = 1024;

/// A server on the loopback link. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Such as `127.0.0.1:1234`.
    pub(crate) address: String,
    /// From when on the times in streams count.
    pub(crate) epoch: Instant,
    task: JoinHandle<()>,
}

impl Upstream {
    pub(crate) async fn start() -> Result<Self> {
        let epoch = Instant::now();
        let small = small();
        let router = Router::new()
            .route(SMALL, get(move || async move { ([(header::CONTENT_TYPE, "application/json")], small) }))
            .route(STREAM, get(stream))
            .with_state(epoch);
        let listener = TcpListener::bind("127.0.0.1:0").await.context("listening")?;
        let address = listener.local_addr().context("the address of the upstream")?.to_string();
        // As the services do: small parts of a stream are sent at once.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let task = tokio::spawn(async move {
            // Ends with the benchmark; what goes wrong before is seen by its clients.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, epoch, task })
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A JSON document of about the size of most answers.
fn small() -> Bytes {
    const FRAME: usize = r#"{"text":""}"#.len();
    format!(r#"{{"text":"{}"}}"#, "x".repeat(SMALL_BYTES - FRAME)).into()
}

/// Each part tells when it was sent, in nanoseconds.
async fn stream(State(epoch): State<Instant>) -> ([(HeaderName, &'static str); 2], Body) {
    let parts = futures::stream::unfold(0, move |number| async move {
        if number == PARTS {
            return None;
        }
        if number > 0 {
            tokio::time::sleep(INTERVAL).await;
        }
        let part = format!("data: {}\n\n", epoch.elapsed().as_nanos());
        Some((Ok::<_, Infallible>(Bytes::from(part)), number + 1))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        // What nginx has in place of `proxy_buffering off` for an answer.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(parts))
}
