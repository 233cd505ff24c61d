use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Float64Type, Int64Type, TimeUnit};
use datafusion::arrow::error::ArrowError;

use super::Settings;
use super::number::{Number, Numbers, Statistics};
use super::text::Texts;
use crate::summary::cut;

/// Longest text in a profile, in bytes.
const LONGEST_TEXT_BYTES: usize = 200;

/// What is found out about one column.
#[derive(Clone, Debug)]
pub(super) struct Description {
    pub(super) kind: &'static str,
    pub(super) count: u64,
    pub(super) nulls: u64,
    pub(super) distinct: Option<u64>,
    pub(super) approximate: bool,
    pub(super) minimum: Option<String>,
    pub(super) maximum: Option<String>,
    pub(super) statistics: Option<Statistics>,
    pub(super) top_values: Vec<(String, u64)>,
}

/// Collects one column.
#[derive(Debug)]
pub(super) struct ColumnProfile {
    kind: &'static str,
    count: u64,
    nulls: u64,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Booleans {
        truths: u64,
        falsehoods: u64,
    },
    Integers(Numbers<i64>),
    Floats(Numbers<f64>),
    /// Days since 1970.
    Dates(Numbers<i64>),
    /// Microseconds since 1970.
    Timestamps(Numbers<i64>),
    Texts(Texts),
    /// Nested and binary values are only counted.
    Opaque,
}

impl ColumnProfile {
    pub(super) fn new(field: &Field, settings: Settings) -> Self {
        let (kind, values) = match field.data_type() {
            DataType::Boolean => ("boolean", Values::Booleans { truths: 0, falsehoods: 0 }),
            integer if integer.is_integer() && *integer != DataType::UInt64 => {
                ("integer", Values::Integers(Numbers::new(settings)))
            }
            DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => ("decimal", Values::Floats(Numbers::new(settings))),
            number if number.is_numeric() => ("number", Values::Floats(Numbers::new(settings))),
            DataType::Date32 | DataType::Date64 => ("date", Values::Dates(Numbers::new(settings))),
            DataType::Timestamp(..) => ("timestamp", Values::Timestamps(Numbers::new(settings))),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => {
                ("string", Values::Texts(Texts::new(settings)))
            }
            nested if nested.is_nested() => ("nested", Values::Opaque),
            DataType::Null => ("null", Values::Opaque),
            DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) | DataType::Interval(_) => {
                ("time", Values::Texts(Texts::new(settings)))
            }
            _ => ("binary", Values::Opaque),
        };
        Self { kind, count: 0, nulls: 0, values }
    }

    /// Adds the values of a batch.
    pub(super) fn add(&mut self, array: &ArrayRef) -> Result<(), ArrowError> {
        self.count += array.len() as u64;
        self.nulls += array.logical_null_count() as u64;
        match &mut self.values {
            Values::Booleans { truths, falsehoods } => {
                let booleans: &BooleanArray = array.as_boolean();
                *truths += booleans.true_count() as u64;
                *falsehoods += booleans.false_count() as u64;
            }
            Values::Integers(numbers) => add_integers(numbers, array, &DataType::Int64)?,
            Values::Floats(numbers) => {
                let array = cast(array, &DataType::Float64)?;
                let floats = array.as_primitive::<Float64Type>();
                if floats.null_count() == 0 {
                    numbers.add(floats.values().iter().copied());
                } else {
                    numbers.add(floats.iter().flatten());
                }
            }
            Values::Dates(numbers) => {
                let days = cast(array, &DataType::Date32)?;
                add_integers(numbers, &cast(&days, &DataType::Int32)?, &DataType::Int64)?;
            }
            Values::Timestamps(numbers) => {
                let zone = match array.data_type() {
                    DataType::Timestamp(_, zone) => zone.clone(),
                    _ => None,
                };
                let micros = cast(array, &DataType::Timestamp(TimeUnit::Microsecond, zone))?;
                add_integers(numbers, &micros, &DataType::Int64)?;
            }
            Values::Texts(texts) => match array.data_type() {
                DataType::Utf8View => texts.add(array.as_string_view().iter().flatten()),
                DataType::Utf8 => texts.add(array.as_string::<i32>().iter().flatten()),
                _ => texts.add(cast(array, &DataType::Utf8)?.as_string::<i32>().iter().flatten()),
            },
            Values::Opaque => {}
        }
        Ok(())
    }

    pub(super) fn describe(self, settings: Settings) -> Description {
        let mut description = Description {
            kind: self.kind,
            count: self.count,
            nulls: self.nulls,
            distinct: None,
            approximate: false,
            minimum: None,
            maximum: None,
            statistics: None,
            top_values: Vec::new(),
        };
        match self.values {
            Values::Booleans { truths, falsehoods } => {
                description.of_booleans(truths, falsehoods, settings.top_values);
            }
            Values::Integers(numbers) => description.of_numbers(&numbers, settings, 1.0, i64::to_string),
            Values::Floats(numbers) => description.of_numbers(&numbers, settings, 1.0, f64::to_string),
            Values::Dates(numbers) => description.of_numbers(&numbers, settings, 86_400.0, date_text),
            Values::Timestamps(numbers) => description.of_numbers(&numbers, settings, 1e-6, timestamp_text),
            Values::Texts(texts) => {
                description.distinct = Some(texts.frequencies.distinct());
                description.approximate = !texts.frequencies.is_exact();
                if let Some((least, most)) = texts.range() {
                    description.minimum = Some(cut(least, LONGEST_TEXT_BYTES));
                    description.maximum = Some(cut(most, LONGEST_TEXT_BYTES));
                }
                let top = texts.frequencies.top(settings.top_values);
                description.top_values =
                    top.into_iter().map(|(value, count)| (cut(&value, LONGEST_TEXT_BYTES), count)).collect();
            }
            Values::Opaque => {}
        }
        description
    }
}

fn add_integers(
    numbers: &mut Numbers<i64>,
    array: &ArrayRef,
    data_type: &DataType,
) -> Result<(), ArrowError> {
    let array = if array.data_type() == data_type { Arc::clone(array) } else { cast(array, data_type)? };
    let integers = array.as_primitive::<Int64Type>();
    if integers.null_count() == 0 {
        numbers.add(integers.values().iter().copied());
    } else {
        numbers.add(integers.iter().flatten());
    }
    Ok(())
}

impl Description {
    fn of_booleans(&mut self, truths: u64, falsehoods: u64, most: usize) {
        let mut counted = vec![("true".to_owned(), truths), ("false".to_owned(), falsehoods)];
        counted.retain(|(_, count)| *count > 0);
        counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        self.distinct = Some(counted.len() as u64);
        self.minimum = counted.iter().map(|(value, _)| value.clone()).min();
        self.maximum = counted.iter().map(|(value, _)| value.clone()).max();
        counted.truncate(most);
        self.top_values = counted;
    }

    /// `scale` turns the stored numbers into those of the statistics.
    fn of_numbers<N: Number>(
        &mut self,
        numbers: &Numbers<N>,
        settings: Settings,
        scale: f64,
        text: impl Fn(&N) -> String,
    ) {
        self.distinct = Some(numbers.frequencies.distinct());
        self.approximate = !numbers.frequencies.is_exact();
        if let Some((least, most)) = numbers.range() {
            self.minimum = Some(text(&least));
            self.maximum = Some(text(&most));
        }
        self.statistics = numbers.statistics(settings.histogram_bins).map(|mut statistics| {
            statistics.mean *= scale;
            statistics.standard_deviation = statistics.standard_deviation.map(|deviation| deviation * scale);
            statistics.quantiles = statistics.quantiles.map(|quantile| quantile * scale);
            for bin in &mut statistics.histogram {
                bin.lower *= scale;
                bin.upper *= scale;
            }
            statistics
        });
        let top = numbers.frequencies.top(settings.top_values);
        self.top_values = top.into_iter().map(|(key, count)| (text(&N::from_key(key)), count)).collect();
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "given as a function of a reference")]
fn date_text(days: &i64) -> String {
    let text = timestamp_text(&days.saturating_mul(86_400_000_000));
    text.split('T').next().unwrap_or_default().to_owned()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "given as a function of a reference")]
fn timestamp_text(microseconds: &i64) -> String {
    jiff::Timestamp::from_microsecond(*microseconds)
        .map_or_else(|_| format!("{microseconds} µs since 1970"), |time| time.to_string())
}
