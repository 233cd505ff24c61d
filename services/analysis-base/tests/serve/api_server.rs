//! A server that answers as the API server of Kubernetes does, to the few
//! requests that the service makes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What it has.
#[derive(Default)]
struct Contents {
    jobs: BTreeMap<String, Value>,
    config_maps: BTreeMap<String, Value>,
    refusal: Option<u16>,
    asked: Vec<String>,
}

/// The server, in the namespace `test`.
pub struct ApiServer {
    /// Where it is.
    pub url: String,
    contents: Arc<Mutex<Contents>>,
}

impl ApiServer {
    /// Starts one that has nothing.
    pub async fn start() -> Self {
        let contents = Arc::<Mutex<Contents>>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        let shared = Arc::clone(&contents);
        let router = Router::new().fallback(move |uri: Uri| {
            let shared = Arc::clone(&shared);
            async move { answer(&mut shared.lock().unwrap_or_else(PoisonError::into_inner), &uri) }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, contents }
    }

    /// Adds an AnalysisJob with this specification and status.
    pub fn add_job(&self, name: &str, spec: Value, status: Value) {
        let object = json!({
            "apiVersion": "aisaas.dev/v1alpha1", "kind": "AnalysisJob",
            "metadata": {
                "name": name, "namespace": "test", "uid": uid(name), "resourceVersion": "1",
                "creationTimestamp": "2025-11-24T09:01:00Z", "generation": 1,
            },
            "spec": spec, "status": status,
        });
        self.change(|contents| drop(contents.jobs.insert(name.to_owned(), object)));
    }

    /// Adds a ConfigMap that is controlled by an AnalysisJob.
    pub fn add_config_map(&self, name: &str, job: &str, data: Value, binary_data: Value) {
        let owner = json!({
            "apiVersion": "aisaas.dev/v1alpha1", "kind": "AnalysisJob", "name": job, "uid": uid(job),
            "controller": true, "blockOwnerDeletion": true,
        });
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "test", "ownerReferences": [owner]},
            "data": data, "binaryData": binary_data,
        });
        self.change(|contents| drop(contents.config_maps.insert(name.to_owned(), object)));
    }

    /// Refuses everything from now on with this status.
    pub fn refuse(&self, status: u16) {
        self.change(|contents| contents.refusal = Some(status));
    }

    /// What it was asked for so far.
    pub fn asked(&self) -> Vec<String> {
        let mut asked = Vec::new();
        self.change(|contents| asked.clone_from(&contents.asked));
        asked
    }

    fn change(&self, change: impl FnOnce(&mut Contents)) {
        change(&mut self.contents.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn uid(job: &str) -> String {
    format!("uid-of-{job}")
}

fn answer(contents: &mut Contents, uri: &Uri) -> Response {
    contents.asked.push(uri.to_string());
    if let Some(code) = contents.refusal {
        let message = "is forbidden: User \"system:serviceaccount:test:a\" cannot list resource";
        return failure(code, "Forbidden", message, "");
    }
    let path = uri.path();
    let jobs = "/apis/aisaas.dev/v1alpha1/namespaces/test/analysisjobs";
    let config_maps = "/api/v1/namespaces/test/configmaps";
    let one = |objects: &BTreeMap<String, Value>, name: &str| match objects.get(name) {
        Some(object) => document(StatusCode::OK, object),
        None => failure(404, "NotFound", "not found", name),
    };
    if path == jobs {
        return list(&contents.jobs, uri.query().unwrap_or_default());
    }
    if let Some(name) = path.strip_prefix(jobs).and_then(|rest| rest.strip_prefix('/')) {
        return one(&contents.jobs, name);
    }
    if let Some(name) = path.strip_prefix(config_maps).and_then(|rest| rest.strip_prefix('/')) {
        return one(&contents.config_maps, name);
    }
    failure(404, "NotFound", "the server could not find the requested resource", "")
}

/// In the order of names. The token to go on is the name before.
fn list(jobs: &BTreeMap<String, Value>, query: &str) -> Response {
    let value = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let after = match value("continue") {
        Some("expired") => return failure(410, "Expired", "The provided continue parameter is too old", ""),
        Some(unknown) if !jobs.contains_key(unknown) => {
            return failure(400, "BadRequest", "continue key is not valid", "");
        }
        other => other.unwrap_or_default(),
    };
    let limit: usize = value("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
    let rest: Vec<(&String, &Value)> = jobs.iter().filter(|(name, _)| name.as_str() > after).collect();
    let part = &rest[..limit.min(rest.len())];
    let next = part.last().filter(|_| part.len() < rest.len()).map(|(name, _)| name.as_str());
    let items: Vec<&Value> = part.iter().map(|(_, job)| *job).collect();
    let metadata = json!({"resourceVersion": "1", "continue": next.unwrap_or_default()});
    let kind = "AnalysisJobList";
    let found =
        json!({"apiVersion": "aisaas.dev/v1alpha1", "kind": kind, "metadata": metadata, "items": items});
    document(StatusCode::OK, &found)
}

fn failure(code: u16, reason: &str, message: &str, name: &str) -> Response {
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason,
        "message": message, "details": {"name": name},
    });
    document(StatusCode::from_u16(code).expect("status"), &status)
}

fn document(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
