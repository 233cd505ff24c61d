//! Numbers, dates and timestamps.

use std::fmt::Debug;
use std::hash::Hash;

use datafusion::arrow::datatypes::i256;

use super::Settings;
use super::frequency::Frequencies;
use super::sketch::QuantileSketch;

/// A value that has a place on the number line.
pub(super) trait Number: Copy {
    /// Holds the value exactly; keys are equal and in order as the values are.
    type Key: Copy + Debug + Hash + Ord;

    fn key(self) -> Self::Key;
    fn from_key(key: Self::Key) -> Self;
    /// The nearest number in double precision, of which statistics are.
    fn as_f64(self) -> f64;
}

macro_rules! integer {
    ($integer:ty, $value:ident => $as_f64:expr) => {
        impl Number for $integer {
            type Key = Self;

            fn key(self) -> Self {
                self
            }

            fn from_key(key: Self) -> Self {
                key
            }

            fn as_f64(self) -> f64 {
                let $value = self;
                $as_f64
            }
        }
    };
}

integer!(i64, value => value as f64);
integer!(u64, value => value as f64);
integer!(i128, value => value as f64);
integer!(i256, value => wide(value));

#[expect(clippy::cast_precision_loss, reason = "statistics are of this precision")]
fn wide(value: i256) -> f64 {
    value.to_i128().map_or_else(
        || {
            let (low, high) = value.to_parts();
            high as f64 * 2_f64.powi(128) + low as f64
        },
        |value| value as f64,
    )
}

/// The sign of a number in double precision.
const SIGN: u64 = 1 << 63;

impl Number for f64 {
    /// The bits, in the order of the numbers: from the least negative one to
    /// the greatest (`totalOrder` of IEEE 754).
    type Key = u64;

    fn key(self) -> u64 {
        // Zero has two signs.
        let bits = if self == 0.0 { 0 } else { self.to_bits() };
        if bits & SIGN == 0 { bits | SIGN } else { !bits }
    }

    fn from_key(key: u64) -> Self {
        Self::from_bits(if key & SIGN == 0 { !key } else { key ^ SIGN })
    }

    fn as_f64(self) -> f64 {
        self
    }
}

/// The probabilities of the quantiles.
pub(super) const PROBABILITIES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

/// A bin of a histogram. The upper end belongs to the next bin, but for the last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bin {
    pub(super) lower: f64,
    pub(super) upper: f64,
    pub(super) count: u64,
}

/// What numbers have beyond counts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Statistics {
    pub(super) mean: f64,
    /// Of a sample: divided by n − 1. `None` for a single value.
    pub(super) standard_deviation: Option<f64>,
    pub(super) quantiles: [f64; 5],
    pub(super) histogram: Vec<Bin>,
}

/// Collects numbers.
#[derive(Debug)]
pub(super) struct Numbers<N: Number> {
    pub(super) frequencies: Frequencies<N::Key>,
    sketch: Option<QuantileSketch>,
    range: Option<(N::Key, N::Key)>,
    /// Count, mean and sum of squared distances from the mean, of finite values.
    count: f64,
    mean: f64,
    squares: f64,
}

impl<N: Number> Numbers<N> {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            // As many bytes, however wide a key is.
            frequencies: Frequencies::new(settings.exact_values * size_of::<u64>() / size_of::<N::Key>()),
            sketch: None,
            range: None,
            count: 0.0,
            mean: 0.0,
            squares: 0.0,
        }
    }

    /// Adds the values of a batch.
    pub(super) fn add(&mut self, values: impl Iterator<Item = N> + Clone) {
        for value in values.clone() {
            self.count_value(value);
        }
        self.add_moments(values.map(Number::as_f64).filter(|value| value.is_finite()));
    }

    fn count_value(&mut self, value: N) {
        let key = value.key();
        if self.frequencies.add(&key, |key| *key) {
            let mut sketch = QuantileSketch::default();
            for (key, count) in self.frequencies.counts() {
                let number = N::from_key(*key).as_f64();
                if number.is_finite() {
                    sketch.add(number, count);
                }
            }
            self.sketch = Some(sketch);
            self.frequencies.make_room();
            self.frequencies.add(&key, |key| *key);
        }
        let number = value.as_f64();
        if !number.is_finite() {
            return;
        }
        if let Some(sketch) = &mut self.sketch {
            sketch.add(number, 1);
        }
        self.range = Some(match self.range {
            None => (key, key),
            Some((least, most)) => (least.min(key), most.max(key)),
        });
    }

    /// Mean and squares of the batch, joined with those before: this keeps its
    /// precision where a running sum of squares loses it.
    fn add_moments(&mut self, values: impl Iterator<Item = f64> + Clone) {
        let (mut count, mut sum) = (0.0, 0.0);
        for value in values.clone() {
            count += 1.0;
            sum += value;
        }
        if count == 0.0 {
            return;
        }
        let mean = sum / count;
        let squares: f64 = values.map(|value| (value - mean) * (value - mean)).sum();
        let total = self.count + count;
        let distance = mean - self.mean;
        self.mean += distance * count / total;
        self.squares += squares + distance * distance * self.count * count / total;
        self.count = total;
    }

    /// The least and the greatest value.
    pub(super) fn range(&self) -> Option<(N, N)> {
        self.range.map(|(least, most)| (N::from_key(least), N::from_key(most)))
    }

    /// `None` if there was no finite value.
    pub(super) fn statistics(&self, bins: usize) -> Option<Statistics> {
        let (least, most) = self.range()?;
        let exact = self.sketch.is_none();
        let weighted = match &self.sketch {
            Some(sketch) => sketch.weighted(),
            None => {
                let mut counted: Vec<(f64, u64)> = self
                    .frequencies
                    .counts()
                    .map(|(key, count)| (N::from_key(*key).as_f64(), count))
                    .filter(|(value, _)| value.is_finite())
                    .collect();
                counted.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
                counted
            }
        };
        let quantiles = PROBABILITIES.map(|probability| quantile(&weighted, probability, exact));
        Some(Statistics {
            mean: self.mean,
            standard_deviation: (self.count > 1.0).then(|| (self.squares / (self.count - 1.0)).sqrt()),
            quantiles,
            histogram: histogram(&weighted, least.as_f64(), most.as_f64(), bins),
        })
    }
}

/// The quantile, between two values if it falls between them (definition 7 of
/// Hyndman and Fan, which most programs use).
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "ranks are far below 2^53"
)]
fn quantile(weighted: &[(f64, u64)], probability: f64, interpolate: bool) -> f64 {
    let total: u64 = weighted.iter().map(|(_, weight)| weight).sum();
    let rank = probability * (total.saturating_sub(1)) as f64;
    let lower = value_at(weighted, rank.floor() as u64);
    if !interpolate {
        return lower;
    }
    let upper = value_at(weighted, rank.ceil() as u64);
    lower + (upper - lower) * rank.fract()
}

fn value_at(weighted: &[(f64, u64)], rank: u64) -> f64 {
    let mut below = 0;
    for (value, weight) in weighted {
        below += weight;
        if rank < below {
            return *value;
        }
    }
    weighted.last().map_or(f64::NAN, |(value, _)| *value)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bins are few"
)]
fn histogram(weighted: &[(f64, u64)], least: f64, most: f64, bins: usize) -> Vec<Bin> {
    let width = (most - least) / bins as f64;
    if !(width > 0.0 && width.is_finite()) {
        let count = weighted.iter().map(|(_, weight)| weight).sum();
        return vec![Bin { lower: least, upper: most, count }];
    }
    let end = |bin: usize| if bin == bins { most } else { least + width * bin as f64 };
    let mut histogram: Vec<Bin> =
        (0..bins).map(|bin| Bin { lower: end(bin), upper: end(bin + 1), count: 0 }).collect();
    for (value, weight) in weighted {
        let mut bin = (((value - least) / width) as usize).min(bins - 1);
        // Rounding may have put the value one bin off.
        if *value < histogram[bin].lower && bin > 0 {
            bin -= 1;
        } else if *value >= histogram[bin].upper && bin + 1 < bins {
            bin += 1;
        }
        histogram[bin].count += weight;
    }
    histogram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_numbers_are_in_their_order() {
        let ordered = [f64::NEG_INFINITY, -1e300, -2.0, -1e-300, 0.0, 1e-300, 1.0, 1e300, f64::INFINITY];
        assert!(ordered.is_sorted_by_key(|number| number.key()));
        assert!(ordered.iter().all(|number| f64::from_key(number.key()) == *number));
        assert_eq!((-0.0_f64).key(), 0.0_f64.key());
        assert!(f64::from_key(f64::NAN.key()).is_nan());
    }

    #[test]
    fn wide_integers_are_near_in_double_precision() {
        for (text, expected) in [
            ("-5", -5.0),
            ("9007199254740993", 9_007_199_254_740_992.0),
            ("1000000000000000000000000000000000000000000000000000000000000", 1e60),
            ("-1000000000000000000000000000000000000000000000000000000000000", -1e60),
        ] {
            let found = i256::from_string(text).expect("number").as_f64();
            assert!((found - expected).abs() <= expected.abs() * 1e-15, "{text}: {found}");
        }
    }
}
