//! What every reconcile has at hand.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crds::AnalysisJobStatus;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Resource, ResourceExt};

use crate::analysis_job::children::{JobState, PodState};
use crate::analysis_job::platforms::PlatformState;
use crate::backoff::Backoffs;
use crate::children::Children;
use crate::labels;
use crate::metrics::{ApiWrite, Metrics};
use crate::network_policy::NetworkPolicies;
use crate::platform::Platforms;
use crate::platform::services::ServiceImages;
use crate::pods::ImageDefaults;
use crate::rules::Rules;

/// What every reconcile has at hand.
#[derive(Clone)]
pub struct Context {
    /// The API server.
    pub client: Client,
    /// The image of analysis-base, and how images are pulled.
    pub analysis_images: ImageDefaults,
    /// The Jobs of AnalysisJobs, from a watch.
    pub jobs: Children<JobState>,
    /// The pods of AnalysisJobs, from a watch.
    pub pods: Children<PodState>,
    /// The Platforms that AnalysisJobs can use, from a watch; by namespace.
    pub namespace_platforms: Children<PlatformState>,
    /// Failures in a row.
    pub backoffs: std::sync::Arc<Backoffs>,
    /// Statuses that were written and that the watch has not told of yet.
    pub statuses: std::sync::Arc<WrittenStatuses<AnalysisJobStatus>>,
    /// What is particular to Platforms.
    pub platforms: Platforms,
    /// The rules of the CRDs.
    pub rules: std::sync::Arc<Rules>,
    /// The NetworkPolicies that were seen.
    pub network_policies: std::sync::Arc<NetworkPolicies>,
    /// The counters.
    pub metrics: Metrics,
    recorder: Recorder,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Context")
            .field("analysis_images", &self.analysis_images)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// A context with nothing known yet.
    #[must_use]
    pub fn new(client: Client, images: ServiceImages, network_policies: NetworkPolicies) -> Self {
        let recorder = Recorder::new(client.clone(), Reporter::from(labels::MANAGED_BY));
        Self {
            client,
            analysis_images: ImageDefaults {
                image: images.analysis_base.clone(),
                pull_policy: images.pull_policy,
                pull_secrets: images.pull_secrets.clone(),
            },
            jobs: Children::default(),
            pods: Children::default(),
            namespace_platforms: Children::default(),
            backoffs: std::sync::Arc::default(),
            statuses: std::sync::Arc::default(),
            platforms: Platforms::new(images),
            rules: std::sync::Arc::default(),
            network_policies: std::sync::Arc::new(network_policies),
            metrics: Metrics::default(),
            recorder,
        }
    }

    /// The same context for another scope of watches: with nothing known of its
    /// children yet.
    #[must_use]
    pub fn scoped(&self) -> Self {
        Self {
            jobs: Children::default(),
            pods: Children::default(),
            namespace_platforms: Children::default(),
            platforms: self.platforms.scoped(),
            ..self.clone()
        }
    }

    /// Publishes an event about an object. An event that cannot be published
    /// is logged and nothing more: what it says is also in a condition.
    pub async fn publish<K>(&self, object: &K, event_type: EventType, reason: &str, action: &str, note: &str)
    where
        K: Resource<DynamicType = ()>,
    {
        // The API server refuses longer notes (`events.k8s.io/v1`).
        let note = crate::conditions::cut(note.to_owned(), 1000);
        let event = Event {
            type_: event_type,
            reason: reason.to_owned(),
            note: Some(note),
            action: action.to_owned(),
            secondary: None,
        };
        self.metrics.wrote(ApiWrite::PublishEvent);
        if let Err(error) = self.recorder.publish(&event, &object.object_ref(&())).await {
            tracing::warn!(%error, object = object.name_any(), reason, "An event could not be published.");
        }
    }
}

/// Statuses as last written, by the uid of their object.
///
/// The watch tells of an own write some milliseconds later. A reconcile in
/// between would compare with the status of before, and write again.
#[derive(Debug, Default)]
pub struct WrittenStatuses<S> {
    written: Mutex<HashMap<String, (u64, S)>>,
}

impl<S: Clone + Default> WrittenStatuses<S> {
    /// The status of an object: as written here if that is newer than what
    /// the watch told, which `watched_version` (a resource version) decides.
    #[must_use]
    pub fn newest(&self, uid: &str, watched_version: Option<&str>, watched: Option<&S>) -> S {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((version, status)) = written.get(uid) {
            if parse(watched_version) < *version {
                return status.clone();
            }
            written.remove(uid);
        }
        watched.cloned().unwrap_or_default()
    }

    /// Remembers a status with the resource version that writing it gave.
    pub fn remember(&self, uid: &str, version: Option<&str>, status: S) {
        self.written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(uid.to_owned(), (parse(version), status));
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// Resource versions are comparable numbers (Kubernetes KEP-5504).
fn parse(version: Option<&str>) -> u64 {
    version.and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_status_holds_until_the_watch_tells_of_it() {
        let statuses = WrittenStatuses::default();
        let written = AnalysisJobStatus { rows_read: Some(1), ..AnalysisJobStatus::default() };
        let watched = AnalysisJobStatus { rows_read: Some(2), ..AnalysisJobStatus::default() };
        statuses.remember("uid", Some("10"), written.clone());
        assert_eq!(statuses.newest("uid", Some("9"), Some(&watched)), written);
        assert_eq!(statuses.newest("uid", Some("10"), Some(&watched)), watched);
        assert_eq!(statuses.newest("uid", Some("9"), Some(&watched)), watched);
    }
}
