//! Listening, and stopping without breaking off what is under way.
//!
//! ```text
//!   told to stop ─▶ not ready ─▶ (endpoints forget this pod) ─▶ accept nothing new ─▶ finish what runs ─▶ end
//! ```

mod connection;
mod http2;
mod stall;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};

use self::connection::attend;
use crate::health::Readiness;
use crate::problem::Problem;

/// Connections that wait in the kernel's queue.
const BACKLOG: i32 = 1024;
/// Connections that are told that all others are taken. Further ones wait in
/// the kernel's queue.
const SPARE_CONNECTIONS: usize = 64;

/// How a server listens and stops.
#[derive(Clone, Copy, Debug)]
pub struct ServerSettings {
    /// Connections at once; on further ones only `/livez` is answered.
    pub connections: usize,
    /// A client that has not sent the head of its request by then is cut off.
    pub head: Duration,
    /// From being told to stop to accepting nothing new: the time that a
    /// cluster takes to send requests elsewhere.
    pub unready: Duration,
    /// What requests that are under way may still take after that.
    pub drain: Duration,
    /// A client that takes nothing of its answer for so long is cut off: of an
    /// answer by HTTP/2, less than 16 KiB.
    pub stall: Duration,
    /// An HTTP/2 connection without a request for so long is ended.
    pub idle: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            connections: 4096,
            head: Duration::from_secs(15),
            unready: Duration::from_secs(3),
            drain: Duration::from_secs(20),
            stall: Duration::from_secs(60),
            idle: Duration::from_secs(60),
        }
    }
}

/// Listens. Where IPv6 is missing, `[::]` becomes `0.0.0.0`; where it is there,
/// it takes in IPv4 as well.
///
/// # Errors
/// If the address is taken or is not allowed to be.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match bind(address) {
        Err(error) if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && is_about_ipv6(&error) => {
            tracing::info!(%error, "There is no IPv6 here.");
            bind((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        bound => bound,
    }
}

/// As tokio binds, which says nothing of IPv4, so that the machine would decide.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Whether an address cannot be listened at for what it is: that its family is
/// unknown has no name of its own in the standard library.
fn is_about_ipv6(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

/// Serves HTTP/1.1 and HTTP/2 (with prior knowledge) until `stop`, and then
/// until what is under way has ended.
///
/// # Errors
/// If the listener has no address.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    readiness: &Readiness,
    settings: ServerSettings,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    tracing::info!(address = %listener.local_addr()?, "The service listens.");
    let (leave, leaving) = watch::channel(false);
    {
        let accepting = pin!(accept(&listener, &router, &leaving, settings));
        let ending = pin!(async {
            stop.await;
            readiness.stop();
            tokio::time::sleep(settings.unready).await;
        });
        futures::future::select(accepting, ending).await;
    }
    drop((listener, leaving));
    // Each connection has a receiver for as long as it is there.
    let under_way = leave.receiver_count();
    tracing::info!(connections = under_way, "The service takes no new requests and finishes the others.");
    leave.send_replace(true);
    if tokio::time::timeout(settings.drain, leave.closed()).await.is_err() {
        tracing::warn!(
            seconds = settings.drain.as_secs(),
            "Requests that were under way have not ended in time and are cut off."
        );
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    router: &Router,
    leaving: &watch::Receiver<bool>,
    settings: ServerSettings,
) -> Infallible {
    let permits = Arc::new(Semaphore::new(settings.connections));
    let spare_permits = Arc::new(Semaphore::new(SPARE_CONNECTIONS));
    let spare_router = without_room();
    loop {
        let (stream, peer) = accepted(listener).await;
        // A semaphore that is never closed always gives a permit in the end.
        let (permit, is_spare) = tokio::select! {
            biased;
            permit = Arc::clone(&permits).acquire_owned() => (permit, false),
            permit = Arc::clone(&spare_permits).acquire_owned() => (permit, true),
        };
        let router = if is_spare { spare_router.clone() } else { router.clone() };
        let mut leaving = leaving.clone();
        tokio::spawn(async move {
            attend(stream, peer, router, is_spare, settings, &mut leaving).await;
            drop(permit);
        });
    }
}

/// What is answered when all connections are taken: that the service is alive,
/// since a restart would only cut off those that work.
fn without_room() -> Router {
    Router::new().route("/livez", get(|| async { "ok\n" })).fallback(|| async {
        let detail = "The service has as many connections as it takes on. Try again in a moment.";
        Problem::unavailable(detail, Duration::from_secs(1))
    })
}

/// The next connection. Errors are those of one client, or pass when others
/// have closed their files.
async fn accepted(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Small parts of a stream are sent at once.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "A connection keeps Nagle's algorithm.");
                }
                // On a listener of IPv6, an address of IPv4 is a part of one of IPv6.
                return (stream, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
            }
            Err(error) if is_about_one_client(&error) => {}
            Err(error) => {
                tracing::error!(%error, "No connection could be accepted.");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

fn is_about_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

/// Becomes true when the process is told to stop (SIGTERM or SIGINT).
///
/// # Errors
/// If signals cannot be listened for.
pub fn stopping() -> io::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        futures::future::select(pin!(terminate.recv()), pin!(interrupt.recv())).await;
        tracing::info!("The service was told to stop.");
        sender.send_replace(true);
        // Kept, so that whoever waits later learns of it as well.
        sender.closed().await;
    });
    Ok(receiver)
}

/// Waits until a value becomes true.
pub async fn until(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Serves while the client does something.
    async fn with<T>(settings: ServerSettings, client: impl AsyncFnOnce(SocketAddr) -> T) -> T {
        let listener = listen("127.0.0.1:0".parse().expect("address")).await.expect("listener");
        let address = listener.local_addr().expect("address");
        let router = Router::new().route("/", get(|| async { "here" }));
        let readiness = Readiness::default();
        tokio::select! {
            ended = serve(listener, router, &readiness, settings, pending()) => panic!("{ended:?}"),
            done = client(address) => done,
        }
    }

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connect");
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("send");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answer");
        answer
    }

    #[tokio::test]
    async fn the_service_is_alive_when_all_connections_are_taken() {
        let settings = ServerSettings { connections: 1, ..ServerSettings::default() };
        with(settings, async |address| {
            let silent = TcpStream::connect(address).await.expect("connect");
            let alive = ask(address, "/livez").await;
            assert!(alive.starts_with("HTTP/1.1 200 "), "{alive}");
            let refused = ask(address, "/").await;
            assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
            drop(silent);
        })
        .await;
    }

    #[tokio::test]
    async fn a_client_that_sends_nothing_is_cut_off() {
        let settings = ServerSettings { head: Duration::from_millis(300), ..ServerSettings::default() };
        with(settings, async |address| {
            let mut silent = TcpStream::connect(address).await.expect("connect");
            assert_eq!(silent.read(&mut [0]).await.expect("end"), 0);
        })
        .await;
    }

    #[tokio::test]
    async fn both_families_are_listened_on_as_far_as_they_are_there() {
        let listener = listen("[::]:0".parse().expect("address")).await.expect("listener");
        let address = listener.local_addr().expect("address");
        assert!(address.ip().is_unspecified());
        TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).await.expect("IPv4");
        // A machine without IPv6 cannot bind to its loopback address either.
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, address.port())).await.expect("IPv6");
            assert!(!socket2::SockRef::from(&listener).only_v6().expect("option"));
        }
    }
}
