//! Everything of a kind that was ever there: to tell that nothing was made
//! twice, even if one of the two is gone again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use crate::Namespace;

type Seen = Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>;

/// The uids of all objects of a kind that were seen since the start, by the
/// value of a label.
#[derive(Debug)]
pub struct Sightings {
    seen: Seen,
    task: JoinHandle<()>,
}

impl Sightings {
    /// Watches a namespace for objects with this label, until dropped.
    #[must_use]
    pub fn of<K>(namespace: &Namespace, label: &'static str) -> Self
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let seen = Seen::default();
        let api: Api<K> = namespace.api();
        let record = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let stream = watcher(api, watcher::Config::default()).default_backoff().applied_objects();
            let mut stream = std::pin::pin!(stream);
            while let Some(object) = stream.next().await {
                // An error of the watch is followed by a new watch.
                let Ok(object) = object else { continue };
                if let (Some(value), Some(uid)) = (object.labels().get(label), object.uid()) {
                    let mut seen = record.lock().unwrap_or_else(PoisonError::into_inner);
                    seen.entry(value.clone()).or_default().insert(uid);
                }
            }
        });
        Self { seen, task }
    }

    /// How many were seen, by the value of the label.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().map(|(value, uids)| (value.clone(), uids.len())).collect()
    }
}

impl Drop for Sightings {
    fn drop(&mut self) {
        self.task.abort();
    }
}
