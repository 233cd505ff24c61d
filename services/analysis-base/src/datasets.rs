//! Data sets of a Platform, as the pod of an AnalysisJob uses them: by HTTP,
//! with a token that the kubelet renews.
//!
//! ```text
//!   Platforms ─▶ Dataset ─▶ version   which one, and how it is read
//!                      ├──▶ download  its data → a file
//!                      └──▶ add       a file → its next version, once for each key
//! ```
//!
//! What may pass is tried a few times; after that the Job's own retries take
//! over.

mod error;
mod upload;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::Method;
use crds::analysis::{
    AnalysisSpecification, Column, CsvOptions, JsonLinesOptions, PlatformAccess, SourceFormat,
};
use reqwest::{RequestBuilder, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use service_kit::client::{Call, ClientSettings, ServiceClient};
use service_kit::limits::Deadline;
use service_kit::trace_context::TraceContext;
use url::Url;

pub use error::DatasetError;
use error::checked;

use crate::environment::Environment;
use crate::failure::listed;

/// The service that keeps data sets.
const SERVICE: &str = "analysis-base";
/// How long an answer may take that is not data.
const SHORT: Duration = Duration::from_secs(30);
/// How long data may take, as long as they go on coming.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);
/// A service that sends nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(30);
/// How often something is tried, and how long it is waited before the second time.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Each further wait is twice as long, but no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many data sets are looked at to say which there are.
const LISTED: usize = 200;

/// The Platforms that a specification names.
#[derive(Clone, Debug)]
pub struct Platforms {
    access: BTreeMap<String, PlatformAccess>,
    tokens: PathBuf,
    idempotency_key: Option<String>,
}

/// A data set of one of them.
#[derive(Debug)]
pub struct Dataset {
    client: ServiceClient,
    name: String,
    trace: TraceContext,
}

/// A version of a data set, as far as it matters here.
#[derive(Clone, Debug, Deserialize)]
pub struct Version {
    /// Its number.
    pub version: i64,
    /// Its format.
    pub format: SourceFormat,
    /// How it is read.
    #[serde(default)]
    pub options: Reading,
    /// Its size.
    pub bytes: u64,
}

/// How a version is read, as in a source.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reading {
    /// How CSV is read.
    pub csv: Option<CsvOptions>,
    /// How JSON lines are read.
    pub json_lines: Option<JsonLinesOptions>,
    /// Types of columns.
    pub columns: Vec<Column>,
}

#[derive(Debug, Deserialize)]
struct Page {
    items: Vec<Summary>,
}

#[derive(Debug, Deserialize)]
struct Summary {
    name: String,
    #[serde(default)]
    latest: Option<Version>,
}

impl Platforms {
    /// Those of the specification.
    #[must_use]
    pub fn new(specification: &AnalysisSpecification, environment: &Environment) -> Self {
        Self {
            access: specification.platforms.clone(),
            tokens: environment.folders.platform_tokens.clone(),
            idempotency_key: specification.idempotency_key.clone(),
        }
    }

    /// What names the result of this analysis among all that become versions.
    ///
    /// # Errors
    /// If the specification does not say.
    pub fn idempotency_key(&self) -> Result<&str, DatasetError> {
        let missing = || DatasetError::Specification("no key tells its result from others".to_owned());
        self.idempotency_key.as_deref().ok_or_else(missing)
    }

    /// The data set of the Platform.
    ///
    /// # Errors
    /// If the specification does not say how the Platform is reached.
    pub fn dataset(&self, platform: Option<&str>, name: &str) -> Result<Dataset, DatasetError> {
        let specification = DatasetError::Specification;
        let platform = platform
            .ok_or_else(|| specification(format!("the Platform of the data set `{name}` is not named")))?;
        let access = self.access.get(platform).ok_or_else(|| {
            specification(format!("it is not said how the Platform `{platform}` is reached"))
        })?;
        let url = Url::parse(&access.url)
            .map_err(|error| specification(format!("`{}` is no address: {error}", access.url)))?;
        let settings =
            ClientSettings { service: SERVICE.to_owned(), url, token_file: Some(self.tokens.join(platform)) };
        let client = ServiceClient::new(settings)?;
        Ok(Dataset { client, name: name.to_owned(), trace: TraceContext::root() })
    }
}

impl Dataset {
    /// Looks up a version; the latest one, if no number is given.
    ///
    /// # Errors
    /// If there is none, or nobody answers.
    pub async fn version(&self, number: Option<i64>) -> Result<Version, DatasetError> {
        let wanted = number.map_or_else(|| "latest".to_owned(), |number| number.to_string());
        let path = format!("/v1/datasets/{}/versions/{wanted}", self.name);
        let mut attempts = Attempts::new(ATTEMPTS);
        loop {
            match self.get(&path).await {
                Ok(version) => return Ok(version),
                Err(DatasetError::NotFound(_)) => return Err(self.missing(number).await),
                Err(error) => attempts.after(error).await?,
            }
        }
    }

    /// Copies the data of a version into a file of at most so many bytes.
    ///
    /// # Errors
    /// If they cannot be had, or do not fit.
    pub async fn download(
        &self,
        version: &Version,
        file: &Path,
        limit_bytes: Option<u64>,
    ) -> Result<(), DatasetError> {
        if let Some(limit_bytes) = limit_bytes.filter(|limit| version.bytes > *limit) {
            return Err(DatasetError::NoRoom { limit_bytes: Some(limit_bytes) });
        }
        let path = format!("/v1/datasets/{}/versions/{}/content", self.name, version.version);
        let mut attempts = Attempts::new(ATTEMPTS);
        loop {
            match self.try_download(&path, version.bytes, file, limit_bytes).await {
                Ok(()) => return Ok(()),
                Err(error) => attempts.after(error).await?,
            }
        }
    }

    async fn try_download(
        &self,
        path: &str,
        bytes: u64,
        file: &Path,
        limit_bytes: Option<u64>,
    ) -> Result<(), DatasetError> {
        let mut response = checked(self.send(self.client.request(Method::GET, path), LONG).await?).await?;
        let local = |error| DatasetError::local(error, limit_bytes);
        let mut file = File::create(file).map_err(local)?;
        let mut received = 0_u64;
        loop {
            let part = tokio::time::timeout(SILENCE, response.chunk()).await;
            let stopped = |detail: &dyn std::fmt::Display| {
                DatasetError::Unavailable(format!(
                    "analysis-base stopped after {received} of {bytes} bytes: {detail}"
                ))
            };
            let part = part
                .map_err(|_| stopped(&format!("nothing came for {} s", SILENCE.as_secs())))?
                .map_err(|error| stopped(&crate::source::root_cause(&error)))?;
            let Some(part) = part else { break };
            received += part.len() as u64;
            if received > bytes {
                break;
            }
            file.write_all(&part).map_err(local)?;
        }
        if received != bytes {
            let detail = format!("analysis-base gave {received} bytes of what has {bytes}");
            return Err(DatasetError::Unavailable(detail));
        }
        Ok(())
    }

    /// Why there is no such version: which ones there are.
    async fn missing(&self, number: Option<i64>) -> DatasetError {
        let name = &self.name;
        let page: Result<Page, _> = self.get(&format!("/v1/datasets?limit={LISTED}")).await;
        let items = page.map(|page| page.items).unwrap_or_default();
        DatasetError::NotFound(match (items.iter().find(|item| item.name == *name), number) {
            (Some(Summary { latest: Some(latest), .. }), Some(number)) => {
                format!("the data set `{name}` has no version {number}; its latest one is {}", latest.version)
            }
            (Some(_), _) => format!("the data set `{name}` has no such version"),
            (None, _) if items.is_empty() => format!("there is no data set `{name}`"),
            (None, _) => {
                let names: Vec<&str> = items.iter().map(|item| item.name.as_str()).collect();
                let names = listed(&closest_first(name, names), 10);
                format!("there is no data set `{name}`. There are {names}")
            }
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, DatasetError> {
        let response = checked(self.send(self.client.request(Method::GET, path), SHORT).await?).await?;
        read(response).await
    }

    async fn send(&self, request: RequestBuilder, time: Duration) -> Result<Response, DatasetError> {
        let call = Call { deadline: Deadline::after(time), trace: &self.trace, is_idempotent: false };
        Ok(self.client.send(request, call).await?)
    }
}

/// The body of an answer that is small.
async fn read<T: DeserializeOwned>(response: Response) -> Result<T, DatasetError> {
    let text = response.bytes().await.map_err(|error| {
        let cause = crate::source::root_cause(&error);
        DatasetError::Unavailable(format!("the answer of analysis-base broke off: {cause}"))
    })?;
    serde_json::from_slice(&text).map_err(|error| {
        DatasetError::Refused(format!("the answer of analysis-base cannot be understood: {error}"))
    })
}

/// The names, those first that share the most with this one: its beginning or
/// its end.
fn closest_first<'a>(name: &str, mut names: Vec<&'a str>) -> Vec<&'a str> {
    let shared = |other: &str| {
        let beginning = name.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
        let end = name.chars().rev().zip(other.chars().rev()).take_while(|(one, other)| one == other).count();
        beginning + end
    };
    names.sort_by_key(|other| std::cmp::Reverse(shared(other)));
    names
}

/// How often something is tried again.
#[derive(Debug)]
struct Attempts {
    left: u32,
    pause: Duration,
}

impl Attempts {
    fn new(all: u32) -> Self {
        Self { left: all.saturating_sub(1), pause: FIRST_PAUSE }
    }

    /// Waits until the next attempt; gives the error back, if there is to be none.
    async fn after(&mut self, error: DatasetError) -> Result<(), DatasetError> {
        if self.left == 0 || !error.is_passing() {
            return Err(error);
        }
        tracing::warn!(%error, attempts_left = self.left, "a data set could not be used and is tried again");
        self.left -= 1;
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_are_alike_come_first() {
        let names = vec!["airlines", "planes", "flights-2013", "flight"];
        assert_eq!(closest_first("flights", names)[..2], ["flights-2013", "flight"]);
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_so_often_and_no_more() {
        let passing = || DatasetError::Unavailable("busy".to_owned());
        let mut attempts = Attempts { left: 2, pause: Duration::ZERO };
        assert!(attempts.after(passing()).await.is_ok());
        assert!(attempts.after(passing()).await.is_ok());
        assert!(attempts.after(passing()).await.is_err());
        let lasting = DatasetError::NotFound("gone".to_owned());
        assert!(Attempts::new(3).after(lasting).await.is_err());
    }
}
