//! Watching the objects that controllers reconcile, and what becomes of that.

use std::fmt::Debug;

use futures::{Stream, StreamExt};
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::store::Writer;
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, controller, predicates, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::children::Owner;

/// The objects of a kind in one namespace, or in all.
pub fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Watches objects, and tells of each when it is there and when something of it
/// other than its status changed, which is the operator's own. `writer` takes
/// them in; `seen` hears of everything that the watch tells.
pub fn objects<K>(
    api: Api<DeserializeGuard<K>>,
    writer: Writer<DeserializeGuard<K>>,
    mut seen: impl FnMut(&watcher::Event<DeserializeGuard<K>>) + Send + 'static,
) -> impl Stream<Item = Result<DeserializeGuard<K>, watcher::Error>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    watcher(api, watcher::Config::default().page_size(100))
        .default_backoff()
        .modify(|object| object.meta_mut().managed_fields = None)
        .inspect(move |told| {
            if let Ok(event) = told {
                seen(event);
            }
        })
        .reflect(writer)
        .applied_objects()
        .predicate_filter(
            predicates::generation.combine(predicates::labels).combine(predicates::annotations),
            PredicateConfig::default(),
        )
}

/// The object that owns a child, for a controller.
pub fn owner<K>(owner: &Owner) -> ObjectRef<K>
where
    K: Resource<DynamicType = ()>,
{
    ObjectRef::new(&owner.name).within(&owner.namespace)
}

/// Errors of reconciles were logged where they arose; what is left are those
/// of the controller itself. An object that is gone is none of them.
pub fn report<E>(kinds: &str, error: &controller::Error<E, watcher::Error>)
where
    E: std::error::Error + 'static,
{
    match error {
        controller::Error::ObjectNotFound(_) | controller::Error::ReconcilerFailed(..) => {}
        other => {
            tracing::warn!(error = %other, "The controller of {kinds} was interrupted and goes on.");
        }
    }
}
