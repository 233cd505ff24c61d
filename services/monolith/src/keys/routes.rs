//! `/v1/keys`.
//!
//! Making a key takes no `Idempotency-Key`: what is kept for repeats would be
//! the text of the key, which is kept nowhere. Names are unique instead, so
//! that a repeat makes no second key.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use service_kit::Problem;
use service_kit::database::{DatabaseError, now_milliseconds};
use service_kit::extract::{Json, Path, Query};
use service_kit::paging::{Listed, Page};
use service_kit::problem::ProblemBody;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::store::{self, Record};
use super::{KeyText, Keys};
use crate::access::Principal;
use crate::gateway::Gateway;
use crate::problems;
use crate::rate::RateLimit;
use crate::scope::Scope;
use crate::time;

/// All of them are in the memory of each replica.
const MOST_KEYS: i64 = 10_000;
const MOST_NAME_CHARACTERS: usize = 100;

/// The routes.
pub fn routes() -> OpenApiRouter<Arc<Gateway>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(show, change, revoke))
}

/// An API key; its text is told once, when it is made.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ApiKey {
    /// The 12 characters that its text has after `aisaas_`.
    #[schema(example = "Q3pX0m1_aZ9k")]
    id: String,
    /// What it is called.
    name: String,
    /// What it may do.
    scopes: Vec<Scope>,
    /// How often; as the gateway is configured, if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit: Option<RateLimit>,
    /// The id of the key that made it.
    created_by: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// It is not valid from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// To the minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
}

/// A key that was just made.
#[derive(Debug, Serialize, ToSchema)]
struct CreatedApiKey {
    /// Its text, told this once. Send it as `Authorization: Bearer KEY` or as `X-Api-Key: KEY`.
    #[schema(example = "aisaas_Q3pX0m1_aZ9kT0v5W4cYf7hB2nLxR8sUeGdJiKoMqPz")]
    key: String,
    #[serde(flatten)]
    about: ApiKey,
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewApiKey {
    /// What it is called: unique, up to 100 characters.
    #[schema(min_length = 1, max_length = 100, example = "front end, winter 2026")]
    name: String,
    /// What it may do.
    #[schema(min_items = 1)]
    scopes: Vec<Scope>,
    /// How often; as the gateway is configured, if left out.
    #[serde(default)]
    rate_limit: Option<RateLimit>,
    /// It is not valid from then on; always, if left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// What is to be changed of a key; the rest stays. `null` takes a limit away (RFC 7396).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ApiKeyChange {
    #[serde(default)]
    #[schema(min_length = 1, max_length = 100)]
    name: Option<String>,
    #[serde(default)]
    #[schema(min_items = 1)]
    scopes: Option<Vec<Scope>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<RateLimit>)]
    rate_limit: Option<Option<RateLimit>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Option<Timestamp>>,
}

/// Tells `null` from nothing.
fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

impl From<Record> for ApiKey {
    fn from(record: Record) -> Self {
        Self {
            id: record.id,
            name: record.name,
            scopes: record.scopes,
            rate_limit: record.rate_limit,
            created_by: record.created_by,
            created_at: time::at(record.created_at),
            expires_at: record.expires_at.map(time::at),
            last_used_at: record.last_used_at.map(time::at),
        }
    }
}

/// List API keys
///
/// Those made last come first.
#[utoipa::path(
    get,
    path = "/v1/keys",
    operation_id = "listKeys",
    tag = "keys",
    params(Page),
    responses(
        (status = 200, description = "A page of keys", body = Listed<ApiKey>)
    )
)]
async fn list(
    State(gateway): State<Arc<Gateway>>,
    Query(page): Query<Page>,
) -> Result<Json<Listed<ApiKey>>, Problem> {
    let limit = page.limit()?;
    let (at, id) = match &page.cursor {
        None => (i64::MAX, ""),
        Some(cursor) => cursor
            .split_once('.')
            .and_then(|(at, id)| Some((at.parse().ok()?, id)))
            .ok_or_else(|| Problem::bad_request("`cursor` is none that was given out."))?,
    };
    let records = store::page(&gateway.database, (at, id), limit + 1).await.map_err(problems::database)?;
    let listed = Listed::of(records, limit, |record| format!("{}.{}", record.created_at, record.id));
    let items = listed.items.into_iter().map(ApiKey::from).collect();
    Ok(Json(Listed { items, next_cursor: listed.next_cursor }))
}

/// Make an API key
///
/// Its text is in the answer, and can never be seen again.
#[utoipa::path(
    post,
    path = "/v1/keys",
    operation_id = "createKey",
    tag = "keys",
    request_body = NewApiKey,
    responses(
        (status = 201, description = "The key", body = CreatedApiKey),
        (status = 409, description = "There is a key of this name", body = ProblemBody, content_type = "application/problem+json")
    )
)]
async fn create(
    State(gateway): State<Arc<Gateway>>,
    Extension(principal): Extension<Principal>,
    Json(new): Json<NewApiKey>,
) -> Result<impl IntoResponse, Problem> {
    let text = KeyText::random();
    let mut record = Record::new(&text, new.name, principal.id);
    record.scopes = new.scopes;
    record.rate_limit = new.rate_limit;
    record.expires_at = to_come(new.expires_at)?;
    check(&mut record)?;
    keep_new(&gateway.keys, &record, &text).await?;
    tracing::info!(key = record.id, by = record.created_by, "An API key was made.");
    let headers = [
        (header::LOCATION, format!("/v1/keys/{}", record.id)),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    let created = CreatedApiKey { key: text.reveal().to_owned(), about: record.into() };
    Ok((StatusCode::CREATED, headers, Json(created)))
}

async fn keep_new(keys: &Keys, record: &Record, text: &KeyText) -> Result<(), Problem> {
    let mut transaction = keys.database.begin().await.map_err(problems::database)?;
    let there = store::by_name(&mut transaction, &record.name).await.map_err(problems::database)?;
    if let Some(there) = there {
        return Err(name_taken(&there.name).with("keyId", there.id));
    }
    if store::count(&mut transaction).await.map_err(problems::database)? >= MOST_KEYS {
        return Err(Problem::conflict(format!(
            "There are {MOST_KEYS} keys, and no more are kept. Delete some."
        )));
    }
    store::insert(&mut transaction, record, text).await.map_err(|error| kept(error, &record.name))?;
    transaction.commit().await.map_err(problems::database)?;
    keys.catch_up().await;
    Ok(())
}

/// Get an API key
#[utoipa::path(
    get,
    path = "/v1/keys/{id}",
    operation_id = "getKey",
    tag = "keys",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The key", body = ApiKey)
    )
)]
async fn show(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Result<Json<ApiKey>, Problem> {
    let mut connection =
        gateway.database.pool().acquire().await.map_err(|error| problems::database(error.into()))?;
    let record = store::one(&mut connection, &id).await.map_err(problems::database)?;
    Ok(Json(record.ok_or_else(|| missing(&id))?.into()))
}

/// Change an API key
///
/// At once here, within 5 s at other replicas.
#[utoipa::path(
    patch,
    path = "/v1/keys/{id}",
    operation_id = "changeKey",
    tag = "keys",
    params(("id" = String, Path, description = "Its id")),
    request_body = ApiKeyChange,
    responses(
        (status = 200, description = "The key as it is now", body = ApiKey),
        (status = 409, description = "There is another key of this name", body = ProblemBody, content_type = "application/problem+json")
    )
)]
async fn change(
    State(gateway): State<Arc<Gateway>>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
    Json(change): Json<ApiKeyChange>,
) -> Result<Json<ApiKey>, Problem> {
    let mut transaction = gateway.database.begin().await.map_err(problems::database)?;
    // Two changes at once, read before either is written, would undo one of them.
    if !store::lock(&mut transaction, &id).await.map_err(problems::database)? {
        return Err(missing(&id));
    }
    let record = store::one(&mut transaction, &id).await.map_err(problems::database)?;
    let mut record = record.ok_or_else(|| missing(&id))?;
    if let Some(name) = change.name {
        record.name = name;
    }
    if let Some(scopes) = change.scopes {
        record.scopes = scopes;
    }
    if let Some(rate_limit) = change.rate_limit {
        record.rate_limit = rate_limit;
    }
    if let Some(expires_at) = change.expires_at {
        record.expires_at = to_come(expires_at)?;
    }
    check(&mut record)?;
    store::update(&mut transaction, &record).await.map_err(|error| kept(error, &record.name))?;
    transaction.commit().await.map_err(problems::database)?;
    gateway.keys.catch_up().await;
    tracing::info!(key = id, by = principal.id, "An API key was changed.");
    Ok(Json(record.into()))
}

/// Revoke an API key
///
/// At once here, within 5 s at other replicas.
#[utoipa::path(
    delete,
    path = "/v1/keys/{id}",
    operation_id = "revokeKey",
    tag = "keys",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 204, description = "It is gone")
    )
)]
async fn revoke(
    State(gateway): State<Arc<Gateway>>,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let mut transaction = gateway.database.begin().await.map_err(problems::database)?;
    if !store::delete(&mut transaction, &id).await.map_err(problems::database)? {
        return Err(missing(&id));
    }
    transaction.commit().await.map_err(problems::database)?;
    gateway.keys.catch_up().await;
    tracing::info!(key = id, by = principal.id, "An API key was revoked.");
    Ok(StatusCode::NO_CONTENT)
}

/// What a person or program can get wrong about a key.
fn check(record: &mut Record) -> Result<(), Problem> {
    record.scopes.sort_unstable();
    record.scopes.dedup();
    let characters = record.name.chars().count();
    if characters == 0 || characters > MOST_NAME_CHARACTERS || record.name.chars().any(char::is_control) {
        return Err(Problem::unprocessable(format!(
            "`name` has 1 to {MOST_NAME_CHARACTERS} characters, and no control characters."
        )));
    }
    if record.scopes.is_empty() {
        return Err(Problem::unprocessable("`scopes` has at least one scope."));
    }
    if record.rate_limit.is_some_and(|limit| !limit.is_possible()) {
        return Err(Problem::unprocessable(format!(
            "The numbers of `rateLimit` are from 1 to {}.",
            RateLimit::MOST
        )));
    }
    Ok(())
}

fn to_come(end: Option<Timestamp>) -> Result<Option<i64>, Problem> {
    let end = end.map(Timestamp::as_millisecond);
    if end.is_some_and(|end| end <= now_milliseconds()) {
        return Err(Problem::unprocessable("`expiresAt` is a time to come. To revoke a key, delete it."));
    }
    Ok(end)
}

fn missing(id: &str) -> Problem {
    Problem::not_found(format!("There is no API key with the id `{id}`."))
}

fn name_taken(name: &str) -> Problem {
    Problem::conflict(format!(
        "There is an API key of the name `{name}`. Its text was told when it was made; if it is lost, delete that \
         key or choose another name."
    ))
}

fn kept(error: DatabaseError, name: &str) -> Problem {
    match error {
        DatabaseError::Conflict { .. } => name_taken(name),
        error => problems::database(error),
    }
}
