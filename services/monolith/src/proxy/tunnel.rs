//! Connections that change their protocol, such as to WebSocket: from then on
//! bytes are passed on in both directions, whatever they mean.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use futures::future::{Either, select};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::gauge::Gauge;
use service_kit::Problem;
use tokio::io::{AsyncWriteExt as _, split};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Connections that may be open at once. They are beyond the server's own
/// bound, which counts requests and their connections.
const AT_ONCE: usize = 1024;
/// How long one side may go on when the other one is done.
const LINGER: Duration = Duration::from_secs(10);

/// How many more connections may change their protocol.
#[derive(Clone, Debug)]
pub struct Tunnels {
    permits: Arc<Semaphore>,
    open: Gauge,
}

impl Tunnels {
    /// None is open yet; `open` counts them.
    #[must_use]
    pub fn new(open: Gauge) -> Self {
        Self { permits: Arc::new(Semaphore::new(AT_ONCE)), open }
    }

    /// A place for one more.
    ///
    /// # Errors
    /// If there is none.
    pub fn reserve(&self, client: OnUpgrade) -> Result<Tunnel, Problem> {
        match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => Ok(Tunnel { client, permit, open: self.open.clone() }),
            Err(_) => Err(Problem::unavailable(
                format!("The gateway holds {AT_ONCE} upgraded connections, and no more at once."),
                Duration::from_secs(5),
            )),
        }
    }
}

/// A connection that a client wants to change the protocol of.
#[derive(Debug)]
pub struct Tunnel {
    client: OnUpgrade,
    permit: OwnedSemaphorePermit,
    open: Gauge,
}

impl Tunnel {
    /// Joins it with that to a service, which has agreed.
    pub fn join(self, service: OnUpgrade) {
        let Self { client, permit, open } = self;
        tokio::spawn(async move {
            open.inc();
            match both(client, service).await {
                Ok((client, service)) => copy(client, service).await,
                Err(error) => tracing::debug!(%error, "A connection was not upgraded after all."),
            }
            open.dec();
            drop(permit);
        });
    }
}

async fn both(client: OnUpgrade, service: OnUpgrade) -> Result<(Upgraded, Upgraded), hyper::Error> {
    // The service has agreed already; the client does when it has the answer.
    let service = service.await?;
    Ok((client.await?, service))
}

/// Passes on what comes from either side, until both are done, or one has been
/// done for a while.
async fn copy(client: Upgraded, service: Upgraded) {
    let (mut from_client, mut to_client) = split(TokioIo::new(client));
    let (mut from_service, mut to_service) = split(TokioIo::new(service));
    // Connections break off; the other side learns of it by the end.
    let there = pin!(async {
        let _ = tokio::io::copy(&mut from_client, &mut to_service).await;
        let _ = to_service.shutdown().await;
    });
    let back = pin!(async {
        let _ = tokio::io::copy(&mut from_service, &mut to_client).await;
        let _ = to_client.shutdown().await;
    });
    let _ = match select(there, back).await {
        Either::Left(((), back)) => timeout(LINGER, back).await,
        Either::Right(((), there)) => timeout(LINGER, there).await,
    };
}

/// A service changes the protocol though nobody has asked it to.
pub fn unasked(service: &str) -> Problem {
    Problem::new(
        StatusCode::BAD_GATEWAY,
        "bad-gateway",
        "Bad gateway",
        format!("The service `{service}` has changed the protocol unasked."),
    )
}
