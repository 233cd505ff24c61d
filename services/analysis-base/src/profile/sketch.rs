/// Quantiles of a stream in little memory, deterministically.
///
/// Values are kept in levels; a value of level `n` stands for 2ⁿ. A full level
/// is sorted and every second of its values moves up, beginning with the first
/// and the second in turn, so that the errors cancel out.
#[derive(Debug, Default)]
pub(super) struct QuantileSketch {
    levels: Vec<Level>,
}

#[derive(Debug, Default)]
struct Level {
    values: Vec<f64>,
    skip_first: bool,
}

impl QuantileSketch {
    /// Values in a level. Each merge of a level shifts a rank by at most half
    /// of what its values stand for: with 30 levels 30 / (2 · 4096) = 0.4 %.
    const LEVEL_VALUES: usize = 4096;

    /// Adds a value `count` times.
    pub(super) fn add(&mut self, value: f64, count: u64) {
        // A count is a sum of powers of two, and so of values in levels.
        let mut rest = count;
        while rest > 0 {
            let level = rest.trailing_zeros() as usize;
            self.push(level, value);
            rest &= rest - 1;
        }
    }

    fn push(&mut self, level: usize, value: f64) {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Level::default);
        }
        let current = &mut self.levels[level];
        current.values.push(value);
        if current.values.len() < Self::LEVEL_VALUES {
            return;
        }
        let mut values = std::mem::take(&mut current.values);
        let skip = usize::from(current.skip_first);
        current.skip_first = !current.skip_first;
        values.sort_unstable_by(f64::total_cmp);
        for promoted in values.iter().skip(skip).step_by(2) {
            self.push(level + 1, *promoted);
        }
        values.clear();
        // The place is kept for the next values.
        self.levels[level].values = values;
    }

    /// The values in order, with how many each stands for.
    pub(super) fn weighted(&self) -> Vec<(f64, u64)> {
        let mut weighted: Vec<(f64, u64)> = self
            .levels
            .iter()
            .enumerate()
            .flat_map(|(level, kept)| kept.values.iter().map(move |value| (*value, 1 << level)))
            .collect();
        weighted.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
        weighted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_within_half_a_percent() {
        let mut sketch = QuantileSketch::default();
        let count = 1_000_000_u64;
        for index in 0..count {
            // A permutation: every value from 0 to count-1 once.
            sketch.add(((index * 7_919) % count) as f64, 1);
        }
        let weighted = sketch.weighted();
        assert_eq!(weighted.iter().map(|(_, weight)| weight).sum::<u64>(), count);
        let mut below = 0;
        for (value, weight) in weighted {
            assert!((below as f64 - value).abs() < count as f64 * 0.005, "rank {below} of {value}");
            below += weight;
        }
    }

    #[test]
    fn a_count_is_as_good_as_many_values() {
        let mut sketch = QuantileSketch::default();
        sketch.add(1.0, 5);
        sketch.add(2.0, 8);
        assert_eq!(sketch.weighted(), [(1.0, 1), (1.0, 4), (2.0, 8)]);
    }
}
