//! Clients that cannot send every method (tus 1.0, `X-HTTP-Method-Override`).

use axum::extract::Request;
use axum::http::{HeaderName, Method, header};
use axum::middleware::Next;
use axum::response::Response;

const OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");
/// What the addresses of uploads begin with.
const UPLOADS: &str = "/v1/uploads";

/// Takes a POST that names another method for a request of that method. It has
/// to come before the request is given to the route of its method.
pub async fn named(mut request: Request, next: Next) -> Response {
    let Some(method) = other(&request) else { return next.run(request).await };
    request.headers_mut().remove(OVERRIDE);
    *request.method_mut() = method;
    let mut response = next.run(request).await;
    // Of an answer to HEAD, the length is that of a body that is not there; of
    // one to POST it has to be that of its own.
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response
}

/// The method that a request for an upload names instead of its own.
fn other(request: &Request) -> Option<Method> {
    let rest = request.uri().path().strip_prefix(UPLOADS)?;
    if request.method() != Method::POST || !(rest.is_empty() || rest.starts_with('/')) {
        return None;
    }
    Method::from_bytes(request.headers().get(OVERRIDE)?.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn only_a_post_for_an_upload_names_another_method() {
        let named = |method: &str, path: &str, other_method: &str| {
            let request = axum::http::Request::builder().method(method).uri(path);
            let request = request.header(OVERRIDE, other_method).body(Body::empty());
            other(&request.expect("request"))
        };
        assert_eq!(named("POST", "/v1/uploads/1", "PATCH"), Some(Method::PATCH));
        assert_eq!(named("POST", "/v1/uploads", "OPTIONS"), Some(Method::OPTIONS));
        assert_eq!(named("GET", "/v1/uploads/1", "DELETE"), None);
        assert_eq!(named("POST", "/v1/datasets/d", "DELETE"), None);
        assert_eq!(named("POST", "/v1/uploads2", "DELETE"), None);
        assert_eq!(named("POST", "/v1/uploads/1", "not a method"), None);
    }
}
