//! Watching the objects that controllers reconcile.

use std::fmt::Debug;

use futures::{Stream, StreamExt};
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::reflector::store::Writer;
use kube::runtime::{Predicate, PredicateConfig, WatchStreamExt, predicates, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

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
