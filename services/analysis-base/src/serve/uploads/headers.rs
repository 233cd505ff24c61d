//! What the protocol says in headers.

use std::collections::HashMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use service_kit::Problem;

use crate::serve::error::ServeError;

/// The version of the protocol that is spoken here.
const VERSION: &str = "1.0.0";
/// The media type of a part.
pub const PART: &str = "application/offset+octet-stream";

const RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const VERSIONS: HeaderName = HeaderName::from_static("tus-version");
const EXTENSIONS: HeaderName = HeaderName::from_static("tus-extension");
const MOST: HeaderName = HeaderName::from_static("tus-max-size");
/// Where the next part begins.
pub const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
/// The size of the whole.
pub const LENGTH: HeaderName = HeaderName::from_static("upload-length");
/// What the client says of the whole.
pub const METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const EXPIRES: HeaderName = HeaderName::from_static("upload-expires");

/// An answer, of which the client knows which protocol it is of.
pub fn answered(answer: Result<Response, ServeError>) -> Response {
    let mut response = answer.unwrap_or_else(IntoResponse::into_response);
    let is_of_another_version = response.status() == StatusCode::PRECONDITION_FAILED;
    let headers = response.headers_mut();
    headers.insert(RESUMABLE, HeaderValue::from_static(VERSION));
    if is_of_another_version {
        headers.insert(VERSIONS, HeaderValue::from_static(VERSION));
    }
    response
}

/// What can be done here.
#[must_use]
pub fn abilities(most_bytes: u64) -> [(HeaderName, String); 3] {
    [
        (VERSIONS, VERSION.to_owned()),
        (EXTENSIONS, "creation,termination,expiration".to_owned()),
        (MOST, most_bytes.to_string()),
    ]
}

/// Whether the client speaks the same version of the protocol.
///
/// # Errors
/// 412, if it does not.
pub fn check_version(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.get(RESUMABLE).is_some_and(|version| version == VERSION) {
        return Ok(());
    }
    let detail =
        format!("Send the header `Tus-Resumable: {VERSION}`: that is the version that is spoken here.");
    Err(Problem::new(StatusCode::PRECONDITION_FAILED, "tus-version", "Version not supported", detail))
}

/// A header with a number of bytes.
///
/// # Errors
/// 400, if there is none.
pub fn bytes(headers: &HeaderMap, name: &HeaderName) -> Result<u64, Problem> {
    let value = headers.get(name).and_then(|value| value.to_str().ok()?.parse().ok());
    value.ok_or_else(|| Problem::bad_request(format!("Send the header `{name}` with a number of bytes.")))
}

/// What `Upload-Metadata` says, by its keys.
///
/// # Errors
/// 400, if it cannot be read.
pub fn metadata(text: &str) -> Result<HashMap<String, String>, Problem> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
            let value = STANDARD.decode(value.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let value = value.ok_or_else(|| {
                Problem::bad_request(format!("`Upload-Metadata`: the value of `{key}` is no text in base64."))
            })?;
            Ok((key.to_owned(), value))
        })
        .collect()
}

/// When an upload expires (RFC 9110, section 5.6.7).
#[must_use]
pub fn expires(at: Timestamp) -> (HeaderName, String) {
    let text = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at);
    (EXPIRES, text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_are_keys_with_values_in_base64() {
        let read = metadata("name ZmxpZ2h0cw==, format Y3N2,is_draft").expect("metadata");
        assert_eq!(read["name"], "flights");
        assert_eq!(read["format"], "csv");
        assert_eq!(read["is_draft"], "");
        assert!(metadata("").expect("nothing").is_empty());
        assert!(metadata("name !").is_err());
    }

    #[test]
    fn a_time_is_written_as_http_does() {
        let (_, text) = expires(Timestamp::from_second(784_111_777).expect("time"));
        assert_eq!(text, "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
