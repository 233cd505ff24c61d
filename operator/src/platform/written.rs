//! What was written last, so that it is not written again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::children::{ChildKind, ChildState};

/// The objects as last written: by the uid of their Platform, their kind and
/// name. Nothing is known after a start, so that each object is written once
/// then, which the API server takes for no change unless there was one.
#[derive(Debug, Default)]
pub struct WrittenObjects {
    objects: Mutex<HashMap<String, Objects>>,
}

type Objects = HashMap<(ChildKind, String), Written>;

#[derive(Clone, Copy, Debug)]
struct Written {
    content: u64,
    own_fields: u64,
    version: u64,
}

impl WrittenObjects {
    /// Whether an object is as it was written last, and is to be the same: its
    /// `content` (a digest of what is to be written) did not change, nor did
    /// anybody else change what was written.
    #[must_use]
    pub fn is_in_line(&self, platform_uid: &str, kind: ChildKind, content: u64, found: &ChildState) -> bool {
        let objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        let written = objects.get(platform_uid).and_then(|objects| objects.get(&(kind, found.name.clone())));
        written.is_some_and(|written| {
            // The watch tells of an own write some milliseconds later.
            let is_older = found.version < written.version;
            written.content == content && (is_older || found.own_fields == written.own_fields)
        })
    }

    /// Remembers an object as it was returned to a write.
    pub fn remember(&self, platform_uid: &str, kind: ChildKind, content: u64, returned: &ChildState) {
        let written = Written { content, own_fields: returned.own_fields, version: returned.version };
        self.objects
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(platform_uid.to_owned())
            .or_default()
            .insert((kind, returned.name.clone()), written);
    }

    /// Forgets a Platform that is gone.
    pub fn forget(&self, platform_uid: &str) {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).remove(platform_uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(version: u64, own_fields: u64) -> ChildState {
        ChildState { name: "p".to_owned(), version, own_fields, ..ChildState::default() }
    }

    #[test]
    fn an_object_is_written_when_it_or_what_it_should_be_changed() {
        let written = WrittenObjects::default();
        let check =
            |content: u64, found: &ChildState| written.is_in_line("uid", ChildKind::Service, content, found);
        assert!(!check(1, &state(10, 7)), "nothing was written yet");
        written.remember("uid", ChildKind::Service, 1, &state(10, 7));
        assert!(check(1, &state(10, 7)));
        assert!(check(1, &state(11, 7)), "its status changed");
        assert!(check(1, &state(9, 6)), "the watch is behind");
        assert!(!check(1, &state(11, 6)), "somebody else changed it");
        assert!(!check(2, &state(10, 7)), "it should be another");
        written.forget("uid");
        assert!(!check(1, &state(10, 7)));
    }
}
