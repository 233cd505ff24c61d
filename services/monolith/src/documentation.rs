//! All APIs in one document (`/openapi.json`) and on one page (`/docs`).
//! Anybody may see them: they say what there is, not what is in it.

mod join;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde_json::Value;
use service_kit::Problem;
use service_kit::client::Call;
use service_kit::limits::Deadline;
use service_kit::trace_context::TraceContext;
use tokio::sync::Mutex;

pub use self::join::describe;
use self::join::{Described, join};
use crate::gateway::{Gateway, Live};
use crate::services::Service;
use crate::{api, bounded};

/// How long what the services said is believed.
const KEPT: Duration = Duration::from_secs(60);
/// A service that takes longer is left out.
const PATIENCE: Duration = Duration::from_secs(3);
/// A longer document is none.
const MOST_BYTES: usize = 8 << 20;

/// The joined document, as it was when it was last asked for.
#[derive(Debug, Default)]
pub struct Joined(Mutex<Option<(Instant, Bytes)>>);

impl Joined {
    /// The document as JSON, at most a minute old.
    async fn current(&self, live: &Live) -> Result<Bytes, serde_json::Error> {
        // Who comes while it is made waits for it.
        let mut kept = self.0.lock().await;
        if let Some((_, document)) = kept.as_ref().filter(|(at, _)| at.elapsed() < KEPT) {
            return Ok(document.clone());
        }
        let asked = live.services.iter().map(|service| async move {
            let document = match fetch(service).await {
                Ok(document) => Some(document),
                Err(problem) => {
                    tracing::warn!(
                        service = service.name,
                        problem,
                        "The API of a service is not known at present."
                    );
                    None
                }
            };
            Described { name: &service.name, routes: &service.routes, document }
        });
        let described = futures::future::join_all(asked).await;
        let document = Bytes::from(serde_json::to_vec(&join(api::document()?, described))?);
        *kept = Some((Instant::now(), document.clone()));
        Ok(document)
    }
}

/// What a service says about itself.
async fn fetch(service: &Service) -> Result<Value, String> {
    let call =
        Call { deadline: Deadline::after(PATIENCE), trace: &TraceContext::root(), is_idempotent: true };
    let request = service.client.request(Method::GET, "/openapi.json");
    let response =
        service.client.send(request, call).await.map_err(|error| service_kit::problem::chain(&error))?;
    if response.status() != StatusCode::OK {
        return Err(format!("it answers with {}", response.status()));
    }
    let body = bounded::read(response, MOST_BYTES).await.map_err(|error| error.to_string())?;
    let document: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    if document.is_object() { Ok(document) } else { Err("it describes itself by something else".to_owned()) }
}

/// The routes for everybody.
pub fn routes() -> Router<Arc<Gateway>> {
    let file = |media_type: &'static str, content: &'static str| {
        get(move || async move { page(media_type, content) })
    };
    Router::new()
        .route("/openapi.json", get(document))
        .route("/", get(|| async { Redirect::temporary("/docs") }))
        .route("/docs", file("text/html; charset=utf-8", include_str!("documentation/page.html")))
        .route("/docs/page.css", file("text/css; charset=utf-8", include_str!("documentation/page.css")))
        .route("/docs/page.js", file("text/javascript; charset=utf-8", include_str!("documentation/page.js")))
}

async fn document(State(gateway): State<Arc<Gateway>>) -> Response {
    match gateway.joined.current(&gateway.live()).await {
        Ok(document) => {
            let headers =
                [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "public, max-age=60")];
            (headers, document).into_response()
        }
        Err(error) => Problem::internal(&error).into_response(),
    }
}

/// A part of the page. It loads nothing from elsewhere, and cannot be framed.
fn page(media_type: &'static str, content: &'static str) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::CONTENT_SECURITY_POLICY, "default-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "public, max-age=300"),
    ];
    (HEADERS, [(header::CONTENT_TYPE, media_type)], content).into_response()
}
