//! A Platform, and talking to it as a program would.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use crds::{Platform, condition};
use k8s_openapi::api::core::v1::{Secret, Service};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use crate::Namespace;

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
        Ok(Self { url, key: String::from_utf8(key.0)?, client })
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

    /// Sends a request of another client, without a key.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn without_key(&self, url: &str) -> Result<Response> {
        self.client.get(url).send().await.with_context(|| format!("asking {url}"))
    }
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
