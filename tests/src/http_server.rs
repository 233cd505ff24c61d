//! A web server for the pods of a test, that fails when it is told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Cluster;

/// What is at a path.
#[derive(Clone, Debug)]
pub struct Page {
    body: Vec<u8>,
    unavailable_at_first: usize,
    authorization: Option<String>,
    held: bool,
}

impl Page {
    /// A file.
    #[must_use]
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), unavailable_at_first: 0, authorization: None, held: false }
    }

    /// The first `times` requests are answered with 503.
    #[must_use]
    pub const fn unavailable_at_first(mut self, times: usize) -> Self {
        self.unavailable_at_first = times;
        self
    }

    /// Requests without this header `Authorization` are answered with 401.
    #[must_use]
    pub fn for_those_who_say(mut self, authorization: &str) -> Self {
        self.authorization = Some(authorization.to_owned());
        self
    }

    /// Requests are not answered until [`HttpServer::release`].
    #[must_use]
    pub const fn held(mut self) -> Self {
        self.held = true;
        self
    }
}

/// A web server, for as long as the value lives.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    site: Arc<Site>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Site {
    pages: BTreeMap<String, (Page, AtomicUsize)>,
    released: watch::Sender<bool>,
}

impl HttpServer {
    /// Serves pages by their names, where the pods of the cluster reach them.
    ///
    /// # Errors
    /// If there is no such place.
    pub async fn start<const N: usize>(cluster: &Cluster, pages: [(&str, Page); N]) -> Result<Self> {
        let pages = pages.into_iter().map(|(name, page)| (name.to_owned(), (page, AtomicUsize::new(0))));
        let site = Arc::new(Site { pages: pages.collect(), released: watch::Sender::new(false) });
        let listener = TcpListener::bind((cluster.host_address.as_str(), 0))
            .await
            .with_context(|| format!("listening at {}", cluster.host_address))?;
        let address = listener.local_addr().context("the address of the web server")?;
        let router = Router::new().fallback(|| async { StatusCode::NOT_FOUND });
        let router = router.route("/{name}", axum::routing::get(answer)).with_state(Arc::clone(&site));
        let task = tokio::spawn(async move {
            // Ends with the test; what goes wrong before is seen by the pods.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, site, task })
    }

    /// The address of a page.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// How often a page was asked for.
    #[must_use]
    pub fn requests(&self, name: &str) -> usize {
        self.site.pages.get(name).map_or(0, |(_, requests)| requests.load(Ordering::SeqCst))
    }

    /// Answers the requests for pages that were held, from now on.
    pub fn release(&self) {
        self.site.released.send_replace(true);
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> (StatusCode, Vec<u8>) {
    let Some((page, requests)) = site.pages.get(&name) else {
        return (StatusCode::NOT_FOUND, Vec::new());
    };
    let before = requests.fetch_add(1, Ordering::SeqCst);
    if before < page.unavailable_at_first {
        return (StatusCode::SERVICE_UNAVAILABLE, Vec::new());
    }
    let said = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if page.authorization.is_some() && page.authorization.as_deref() != said {
        return (StatusCode::UNAUTHORIZED, Vec::new());
    }
    if page.held {
        // The sender lives as long as the site, so the wait ends by release.
        let _ = site.released.subscribe().wait_for(|released| *released).await;
    }
    (StatusCode::OK, page.body.clone())
}
