//! A Platform, and talking to it as a program would.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use crds::{Platform, condition};
use k8s_openapi::api::core::v1::{Secret, Service};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::Namespace;
use crate::namespace::PATIENCE;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// A platform that serves.
#[derive(Clone, Debug)]
pub struct FrontDoor {
    /// Where its gateway is, reached from the node.
    pub url: String,
    /// The first administrator's key.
    pub key: String,
    client: reqwest::Client,
}

impl FrontDoor {
    /// Creates a Platform and waits until it is ready.
    ///
    /// # Errors
    /// If it is refused or does not become ready.
    pub async fn serve(namespace: &Namespace, platform: &str, spec: Value) -> Result<Self> {
        namespace.create_object(&Platform::new(platform, serde_json::from_value(spec)?)).await?;
        Self::of(namespace, platform).await
    }

    /// Waits until a Platform is ready, and finds its address and key.
    ///
    /// # Errors
    /// If it does not become ready, and those of the API server.
    pub async fn of(namespace: &Namespace, platform: &str) -> Result<Self> {
        namespace.wait_for::<Platform>(platform, "to be ready", |found| found.is_some_and(is_ready)).await?;
        let url = format!("http://{}", cluster_ip(namespace, platform).await?);
        let secret = namespace.api::<Secret>().get(&format!("{platform}-admin-key")).await?;
        let key = secret.data.and_then(|mut data| data.remove("api-key")).context("a key in the Secret")?;
        let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?;
        let door = Self { url, key: String::from_utf8(key.0)?, client };
        door.reached().await?;
        Ok(door)
    }

    /// Waits until the node passes on what is sent to the Services, that of the
    /// gateway and those behind it: it learns of the pods of a Service a moment
    /// after the API server does.
    async fn reached(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let problem = match self.request(Method::GET, "/v1/datasets?limit=1").send().await {
                Ok(response) if response.status() != StatusCode::SERVICE_UNAVAILABLE => return Ok(()),
                Ok(response) => response.text().await?,
                Err(error) => error.to_string(),
            };
            ensure!(Instant::now() < deadline, "the gateway is not reached: {problem}");
            sleep(PAUSE).await;
        }
    }

    /// The same gateway at another address, such as that of one of its pods.
    #[must_use]
    pub fn at(&self, url: String) -> Self {
        Self { url, ..self.clone() }
    }

    /// Begins a request with the administrator's key.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url)).bearer_auth(&self.key)
    }

    /// Begins a request that posts JSON.
    pub fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        let request = self.request(Method::POST, path).header("content-type", "application/json");
        request.body(body.to_string())
    }

    /// Sends a request and reads its answer, which has to be a success.
    ///
    /// # Errors
    /// If it is none, with what it says.
    pub async fn json(&self, request: RequestBuilder) -> Result<Value> {
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{status}: {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))
    }

    /// Makes a request again until it succeeds: pods and databases are away for
    /// a while in some tests.
    ///
    /// # Errors
    /// If it does not in time, with what was said last.
    pub async fn patiently(&self, request: impl Fn() -> RequestBuilder) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.json(request()).await {
                Ok(answer) => return Ok(answer),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    /// Waits for the end of what is at a path: a request or an analysis.
    ///
    /// # Errors
    /// If it does not end in time, with how it is.
    pub async fn ended(&self, path: &str) -> Result<Value> {
        let deadline = Instant::now() + PATIENCE;
        let waiting = format!("{path}?wait=10");
        loop {
            let found = self.patiently(|| self.request(Method::GET, &waiting)).await?;
            let status = found["status"].as_str().unwrap_or_default();
            if !matches!(status, "queued" | "planning" | "running") {
                return Ok(found);
            }
            ensure!(Instant::now() < deadline, "{path} has not ended: {found}");
        }
    }

    /// The items of a list, up to 200 of them.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn items(&self, path: &str) -> Result<Vec<Value>> {
        let path = format!("{path}?limit=200");
        let mut listed = self.patiently(|| self.request(Method::GET, &path)).await?;
        match listed["items"].take() {
            Value::Array(items) => Ok(items),
            _ => bail!("no list: {listed}"),
        }
    }

    /// Sends a request of another client, without a key.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn without_key(&self, url: &str) -> Result<Response> {
        self.client.get(url).send().await.with_context(|| format!("asking {url}"))
    }
}

/// The problem (RFC 9457) that a request was answered with. One that passes says
/// when to come again.
///
/// # Errors
/// If it is none, or not a whole one.
pub async fn problem(response: Response) -> Result<Value> {
    let status = response.status();
    let header = |name: &str| {
        let value = response.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (media_type, retry_after) = (header("content-type"), header("retry-after"));
    let text = response.text().await?;
    ensure!(media_type == "application/problem+json", "{status} {media_type}: {text}");
    let problem: Value = serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))?;
    ensure!(problem["status"] == status.as_u16(), "{status} says of itself: {problem}");
    for member in ["type", "title", "detail"] {
        ensure!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "no {member}: {problem}");
    }
    let seconds = retry_after.parse::<u32>().unwrap_or(0);
    ensure!(status != 503 || seconds > 0, "it does not say when to come again: {problem}");
    Ok(problem)
}

/// Whether a Platform serves as its specification of now says.
#[must_use]
pub fn is_ready(platform: &Platform) -> bool {
    let Some(status) = &platform.status else { return false };
    status.observed_generation == platform.metadata.generation
        && status
            .conditions
            .iter()
            .any(|condition| condition.type_ == condition::READY && condition.status == "True")
}

/// The address of a Service, which the node reaches.
///
/// # Errors
/// Those of the API server.
pub async fn cluster_ip(namespace: &Namespace, service: &str) -> Result<String> {
    let service = namespace.api::<Service>().get(service).await?;
    service.spec.and_then(|spec| spec.cluster_ip).context("an address")
}
