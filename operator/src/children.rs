//! What is known of the children of the objects: kept from a watch, by
//! owner, and cut down to what decisions need.
//!
//! A whole Pod takes some 10 KiB in memory and is decoded field by field; the
//! few facts kept here take some hundred bytes. That is the difference between
//! an operator that grows with its cluster and one that does not.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock};

use futures::{Stream, StreamExt};
use kube::runtime::watcher;
use tokio::sync::watch;

/// The owner of a child: namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Namespace of both.
    pub namespace: String,
    /// Name of the owner.
    pub name: String,
}

/// The facts that are kept of a child.
pub trait Child: Clone + Debug + PartialEq + Send + Sync + 'static {
    /// What the watch decodes: a type with the fields that matter and no others.
    type Watched;

    /// The facts, or `None` for an object that belongs to nobody.
    fn observe(watched: Self::Watched) -> Option<(Owner, Self)>;

    /// Its name, unique among the children of one owner.
    fn name(&self) -> &str;
}

type Entries<C> = HashMap<Owner, Vec<Arc<C>>>;

/// The children of one type, by owner. Cheap to clone: all clones are the
/// same index.
#[derive(Clone, Debug)]
pub struct Children<C> {
    entries: Arc<RwLock<Entries<C>>>,
    ready: Arc<watch::Sender<bool>>,
}

impl<C: Child> Default for Children<C> {
    fn default() -> Self {
        Self { entries: Arc::default(), ready: Arc::new(watch::Sender::new(false)) }
    }
}

impl<C: Child> Children<C> {
    /// The children of an owner.
    #[must_use]
    pub fn of(&self, owner: &Owner) -> Vec<Arc<C>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(owner).cloned().unwrap_or_default()
    }

    /// How many owners have children here.
    #[must_use]
    pub fn owners(&self) -> usize {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Takes in a child as the API server returned it to a write, so that the
    /// next reconcile sees its own write even before the watch does. Returns
    /// whether that is news.
    pub fn insert(&self, owner: &Owner, child: C) -> bool {
        insert(&mut self.entries.write().unwrap_or_else(PoisonError::into_inner), owner.clone(), child)
    }

    /// Waits until the watch has told of all children once. Before that, the
    /// absence of a child means nothing.
    pub async fn wait_until_ready(&self) {
        // The sender lives as long as `self`, so the wait ends only when ready.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Whether the watch has told of all children once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Follows a watch, and tells of each owner whose children changed. Errors
    /// of the watch are logged; the watch itself starts again.
    pub fn follow(
        &self,
        events: impl Stream<Item = watcher::Result<watcher::Event<C::Watched>>> + Send + 'static,
    ) -> impl Stream<Item = Owner> + Send + 'static
    where
        C::Watched: Send,
    {
        let children = self.clone();
        let mut listing: Entries<C> = HashMap::new();
        events
            .map(move |event| match event {
                Ok(event) => children.take_in(event, &mut listing),
                Err(error) => {
                    tracing::warn!(%error, "A watch of children was interrupted and starts again.");
                    Vec::new()
                }
            })
            .flat_map(futures::stream::iter)
    }

    fn take_in(&self, event: watcher::Event<C::Watched>, listing: &mut Entries<C>) -> Vec<Owner> {
        match event {
            watcher::Event::Init => {
                listing.clear();
                Vec::new()
            }
            watcher::Event::InitApply(watched) => {
                if let Some((owner, child)) = C::observe(watched) {
                    insert(listing, owner, child);
                }
                Vec::new()
            }
            watcher::Event::InitDone => {
                let new = std::mem::take(listing);
                let mut touched: Vec<Owner> = new.keys().cloned().collect();
                {
                    let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
                    touched.extend(entries.keys().filter(|owner| !new.contains_key(owner)).cloned());
                    *entries = new;
                }
                self.ready.send_replace(true);
                touched
            }
            // What changed may be nothing that is kept: then nothing is decided
            // anew. Most events of a pod's life are of that kind.
            watcher::Event::Apply(watched) => C::observe(watched)
                .filter(|(owner, child)| self.insert(owner, child.clone()))
                .map(|(owner, _)| owner)
                .into_iter()
                .collect(),
            watcher::Event::Delete(watched) => C::observe(watched)
                .map(|(owner, child)| {
                    let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
                    if let Some(children) = entries.get_mut(&owner) {
                        children.retain(|known| known.name() != child.name());
                        if children.is_empty() {
                            entries.remove(&owner);
                        }
                    }
                    owner
                })
                .into_iter()
                .collect(),
        }
    }
}

fn insert<C: Child>(entries: &mut Entries<C>, owner: Owner, child: C) -> bool {
    let children = entries.entry(owner).or_default();
    if let Some(known) = children.iter_mut().find(|known| known.name() == child.name()) {
        let is_news = **known != child;
        *known = Arc::new(child);
        return is_news;
    }
    children.push(Arc::new(child));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Leaf(String);

    impl Child for Leaf {
        type Watched = (&'static str, &'static str);

        fn observe((owner, name): Self::Watched) -> Option<(Owner, Self)> {
            (!owner.is_empty()).then(|| (of(owner), Self(name.to_owned())))
        }

        fn name(&self) -> &str {
            &self.0
        }
    }

    fn of(name: &str) -> Owner {
        Owner { namespace: "default".to_owned(), name: name.to_owned() }
    }

    fn names(children: &Children<Leaf>, owner: &str) -> Vec<String> {
        children.of(&of(owner)).iter().map(|leaf| leaf.0.clone()).collect()
    }

    async fn follow(
        children: &Children<Leaf>,
        events: Vec<watcher::Event<(&'static str, &'static str)>>,
    ) -> usize {
        children.follow(futures::stream::iter(events.into_iter().map(Ok))).collect::<Vec<_>>().await.len()
    }

    #[tokio::test]
    async fn a_list_replaces_what_was_known_and_tells_of_those_that_are_gone() {
        let children = Children::default();
        children.insert(&of("gone"), Leaf("old".to_owned()));
        let touched = follow(
            &children,
            vec![
                watcher::Event::Init,
                watcher::Event::InitApply(("a", "one")),
                watcher::Event::InitApply(("", "nobody's")),
                watcher::Event::InitDone,
            ],
        )
        .await;
        assert_eq!(touched, 2);
        assert_eq!(names(&children, "a"), ["one"]);
        assert!(names(&children, "gone").is_empty());
        assert!(children.is_ready() && !Children::<Leaf>::default().is_ready());
        children.wait_until_ready().await;
    }

    #[tokio::test]
    async fn a_change_of_nothing_that_is_kept_wakes_nobody() {
        let children = Children::default();
        let events = ["one", "one", "two", "two", "one"].map(|name| watcher::Event::Apply(("a", name)));
        assert_eq!(follow(&children, events.into()).await, 2);
    }

    #[tokio::test]
    async fn changes_replace_by_name_and_deletions_leave_nothing_behind() {
        let children = Children::default();
        follow(&children, vec![watcher::Event::Apply(("a", "one")), watcher::Event::Apply(("a", "one"))])
            .await;
        assert_eq!(names(&children, "a"), ["one"]);
        follow(&children, vec![watcher::Event::Delete(("a", "one"))]).await;
        assert_eq!(children.owners(), 0);
    }
}
