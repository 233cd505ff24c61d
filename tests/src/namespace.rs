//! A fresh namespace for a test, and what a test does in it.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use crds::AnalysisJob;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace as NamespaceObject, Secret, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Cluster, diagnosis, outcome};

/// How long a test waits for anything: far above what it should take, since
/// a slow machine is no fault.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A namespace of one test.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// The cluster that it is in.
    pub cluster: Cluster,
    /// Its name.
    pub name: String,
}

/// Runs a test in a fresh namespace that enforces the PodSecurity profile
/// `restricted`, and deletes the namespace. If the test fails, all that there
/// is to know about the namespace is part of the error; with KEEP_NAMESPACES
/// set it is kept.
///
/// # Errors
/// Those of the test, its panics included.
pub async fn with_namespace(test: impl AsyncFnOnce(&Namespace) -> Result<()>) -> Result<()> {
    let cluster = Cluster::connect().await?;
    let namespace = Namespace::create(cluster).await?;
    let result = AssertUnwindSafe(test(&namespace)).catch_unwind().await;
    let result = result.unwrap_or_else(|panic| Err(anyhow!("{}", words_of(panic.as_ref()))));
    let result = match result {
        Ok(()) => Ok(()),
        Err(error) => {
            let diagnosis = diagnosis::of(&namespace).await;
            Err(anyhow!("{error:#}\n\nin the namespace {}:\n{diagnosis}", namespace.name))
        }
    };
    if result.is_ok() || std::env::var_os("KEEP_NAMESPACES").is_none() {
        let namespaces: Api<NamespaceObject> = Api::all(namespace.cluster.client.clone());
        namespaces
            .delete(&namespace.name, &DeleteParams::background())
            .await
            .context("deleting the namespace")?;
    }
    result
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("the test panicked").to_owned()
}

impl Namespace {
    async fn create(cluster: Cluster) -> Result<Self> {
        let namespaces: Api<NamespaceObject> = Api::all(cluster.client.clone());
        let object = NamespaceObject {
            metadata: ObjectMeta {
                generate_name: Some("test-".to_owned()),
                labels: Some(BTreeMap::from([(
                    "pod-security.kubernetes.io/enforce".to_owned(),
                    "restricted".to_owned(),
                )])),
                ..ObjectMeta::default()
            },
            ..NamespaceObject::default()
        };
        let created =
            namespaces.create(&PostParams::default(), &object).await.context("creating a namespace")?;
        let namespace = Self { cluster, name: created.name_any() };
        // Pods are refused until the namespace has its ServiceAccount.
        namespace.wait_for::<ServiceAccount>("default", "to exist", |account| account.is_some()).await?;
        Ok(namespace)
    }

    /// The objects of a kind in this namespace.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.cluster.client.clone(), &self.name)
    }

    /// Creates an object.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn create_object<K>(&self, object: &K) -> Result<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Serialize,
    {
        let created = self.api::<K>().create(&PostParams::default(), object).await;
        created.with_context(|| format!("creating {} `{}`", K::kind(&()), object.name_any()))
    }

    /// Creates an AnalysisJob of this specification.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn create_analysis(&self, name: &str, spec: Value) -> Result<AnalysisJob> {
        let spec = serde_json::from_value(spec).with_context(|| format!("the specification of `{name}`"))?;
        self.create_object(&AnalysisJob::new(name, spec)).await
    }

    /// Creates an AnalysisJob and waits until it has ended.
    ///
    /// # Errors
    /// If it is refused, or does not end in time.
    pub async fn analyse(&self, name: &str, spec: Value) -> Result<AnalysisJob> {
        self.create_analysis(name, spec).await?;
        self.wait_until_ended(name).await
    }

    /// Creates an AnalysisJob and waits until it has ended well.
    ///
    /// # Errors
    /// If it is refused, ends badly, or does not end in time.
    pub async fn analyse_well(&self, name: &str, spec: Value) -> Result<AnalysisJob> {
        let job = self.analyse(name, spec).await?;
        anyhow::ensure!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
        Ok(job)
    }

    /// Changes an AnalysisJob by a merge patch.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn change_analysis(&self, name: &str, change: Value) -> Result<AnalysisJob> {
        let patched = self.api().patch(name, &PatchParams::default(), &Patch::Merge(change)).await;
        patched.with_context(|| format!("changing AnalysisJob `{name}`"))
    }

    /// Waits until an AnalysisJob has ended, well or badly.
    ///
    /// # Errors
    /// If it does not in time.
    pub async fn wait_until_ended(&self, name: &str) -> Result<AnalysisJob> {
        self.wait_for_analysis(name, "to end", outcome::has_ended).await
    }

    /// Waits until an AnalysisJob is as it should be; `expected` says how.
    ///
    /// # Errors
    /// If it is not in time, with how it is.
    pub async fn wait_for_analysis(
        &self,
        name: &str,
        expected: &str,
        is_so: impl Fn(&AnalysisJob) -> bool,
    ) -> Result<AnalysisJob> {
        let found = self.wait_for::<AnalysisJob>(name, expected, |job| job.is_some_and(&is_so)).await;
        match found {
            Ok(job) => job.with_context(|| format!("AnalysisJob `{name}` is gone")),
            Err(error) => {
                let job = self.api::<AnalysisJob>().get(name).await.context("reading the AnalysisJob")?;
                Err(error.context(outcome::in_words(&job)))
            }
        }
    }

    /// Waits until an object is as it should be, or gone.
    ///
    /// # Errors
    /// If it is not in time.
    pub async fn wait_for<K>(
        &self,
        name: &str,
        expected: &str,
        is_so: impl Fn(Option<&K>) -> bool,
    ) -> Result<Option<K>>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        // A watch may break off, as when its version of the objects is too old
        // to go on from; then a new one goes on.
        let condition = async {
            loop {
                let watch = await_condition(self.api::<K>(), name, |object: Option<&K>| is_so(object));
                match watch.await {
                    Ok(object) => return object,
                    Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, condition).await.map_err(|_| {
            let seconds = PATIENCE.as_secs();
            anyhow!("waiting for {} `{name}` {expected} took more than {seconds} s", K::kind(&()))
        })
    }

    /// Waits until an object is gone.
    ///
    /// # Errors
    /// If it is not in time.
    pub async fn wait_until_gone<K>(&self, name: &str) -> Result<()>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        self.wait_for::<K>(name, "to be gone", |object| object.is_none()).await.map(drop)
    }

    /// Waits until there is an event about an object for this reason.
    ///
    /// # Errors
    /// If there is none in time.
    pub async fn wait_for_event(&self, about: &str, reason: &str) -> Result<()> {
        let fields = format!("involvedObject.name={about},reason={reason}");
        let events = watcher(self.api::<Event>(), watcher::Config::default().fields(&fields));
        let mut events = std::pin::pin!(events.default_backoff().applied_objects());
        let event = tokio::time::timeout(PATIENCE, events.next()).await;
        let event = event.map_err(|_| anyhow!("there is no event {reason} about `{about}`"))?;
        event.context("the watch of events has ended")?.context("watching events")?;
        Ok(())
    }

    /// Creates a ConfigMap with one key; bytes that are not text become
    /// `binaryData`.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn create_config_map(&self, name: &str, key: &str, bytes: &[u8]) -> Result<()> {
        let mut map = ConfigMap { metadata: named(name), ..ConfigMap::default() };
        match std::str::from_utf8(bytes) {
            Ok(text) => map.data = Some(BTreeMap::from([(key.to_owned(), text.to_owned())])),
            Err(_) => {
                let bytes = k8s_openapi::ByteString(bytes.to_vec());
                map.binary_data = Some(BTreeMap::from([(key.to_owned(), bytes)]));
            }
        }
        self.create_object(&map).await.map(drop)
    }

    /// Creates a Secret.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn create_secret(&self, name: &str, values: &[(&str, &str)]) -> Result<()> {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let secret =
            Secret { metadata: named(name), string_data: Some(values.collect()), ..Secret::default() };
        self.create_object(&secret).await.map(drop)
    }

    /// The files that are in a ConfigMap, text and others.
    ///
    /// # Errors
    /// If it is not there.
    pub async fn files_of(&self, config_map: &str) -> Result<BTreeMap<String, Vec<u8>>> {
        let map = self.api::<ConfigMap>().get(config_map).await;
        let map = map.with_context(|| format!("reading ConfigMap `{config_map}`"))?;
        let text = map.data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes()));
        Ok(text
            .chain(map.binary_data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0)))
            .collect())
    }

    /// One file of a ConfigMap.
    ///
    /// # Errors
    /// If it is not there.
    pub async fn file_of(&self, config_map: &str, name: &str) -> Result<Vec<u8>> {
        let mut files = self.files_of(config_map).await?;
        let names = files.keys().cloned().collect::<Vec<_>>().join(", ");
        files.remove(name).with_context(|| format!("ConfigMap `{config_map}` has no `{name}`, but {names}"))
    }

    /// One file of a ConfigMap that is text.
    ///
    /// # Errors
    /// If it is not there, or is not text.
    pub async fn text_of(&self, config_map: &str, name: &str) -> Result<String> {
        let bytes = self.file_of(config_map, name).await?;
        String::from_utf8(bytes).with_context(|| format!("`{name}` of ConfigMap `{config_map}`"))
    }
}

/// Metadata with nothing but a name.
#[must_use]
pub fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}
