//! The service that does the analyses, as its client.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{Method, StatusCode, header};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use service_kit::client::{Call, ClientError};
use service_kit::limits::Deadline;
use service_kit::trace_context::TraceContext;

use super::state::{Chart, Column, TaskResult};
use super::verbatim::Verbatim;
use crate::bounded::{self, BodyError};
use crate::gateway::Live;
use crate::services::Service;

/// Its name in the table of services.
pub const SERVICE: &str = "analysis-base";

/// How long the service may keep a look at an analysis waiting.
const LONG_POLL_SECONDS: u64 = 20;
/// How long a call may take beyond that.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// A longer answer is not read. An analysis is shown with what was asked for,
/// which may have megabytes; what is beyond that is its result.
const MOST_ANSWER_BYTES: usize = 4 << 20;
/// Nor is a problem that is longer.
const MOST_PROBLEM_BYTES: usize = 256 << 10;
/// Rows of a result that are kept with a request: fewer, if so many are too long to be read.
const ROWS: [usize; 3] = [100, 10, 0];
/// Of these, as many as have so many bytes.
const MOST_ROW_BYTES: usize = 256 << 10;

/// What stood in the way of a call.
#[derive(Debug)]
pub enum Trouble {
    /// It passes: the same call can succeed later.
    Passing(String),
    /// It does not. The problem is for who made the request.
    Lasting(Value),
}

/// An analysis, as the service shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    pub id: String,
    pub status: AnalysisStatus,
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub message: Option<String>,
}

/// What a service has answered.
enum Answer<T> {
    Whole(T),
    /// It is longer than what is read. `location` is the address that its head gives.
    TooLong {
        location: Option<String>,
    },
}

impl Analysis {
    /// One of which nothing but the result can be so long.
    const fn with_long_result(id: String) -> Self {
        Self { id, status: AnalysisStatus::Succeeded, reason: None, message: None }
    }
}

/// How far an analysis has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AnalysisStatus {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// Calls the service for one request.
#[derive(Clone, Copy, Debug)]
pub struct Analyses<'a> {
    live: &'a Live,
    trace: &'a TraceContext,
    trouble: Option<&'a LastTrouble>,
}

/// What stands in the way of the calls for a request at present, for its problem.
pub type LastTrouble = Mutex<Option<String>>;

impl<'a> Analyses<'a> {
    /// For a request with this trace.
    pub const fn new(live: &'a Live, trace: &'a TraceContext) -> Self {
        Self { live, trace, trouble: None }
    }

    /// Notes there what stands in the way of calls.
    pub const fn noting(self, trouble: &'a LastTrouble) -> Self {
        Self { trouble: Some(trouble), ..self }
    }

    /// Notes what stands in the way now, or that nothing does.
    pub fn note(&self, trouble: Option<String>) {
        if let Some(noted) = self.trouble {
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        }
    }

    /// What stands in the way, as it was noted last.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.and_then(|noted| noted.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Begins an analysis, or finds the one that was begun under this key,
    /// however it has ended.
    pub async fn create(&self, key: &str, body: &str) -> Result<Analysis, Trouble> {
        let service = self.service()?;
        let request = service
            .client
            .request(Method::POST, "/v1/analyses")
            .header("idempotency-key", key)
            .header("prefer", "respond-async")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_owned());
        match self.ask(service, request, CALL_LIMIT).await {
            Ok(Answer::Whole(analysis)) => Ok(analysis),
            // It was begun before, and has ended by now.
            Ok(Answer::TooLong { location }) => match location.as_deref().and_then(last_segment) {
                Some(id) => Ok(Analysis::with_long_result(id.to_owned())),
                None => Err(Trouble::Lasting(too_long())),
            },
            Err(Trouble::Lasting(problem)) => match problem["analysis"].as_str().and_then(last_segment) {
                Some(id) => self.look(id).await,
                None => Err(Trouble::Lasting(problem)),
            },
            Err(trouble) => Err(trouble),
        }
    }

    /// How far an analysis has come; waits some time for its end.
    pub async fn look(&self, id: &str) -> Result<Analysis, Trouble> {
        let service = self.service()?;
        let path = format!("/v1/analyses/{id}?wait={LONG_POLL_SECONDS}");
        let limit = CALL_LIMIT + Duration::from_secs(LONG_POLL_SECONDS);
        Ok(match self.ask(service, service.client.request(Method::GET, &path), limit).await? {
            Answer::Whole(analysis) => analysis,
            Answer::TooLong { .. } => Analysis::with_long_result(id.to_owned()),
        })
    }

    /// The beginning of a result. `charts` are the names of those that were asked for.
    pub async fn result(&self, id: &str, charts: &[String]) -> Result<TaskResult, Trouble> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            columns: Vec<Column>,
            rows: Vec<Verbatim>,
            #[serde(default)]
            total: u64,
        }
        let service = self.service()?;
        let mut whole: Option<Page> = None;
        for rows in ROWS {
            let path = format!("/v1/analyses/{id}/result?limit={rows}");
            let request =
                service.client.request(Method::GET, &path).header(header::ACCEPT, "application/json");
            if let Answer::Whole(page) = self.ask(service, request, CALL_LIMIT).await? {
                whole = Some(page);
                break;
            }
        }
        let page = whole.ok_or_else(|| Trouble::Lasting(too_long()))?;
        let mut bytes = 0;
        let fitting = page.rows.iter().take_while(|row| {
            bytes += row.text().len();
            bytes <= MOST_ROW_BYTES
        });
        let fitting = fitting.count();
        let mut rows = page.rows;
        let total = page.total.max(u64::try_from(rows.len()).unwrap_or(u64::MAX));
        rows.truncate(fitting);
        let charts = charts
            .iter()
            .map(|name| Chart { name: name.clone(), url: format!("/v1/analyses/{id}/charts/{name}") });
        Ok(TaskResult {
            columns: page.columns,
            rows,
            total,
            url: format!("/v1/analyses/{id}/result"),
            charts: charts.collect(),
        })
    }

    /// Stops an analysis, if it has not ended.
    pub async fn cancel(&self, id: &str) -> Result<(), Trouble> {
        let service = self.service()?;
        let request = service.client.request(Method::POST, &format!("/v1/analyses/{id}/cancel"));
        match self.call::<IgnoredAny>(service, request, CALL_LIMIT).await {
            Err(Trouble::Lasting(problem)) if problem["status"] == 409 => Ok(()),
            called => called.map(drop),
        }
    }

    /// Uploads a data set. What can be sent once only is not tried again.
    pub async fn upload(
        &self,
        dataset: &str,
        format: &str,
        options: &str,
        data: reqwest::Body,
        limit: Duration,
    ) -> Result<(), Trouble> {
        let service = self.service()?;
        let request = service
            .client
            .request(Method::PUT, &format!("/v1/datasets/{dataset}"))
            .query(&[("format", format), ("options", options)])
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(data);
        self.call::<IgnoredAny>(service, request, limit).await.map(drop)
    }

    /// Removes a data set, if it is there.
    pub async fn remove(&self, dataset: &str) -> Result<(), Trouble> {
        let service = self.service()?;
        let request = service.client.request(Method::DELETE, &format!("/v1/datasets/{dataset}"));
        match self.call::<IgnoredAny>(service, request, CALL_LIMIT).await {
            Err(Trouble::Lasting(problem)) if problem["status"] == 404 => Ok(()),
            called => called.map(drop),
        }
    }

    fn service(&self) -> Result<&'a Service, Trouble> {
        self.live.services.named(SERVICE).map(AsRef::as_ref).ok_or_else(|| {
            Trouble::Lasting(json!({
                "type": "https://aisaas.dev/problems/no-service",
                "title": "No service",
                "status": 503,
                "detail": format!("The platform runs no service `{SERVICE}`, which does the analyses."),
            }))
        })
    }

    /// Asks for something that is short.
    async fn call<T: DeserializeOwned>(
        &self,
        service: &Service,
        request: reqwest::RequestBuilder,
        limit: Duration,
    ) -> Result<T, Trouble> {
        match self.ask(service, request, limit).await? {
            Answer::Whole(answer) => Ok(answer),
            Answer::TooLong { .. } => Err(Trouble::Lasting(too_long())),
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        service: &Service,
        request: reqwest::RequestBuilder,
        limit: Duration,
    ) -> Result<Answer<T>, Trouble> {
        // Everything that is asked for here has a key or can be done twice.
        let call = Call { deadline: Deadline::after(limit), trace: self.trace, is_idempotent: true };
        let response = service.client.send(request, call).await.map_err(|error| {
            // The causes name addresses within the cluster: they are for the log.
            tracing::warn!(error = %service_kit::problem::chain(&error), "A call for a request has failed.");
            match error {
                ClientError::Request { .. } => Trouble::Lasting(fault("it could not be asked")),
                error => Trouble::Passing(error.to_string()),
            }
        })?;
        let status = response.status();
        let location = response.headers().get(header::CONTENT_LOCATION);
        let location = location.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let most = if status.is_success() { MOST_ANSWER_BYTES } else { MOST_PROBLEM_BYTES };
        let body = match bounded::read(response, most).await {
            Ok(body) => body,
            Err(BodyError::TooLong { .. }) if status.is_success() => return Ok(Answer::TooLong { location }),
            Err(error @ BodyError::TooLong { .. }) => {
                return Err(Trouble::Lasting(fault(&error.to_string())));
            }
            Err(error @ BodyError::Broken(_)) => return Err(Trouble::Passing(error.to_string())),
        };
        if status.is_success() {
            // Some answers have no body.
            let body = if body.is_empty() { b"null".as_slice() } else { &body[..] };
            let read = serde_json::from_slice(body).map(Answer::Whole);
            return read.map_err(|error| {
                // It may quote what only the services should see.
                tracing::error!(%error, "An answer of the analyses cannot be read.");
                Trouble::Lasting(fault("its answer cannot be read"))
            });
        }
        let problem = serde_json::from_slice::<Value>(&body).ok().filter(Value::is_object);
        // A conflict passes, unless it is with how an analysis has ended.
        let is_of_the_end = problem.as_ref().is_some_and(|problem| problem["analysisStatus"].is_string());
        let is_passing = match status {
            StatusCode::INSUFFICIENT_STORAGE => false,
            StatusCode::CONFLICT => !is_of_the_end,
            // It may not know the present keys of the cluster yet.
            StatusCode::UNAUTHORIZED | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => true,
            _ => status.is_server_error() && !is_of_the_end,
        };
        if is_passing {
            return Err(Trouble::Passing(format!("the service `{SERVICE}` answers with {status}")));
        }
        Err(Trouble::Lasting(problem.unwrap_or_else(|| fault(&format!("it answers with {status}")))))
    }
}

fn last_segment(url: &str) -> Option<&str> {
    url.rsplit('/').next()
}

fn too_long() -> Value {
    fault(&format!("the answer is longer than {MOST_ANSWER_BYTES} bytes"))
}

/// An answer that makes no sense.
fn fault(what: &str) -> Value {
    json!({
        "type": "https://aisaas.dev/problems/bad-gateway",
        "title": "Bad gateway",
        "status": 502,
        "detail": format!("The service `{SERVICE}` has not answered as it should: {what}."),
    })
}
