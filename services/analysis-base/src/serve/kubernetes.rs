//! Reads of the Kubernetes API, as many as the Role of the service allows:
//! AnalysisJobs one by one and in lists, and ConfigMaps by name.
//!
//! Nothing else of the service needs an API server: without one, only these
//! reads fail, and say what is missing.

mod error;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::{Request, Uri};
use futures::AsyncReadExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{GetParams, ListParams};
use kube::{Client, Config, Resource};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

pub use error::KubernetesError;

/// A connection that is not there after this time never will be.
const CONNECT: Duration = Duration::from_secs(5);
/// An answer takes no longer than this, with the wait for one's turn.
const TIME: Duration = Duration::from_secs(10);
/// How much memory answers may take at once.
const MEMORY_MEBIBYTES: u32 = 48;
/// An object is smaller: etcd takes requests of 1.5 MiB, and ConfigMaps have at
/// most 1 MiB, which base64 makes a third larger.
const OBJECT_MEBIBYTES: u32 = 4;
/// A list may be so large. It is asked for in smaller parts if it is larger.
const LIST_MEBIBYTES: u32 = 16;

/// The API server, of which one namespace is read.
pub struct Kubernetes {
    url: Option<Uri>,
    namespace: Option<String>,
    /// Made when it is needed for the first time that it can be made.
    client: Mutex<Option<Client>>,
    memory: Semaphore,
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Kubernetes")
            .field("url", &self.url)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// A part of a list.
#[derive(Debug, Deserialize)]
pub struct Part<T> {
    /// The objects.
    pub items: Vec<T>,
    #[serde(default)]
    metadata: PartMetadata,
}

#[derive(Debug, Default, Deserialize)]
struct PartMetadata {
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

impl<T> Part<T> {
    /// Where the next part begins; `None` behind the last one.
    #[must_use]
    pub fn next(&self) -> Option<String> {
        self.metadata.next.clone().filter(|next| !next.is_empty())
    }
}

impl Kubernetes {
    /// The API server at `url`, which asks for no credentials, or that of the
    /// cluster in which the service runs. `namespace` is that of the pod, if it
    /// is left out.
    #[must_use]
    pub fn new(url: Option<Uri>, namespace: Option<String>) -> Self {
        Self { url, namespace, client: Mutex::default(), memory: Semaphore::new(MEMORY_MEBIBYTES as usize) }
    }

    /// An AnalysisJob; `None` if there is none of this name. Only what `T` has
    /// is kept of it.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn analysis_job<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, KubernetesError> {
        self.object(&crds::AnalysisJob::url_path(&(), Some(&self.namespace()?)), name, "analysisjobs").await
    }

    /// A ConfigMap; `None` if there is none of this name.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn config_map(&self, name: &str) -> Result<Option<ConfigMap>, KubernetesError> {
        self.object(&ConfigMap::url_path(&(), Some(&self.namespace()?)), name, "configmaps").await
    }

    /// AnalysisJobs in the order of their names, from where `next` of a part
    /// before says: at most `limit` of them.
    ///
    /// # Errors
    /// Those of the API server, and [`KubernetesError::TooLarge`] if fewer are
    /// to be asked for.
    pub async fn analysis_jobs<T: DeserializeOwned>(
        &self,
        limit: u32,
        next: Option<&str>,
    ) -> Result<Part<T>, KubernetesError> {
        let mut parameters = ListParams::default().limit(limit);
        if let Some(next) = next {
            parameters = parameters.continue_token(next);
        }
        let path = crds::AnalysisJob::url_path(&(), Some(&self.namespace()?));
        let request = kube::core::Request::new(path).list(&parameters).map_err(KubernetesError::request)?;
        self.read(request, "analysisjobs", LIST_MEBIBYTES).await
    }

    async fn object<T: DeserializeOwned>(
        &self,
        path: &str,
        name: &str,
        resource: &'static str,
    ) -> Result<Option<T>, KubernetesError> {
        let request = kube::core::Request::new(path)
            .get(name, &GetParams::default())
            .map_err(KubernetesError::request)?;
        match self.read(request, resource, OBJECT_MEBIBYTES).await {
            Ok(object) => Ok(Some(object)),
            // Only of a kind that it knows does the API server say which object
            // it is that it does not have.
            Err(KubernetesError::NotFound { object: Some(object), .. }) if object == name => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn namespace(&self) -> Result<String, KubernetesError> {
        match &self.namespace {
            Some(namespace) => Ok(namespace.clone()),
            None => Ok(self.client()?.default_namespace().to_owned()),
        }
    }

    fn client(&self) -> Result<Client, KubernetesError> {
        let mut known = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = known.as_ref() {
            return Ok(client.clone());
        }
        let mut config = match &self.url {
            None => Config::incluster_env().map_err(|error| KubernetesError::NoAccess(error.to_string()))?,
            Some(url) => {
                let mut config = Config::new(url.clone());
                // Nobody to be believed, so that no certificates are looked for.
                config.root_cert = Some(Vec::new());
                config
            }
        };
        config.connect_timeout = Some(CONNECT);
        // Whoever asks tries again.
        config.default_retry = false;
        let client =
            Client::try_from(config).map_err(|error| KubernetesError::NoAccess(error.to_string()))?;
        *known = Some(client.clone());
        Ok(client)
    }

    async fn read<T: DeserializeOwned>(
        &self,
        request: Request<Vec<u8>>,
        resource: &'static str,
        mebibytes: u32,
    ) -> Result<T, KubernetesError> {
        let client = self.client()?;
        let work = async {
            // It is never closed.
            let _memory = self.memory.acquire_many(mebibytes).await;
            let limit = u64::from(mebibytes) << 20;
            let answer = client
                .request_stream(request)
                .await
                .map_err(|error| KubernetesError::answered(error, resource))?;
            let mut bytes = Vec::new();
            let mut answer = std::pin::pin!(answer.take(limit + 1));
            answer.read_to_end(&mut bytes).await.map_err(KubernetesError::BrokenOff)?;
            if bytes.len() as u64 > limit {
                return Err(KubernetesError::TooLarge);
            }
            serde_json::from_slice(&bytes).map_err(KubernetesError::Unreadable)
        };
        tokio::time::timeout(TIME, work).await.map_err(|_| KubernetesError::Silent(TIME))?
    }
}
