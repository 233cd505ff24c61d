//! The data of a version, as they were uploaded.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use service_kit::Problem;
use service_kit::extract::Path;
use service_kit::problem::ProblemBody;

use super::digest;
use super::find_version;
use super::model::{Version, media_type};
use crate::serve::error::ServeError;
use crate::serve::state::Service;

/// Download the data of a version
///
/// The bytes as they were uploaded, or a part of them.
#[utoipa::path(
    get,
    path = "/v1/datasets/{name}/versions/{version}/content",
    operation_id = "downloadVersion",
    tag = "datasets",
    params(
        ("name" = String, Path, description = "Name of the data set"),
        ("version" = String, Path, description = "Number of the version, or `latest`", example = json!("latest")),
        ("Range" = Option<String>, Header, description = "One range of bytes (RFC 9110, section 14)",
            example = json!("bytes=0-1023")),
        ("If-Match" = Option<String>, Header, description = "The `ETag` of what has to be there"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of what is there already")
    ),
    responses(
        (status = 200, description = "The data, in the media type of their format", content(
            ("text/csv"),
            ("application/x-ndjson"),
            ("application/vnd.apache.parquet"),
            ("application/vnd.apache.arrow.file")
        ), headers(
            ("ETag" = String, description = "Tells these bytes from all others"),
            ("Repr-Digest" = String, description = "SHA-256 of the bytes (RFC 9530)")
        )),
        (status = 206, description = "The part that was asked for", content(
            ("text/csv"),
            ("application/x-ndjson"),
            ("application/vnd.apache.parquet"),
            ("application/vnd.apache.arrow.file")
        ), headers(("Content-Range" = String, description = "Which part it is"))),
        (status = 304, description = "The data are those that the client has"),
        (status = 404, description = "There is no such version", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 412, description = "The data are others than those that `If-Match` names", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 416, description = "The data have no such part", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = "default", description = "Another problem", body = ProblemBody,
            content_type = "application/problem+json")
    )
)]
pub(crate) async fn get(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    Path((name, version)): Path<(String, String)>,
) -> Result<Response, ServeError> {
    let record = find_version(&service, &name, &version).await?;
    let data = record.data();
    let version = record.version;
    let tag = format!("\"{}\"", version.sha256);
    // Before the other conditions (RFC 9110, section 13.2.2).
    if !is_as_asked(&headers, &tag) {
        let detail = format!("The data are others than those that `If-Match` names: their `ETag` is {tag}.");
        let status = StatusCode::PRECONDITION_FAILED;
        return Err(Problem::new(status, "precondition-failed", "Precondition failed", detail).into());
    }
    let described = describe(&version, &tag);
    if header_is(&headers, header::IF_NONE_MATCH.as_str(), |value| is_listed(value, &tag)) {
        return Ok((StatusCode::NOT_MODIFIED, described).into_response());
    }
    let total = u64::try_from(version.bytes).unwrap_or_default();
    // A part of other data would be of no use (RFC 9110, section 13.1.5).
    let is_same = !headers.contains_key(header::IF_RANGE)
        || header_is(&headers, header::IF_RANGE.as_str(), |value| value == tag);
    let range = headers.get(header::RANGE).filter(|_| is_same).and_then(|range| range.to_str().ok());
    match range.and_then(|range| part(range, total)) {
        None => {
            let content = service.objects.read(&data).await?;
            let length = [(header::CONTENT_LENGTH, HeaderValue::from(total))];
            Ok((described, length, Body::from_stream(content.into_stream())).into_response())
        }
        Some(Ok(range)) => {
            let said = format!("bytes {}-{}/{total}", range.start, range.end - 1);
            let length = range.end - range.start;
            let content = service.objects.read_range(&data, range).await?;
            let part = [(header::CONTENT_RANGE, said), (header::CONTENT_LENGTH, length.to_string())];
            let body = Body::from_stream(content.into_stream());
            Ok((StatusCode::PARTIAL_CONTENT, described, part, body).into_response())
        }
        Some(Err(())) => {
            let problem = Problem::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "range-not-satisfiable",
                "Range not satisfiable",
                format!("The data have {total} bytes."),
            );
            let said = [(header::CONTENT_RANGE, format!("bytes */{total}"))];
            Ok((said, problem).into_response())
        }
    }
}

fn describe(version: &Version, tag: &str) -> [(header::HeaderName, String); 6] {
    let ending = match media_type(version.format) {
        "text/csv" => "csv",
        "application/x-ndjson" => "jsonl",
        "application/vnd.apache.parquet" => "parquet",
        _ => "arrow",
    };
    let name = format!("{}-{}.{ending}", version.dataset, version.version);
    [
        (header::CONTENT_TYPE, media_type(version.format).to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::ETAG, tag.to_owned()),
        (header::HeaderName::from_static("repr-digest"), digest::header_value(&version.sha256)),
    ]
}

fn header_is(headers: &HeaderMap, name: &str, test: impl Fn(&str) -> bool) -> bool {
    headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| test(value.trim()))
}

/// Whether the data are those that `If-Match` names, if it names any. A weak
/// tag names none: it does not say that each byte is the same (RFC 9110,
/// section 13.1.1).
fn is_as_asked(headers: &HeaderMap, tag: &str) -> bool {
    let names = |list: &str| list.trim() == "*" || list.split(',').any(|listed| listed.trim() == tag);
    let mut lists = headers.get_all(header::IF_MATCH).iter();
    !headers.contains_key(header::IF_MATCH) || lists.any(|list| list.to_str().is_ok_and(names))
}

/// Whether a list of entity tags has this one (RFC 9110, section 13.1.2).
fn is_listed(list: &str, tag: &str) -> bool {
    list == "*" || list.split(',').any(|listed| listed.trim().trim_start_matches("W/") == tag)
}

/// The part that `Range` asks for: nothing, if it is none that is understood or
/// more than one, so that all is given (RFC 9110, section 14.2); an error, if
/// there is no such part.
fn part(range: &str, total: u64) -> Option<Result<Range<u64>, ()>> {
    let (first, last) = range.trim().strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = (first.trim(), last.trim());
    let range = if first.is_empty() {
        total.saturating_sub(last.parse().ok()?)..total
    } else {
        let first: u64 = first.parse().ok()?;
        let last = if last.is_empty() { u64::MAX } else { last.parse().ok()? };
        if last < first {
            return None;
        }
        first..last.saturating_add(1).min(total)
    };
    Some(if range.start < range.end { Ok(range) } else { Err(()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_of_the_standard() {
        for (range, expected) in [
            ("bytes=0-9", Some(Ok(0..10))),
            ("bytes=90-", Some(Ok(90..100))),
            ("bytes=90-1000", Some(Ok(90..100))),
            ("bytes=-10", Some(Ok(90..100))),
            ("bytes=-1000", Some(Ok(0..100))),
            ("bytes=99-99", Some(Ok(99..100))),
            ("bytes=100-", Some(Err(()))),
            ("bytes=-0", Some(Err(()))),
            ("bytes=9-0", None),
            ("bytes=0-1,5-6", None),
            ("lines=0-9", None),
            ("bytes=a-b", None),
        ] {
            assert_eq!(part(range, 100), expected, "{range}");
        }
    }

    #[test]
    fn what_has_to_be_there_is_compared_strongly() {
        let is_as_asked = |lists: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for &list in lists {
                headers.append(header::IF_MATCH, HeaderValue::from_static(list));
            }
            super::is_as_asked(&headers, "\"b\"")
        };
        assert!(is_as_asked(&[]));
        assert!(is_as_asked(&["*"]));
        assert!(is_as_asked(&["\"a\" , \"b\""]));
        assert!(is_as_asked(&["\"a\"", "\"b\""]));
        for lists in [&["W/\"b\""], &["\"a\""], &["b"], &[""]] {
            assert!(!is_as_asked(lists), "{lists:?}");
        }
    }

    #[test]
    fn tags_are_compared_weakly() {
        assert!(is_listed("\"a\", W/\"b\"", "\"b\""));
        assert!(is_listed("*", "\"b\""));
        assert!(!is_listed("\"a\"", "\"b\""));
    }
}
