use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Float64Type};
use datafusion::arrow::error::ArrowError;

/// Pearson's correlations of pairs of columns, each over the rows in which
/// both have a value.
#[derive(Debug, Default)]
pub(super) struct Correlations {
    columns: Vec<NumberColumn>,
    pairs: Vec<Pair>,
}

#[derive(Debug)]
struct NumberColumn {
    index: usize,
    /// Taken from every value, so that sums of squares keep their precision.
    shift: Option<f64>,
    /// The values of a batch, 0 where there is none.
    values: Vec<f64>,
    /// 1 where there is a value, 0 where there is none.
    present: Vec<f64>,
    complete: bool,
}

#[derive(Debug)]
struct Pair {
    /// Places in `columns`.
    one: usize,
    other: usize,
    /// Indices of the columns in the source.
    columns: (usize, usize),
    count: f64,
    sums: (f64, f64),
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
            .map(|(index, _)| NumberColumn {
                index,
                shift: None,
                values: Vec::new(),
                present: Vec::new(),
                complete: true,
            })
            .collect();
        let mut pairs = Vec::new();
        for other in 0..columns.len() {
            for one in 0..other {
                if (one + other) % threads == thread {
                    pairs.push(Pair {
                        one,
                        other,
                        columns: (columns[one].index, columns[other].index),
                        count: 0.0,
                        sums: (0.0, 0.0),
                        squares: (0.0, 0.0),
                        product: 0.0,
                    });
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
        for column in &mut self.columns {
            column.load(batch)?;
        }
        for pair in &mut self.pairs {
            let (one, other) = (&self.columns[pair.one], &self.columns[pair.other]);
            pair.add(one, other);
        }
        Ok(())
    }

    /// Takes over the pairs of another thread.
    pub(super) fn add_all(&mut self, other: Self) {
        self.pairs.extend(other.pairs);
    }

    /// The correlations of a column with others, by their index; none with a
    /// column that does not vary.
    pub(super) fn of(&self, column: usize) -> Vec<(usize, f64)> {
        let mut found: Vec<(usize, f64)> = self
            .pairs
            .iter()
            .filter_map(|pair| {
                let other = match pair.columns {
                    (one, other) if one == column => other,
                    (one, other) if other == column => one,
                    _ => return None,
                };
                pair.coefficient().map(|coefficient| (other, coefficient))
            })
            .collect();
        found.sort_unstable_by_key(|(other, _)| *other);
        found
    }
}

impl NumberColumn {
    fn load(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let array = cast(batch.column(self.index), &DataType::Float64)?;
        let floats = array.as_primitive::<Float64Type>();
        let finite = |row: usize| floats.is_valid(row) && floats.value(row).is_finite();
        if self.shift.is_none() {
            self.shift = (0..floats.len()).find(|row| finite(*row)).map(|row| floats.value(row));
        }
        let shift = self.shift.unwrap_or(0.0);
        self.complete = floats.null_count() == 0 && floats.values().iter().all(|value| value.is_finite());
        self.values.clear();
        self.present.clear();
        if self.complete {
            self.values.extend(floats.values().iter().map(|value| value - shift));
            self.present.resize(floats.len(), 1.0);
        } else {
            self.values.extend(
                (0..floats.len()).map(|row| if finite(row) { floats.value(row) - shift } else { 0.0 }),
            );
            self.present.extend((0..floats.len()).map(|row| if finite(row) { 1.0 } else { 0.0 }));
        }
        Ok(())
    }
}

impl Pair {
    fn add(&mut self, one: &NumberColumn, other: &NumberColumn) {
        // Four sums side by side: the compiler makes vector instructions of
        // them, which it may not do with one sum.
        const LANES: usize = 4;
        let mut lanes = [[0.0_f64; LANES]; 6];
        let rows = one.values.len();
        let whole = rows - rows % LANES;
        let mut take = |row: usize, lane: usize| {
            let (x, y) = (one.values[row], other.values[row]);
            let (has_x, has_y) = (one.present[row], other.present[row]);
            lanes[0][lane] += has_x * has_y;
            lanes[1][lane] += x * has_y;
            lanes[2][lane] += y * has_x;
            lanes[3][lane] += x * x * has_y;
            lanes[4][lane] += y * y * has_x;
            lanes[5][lane] += x * y;
        };
        for row in (0..whole).step_by(LANES) {
            for lane in 0..LANES {
                take(row + lane, lane);
            }
        }
        for row in whole..rows {
            take(row, 0);
        }
        let sum = |which: usize| lanes[which].iter().sum::<f64>();
        self.count += sum(0);
        self.sums.0 += sum(1);
        self.sums.1 += sum(2);
        self.squares.0 += sum(3);
        self.squares.1 += sum(4);
        self.product += sum(5);
    }

    fn coefficient(&self) -> Option<f64> {
        let covariance = self.product - self.sums.0 * self.sums.1 / self.count;
        let variance_one = self.squares.0 - self.sums.0 * self.sums.0 / self.count;
        let variance_other = self.squares.1 - self.sums.1 * self.sums.1 / self.count;
        let coefficient = covariance / (variance_one * variance_other).sqrt();
        // Rounding must not lead beyond the bounds; a column that does not vary has none.
        (self.count > 1.0 && coefficient.is_finite()).then(|| coefficient.clamp(-1.0, 1.0))
    }
}
