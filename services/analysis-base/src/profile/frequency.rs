use std::borrow::Borrow;
use std::hash::Hash;

use hashbrown::HashMap;

use super::distinct::DistinctSketch;

/// How often each value occurs: exactly while there are few different ones,
/// then the frequent ones only (after Misra and Gries).
#[derive(Debug)]
pub(super) struct Frequencies<K> {
    counts: HashMap<K, u64>,
    capacity: usize,
    /// From the first value on that had no place.
    distinct: Option<DistinctSketch>,
}

impl<K: Hash + Eq + Clone + Ord> Frequencies<K> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { counts: HashMap::new(), capacity, distinct: None }
    }

    /// Counts a value. `true` if this was the first that had no place: then
    /// the counts up to here are still whole.
    pub(super) fn add<Q>(&mut self, value: &Q, own: impl FnOnce(&Q) -> K) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(sketch) = &mut self.distinct {
            sketch.add(value);
        }
        if let Some(count) = self.counts.get_mut(value) {
            *count += 1;
            return false;
        }
        let overflowed = self.counts.len() >= self.capacity && self.distinct.is_none();
        if !overflowed {
            if self.counts.len() >= self.capacity {
                self.forget_rare();
            }
            self.counts.insert(own(value), 1);
        }
        overflowed
    }

    /// Forgets the rarer half of the values, and goes on with sketches. The
    /// value that overflowed is to be added again.
    pub(super) fn make_room(&mut self) {
        if self.distinct.is_none() {
            let mut sketch = DistinctSketch::new();
            for value in self.counts.keys() {
                sketch.add(value);
            }
            self.distinct = Some(sketch);
        }
        self.forget_rare();
    }

    /// Whether every count is exact.
    pub(super) const fn is_exact(&self) -> bool {
        self.distinct.is_none()
    }

    /// How many different values there are.
    pub(super) fn distinct(&self) -> u64 {
        self.distinct.as_ref().map_or(self.counts.len() as u64, DistinctSketch::estimate)
    }

    /// Values and counts, without order.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&K, u64)> {
        self.counts.iter().map(|(value, count)| (value, *count))
    }

    /// The most frequent values; of those that occur equally often, the least.
    pub(super) fn top(&self, most: usize) -> Vec<(K, u64)> {
        // A count of 1 among very many values says nothing.
        let least = if self.is_exact() { 1 } else { 2 };
        let mut all: Vec<(&K, u64)> = self.counts().filter(|(_, count)| *count >= least).collect();
        let order = |one: &(&K, u64), other: &(&K, u64)| other.1.cmp(&one.1).then_with(|| one.0.cmp(other.0));
        if most == 0 {
            return Vec::new();
        }
        if all.len() > most {
            all.select_nth_unstable_by(most - 1, order);
            all.truncate(most);
        }
        all.sort_unstable_by(order);
        all.into_iter().map(|(value, count)| (value.clone(), count)).collect()
    }

    /// Takes the same number from every count, so many that half of the
    /// values are gone: what is frequent stays.
    fn forget_rare(&mut self) {
        if self.counts.is_empty() {
            return;
        }
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        let middle = counts.len() / 2;
        let (_, median, _) = counts.select_nth_unstable(middle);
        let taken = *median;
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(taken);
            *count > 0
        });
    }
}
