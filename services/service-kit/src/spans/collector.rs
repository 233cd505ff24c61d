//! The way to the collector.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::runtime::Handle;

use super::ExportError;
use super::environment::Destination;
use crate::problem::chain;

/// An answer is read so far: then the connection can be used again.
const ANSWER_BYTES: usize = 64 << 10;

/// The HTTP client of the exporter. Batches are made on a thread without a
/// runtime; they are sent by the one of the service.
#[derive(Debug)]
pub(super) struct Collector {
    http: reqwest::Client,
    runtime: Handle,
    /// Its address, for the log.
    address: String,
    /// Whether it took no batch the last time.
    is_away: AtomicBool,
}

impl Collector {
    pub(super) fn new(destination: &Destination) -> Result<Self, ExportError> {
        let http = reqwest::Client::builder()
            .timeout(destination.timeout)
            // The headers may be credentials, and are for this address only.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(ExportError::Client)?;
        let runtime = Handle::try_current().map_err(ExportError::Runtime)?;
        Ok(Self { http, runtime, address: destination.shown(), is_away: AtomicBool::new(false) })
    }

    /// Says that the collector has gone, or has come back, and not that it is still so.
    fn note(&self, trouble: Option<&str>) {
        let was_away = self.is_away.swap(trouble.is_some(), Ordering::Relaxed);
        match trouble {
            Some(trouble) if !was_away => tracing::warn!(
                collector = self.address,
                error = trouble,
                "The collector takes no spans. They are lost until it does again."
            ),
            None if was_away => tracing::info!(collector = self.address, "The collector takes spans again."),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let sent = self.runtime.spawn(send(self.http.clone(), request));
        let answer = match sent.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                // It names the address with all that is in it.
                let error = error.without_url();
                self.note(Some(&chain(&error)));
                return Err(error.into());
            }
            Err(error) => {
                self.note(Some(&error.to_string()));
                return Err(error.into());
            }
        };
        if answer.status().is_success() {
            self.note(None);
        } else {
            self.note(Some(&format!("it answers with {}", answer.status())));
        }
        Ok(answer)
    }
}

/// What it answers, without the body: nobody reads that.
async fn send(http: reqwest::Client, request: reqwest::Request) -> Result<Response<Bytes>, reqwest::Error> {
    let mut response = http.execute(request).await?;
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = response.status();
    std::mem::swap(answer.headers_mut(), response.headers_mut());
    let mut read = 0;
    while read < ANSWER_BYTES
        && let Some(chunk) = response.chunk().await?
    {
        read += chunk.len();
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::Router;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;
    use tokio::net::TcpListener;
    use url::Url;

    use super::*;

    async fn listener() -> (TcpListener, Url) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listener");
        let url = format!("http://{}/v1/traces", listener.local_addr().expect("address"));
        (listener, url.parse().expect("URL"))
    }

    fn collector(endpoint: &Url) -> Collector {
        let destination = Destination { endpoint: endpoint.clone(), timeout: Duration::from_millis(500) };
        Collector::new(&destination).expect("collector")
    }

    async fn sent(collector: &Collector, endpoint: &Url) -> Result<StatusCode, HttpError> {
        let request = Request::post(endpoint.as_str()).header("x-key", "1").body(Bytes::from("spans"));
        collector.send_bytes(request.expect("request")).await.map(|answer| answer.status())
    }

    #[tokio::test]
    async fn a_batch_arrives_as_it_is() {
        let (listener, endpoint) = listener().await;
        let take = |headers: HeaderMap, body: Bytes| async move {
            assert_eq!(headers["x-key"], "1");
            assert_eq!(body, "spans");
            StatusCode::ACCEPTED
        };
        let router = Router::new().route("/v1/traces", post(take));
        tokio::spawn(async move { axum::serve(listener, router).await.expect("serve") });
        let collector = collector(&endpoint);
        assert_eq!(sent(&collector, &endpoint).await.expect("answer"), StatusCode::ACCEPTED);
        assert!(!collector.is_away.load(Ordering::Relaxed));
        // What it says is for the exporter, which knows when to try again.
        let elsewhere = endpoint.join("/elsewhere").expect("URL");
        assert_eq!(sent(&collector, &elsewhere).await.expect("answer"), StatusCode::NOT_FOUND);
        assert!(collector.is_away.load(Ordering::Relaxed));
        assert_eq!(sent(&collector, &endpoint).await.expect("answer"), StatusCode::ACCEPTED);
        assert!(!collector.is_away.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_collector_that_says_nothing_is_not_waited_for() {
        // It takes connections, and never looks at them.
        let (_listener, endpoint) = listener().await;
        let collector = collector(&endpoint);
        let begun = std::time::Instant::now();
        assert!(sent(&collector, &endpoint).await.is_err());
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        assert!(collector.is_away.load(Ordering::Relaxed));
    }
}
