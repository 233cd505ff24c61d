//! The objects of a Platform, cut down to the facts that decide.
//!
//! All of them are watched, so that whatever somebody else changes or deletes
//! is put right; except Secrets, since watching them would be the permission to
//! read them all, and HTTPRoutes, which not every cluster has.

mod claim;
mod crash;
mod deployment;
mod kind;
mod pod;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

use futures::stream::{BoxStream, select_all};
use futures::{Stream, StreamExt};
use kube::api::{DynamicObject, ObjectMeta, PartialObjectMeta};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use claim::{ClaimState, WatchedClaim};
pub use crash::Crash;
pub use deployment::{DeploymentState, MountedSecret, WatchedDeployment};
pub use kind::ChildKind;
pub use pod::{PodState, WatchedPod};

use crate::children::{Child, Children, Owner};
use crate::labels;
use crate::watches::scoped;

/// What is known of an object of any kind.
#[derive(Clone, Debug, Default)]
pub struct ChildState {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The uid of whoever controls it.
    pub owner_uid: Option<String>,
    /// Whether whoever controls it is a Platform, this one or another.
    pub is_of_platform: bool,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// A digest of which of its fields are the operator's. The API server keeps
    /// account of them: whoever changes or removes one of them takes it over
    /// or away, so that another digest tells of somebody else's change. The
    /// account is exact where a comparison is not: defaults, and fields of
    /// others, are no difference.
    pub own_fields: u64,
    /// Its version: a number that grows with each change.
    pub version: u64,
}

/// That the version is another one says nothing by itself: the status of some
/// objects changes all the time.
impl PartialEq for ChildState {
    fn eq(&self, other: &Self) -> bool {
        let Self { name, uid, owner_uid, is_of_platform, deleting, own_fields, version: _ } = other;
        (&self.name, &self.uid, &self.owner_uid, &self.is_of_platform, &self.deleting, &self.own_fields)
            == (name, uid, owner_uid, is_of_platform, deleting, own_fields)
    }
}

impl ChildState {
    /// The facts, with the owner; `None` for an object that is not a Platform's.
    #[must_use]
    pub fn read(metadata: &ObjectMeta) -> Option<(Owner, Self)> {
        let owner = owner(metadata)?;
        let controller =
            metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let mut hasher = DefaultHasher::new();
        own_fields(metadata).map(Value::to_string).hash(&mut hasher);
        let state = Self {
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            owner_uid: controller.map(|owner| owner.uid.clone()),
            is_of_platform: controller.is_some_and(|owner| owner.kind == "Platform"),
            deleting: metadata.deletion_timestamp.is_some(),
            own_fields: hasher.finish(),
            version: metadata.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or(0),
        };
        Some((owner, state))
    }

    /// Whether it belongs to the Platform of this uid. One that nobody controls
    /// and that has our labels was left behind, and is taken up again.
    #[must_use]
    pub fn belongs_to(&self, platform_uid: &str) -> bool {
        self.owner_uid.as_deref().is_none_or(|uid| uid == platform_uid)
    }

    /// Whether it is left of a deleted Platform, and will be collected: it has
    /// the name of the Platform of this uid and belongs to another. What has our
    /// labels and is controlled by something else (a copy that some other
    /// operator makes) stays, and is nothing to wait for.
    #[must_use]
    pub fn is_of_predecessor(&self, platform_uid: &str) -> bool {
        self.is_of_platform && !self.belongs_to(platform_uid)
    }
}

impl Child for ChildState {
    type Watched = PartialObjectMeta<DynamicObject>;

    fn observe(watched: Self::Watched) -> Option<(Owner, Self)> {
        Self::read(&watched.metadata)
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// The fields that the operator's last apply gave.
fn own_fields(metadata: &ObjectMeta) -> Option<&Value> {
    let entry = metadata.managed_fields.iter().flatten().find(|entry| {
        entry.manager.as_deref() == Some(labels::FIELD_MANAGER)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.is_none()
    })?;
    entry.fields_v1.as_ref().map(|fields| &fields.0)
}

fn owner(metadata: &ObjectMeta) -> Option<Owner> {
    let name = metadata.labels.as_ref()?.get(labels::PLATFORM)?.clone();
    Some(Owner { namespace: metadata.namespace.clone()?, name })
}

/// An object of a Platform, and its kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Its kind.
    pub kind: ChildKind,
    /// What is known of it.
    pub state: ChildState,
}

/// The objects of all Platforms, from watches. Cheap to clone: all clones are
/// the same indexes.
#[derive(Clone, Debug)]
pub struct PlatformChildren {
    /// Their Deployments.
    pub deployments: Children<DeploymentState>,
    /// Their claims.
    pub claims: Children<ClaimState>,
    /// Their pods.
    pub pods: Children<PodState>,
    others: BTreeMap<ChildKind, Children<ChildState>>,
}

impl Default for PlatformChildren {
    fn default() -> Self {
        Self {
            deployments: Children::default(),
            claims: Children::default(),
            pods: Children::default(),
            others: ChildKind::BY_METADATA.map(|kind| (kind, Children::default())).into(),
        }
    }
}

impl PlatformChildren {
    /// The objects of a Platform of this name, and of deleted ones before it.
    #[must_use]
    pub fn of(&self, owner: &Owner) -> Vec<Known> {
        let known = |kind: ChildKind, state: &ChildState| Known { kind, state: state.clone() };
        let deployments = self.deployments.of(owner);
        let claims = self.claims.of(owner);
        deployments
            .iter()
            .map(|deployment| known(ChildKind::Deployment, &deployment.child))
            .chain(claims.iter().map(|claim| known(ChildKind::PersistentVolumeClaim, &claim.child)))
            .chain(self.others.iter().flat_map(|(kind, children)| {
                children.of(owner).into_iter().map(|state| known(*kind, &state)).collect::<Vec<_>>()
            }))
            .collect()
    }

    /// Takes in an object as the API server returned it to a write, so that
    /// the next reconcile sees its own write even before the watch does.
    pub fn insert(&self, kind: ChildKind, written: DynamicObject) -> Option<ChildState> {
        match kind {
            ChildKind::Deployment => {
                let (owner, state) = DeploymentState::observe(written.try_parse().ok()?)?;
                let child = state.child.clone();
                self.deployments.insert(&owner, state);
                Some(child)
            }
            ChildKind::PersistentVolumeClaim => {
                let (owner, state) = ClaimState::observe(written.try_parse().ok()?)?;
                let child = state.child.clone();
                self.claims.insert(&owner, state);
                Some(child)
            }
            other => {
                let (owner, state) = ChildState::read(&written.metadata)?;
                if let Some(children) = self.others.get(&other) {
                    children.insert(&owner, state.clone());
                }
                Some(state)
            }
        }
    }

    /// Waits until the watches have told of all objects once.
    pub async fn wait_until_ready(&self) {
        self.deployments.wait_until_ready().await;
        self.claims.wait_until_ready().await;
        self.pods.wait_until_ready().await;
        for children in self.others.values() {
            children.wait_until_ready().await;
        }
    }

    /// The kinds of which the watches have not told yet.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let watches = [
            (ChildKind::Deployment.as_str(), self.deployments.is_ready()),
            (ChildKind::PersistentVolumeClaim.as_str(), self.claims.is_ready()),
            ("Pod", self.pods.is_ready()),
        ];
        let others = self.others.iter().map(|(kind, children)| (kind.as_str(), children.is_ready()));
        watches.into_iter().chain(others).filter(|(_, is_ready)| !is_ready).map(|(kind, _)| kind).collect()
    }

    /// Watches the objects, in one namespace or in all, and tells of each
    /// Platform whose objects changed.
    pub fn follow(
        &self,
        client: &Client,
        namespace: Option<&str>,
    ) -> impl Stream<Item = Owner> + Send + 'static + use<> {
        let scope = Scope { client, namespace };
        let mut changes: Vec<BoxStream<'static, Owner>> = vec![
            self.deployments.follow(scope.watch::<WatchedDeployment>()).boxed(),
            self.claims.follow(scope.watch::<WatchedClaim>()).boxed(),
            self.pods.follow(scope.watch::<WatchedPod>()).boxed(),
        ];
        changes.extend(
            self.others.iter().map(|(kind, children)| children.follow(scope.watch_metadata(*kind)).boxed()),
        );
        select_all(changes)
    }
}

struct Scope<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
}

impl Scope<'_> {
    fn watch<K>(&self) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static + use<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Debug
            + Send
            + 'static,
    {
        watcher(scoped::<K>(self.client, self.namespace), config()).default_backoff()
    }

    fn watch_metadata(
        &self,
        kind: ChildKind,
    ) -> impl Stream<Item = watcher::Result<watcher::Event<PartialObjectMeta<DynamicObject>>>>
    + Send
    + 'static
    + use<> {
        let resource = kind.resource();
        let api: Api<PartialObjectMeta<DynamicObject>> = match self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        watcher(api, config()).default_backoff()
    }
}

fn config() -> watcher::Config {
    watcher::Config::default().labels(&labels::platform_selector()).page_size(100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_a_platform_controls_is_left_of_one() {
        let read = |owners: Value| {
            let metadata: ObjectMeta = serde_json::from_value(json!({
                "name": "p", "namespace": "demo", "labels": { labels::PLATFORM: "p" },
                "ownerReferences": owners,
            }))
            .unwrap();
            ChildState::read(&metadata).unwrap().1
        };
        let owned = |kind: &str| {
            read(json!([{ "apiVersion": "v1", "kind": kind, "name": "p", "uid": "old", "controller": true }]))
        };
        assert!(owned("Platform").is_of_predecessor("new"));
        assert!(!owned("Platform").is_of_predecessor("old"));
        assert!(!owned("Copy").is_of_predecessor("new") && !owned("Copy").belongs_to("new"));
        assert!(!read(json!([])).is_of_predecessor("new") && read(json!([])).belongs_to("new"));
    }
}
