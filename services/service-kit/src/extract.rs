//! Extractors that answer with a [`Problem`] where those of axum answer with text.

use std::fmt::Formatter;
use std::marker::PhantomData;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::problem::Problem;

/// A JSON body, of a request or of a response. That of a request is an object.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

/// The query of an address.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

/// The variable parts of a path.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T, S> FromRequest<S> for Json<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::from_request(request, state).await {
            Ok(axum::Json(Object(value))) => Ok(Self(value)),
            Err(rejection) => Err(json_problem(&rejection)),
        }
    }
}

/// A JSON object. What is derived for a struct takes an array of its fields as
/// well, which no document says.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T, S> FromRequestParts<S> for Query<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        refuse_nul(parts.uri.query().unwrap_or_default())?;
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(query_problem(&rejection)),
        }
    }
}

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        refuse_nul(parts.uri.path())?;
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(path_problem(&rejection)),
        }
    }
}

/// Nothing has a NUL character in its name, and PostgreSQL refuses statements with one.
fn refuse_nul(encoded: &str) -> Result<(), Problem> {
    if encoded.contains("%00") {
        return Err(Problem::bad_request("The address has a NUL character (`%00`), which nothing here has."));
    }
    Ok(())
}

fn json_problem(rejection: &JsonRejection) -> Problem {
    match rejection {
        JsonRejection::JsonDataError(error) => {
            Problem::unprocessable(format!("The body does not fit: {}.", reason(&error.body_text())))
        }
        JsonRejection::JsonSyntaxError(error) => {
            Problem::bad_request(format!("The body is not JSON: {}.", reason(&error.body_text())))
        }
        JsonRejection::MissingJsonContentType(_) => Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "Unsupported media type",
            "Send JSON, with the header `Content-Type: application/json`.",
        ),
        other if other.status() == StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "Too large",
            "The body of the request is longer than is accepted here.",
        ),
        other => Problem::bad_request(format!("The body could not be read: {}.", other.body_text())),
    }
}

fn query_problem(rejection: &QueryRejection) -> Problem {
    match rejection {
        QueryRejection::FailedToDeserializeQueryString(error) => {
            let text = error.body_text();
            Problem::bad_request(format!("The query of the address does not fit: {}.", reason(&text)))
        }
        other => Problem::bad_request(other.body_text()),
    }
}

fn path_problem(rejection: &PathRejection) -> Problem {
    match rejection {
        PathRejection::FailedToDeserializePathParams(error) => {
            Problem::bad_request(format!("The path does not fit: {}.", error.kind()))
        }
        other => Problem::internal(other),
    }
}

/// What a rejection says after its first words, which are the same each time
/// ("Failed to deserialize …: ").
fn reason(text: &str) -> &str {
    match text.split_once(": ") {
        Some((beginning, reason)) if beginning.starts_with("Failed to ") => reason,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use axum::body::Body;
    use axum::http::header;

    async fn read(content_type: Option<&str>, body: &'static str) -> Result<HashMap<String, i32>, Problem> {
        let mut request = Request::builder().uri("/");
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let request = request.body(Body::from(body)).unwrap();
        Json::<HashMap<String, i32>>::from_request(request, &()).await.map(|Json(value)| value)
    }

    #[tokio::test]
    async fn a_body_that_does_not_fit_is_told_from_one_that_cannot_be_read() {
        let read_well = read(Some("application/json"), "{\"a\": 1}").await.unwrap();
        assert_eq!(read_well, HashMap::from([("a".to_owned(), 1)]));
        let status = async |content_type, body| read(content_type, body).await.unwrap_err().status.as_u16();
        assert_eq!(status(None, "{}").await, 415);
        assert_eq!(status(Some("application/json"), "{\"a\": 1").await, 400);
        assert_eq!(status(Some("application/json"), "{\"a\": \"b\"}").await, 422);
        // Though a struct could be read from an array.
        assert_eq!(status(Some("application/json"), "[1]").await, 422);
        assert_eq!(status(Some("application/json"), "null").await, 422);
    }

    #[tokio::test]
    async fn an_address_with_a_nul_character_is_refused() {
        let status = async |address: &'static str| {
            let (mut parts, ()) = Request::builder().uri(address).body(()).unwrap().into_parts();
            let query = Query::<HashMap<String, String>>::from_request_parts(&mut parts, &()).await;
            query.map_or_else(|problem| problem.status.as_u16(), |_| 200)
        };
        assert_eq!(status("/?cursor=a%00").await, 400);
        assert_eq!(status("/?cursor=a%2500").await, 200);
        let (mut parts, ()) = Request::builder().uri("/v1/keys/%00").body(()).unwrap().into_parts();
        let problem = Path::<String>::from_request_parts(&mut parts, &()).await.unwrap_err();
        assert_eq!(problem.status.as_u16(), 400);
    }

    #[tokio::test]
    async fn the_place_of_a_mistake_is_told() {
        let problem = read(Some("application/json"), "{\"a\": 1, \"b\": \"c\"}").await.unwrap_err();
        assert!(problem.detail.starts_with("The body does not fit: b: invalid type"), "{}", problem.detail);
        assert!(problem.detail.contains("line 1 column"), "{}", problem.detail);
    }
}
