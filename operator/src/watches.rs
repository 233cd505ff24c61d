//! Watching the objects that controllers reconcile, and what becomes of that.

use std::fmt::Debug;

use futures::{Stream, StreamExt, stream};
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
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
    seen: impl FnMut(&watcher::Event<DeserializeGuard<K>>) + Send + 'static,
) -> impl Stream<Item = Result<DeserializeGuard<K>, watcher::Error>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    changes(watcher(api, watcher::Config::default().page_size(100)).default_backoff(), writer, seen)
}

fn changes<K>(
    events: impl Stream<Item = watcher::Result<watcher::Event<DeserializeGuard<K>>>> + Send + 'static,
    writer: Writer<DeserializeGuard<K>>,
    mut seen: impl FnMut(&watcher::Event<DeserializeGuard<K>>) + Send + 'static,
) -> impl Stream<Item = Result<DeserializeGuard<K>, watcher::Error>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    let known = writer.as_reader();
    events
        .modify(|object| object.meta_mut().managed_fields = None)
        .inspect(move |told| {
            if let Ok(event) = told {
                seen(event);
            }
        })
        .reflect(writer)
        .flat_map(move |told| stream::iter(applied(told, &known)))
        .predicate_filter(
            predicates::generation.combine(predicates::labels).combine(predicates::annotations),
            PredicateConfig::default(),
        )
}

/// The objects that an event tells of. Those of a list are told of when it is
/// complete, not one by one: only then does the store have them, and a
/// reconcile that does not find its object there is not repeated.
fn applied<K>(
    told: watcher::Result<watcher::Event<K>>,
    known: &Store<K>,
) -> impl Iterator<Item = Result<K, watcher::Error>> + use<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let (listed, one) = match told {
        Ok(watcher::Event::InitDone) => (known.state(), None),
        Ok(watcher::Event::Apply(object)) => (Vec::new(), Some(Ok(object))),
        Ok(watcher::Event::Init | watcher::Event::InitApply(_) | watcher::Event::Delete(_)) => {
            (Vec::new(), None)
        }
        Err(error) => (Vec::new(), Some(Err(error))),
    };
    listed.into_iter().map(|object| Ok(K::clone(&object))).chain(one)
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

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt;
    use kube::api::ObjectMeta;
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;

    use super::*;

    fn object(name: &str) -> DeserializeGuard<ConfigMap> {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        DeserializeGuard(Ok(ConfigMap { metadata, ..ConfigMap::default() }))
    }

    #[tokio::test]
    async fn an_object_is_in_the_store_when_it_is_told_of() {
        let (reader, writer) = store::<DeserializeGuard<ConfigMap>>();
        let events = [
            Event::Init,
            Event::InitApply(object("first")),
            Event::InitDone,
            Event::Apply(object("second")),
            // The watch was too far behind, and reads everything again.
            Event::Init,
            Event::InitApply(object("first")),
            Event::InitApply(object("third")),
            Event::InitDone,
            Event::Delete(object("first")),
        ];
        let told: Vec<(String, bool)> = changes(stream::iter(events.map(Ok)), writer, |_| {})
            .map(|object| {
                let object = object.unwrap();
                (object.name_any(), reader.get(&ObjectRef::from_obj(&object)).is_some())
            })
            .collect()
            .await;
        let expected = ["first", "second", "third"].map(|name| (name.to_owned(), true));
        assert_eq!(told, expected);
    }
}
