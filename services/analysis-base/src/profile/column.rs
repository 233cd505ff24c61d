use std::convert::identity;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Decimal256Type, DecimalType, Field, Float64Type, Int64Type,
    TimeUnit, UInt64Type, i256,
};
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
    Unsigned(Numbers<u64>),
    Floats(Numbers<f64>),
    /// Without their point, and how many digits are behind it.
    Decimals(Numbers<i128>, i8),
    WideDecimals(Numbers<i256>, i8),
    /// Days since 1970.
    Dates(Numbers<i64>),
    /// Microseconds or nanoseconds since 1970.
    Timestamps(Numbers<i64>, TimeUnit),
    Texts(Texts),
    /// Nested and binary values are only counted.
    Opaque,
}

impl ColumnProfile {
    pub(super) fn new(field: &Field, settings: Settings) -> Self {
        let (kind, values) = match field.data_type() {
            DataType::Boolean => ("boolean", Values::Booleans { truths: 0, falsehoods: 0 }),
            DataType::UInt64 => ("integer", Values::Unsigned(Numbers::new(settings))),
            integer if integer.is_integer() => ("integer", Values::Integers(Numbers::new(settings))),
            DataType::Decimal32(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal128(_, scale) => ("decimal", Values::Decimals(Numbers::new(settings), *scale)),
            DataType::Decimal256(_, scale) => {
                ("decimal", Values::WideDecimals(Numbers::new(settings), *scale))
            }
            number if number.is_numeric() => ("number", Values::Floats(Numbers::new(settings))),
            DataType::Date32 | DataType::Date64 => ("date", Values::Dates(Numbers::new(settings))),
            DataType::Timestamp(unit, _) => {
                ("timestamp", Values::Timestamps(Numbers::new(settings), (*unit).max(TimeUnit::Microsecond)))
            }
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
            Values::Integers(numbers) => add_as::<Int64Type>(numbers, array, &DataType::Int64)?,
            Values::Unsigned(numbers) => add_as::<UInt64Type>(numbers, array, &DataType::UInt64)?,
            Values::Floats(numbers) => add_as::<Float64Type>(numbers, array, &DataType::Float64)?,
            Values::Decimals(numbers, scale) => {
                let widest = DataType::Decimal128(Decimal128Type::MAX_PRECISION, *scale);
                add_as::<Decimal128Type>(numbers, array, &widest)?;
            }
            Values::WideDecimals(numbers, _) => add_as::<Decimal256Type>(numbers, array, array.data_type())?,
            Values::Dates(numbers) => {
                let days = cast(array, &DataType::Date32)?;
                add_as::<Int64Type>(numbers, &cast(&days, &DataType::Int32)?, &DataType::Int64)?;
            }
            Values::Timestamps(numbers, unit) => {
                let zone = match array.data_type() {
                    DataType::Timestamp(_, zone) => zone.clone(),
                    _ => None,
                };
                let times = cast(array, &DataType::Timestamp(*unit, zone))?;
                add_as::<Int64Type>(numbers, &times, &DataType::Int64)?;
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
            Values::Integers(numbers) => {
                description.of_numbers(&numbers, settings, identity, i64::to_string);
            }
            Values::Unsigned(numbers) => {
                description.of_numbers(&numbers, settings, identity, u64::to_string);
            }
            Values::Floats(numbers) => description.of_numbers(&numbers, settings, identity, f64::to_string),
            Values::Decimals(numbers, scale) => {
                description.of_decimals::<Decimal128Type>(&numbers, settings, scale);
            }
            Values::WideDecimals(numbers, scale) => {
                description.of_decimals::<Decimal256Type>(&numbers, settings, scale);
            }
            Values::Dates(numbers) => {
                description.of_numbers(&numbers, settings, |days| days * 86_400.0, date_text);
            }
            Values::Timestamps(numbers, TimeUnit::Nanosecond) => {
                description.of_numbers(&numbers, settings, |nanos| nanos / 1e9, nanosecond_text);
            }
            Values::Timestamps(numbers, _) => {
                description.of_numbers(&numbers, settings, |micros| micros / 1e6, timestamp_text);
            }
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

/// Adds the values as those of another type, which holds them all.
fn add_as<T>(
    numbers: &mut Numbers<T::Native>,
    array: &ArrayRef,
    data_type: &DataType,
) -> Result<(), ArrowError>
where
    T: ArrowPrimitiveType,
    T::Native: Number,
{
    let array = cast(array, data_type)?;
    let values: &PrimitiveArray<T> = array.as_primitive();
    if values.null_count() == 0 {
        numbers.add(values.values().iter().copied());
    } else {
        numbers.add(values.iter().flatten());
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

    fn of_decimals<T>(&mut self, numbers: &Numbers<T::Native>, settings: Settings, scale: i8)
    where
        T: DecimalType,
        T::Native: Number,
    {
        let unit = 10_f64.powi(i32::from(scale));
        let text = |value: &T::Native| T::format_decimal(*value, T::MAX_PRECISION, scale);
        self.of_numbers(numbers, settings, |value| value / unit, text);
    }

    /// `scaled` turns the stored numbers into those of the statistics.
    fn of_numbers<N: Number>(
        &mut self,
        numbers: &Numbers<N>,
        settings: Settings,
        scaled: impl Fn(f64) -> f64,
        text: impl Fn(&N) -> String,
    ) {
        self.distinct = Some(numbers.frequencies.distinct());
        self.approximate = !numbers.frequencies.is_exact();
        if let Some((least, most)) = numbers.range() {
            self.minimum = Some(text(&least));
            self.maximum = Some(text(&most));
        }
        self.statistics = numbers.statistics(settings.histogram_bins).map(|mut statistics| {
            statistics.mean = scaled(statistics.mean);
            statistics.standard_deviation = statistics.standard_deviation.map(&scaled);
            statistics.quantiles = statistics.quantiles.map(&scaled);
            for bin in &mut statistics.histogram {
                bin.lower = scaled(bin.lower);
                bin.upper = scaled(bin.upper);
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "given as a function of a reference")]
fn nanosecond_text(nanoseconds: &i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(*nanoseconds))
        .map_or_else(|_| format!("{nanoseconds} ns since 1970"), |time| time.to_string())
}
