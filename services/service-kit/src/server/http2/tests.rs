//! A client of HTTP/2 that does what no library lets it do, frame by frame (RFC
//! 9113, section 4.1).

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use futures::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::health::Readiness;
use crate::server::{ServerSettings, listen, serve};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const LARGE: usize = 3 * PIECE_BYTES;
const PATIENCE: Duration = Duration::from_secs(60);

struct Client(TcpStream);

#[derive(Debug, PartialEq, Eq)]
struct Received {
    kind: u8,
    stream: u32,
    bytes: usize,
}

impl Client {
    /// So much may be sent of each answer.
    async fn connect(address: SocketAddr, window: u32) -> Self {
        let mut client = Self(TcpStream::connect(address).await.expect("connect"));
        client.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("preface");
        // SETTINGS_INITIAL_WINDOW_SIZE
        let mut settings = vec![0, 4];
        settings.extend(window.to_be_bytes());
        client.send(SETTINGS, 0, 0, &settings).await.expect("settings");
        client
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).expect("length");
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await
    }

    async fn get(&mut self, stream: u32, path: &str) {
        // `:method: GET` and `:scheme: http` are in the table of HPACK, and so are
        // the names of `:path` and `:authority` (RFC 7541, appendix A).
        let mut head = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).expect("length")];
        head.extend(path.bytes());
        head.extend([0x01, 4]);
        head.extend(b"test");
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &head).await.expect("request");
    }

    /// So much more may be sent of an answer.
    async fn grant(&mut self, stream: u32, bytes: u32) {
        self.send(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes()).await.expect("window");
    }

    /// The next frame that is about an answer, or the end of the connection.
    /// Others are answered as they have to be.
    async fn receive(&mut self) -> Option<Received> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let bytes = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; bytes];
            self.0.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
            match (head[3], head[4] & ACK) {
                (PING, 0) => self.send(PING, ACK, 0, &payload).await.ok()?,
                (SETTINGS, 0) => self.send(SETTINGS, ACK, 0, &[]).await.ok()?,
                (PING | SETTINGS | WINDOW_UPDATE, _) => {}
                (kind, _) => return Some(Received { kind, stream, bytes }),
            }
        }
    }

    async fn receive_all(&mut self) -> Vec<u8> {
        let mut kinds = Vec::new();
        while let Some(frame) = self.receive().await {
            kinds.push(frame.kind);
        }
        kinds
    }
}

/// Two chunks with a pause between them.
async fn quiet() -> Body {
    let chunk = |pause: u64| async move {
        sleep(Duration::from_millis(pause)).await;
        Ok::<_, Infallible>(Bytes::from_static(b"here"))
    };
    Body::from_stream(stream::iter([0, 2000]).then(chunk))
}

async fn with(settings: ServerSettings, client: impl AsyncFnOnce(SocketAddr)) {
    let listener = listen("127.0.0.1:0".parse().expect("address")).await.expect("listener");
    let address = listener.local_addr().expect("address");
    let router = Router::new()
        .route("/", get(|| async { "here" }))
        .route("/large", get(|| async { vec![b'x'; LARGE] }))
        .route("/quiet", get(quiet));
    let readiness = Readiness::default();
    let done = async {
        tokio::select! {
            ended = serve(listener, router, &readiness, settings, pending()) => panic!("{ended:?}"),
            () = client(address) => {}
        }
    };
    timeout(PATIENCE, done).await.expect("it comes to an end");
}

#[tokio::test]
async fn an_answer_of_which_nothing_is_taken_is_broken_off_and_no_other() {
    let settings = ServerSettings { stall: Duration::from_millis(600), ..ServerSettings::default() };
    with(settings, async |address| {
        let mut client = Client::connect(address, 0).await;
        client.get(1, "/large").await;
        let head = client.receive().await.expect("head");
        assert_eq!((head.kind, head.stream), (HEADERS, 1));
        let end = client.receive().await.expect("end");
        assert_eq!((end.kind, end.stream), (RST_STREAM, 1));

        client.get(3, "/").await;
        client.grant(3, 100).await;
        let head = client.receive().await.expect("head");
        assert_eq!((head.kind, head.stream), (HEADERS, 3));
        let content = client.receive().await.expect("content");
        assert_eq!(content, Received { kind: DATA, stream: 3, bytes: 4 });
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_taken_bit_by_bit_is_not_broken_off() {
    const GRANT: u32 = 4096;
    let settings = ServerSettings { stall: Duration::from_secs(3), ..ServerSettings::default() };
    with(settings, async |address| {
        let mut client = Client::connect(address, 0).await;
        client.get(1, "/large").await;
        assert_eq!(client.receive().await.expect("head").kind, HEADERS);
        let mut taken = 0;
        // Takes longer than the limit in all.
        while taken < LARGE {
            sleep(Duration::from_millis(400)).await;
            client.grant(1, GRANT).await;
            let frame = client.receive().await.expect("content");
            assert_eq!((frame.kind, frame.stream), (DATA, 1));
            taken += frame.bytes;
        }
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_has_nothing_to_say_is_not_broken_off() {
    let settings = ServerSettings {
        stall: Duration::from_millis(400),
        idle: Duration::from_millis(400),
        ..ServerSettings::default()
    };
    with(settings, async |address| {
        let mut client = Client::connect(address, 1000).await;
        client.get(1, "/quiet").await;
        let head = client.receive().await.expect("head");
        assert_eq!((head.kind, head.stream), (HEADERS, 1));
        for _ in 0..2 {
            let content = client.receive().await.expect("content");
            assert_eq!(content, Received { kind: DATA, stream: 1, bytes: 4 });
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_without_further_requests_is_ended() {
    let settings = ServerSettings { idle: Duration::from_millis(400), ..ServerSettings::default() };
    with(settings, async |address| {
        let mut client = Client::connect(address, 1000).await;
        client.get(1, "/").await;
        let kinds = client.receive_all().await;
        assert_eq!(kinds[..2], [HEADERS, DATA]);
        assert!(kinds.contains(&GOAWAY), "{kinds:?}");
    })
    .await;
}

#[tokio::test]
async fn a_connection_whose_last_answer_is_not_taken_is_ended_as_well() {
    let short = Duration::from_millis(400);
    let settings = ServerSettings { stall: short, idle: short, ..ServerSettings::default() };
    with(settings, async |address| {
        // All of it is handed over, and most of it waits.
        let mut client = Client::connect(address, 1).await;
        client.get(1, "/").await;
        let kinds = client.receive_all().await;
        assert_eq!(kinds[..2], [HEADERS, DATA]);
        assert!(kinds.contains(&GOAWAY), "{kinds:?}");
    })
    .await;
}
