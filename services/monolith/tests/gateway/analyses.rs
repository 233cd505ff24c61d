//! The analyses behind the gateway, as analysis-base does them, but for what
//! comes out: that is said by the SQL.
//!
//! - `SLOW`: runs until it is released or cancelled
//! - `WRONG`: fails
//! - `WIDE`: succeeds with 20 rows, of which ten are more than is read
//! - `LIMIT 0`: has columns and no rows
//! - all else succeeds with two rows

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use serde_json::{Value, json};

use crate::upstream::UpstreamState;

type Shared = Arc<UpstreamState>;

#[derive(Debug, Default)]
pub struct Analyses(Mutex<Known>);

#[derive(Debug, Default)]
pub struct Known {
    /// What was asked for, with the status that it has now.
    pub all: Vec<Analysis>,
    /// Data sets by their names: format and content.
    pub datasets: HashMap<String, (String, Vec<u8>)>,
    /// Answers to begin an analysis with before it is done.
    pub failures_to_come: Vec<StatusCode>,
    pub is_released: bool,
}

#[derive(Clone, Debug)]
pub struct Analysis {
    pub key: String,
    pub body: Value,
    pub status: &'static str,
}

impl Analyses {
    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was asked for under this ending of a key.
    pub fn of(&self, task: &str) -> Vec<Analysis> {
        self.known().all.iter().filter(|analysis| analysis.key.ends_with(task)).cloned().collect()
    }

    /// Lets those end that are slow.
    pub fn release(&self) {
        let mut known = self.known();
        known.is_released = true;
        for analysis in known.all.iter_mut().filter(|analysis| analysis.status == "running") {
            analysis.status = "succeeded";
        }
    }
}

pub fn router() -> Router<Shared> {
    Router::new()
        .route("/v1/analyses", post(create))
        .route("/v1/analyses/{id}", get(show))
        .route("/v1/analyses/{id}/result", get(result))
        .route("/v1/analyses/{id}/cancel", post(cancel))
        .route("/v1/datasets/{name}", put(upload))
        .route("/v1/datasets/{name}", delete(remove))
        .route("/openapi.json", get(document))
}

async fn create(
    State(state): State<Shared>,
    headers: HeaderMap,
    axum::Json(body): axum::Json<Value>,
) -> Response {
    assert_eq!(headers["authorization"], "Bearer service-token");
    let key = headers.get("idempotency-key").map_or("", |key| key.to_str().expect("key")).to_owned();
    let mut known = state.analyses.known();
    if let Some(status) = known.failures_to_come.pop() {
        return status.into_response();
    }
    let there = known.all.iter().position(|analysis| !key.is_empty() && analysis.key == key);
    let index = there.unwrap_or_else(|| {
        let sql = body["sql"].as_str().unwrap_or_default();
        let status = match sql {
            sql if sql.contains("WRONG") => "failed",
            sql if sql.contains("SLOW") && !known.is_released => "running",
            _ => "succeeded",
        };
        known.all.push(Analysis { key, body: body.clone(), status });
        known.all.len() - 1
    });
    let analysis = &known.all[index];
    // The same key is for the same request.
    if analysis.body != body {
        return (
            StatusCode::UNPROCESSABLE_ENTITY,
            axum::Json(json!({ "status": 422, "detail": "another body" })),
        )
            .into_response();
    }
    (StatusCode::ACCEPTED, axum::Json(shown(index, analysis))).into_response()
}

fn shown(index: usize, analysis: &Analysis) -> Value {
    let mut shown = json!({ "id": format!("a{index}"), "status": analysis.status });
    if analysis.status == "failed" {
        shown["reason"] = json!("InvalidQuery");
        shown["message"] = json!("The query is WRONG.");
    }
    shown
}

async fn show(
    State(state): State<Shared>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, u64>>,
) -> Response {
    let Some(index) = index(&state, &id) else { return StatusCode::NOT_FOUND.into_response() };
    let wait = Duration::from_secs(query.get("wait").copied().unwrap_or(0));
    let begun = tokio::time::Instant::now();
    loop {
        let analysis = state.analyses.known().all[index].clone();
        if analysis.status != "running" || begun.elapsed() >= wait {
            let mut shown = shown(index, &analysis);
            if is_wide(&analysis) {
                shown["result"] = json!({ "rows": wide_rows(20) });
            }
            return axum::Json(shown).into_response();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is_wide(analysis: &Analysis) -> bool {
    analysis.body["sql"].as_str().is_some_and(|sql| sql.contains("WIDE"))
}

/// Half a megabyte each.
fn wide_rows(count: usize) -> Value {
    json!(vec![json!({ "carrier": "x".repeat(500_000) }); count])
}

async fn result(
    State(state): State<Shared>,
    Path(id): Path<String>,
    Query(query): Query<HashMap<String, usize>>,
) -> Response {
    let Some(index) = index(&state, &id) else { return StatusCode::NOT_FOUND.into_response() };
    let analysis = state.analyses.known().all[index].clone();
    if is_wide(&analysis) {
        let rows = wide_rows(query.get("limit").copied().unwrap_or(20).min(20));
        let columns = json!([{ "name": "carrier", "type": "string" }]);
        return axum::Json(json!({ "columns": columns, "rows": rows, "offset": 0, "total": 20 }))
            .into_response();
    }
    let columns = json!([{ "name": "carrier", "type": "string" }, { "name": "delay", "type": "number" }]);
    let rows = if analysis.body["profile"].is_object() {
        json!([{ "column": "carrier", "type": "string", "count": 4, "nulls": 0, "distinct": 2, "minimum": "AA" }])
    } else if analysis.body["sql"].as_str().is_some_and(|sql| sql.ends_with("LIMIT 0")) {
        json!([])
    } else {
        json!([{ "carrier": "UA", "delay": 3.5 }, { "carrier": "AA", "delay": 1 }])
    };
    let total = rows.as_array().expect("rows").len();
    axum::Json(json!({ "columns": columns, "rows": rows, "offset": 0, "total": total })).into_response()
}

async fn cancel(State(state): State<Shared>, Path(id): Path<String>) -> Response {
    let Some(index) = index(&state, &id) else { return StatusCode::NOT_FOUND.into_response() };
    let mut known = state.analyses.known();
    known.all[index].status = "cancelled";
    axum::Json(shown(index, &known.all[index])).into_response()
}

fn index(state: &Shared, id: &str) -> Option<usize> {
    let index = id.strip_prefix('a')?.parse().ok()?;
    (index < state.analyses.known().all.len()).then_some(index)
}

async fn upload(
    State(state): State<Shared>,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    body: Body,
) -> Response {
    let Ok(content) = axum::body::to_bytes(body, usize::MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    if content.starts_with(b"BAD") {
        let problem = json!({ "status": 422, "detail": "The data cannot be read." });
        return (StatusCode::UNPROCESSABLE_ENTITY, axum::Json(problem)).into_response();
    }
    state.analyses.known().datasets.insert(name, (query["format"].clone(), content.to_vec()));
    StatusCode::CREATED.into_response()
}

async fn remove(State(state): State<Shared>, Path(name): Path<String>) -> StatusCode {
    match state.analyses.known().datasets.remove(&name) {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::NOT_FOUND,
    }
}

async fn document() -> Response {
    let document = json!({
        "openapi": "3.1.0",
        "info": { "title": "analyses", "version": "1" },
        "paths": {
            "/v1/analyses": { "post": { "operationId": "createAnalysis", "tags": ["analyses"], "responses": {} } },
            "/internal": { "get": { "operationId": "internal", "responses": {} } },
        },
        "components": { "schemas": { "Problem": { "type": "string" } } },
    });
    ([(header::CONTENT_TYPE, "application/json")], document.to_string()).into_response()
}
