//! Who may do what: every kind of key at every operation of the document.

use std::collections::BTreeSet;
use std::time::Duration;

use ai_saas_platform_tests::FrontDoor;
use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// What an operation asks for, and how it answers a request with nothing in it
/// for what is not there, once the key is found to be good.
type Row = (&'static str, &'static str, u16);

const TABLE: &[Row] = &[
    ("GET /v1/keys", "admin", 200),
    ("POST /v1/keys", "admin", 415),
    ("GET /v1/keys/{id}", "admin", 404),
    ("PATCH /v1/keys/{id}", "admin", 415),
    ("DELETE /v1/keys/{id}", "admin", 404),
    ("GET /v1/requests", "requests:read", 200),
    ("POST /v1/requests", "requests:write", 415),
    ("GET /v1/requests/{id}", "requests:read", 404),
    ("GET /v1/requests/{id}/events", "requests:read", 404),
    ("POST /v1/requests/{id}/cancel", "requests:write", 404),
    ("GET /v1/datasets", "datasets:read", 200),
    ("GET /v1/datasets/{name}", "datasets:read", 404),
    ("PUT /v1/datasets/{name}", "datasets:write", 400),
    ("DELETE /v1/datasets/{name}", "datasets:write", 404),
    ("GET /v1/datasets/{name}/versions", "datasets:read", 404),
    ("GET /v1/datasets/{name}/versions/{version}", "datasets:read", 404),
    ("DELETE /v1/datasets/{name}/versions/{version}", "datasets:write", 404),
    ("GET /v1/datasets/{name}/versions/{version}/content", "datasets:read", 404),
    ("GET /v1/datasets/{name}/versions/{version}/preview", "datasets:read", 404),
    ("GET /v1/datasets/{name}/versions/{version}/schema", "datasets:read", 404),
    ("GET /v1/datasets/{name}/versions/{version}/statistics", "datasets:read", 404),
    ("OPTIONS /v1/uploads", "datasets:write", 204),
    ("POST /v1/uploads", "datasets:write", 412),
    ("GET /v1/uploads/{id}", "datasets:write", 404),
    ("HEAD /v1/uploads/{id}", "datasets:write", 412),
    ("PATCH /v1/uploads/{id}", "datasets:write", 412),
    ("DELETE /v1/uploads/{id}", "datasets:write", 412),
    ("GET /v1/analyses", "analyses:read", 200),
    ("POST /v1/analyses", "analyses:write", 415),
    ("GET /v1/analyses/{id}", "analyses:read", 404),
    ("DELETE /v1/analyses/{id}", "analyses:write", 404),
    ("POST /v1/analyses/{id}/cancel", "analyses:write", 404),
    ("GET /v1/analyses/{id}/charts/{name}", "analyses:read", 404),
    ("GET /v1/analyses/{id}/result", "analyses:read", 404),
    ("GET /v1/analysis-jobs", "analyses:read", 200),
    ("GET /v1/analysis-jobs/{name}", "analyses:read", 404),
    ("GET /v1/analysis-jobs/{name}/charts", "analyses:read", 404),
    ("GET /v1/analysis-jobs/{name}/charts/{chart}", "analyses:read", 404),
    ("GET /v1/analysis-jobs/{name}/result", "analyses:read", 404),
];

/// What is not in the document: for everybody, but for the counters.
const EVERYBODY: &[&str] = &["/openapi.json", "/docs", "/livez", "/readyz"];
const COUNTERS: Row = ("GET /metrics", "admin", 200);

const SCOPES: &[&str] = &[
    "admin",
    "datasets:read",
    "datasets:write",
    "analyses:read",
    "analyses:write",
    "requests:read",
    "requests:write",
];

/// A key as a caller may have one.
struct Caller {
    name: String,
    key: Option<String>,
    /// What it may do; `None` lets it in nowhere.
    scope: Option<&'static str>,
}

/// Every caller at every operation. An operation that is in the document and
/// not in the table is a mistake, and so is the contrary.
pub async fn holds(door: &FrontDoor, document: &Value) -> Result<()> {
    let documented = operations(document);
    let known: BTreeSet<String> = TABLE.iter().map(|(operation, ..)| (*operation).to_owned()).collect();
    let difference: Vec<&String> = documented.symmetric_difference(&known).collect();
    ensure!(difference.is_empty(), "the document and the table differ in {difference:?}");
    let callers = callers(door).await?;
    let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?;
    let mut mistakes = Vec::new();
    for row in TABLE.iter().chain([&COUNTERS]) {
        for caller in &callers {
            if let Err(error) = is_answered(&http, door, row, caller).await {
                mistakes.push(format!("{error:#}"));
            }
        }
    }
    for path in EVERYBODY {
        let status = door.without_key(&format!("{}{path}", door.url)).await?.status();
        if status != StatusCode::OK {
            mistakes.push(format!("GET {path} without a key: {status}"));
        }
    }
    ensure!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    Ok(())
}

fn operations(document: &Value) -> BTreeSet<String> {
    const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
    let paths = document["paths"].as_object().into_iter().flatten();
    let all = paths.flat_map(|(path, item)| {
        let methods = METHODS.iter().filter(move |method| item[**method].is_object());
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    all.collect()
}

async fn callers(door: &FrontDoor) -> Result<Vec<Caller>> {
    let stranger = |name: &str, key: Option<String>| Caller { name: name.to_owned(), key, scope: None };
    let end = Timestamp::now().checked_add(SignedDuration::from_secs(2))?;
    let everything = json!({ "name": "expired", "scopes": ["admin"], "expiresAt": end.to_string() });
    let (_, expired) = create(door, &everything).await?;
    let (id, revoked) = create(door, &json!({ "name": "revoked", "scopes": ["admin"] })).await?;
    let gone = door.request(Method::DELETE, &format!("/v1/keys/{id}")).send().await?;
    ensure!(gone.status() == StatusCode::NO_CONTENT, "revoking a key: {}", gone.status());
    let mut callers = vec![
        stranger("no key", None),
        stranger("what is no key", Some("letmein".to_owned())),
        stranger("a key that nobody has made", Some(format!("aisaas_{}", "x".repeat(43)))),
        stranger("an expired key", Some(expired)),
        stranger("a revoked key", Some(revoked)),
    ];
    for scope in SCOPES {
        let (_, key) = create(door, &json!({ "name": scope, "scopes": [scope] })).await?;
        callers.push(Caller { name: format!("a key for {scope}"), key: Some(key), scope: Some(scope) });
    }
    // Its clock may go a little behind.
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(callers)
}

/// Makes a key; gives its id and its text.
async fn create(door: &FrontDoor, new: &Value) -> Result<(String, String)> {
    let created = door.json(door.post("/v1/keys", new)).await?;
    let text = |field: &str| created[field].as_str().map(str::to_owned).context("a key");
    Ok((text("id")?, text("key")?))
}

async fn is_answered(
    http: &reqwest::Client,
    door: &FrontDoor,
    (operation, needed, status): &Row,
    caller: &Caller,
) -> Result<()> {
    let expected = match caller.scope {
        None => StatusCode::UNAUTHORIZED,
        Some(scope) if scope == "admin" || scope == *needed => StatusCode::from_u16(*status)?,
        Some(_) => StatusCode::FORBIDDEN,
    };
    let (method, path) = operation.split_once(' ').context("a method and a path")?;
    let path = path
        .replace("{id}", "019a0000-0000-7000-8000-000000000000")
        .replace("{name}", "nothing")
        .replace("{version}", "1");
    let request = http.request(Method::from_bytes(method.as_bytes())?, format!("{}{path}", door.url));
    let request = match &caller.key {
        Some(key) => request.bearer_auth(key),
        None => request,
    };
    let response = request.send().await?;
    let found = response.status();
    if found != expected {
        bail!("{operation} by {}: expected {expected}, found {found}", caller.name);
    }
    if !found.is_success() {
        let media_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        ensure!(media_type == Some("application/problem+json"), "{operation}: {found} as {media_type:?}");
    }
    let challenge = response.headers().contains_key("www-authenticate");
    ensure!(challenge == (found == StatusCode::UNAUTHORIZED), "{operation}: {found}, challenge: {challenge}");
    Ok(())
}
