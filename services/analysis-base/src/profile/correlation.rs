use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Float64Type};
use datafusion::arrow::error::ArrowError;

/// Most columns that are correlated: the first ones with numbers. Their pairs
/// grow with the square, and so do time and the size of the result.
pub(super) const MOST_COLUMNS: usize = 200;
/// Rows that are taken at once: of so many columns they fit into a cache.
const BLOCK_ROWS: usize = 2048;

/// Pearson's correlations of pairs of columns, each over the rows in which
/// both have a value.
#[derive(Debug, Default)]
pub(super) struct Correlations {
    columns: Vec<NumberColumn>,
    pairs: Vec<Pair>,
}

/// A block of a column.
#[derive(Debug, Default)]
struct NumberColumn {
    /// In the source.
    index: usize,
    /// The values, 0 where there is none.
    values: Vec<f64>,
    /// 1 where there is a value, 0 where there is none.
    present: Vec<f64>,
    /// Whether there is a value in every row. Only then the following is there.
    complete: bool,
    /// How far the values are from the first one, with sum and sum of squares.
    distances: Vec<f64>,
    sum: f64,
    squares: f64,
}

#[derive(Debug)]
struct Pair {
    /// Places in `columns`.
    one: usize,
    other: usize,
    /// Indices of the columns in the source.
    columns: (usize, usize),
    moments: Moments,
}

/// Of the rows in which both columns have a value: how many there are, the
/// means, and the sums of squares and products of the distances from them.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: f64,
    means: (f64, f64),
    squares: (f64, f64),
    product: f64,
}

impl Correlations {
    /// The pairs of which thread number `thread` takes care.
    pub(super) fn new(fields: &[Arc<Field>], thread: usize, threads: usize) -> Self {
        let columns: Vec<NumberColumn> = fields
            .iter()
            .enumerate()
            .filter(|(_, field)| field.data_type().is_numeric())
            .take(MOST_COLUMNS)
            .map(|(index, _)| NumberColumn { index, ..NumberColumn::default() })
            .collect();
        let mut pairs = Vec::new();
        for other in 0..columns.len() {
            for one in 0..other {
                if (one + other) % threads == thread {
                    let indices = (columns[one].index, columns[other].index);
                    pairs.push(Pair { one, other, columns: indices, moments: Moments::default() });
                }
            }
        }
        Self { columns, pairs }
    }

    /// Adds the rows of a batch.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        if self.pairs.is_empty() {
            return Ok(());
        }
        for start in (0..batch.num_rows()).step_by(BLOCK_ROWS) {
            let rows = BLOCK_ROWS.min(batch.num_rows() - start);
            for column in &mut self.columns {
                column.load(&batch.column(column.index).slice(start, rows))?;
            }
            for pair in &mut self.pairs {
                let (one, other) = (&self.columns[pair.one], &self.columns[pair.other]);
                pair.moments.merge(Moments::of(one, other));
            }
        }
        Ok(())
    }

    /// Takes over the pairs of another thread.
    pub(super) fn add_all(&mut self, other: Self) {
        self.pairs.extend(other.pairs);
    }

    /// The correlations of each of so many columns with others, by their
    /// index; none with a column that does not vary.
    pub(super) fn of_each(&self, columns: usize) -> Vec<Vec<(usize, f64)>> {
        let mut found = vec![Vec::new(); columns];
        for pair in &self.pairs {
            if let Some(coefficient) = pair.moments.coefficient() {
                let (one, other) = pair.columns;
                found[one].push((other, coefficient));
                found[other].push((one, coefficient));
            }
        }
        for others in &mut found {
            others.sort_unstable_by_key(|(other, _)| *other);
        }
        found
    }
}

impl NumberColumn {
    fn load(&mut self, block: &dyn Array) -> Result<(), ArrowError> {
        let array = cast(block, &DataType::Float64)?;
        let floats = array.as_primitive::<Float64Type>();
        self.complete = floats.null_count() == 0 && floats.values().iter().all(|value| value.is_finite());
        self.values.clear();
        self.present.clear();
        self.distances.clear();
        if self.complete {
            self.values.extend_from_slice(floats.values());
            self.present.resize(self.values.len(), 1.0);
            let first = self.values.first().copied().unwrap_or_default();
            self.distances.extend(self.values.iter().map(|value| value - first));
            self.sum = self.distances.iter().sum();
            self.squares = product(&self.distances, &self.distances);
        } else {
            for row in 0..floats.len() {
                let there = floats.is_valid(row) && floats.value(row).is_finite();
                self.values.push(if there { floats.value(row) } else { 0.0 });
                self.present.push(if there { 1.0 } else { 0.0 });
            }
        }
        Ok(())
    }
}

impl Moments {
    /// Of a block.
    #[expect(clippy::cast_precision_loss, reason = "a block has few rows")]
    fn of(one: &NumberColumn, other: &NumberColumn) -> Self {
        let there = |row: &usize| one.present[*row] * other.present[*row] > 0.0;
        // Distances from a value keep the precision that those from zero lose.
        let Some(first) = (0..one.values.len()).find(there) else { return Self::default() };
        let origins = (one.values[first], other.values[first]);
        if one.complete && other.complete {
            return Self::of_distances(
                origins,
                &[
                    one.present.len() as f64,
                    one.sum,
                    other.sum,
                    one.squares,
                    other.squares,
                    product(&one.distances, &other.distances),
                ],
            );
        }
        // Sums side by side: the compiler makes vector instructions of them,
        // which it may not do with one sum.
        const LANES: usize = 4;
        let mut lanes = [[0.0_f64; LANES]; 6];
        let rows = one.values.len();
        let (xs, ys) = (&one.values[..rows], &other.values[..rows]);
        let (has_x, has_y) = (&one.present[..rows], &other.present[..rows]);
        let mut take = |row: usize, lane: usize| {
            let both = has_x[row] * has_y[row];
            let (x, y) = ((xs[row] - origins.0) * both, (ys[row] - origins.1) * both);
            lanes[0][lane] += both;
            lanes[1][lane] += x;
            lanes[2][lane] += y;
            lanes[3][lane] += x * x;
            lanes[4][lane] += y * y;
            lanes[5][lane] += x * y;
        };
        let whole = rows - rows % LANES;
        for row in (0..whole).step_by(LANES) {
            for lane in 0..LANES {
                take(row + lane, lane);
            }
        }
        for row in whole..rows {
            take(row, 0);
        }
        Self::of_distances(origins, &lanes.map(|lanes| lanes.iter().sum::<f64>()))
    }

    /// From how many there are, and the sums of x, y, x², y² and xy, where x
    /// and y are distances from the origins. The origins are among the values,
    /// so that the sums lose no more than the digits of the count (Chan, Golub
    /// and LeVeque 1983, "Algorithms for computing the sample variance").
    fn of_distances(origins: (f64, f64), sums: &[f64; 6]) -> Self {
        let [count, x, y, xx, yy, xy] = *sums;
        Self {
            count,
            means: (origins.0 + x / count, origins.1 + y / count),
            squares: (xx - x * x / count, yy - y * y / count),
            product: xy - x * y / count,
        }
    }

    /// Joins those of other rows (Chan, Golub and LeVeque 1983; for products
    /// Bennett et al. 2009, "Numerically stable, single-pass, parallel
    /// statistics algorithms").
    fn merge(&mut self, other: Self) {
        if other.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            *self = other;
            return;
        }
        let count = self.count + other.count;
        let apart = (other.means.0 - self.means.0, other.means.1 - self.means.1);
        let part = other.count / count;
        let weight = self.count * part;
        self.count = count;
        self.means.0 += apart.0 * part;
        self.means.1 += apart.1 * part;
        self.squares.0 += other.squares.0 + apart.0 * apart.0 * weight;
        self.squares.1 += other.squares.1 + apart.1 * apart.1 * weight;
        self.product += other.product + apart.0 * apart.1 * weight;
    }

    fn coefficient(&self) -> Option<f64> {
        let (one, other) = self.squares;
        // The product of very large or very small numbers would be none.
        let norm = if (one * other).is_normal() { (one * other).sqrt() } else { one.sqrt() * other.sqrt() };
        let coefficient = self.product / norm;
        // Rounding must not lead beyond the bounds; a column that does not vary has none.
        (self.count > 1.0 && coefficient.is_finite()).then(|| coefficient.clamp(-1.0, 1.0))
    }
}

/// The scalar product.
fn product(one: &[f64], other: &[f64]) -> f64 {
    // Sums side by side, as above.
    const LANES: usize = 8;
    let (one, one_rest) = one.as_chunks::<LANES>();
    let (other, other_rest) = other.as_chunks::<LANES>();
    let mut sums = [0.0_f64; LANES];
    for (one, other) in one.iter().zip(other) {
        for (sum, (x, y)) in sums.iter_mut().zip(one.iter().zip(other)) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f64>() + one_rest.iter().zip(other_rest).map(|(x, y)| x * y).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{ArrayRef, Float64Array};

    use super::*;

    /// The coefficient of two columns that come in batches of so many rows.
    fn coefficient(rows: &[(Option<f64>, Option<f64>)], batch_rows: usize) -> Option<f64> {
        let fields: Vec<Arc<Field>> =
            ["x", "y"].iter().map(|name| Arc::new(Field::new(*name, DataType::Float64, true))).collect();
        let mut correlations = Correlations::new(&fields, 0, 1);
        for rows in rows.chunks(batch_rows) {
            let x: Float64Array = rows.iter().map(|(x, _)| *x).collect();
            let y: Float64Array = rows.iter().map(|(_, y)| *y).collect();
            let columns: [(&str, ArrayRef); 2] = [("x", Arc::new(x)), ("y", Arc::new(y))];
            correlations.add(&RecordBatch::try_from_iter(columns).expect("batch")).expect("add");
        }
        let found = correlations.of_each(2);
        assert_eq!(found[0].first().map(|(_, found)| *found), found[1].first().map(|(_, found)| *found));
        found[0].first().map(|(_, found)| *found)
    }

    /// Numbers without a visible pattern, between -1 and 1.
    fn noise(index: u64) -> f64 {
        (index.wrapping_mul(6_364_136_223_846_793_005) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    /// In two passes over numbers near zero.
    fn expected(rows: &[(f64, f64)]) -> f64 {
        let count = rows.len() as f64;
        let (x, y) =
            rows.iter().fold((0.0, 0.0), |sums, row| (sums.0 + row.0 / count, sums.1 + row.1 / count));
        let sum = |of: fn(f64, f64) -> f64| rows.iter().map(|row| of(row.0 - x, row.1 - y)).sum::<f64>();
        sum(|x, y| x * y) / (sum(|x, _| x * x) * sum(|_, y| y * y)).sqrt()
    }

    #[test]
    fn values_far_from_zero_keep_their_precision() {
        let near: Vec<(f64, f64)> =
            (0..10_000).map(|index| (noise(index), noise(index) + noise(index + 70_000))).collect();
        let expected = expected(&near);
        assert!((0.9..0.99).contains(&expected), "{expected}");
        let far: Vec<_> = near.iter().map(|(x, y)| (Some(x + 1e9), Some(y - 1e9))).collect();
        // Where y is missing, x is elsewhere: first, in between, and often.
        let elsewhere = (Some(-1e15), None);
        let gaps: Vec<_> = far.iter().flat_map(|row| [elsewhere, *row]).collect();
        for batch_rows in [1, 1000, 100_000] {
            for rows in [&far, &gaps] {
                let found = coefficient(rows, batch_rows).expect("coefficient");
                // x and y themselves are rounded to 1e-7 there.
                assert!((found - expected).abs() < 1e-6, "{found} {expected} {batch_rows}");
            }
        }
    }

    #[test]
    fn a_column_that_does_not_vary_has_none() {
        let constant: Vec<_> = (0..5000).map(|index| (Some(0.1), Some(noise(index)))).collect();
        assert_eq!(coefficient(&constant, 1000), None);
        assert_eq!(coefficient(&[(Some(1.0), Some(2.0))], 1), None);
        assert_eq!(coefficient(&[(Some(1.0), None), (None, Some(2.0))], 1), None);
        assert_eq!(coefficient(&[], 1), None);
    }

    #[test]
    fn very_large_and_very_small_numbers_correlate() {
        for size in [1e90, 1e-90] {
            let rows: Vec<_> =
                (0..10_u32).map(|x| (Some(size * f64::from(x)), Some(-size * f64::from(x)))).collect();
            let found = coefficient(&rows, 3).expect("coefficient");
            assert!((found + 1.0).abs() < 1e-12, "{found}");
        }
    }

    #[test]
    fn the_first_columns_are_correlated() {
        let fields: Vec<Arc<Field>> = (0..MOST_COLUMNS + 10)
            .map(|index| Arc::new(Field::new(index.to_string(), DataType::Int64, true)))
            .collect();
        let pairs: usize = (0..3).map(|thread| Correlations::new(&fields, thread, 3).pairs.len()).sum();
        assert_eq!(pairs, MOST_COLUMNS * (MOST_COLUMNS - 1) / 2);
    }
}
