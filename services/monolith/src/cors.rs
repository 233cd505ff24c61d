//! Letting pages of other origins call the gateway from a browser (the Fetch
//! standard, section 3.3: CORS protocol).
//!
//! Only a preflight is answered here. Any other OPTIONS request goes its way:
//! some APIs, such as that of resumable uploads, have a meaning for it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::gateway::Gateway;

/// What a page may read of a response, beside what it may always.
const EXPOSED: &str = "Content-Digest, Content-Disposition, Content-Range, ETag, Idempotency-Replayed, Location, \
    RateLimit, RateLimit-Policy, Retry-After, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, \
    Upload-Offset, Upload-Length, Upload-Expires, traceparent";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// Browsers keep an answer to a preflight for two hours at most.
const KEPT_SECONDS: &str = "7200";

/// Answers preflights, and adds to responses which origin may read them.
pub async fn allow(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let is_preflight = request.method() == Method::OPTIONS
        && origin.is_some()
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let allowed = origin.filter(|origin| is_allowed(&gateway.live().settings.cors_allowed_origins, origin));
    let mut response =
        if is_preflight { preflight(request.headers(), allowed.is_some()) } else { next.run(request).await };
    let headers = response.headers_mut();
    // Also without an origin: a cache must not give this answer to a page.
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
    response
}

fn preflight(asked: &HeaderMap, is_allowed: bool) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if is_allowed {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(KEPT_SECONDS));
        // Whatever a page wants to send: nothing is decided by a header but
        // the key, and that a page has to know first.
        if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
    }
    response
}

fn is_allowed(origins: &[String], origin: &HeaderValue) -> bool {
    origins.iter().any(|allowed| allowed == "*" || allowed.as_bytes() == origin.as_bytes())
}

/// Takes away what a service says about origins: that is for the gateway.
pub fn forget(headers: &mut HeaderMap) {
    const NAMES: [HeaderName; 6] = [
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        header::ACCESS_CONTROL_ALLOW_METHODS,
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        header::ACCESS_CONTROL_MAX_AGE,
    ];
    for name in NAMES {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_as_a_whole() {
        let origins = ["https://app.example.com".to_owned()];
        let allowed = |origin: &'static str| is_allowed(&origins, &HeaderValue::from_static(origin));
        assert!(allowed("https://app.example.com"));
        assert!(!allowed("https://app.example.com.evil.org"));
        assert!(!allowed("http://app.example.com"));
        assert!(!is_allowed(&[], &HeaderValue::from_static("https://app.example.com")));
        assert!(is_allowed(&["*".to_owned()], &HeaderValue::from_static("null")));
    }
}
