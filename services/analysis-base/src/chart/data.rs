use std::sync::Arc;

use crds::analysis::Chart;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::{
    DataType, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use datafusion::arrow::error::ArrowError;

use super::{ChartError, encodings};
use crate::failure::Failure;

/// Most rows that a chart shows.
pub const MOST_ROWS: usize = 5_000;

/// A missing value as a name.
pub(super) const MISSING: &str = "null";

/// The rows of one or more charts.
#[derive(Debug)]
pub struct ChartData {
    schema: SchemaRef,
    /// Those that the charts show; the others are not kept.
    columns: Vec<usize>,
    batches: Vec<RecordBatch>,
    rows: usize,
    cut: bool,
}

/// A value as a chart shows it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Datum {
    Missing,
    Integer(i64),
    Number(f64),
    Boolean(bool),
    Text(String),
    /// Microseconds since 1970, UTC.
    Time(i64),
}

impl ChartData {
    /// No rows yet, of which the charts will show some columns.
    #[must_use]
    pub fn new(schema: &SchemaRef, charts: &[&Chart]) -> Self {
        let shown = charts.iter().flat_map(|chart| encodings(chart));
        let mut columns: Vec<usize> =
            shown.filter_map(|encoding| schema.index_of(&encoding.field).ok()).collect();
        columns.sort_unstable();
        columns.dedup();
        Self { schema: Arc::clone(schema), columns, batches: Vec::new(), rows: 0, cut: false }
    }

    /// Takes the rows that still fit.
    ///
    /// # Errors
    /// If the rows cannot be copied.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let taken = batch.num_rows().min(MOST_ROWS - self.rows);
        self.cut |= taken < batch.num_rows();
        if taken > 0 {
            // A copy: a slice would keep the whole batch in memory.
            let shown = batch.project(&self.columns).map_err(Failure::internal)?.slice(0, taken);
            self.batches.push(concat_batches(&shown.schema(), [&shown]).map_err(Failure::internal)?);
            self.rows += taken;
        }
        Ok(())
    }

    /// Whether there were more rows than fit.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.cut
    }

    /// The columns.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(super) fn column(&self, chart: &str, name: &str) -> Result<Vec<Datum>, ChartError> {
        let mut values = Vec::with_capacity(self.rows);
        for batch in &self.batches {
            let Some(array) = batch.column_by_name(name) else { continue };
            read(array.as_ref(), &mut values).map_err(|_| ChartError::WrongKind {
                chart: chart.to_owned(),
                column: name.to_owned(),
                kind: "a single value",
                value: array.data_type().to_string(),
            })?;
        }
        Ok(values)
    }
}

fn read(array: &dyn Array, values: &mut Vec<Datum>) -> Result<(), ArrowError> {
    match array.data_type() {
        DataType::Boolean => {
            values.extend(array.as_boolean().iter().map(|value| datum(value, Datum::Boolean)));
        }
        integer if integer.is_integer() && *integer != DataType::UInt64 => {
            let array = cast(array, &DataType::Int64)?;
            values.extend(array.as_primitive::<Int64Type>().iter().map(|value| datum(value, Datum::Integer)));
        }
        number if number.is_numeric() => {
            let array = cast(array, &DataType::Float64)?;
            let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
            values.extend(
                array.as_primitive::<Float64Type>().iter().map(|value| datum(finite(value), Datum::Number)),
            );
        }
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => {
            let array = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
            values.extend(
                array
                    .as_primitive::<TimestampMicrosecondType>()
                    .iter()
                    .map(|value| datum(value, Datum::Time)),
            );
        }
        DataType::Null => values.extend(std::iter::repeat_n(Datum::Missing, array.len())),
        _ => {
            let array = cast(array, &DataType::Utf8)?;
            let texts = array.as_string::<i32>();
            values.extend(texts.iter().map(|value| datum(value.map(str::to_owned), Datum::Text)));
        }
    }
    Ok(())
}

fn datum<T>(value: Option<T>, kind: impl Fn(T) -> Datum) -> Datum {
    value.map_or(Datum::Missing, kind)
}

impl Datum {
    /// The value as a name.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Missing => MISSING.to_owned(),
            Self::Integer(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Boolean(value) => value.to_string(),
            Self::Text(value) => value.clone(),
            Self::Time(value) => super::time::text(*value),
        }
    }

    /// The value on a number line; a time is in microseconds.
    #[expect(clippy::cast_precision_loss, reason = "a place on a screen")]
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(value) | Self::Time(value) => Some(*value as f64),
            Self::Number(value) => Some(*value),
            _ => None,
        }
    }
}
