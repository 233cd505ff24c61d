//! Clients that wait for the end of a request: so many at once in all, and so
//! many of each key. Who would be one more is answered at once, as a client
//! is that does not want to wait.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::Extensions;
use service_kit::limits::Place;
use tokio::time::Instant;

use crate::access::Principal;

/// Clients that may wait at once. Each looks once a second.
const MOST: usize = 1024;
/// Of these, so many with the same key.
const MOST_OF_A_KEY: usize = 256;

/// Who waits.
#[derive(Clone, Debug, Default)]
pub struct Waits(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_key: HashMap<String, usize>,
}

impl Counts {
    /// Counts one more, if there may be.
    fn add(&mut self, key: &str) -> bool {
        let of_key = self.by_key.get(key).copied().unwrap_or(0);
        if self.all >= MOST || of_key >= MOST_OF_A_KEY {
            return false;
        }
        self.all += 1;
        self.by_key.insert(key.to_owned(), of_key + 1);
        true
    }

    fn remove(&mut self, key: &str) {
        self.all = self.all.saturating_sub(1);
        match self.by_key.get_mut(key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                self.by_key.remove(key);
            }
        }
    }
}

/// A client that may want to wait.
#[derive(Clone, Debug)]
pub struct Client {
    /// The id of its key.
    key: String,
    place: Option<Place>,
}

impl Client {
    /// Who makes the request that has these extensions.
    pub fn of(extensions: &Extensions) -> Self {
        let key = extensions.get::<Principal>().map(|principal| principal.id.clone());
        Self { key: key.unwrap_or_default(), place: extensions.get::<Place>().cloned() }
    }
}

/// A client that waits. It is counted until this is dropped.
#[derive(Debug)]
pub struct Waiting {
    /// Until then at most.
    pub until: Instant,
    waits: Waits,
    key: String,
}

impl Waits {
    /// Lets a client wait for so long; `None` if it does not, or as many do as
    /// may. From now on it has no place among the requests that are answered.
    pub fn begin(&self, client: &Client, time: Duration) -> Option<Waiting> {
        let is_one =
            !time.is_zero() && self.0.lock().unwrap_or_else(PoisonError::into_inner).add(&client.key);
        is_one.then(|| {
            if let Some(place) = &client.place {
                place.give_back();
            }
            Waiting { until: Instant::now() + time, waits: self.clone(), key: client.key.clone() }
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.waits.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(key: &str) -> Client {
        Client { key: key.to_owned(), place: None }
    }

    #[test]
    fn so_many_wait_and_no_more() {
        const TIME: Duration = Duration::from_secs(1);
        let waits = Waits::default();
        let mut waiting = Vec::new();
        for number in 0..MOST / MOST_OF_A_KEY {
            let client = client(&number.to_string());
            for _ in 0..MOST_OF_A_KEY {
                waiting.push(waits.begin(&client, TIME).unwrap());
            }
            // Who has many keeps nobody else from waiting, as long as there is room.
            assert!(waits.begin(&client, TIME).is_none());
        }
        assert!(waits.begin(&client("another"), TIME).is_none());
        waiting.pop();
        assert!(waits.begin(&client("another"), Duration::ZERO).is_none());
        drop(waits.begin(&client("another"), TIME).unwrap());
        drop(waiting);
        let counts = waits.0.lock().unwrap();
        assert!(counts.all == 0 && counts.by_key.is_empty(), "{counts:?}");
    }
}
