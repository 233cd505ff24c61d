//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::error::Error;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;

use super::ServerSettings;
use super::http2::{Streams, watched};
use super::stall::StallLimited;

/// How often a quiet HTTP/2 connection is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Most requests of an HTTP/2 connection at once.
const MOST_STREAMS: u32 = 256;
/// A connection on which it is only told that all others are taken has no more
/// time than this.
const SPARE_LIMIT: Duration = Duration::from_secs(5);

/// Answers what comes on a connection, until one side or the other ends it.
pub(super) async fn attend(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    is_spare: bool,
    settings: ServerSettings,
    leaving: &mut watch::Receiver<bool>,
) {
    let requests = Arc::new(Requests::default());
    let counted = Arc::clone(&requests);
    let service = service_fn(move |request: Request<Incoming>| {
        let open = counted.begin(request.version());
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let answering = router.clone().oneshot(request);
        async move { Ok::<_, Infallible>(watched(answering.await?, open)) }
    });
    let stream = StallLimited::new(stream, settings.stall);
    let last_wait = stream.last_wait();
    let builder = builder(is_spare, settings, Streams::new(settings.stall, last_wait.clone()));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    let mut connection = pin!(connection);
    let limit = if is_spare { SPARE_LIMIT } else { settings.head };
    tokio::select! {
        ended = connection.as_mut() => return noted(ended, peer),
        () = is_told(leaving) => {}
        // The limit of the head begins only with the first bytes, so that a
        // client that sends nothing would keep its place for ever.
        () = requests.are_missing(limit, is_spare) => {
            tracing::debug!(%peer, "A connection without a request is cut off.");
            return;
        }
        () = requests.have_ended_for(settings.idle) => {
            tracing::debug!(%peer, "A connection without further requests is ended.");
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => noted(ended, peer),
                // What is left of answers is not let through, or it would wait.
                () = last_wait.none_for(settings.stall) => {}
            }
            return;
        }
    }
    // For how long is up to the server.
    connection.as_mut().graceful_shutdown();
    noted(connection.await, peer);
}

/// Becomes ready when the server is told to stop.
async fn is_told(leaving: &mut watch::Receiver<bool>) {
    let _ = leaving.wait_for(|leave| *leave).await;
}

/// Clients come and go; that is nobody's fault.
fn noted(ended: Result<(), Box<dyn Error + Send + Sync>>, peer: SocketAddr) {
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "A connection ended badly.");
    }
}

fn builder(is_spare: bool, settings: ServerSettings, streams: Streams) -> Builder<Streams> {
    let mut builder = Builder::new(streams);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(settings.head).keep_alive(!is_spare);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(MOST_STREAMS);
    builder
}

/// The requests of a connection.
#[derive(Debug, Default)]
struct Requests {
    has_begun: AtomicBool,
    http2: watch::Sender<Count>,
}

/// Requests by HTTP/2. Over HTTP/1.1, the next head is waited for only so long.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    ever: u64,
    open: usize,
}

impl Requests {
    fn begin(self: &Arc<Self>, version: Version) -> Option<OpenRequest> {
        self.has_begun.store(true, Ordering::Relaxed);
        (version == Version::HTTP_2).then(|| OpenRequest::new(self))
    }

    /// Becomes ready if there was none by then; if there must be no more than
    /// one, at that time in any case.
    async fn are_missing(&self, limit: Duration, is_spare: bool) {
        sleep(limit).await;
        if !is_spare && self.has_begun.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    }

    /// Becomes ready when there were some by HTTP/2, and then none for so long:
    /// pings alone would keep a connection for ever.
    async fn have_ended_for(&self, limit: Duration) {
        let mut counts = self.http2.subscribe();
        loop {
            let are_over = counts.wait_for(|count| count.ever > 0 && count.open == 0).await.is_ok();
            if !are_over {
                // Whoever counts is this one: that does not happen.
                return pending().await;
            }
            if timeout(limit, counts.changed()).await.is_err() {
                return;
            }
        }
    }
}

/// A request that is being done or answered.
#[derive(Debug)]
pub(super) struct OpenRequest(Arc<Requests>);

impl OpenRequest {
    fn new(requests: &Arc<Requests>) -> Self {
        requests.http2.send_modify(|count| {
            count.ever += 1;
            count.open += 1;
        });
        Self(Arc::clone(requests))
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.http2.send_modify(|count| count.open = count.open.saturating_sub(1));
    }
}
