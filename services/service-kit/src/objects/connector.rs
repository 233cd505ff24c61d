//! How long a store is waited for.
//!
//! The limit that the library has is one for a request and its answer as a
//! whole. No such limit fits: a large object takes long to be read, all the
//! more if whoever it is for is slow, and a store that says nothing is to be
//! told soon. So requests have none, and here it is silence that is limited.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService, ReqwestConnector,
};
use tokio::time::{Sleep, sleep, timeout};

/// How long each step of a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From a request that only asks to the head of its answer.
    pub head: Duration,
    /// The same for a request that changes something: the part of an object that
    /// it brings has to get there, and a store takes its time to put parts
    /// together.
    pub change: Duration,
    /// Between two chunks of an answer. The time in which nobody asks for the
    /// next one does not count.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(60),
            change: Duration::from_secs(5 * 60),
            silence: Duration::from_secs(60),
        }
    }
}

/// Makes clients for a store that are patient with one that is slow. To be used
/// with options that have no limit of time.
#[derive(Clone, Copy, Debug, Default)]
pub struct PatientConnector(pub Patience);

impl HttpConnector for PatientConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(PatientClient { client, patience: self.0 }))
    }
}

#[derive(Debug)]
struct PatientClient {
    client: HttpClient,
    patience: Patience,
}

#[async_trait]
impl HttpService for PatientClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_change = !request.method().is_safe();
        let limit = if is_change { self.patience.change } else { self.patience.head };
        let answer = timeout(limit, self.client.execute(request)).await.map_err(|_| silent())??;
        let (head, body) = answer.into_parts();
        let body = LimitedBody { body, limit: self.patience.silence, waiting: None };
        Ok(HttpResponse::from_parts(head, HttpResponseBody::new(body)))
    }
}

/// An answer that ends with an error when nothing comes for some time.
#[derive(Debug)]
struct LimitedBody {
    body: HttpResponseBody,
    limit: Duration,
    /// Runs while the next chunk is waited for.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Body for LimitedBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = self.get_mut();
        // What has come is never too late.
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.waiting = None;
            return Poll::Ready(frame);
        }
        let limit = this.limit;
        let waiting = this.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(waiting.as_mut().poll(context));
        this.waiting = None;
        Poll::Ready(Some(Err(silent())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn silent() -> HttpError {
    let error = io::Error::new(io::ErrorKind::TimedOut, "the store sends nothing");
    HttpError::new(HttpErrorKind::Timeout, error)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures::TryStreamExt;
    use object_store::path::Path as ObjectPath;
    use object_store::{GetOptions, ObjectStore, PutOptions};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::objects::ObjectSettings;
    use crate::objects::bucket;

    const CONTENT: &[u8] = b"0123456789";
    const LIMIT: Duration = Duration::from_secs(2);

    /// A store that answers with the content, a byte at a time.
    #[derive(Clone, Copy)]
    struct Store {
        /// Before the head of the answer.
        before: Duration,
        /// Before each byte.
        between: Duration,
        /// After so many it says nothing more.
        bytes: usize,
    }

    impl Store {
        const PROMPT: Self = Self { before: Duration::ZERO, between: Duration::ZERO, bytes: CONTENT.len() };

        async fn open(self, patience: Patience) -> std::sync::Arc<dyn ObjectStore> {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
            let endpoint = format!("http://{}", listener.local_addr().expect("address"));
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    tokio::spawn(async move {
                        // All of a small request comes at once.
                        let mut request = [0; 16 << 10];
                        if stream.read(&mut request).await.unwrap_or_default() == 0 {
                            return;
                        }
                        sleep(self.before).await;
                        let is_put = request.starts_with(b"PUT");
                        let etag = if is_put { "etag: \"1\"\r\n" } else { "" };
                        let head = format!(
                            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{etag}last-modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n",
                            if is_put { 0 } else { CONTENT.len() }
                        );
                        stream.write_all(head.as_bytes()).await.expect("head");
                        for byte in CONTENT.iter().take(if is_put { 0 } else { self.bytes }) {
                            sleep(self.between).await;
                            if stream.write_all(&[*byte]).await.is_err() {
                                return;
                            }
                        }
                        std::future::pending::<()>().await;
                    });
                }
            });
            let folder = tempfile::tempdir().expect("folder");
            for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
                std::fs::write(folder.path().join(name), "x").expect("write");
            }
            let settings = ObjectSettings::S3 {
                url: "s3://lake".to_owned(),
                endpoint: Some(endpoint),
                region: None,
                credentials_folder: folder.path().to_owned(),
            };
            bucket::open(&settings, patience).expect("open").0
        }
    }

    async fn read(store: &dyn ObjectStore) -> object_store::Result<Vec<u8>> {
        let got = store.get_opts(&ObjectPath::from("a"), GetOptions::default()).await?;
        let chunks: Vec<Bytes> = got.into_stream().try_collect().await?;
        Ok(chunks.concat())
    }

    #[tokio::test]
    async fn an_object_may_take_longer_than_any_limit_if_it_comes_bit_by_bit() {
        let patience = Patience { head: LIMIT, change: LIMIT, silence: LIMIT };
        let slow = Store { between: Duration::from_millis(400), ..Store::PROMPT };
        let begun = Instant::now();
        let content = read(&*slow.open(patience).await).await.expect("all of it");
        assert_eq!(content, CONTENT);
        assert!(begun.elapsed() > LIMIT);
    }

    #[tokio::test]
    async fn a_reader_may_take_its_time() {
        let patience = Patience { silence: Duration::from_millis(500), ..Patience::default() };
        let store = Store::PROMPT.open(patience).await;
        let got = store.get_opts(&ObjectPath::from("a"), GetOptions::default()).await.expect("answer");
        let mut chunks = got.into_stream();
        let mut read = 0;
        while let Some(chunk) = chunks.try_next().await.expect("chunk") {
            read += chunk.len();
            sleep(Duration::from_millis(700)).await;
        }
        assert_eq!(read, CONTENT.len());
    }

    #[tokio::test]
    async fn a_store_that_falls_silent_is_not_waited_for() {
        let patience = Patience { silence: Duration::from_millis(300), ..Patience::default() };
        let silent = Store { bytes: 3, ..Store::PROMPT };
        let begun = Instant::now();
        let error = read(&*silent.open(patience).await).await.expect_err("it falls silent");
        assert!(crate::problem::chain(&error).contains("sends nothing"), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[tokio::test]
    async fn what_changes_something_may_take_longer_than_what_asks() {
        let patience = Patience { head: Duration::from_millis(300), ..Patience::default() };
        let slow = Store { before: Duration::from_millis(900), ..Store::PROMPT };
        let store = slow.open(patience).await;
        store.put_opts(&ObjectPath::from("a"), "b".into(), PutOptions::default()).await.expect("put");
        let begun = Instant::now();
        read(&*store).await.expect_err("it does not answer");
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
