//! Values of text as values of their columns' types: exactly, or not at all.

use std::sync::Arc;

use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray, PrimitiveBuilder, StructArray};
use datafusion::arrow::compute::kernels::cast_utils::{Parser, string_to_datetime};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, FieldRef, Float64Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampNanosecondType,
};
use datafusion::arrow::error::ArrowError;

const DAY_MICROSECONDS: i64 = 24 * 60 * 60 * 1_000_000;
/// Digits of a second.
const MICROSECOND_DIGITS: usize = 6;
const NANOSECOND_DIGITS: usize = 9;

/// The column as the decoder of JSON is to read it.
///
/// The decoder casts numbers: 1.99 becomes 1 in a column of whole numbers, and
/// any number a point in time. So it reads what is written, for [`typed`].
pub(super) fn written(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Int64
        | DataType::Float64
        | DataType::Decimal128(..)
        | DataType::Date32
        | DataType::Timestamp(..) => DataType::Utf8,
        DataType::List(item) => DataType::List(written(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(written).collect()),
        _ => return Arc::clone(field),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// The column as the decoder of CSV is to read it. Of points in time, it drops
/// the digits that their type has no room for.
pub(super) fn written_in_csv(field: &FieldRef) -> FieldRef {
    match field.data_type() {
        DataType::Timestamp(..) => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
        _ => Arc::clone(field),
    }
}

/// A column that was read as [`written`] or [`written_in_csv`], with the values that it is to have.
///
/// # Errors
/// If a value is not of the type.
pub(super) fn typed(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == data_type {
        return Ok(Arc::clone(column));
    }
    match data_type {
        DataType::List(item) => {
            let list = column.as_list::<i32>();
            let values = typed(list.values(), item.data_type())?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, nulls)?))
        }
        DataType::Struct(fields) => {
            let parent = column.as_struct();
            let columns = parent.columns().iter().zip(fields);
            let columns = columns
                .map(|(column, field)| typed(column, field.data_type()))
                .collect::<Result<Vec<_>, ArrowError>>()?;
            Ok(Arc::new(StructArray::try_new(fields.clone(), columns, parent.nulls().cloned())?))
        }
        DataType::Int64 => parsed::<Int64Type>(column, data_type, integer),
        DataType::Float64 => parsed::<Float64Type>(column, data_type, number),
        DataType::Decimal128(precision, scale) => {
            parsed::<Decimal128Type>(column, data_type, |text| decimal(text, *precision, *scale))
        }
        DataType::Date32 => {
            let utc: Tz = "+00:00".parse()?;
            parsed::<Date32Type>(column, data_type, |text| date(text, &utc))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let utc: Tz = "+00:00".parse()?;
            parsed::<TimestampNanosecondType>(column, data_type, |text| nanoseconds(text, &utc))
        }
        DataType::Timestamp(..) => {
            let utc: Tz = "+00:00".parse()?;
            parsed::<TimestampMicrosecondType>(column, data_type, |text| microseconds(text, &utc))
        }
        other => Err(ArrowError::NotYetImplemented(format!("{other} in JSON"))),
    }
}

fn parsed<T: ArrowPrimitiveType>(
    column: &ArrayRef,
    data_type: &DataType,
    parse: impl Fn(&str) -> Option<T::Native>,
) -> Result<ArrayRef, ArrowError> {
    let texts = column.as_string::<i32>();
    let mut values = PrimitiveBuilder::<T>::with_capacity(texts.len()).with_data_type(data_type.clone());
    for text in texts {
        let Some(text) = text else {
            values.append_null();
            continue;
        };
        let value = parse(text);
        values.append_value(
            value
                .ok_or_else(|| ArrowError::ParseError(format!("`{text}` is not of the type {data_type}")))?,
        );
    }
    Ok(Arc::new(values.finish()))
}

/// Whether a text has a zero before its digits, as codes have, but no number.
pub(super) fn has_leading_zero(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    matches!(digits.as_bytes(), [b'0', b'0'..=b'9', ..])
}

fn integer(text: &str) -> Option<i64> {
    if has_leading_zero(text) {
        return None;
    }
    text.parse().ok().or_else(|| i64::try_from(scaled(text, 0)?).ok())
}

fn number(text: &str) -> Option<f64> {
    let value = Float64Type::parse(text).filter(|_| !has_leading_zero(text))?;
    // Digits that are infinite are a number beyond the range; `inf` is a value.
    (value.is_finite() || !text.bytes().any(|byte| byte.is_ascii_digit())).then_some(value)
}

fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let limit = 10_u128.checked_pow(precision.into())?;
    scaled(text, scale.into()).filter(|value| value.unsigned_abs() < limit)
}

/// A number times ten to the power of `scale`, if that is whole.
fn scaled(text: &str, scale: i32) -> Option<i128> {
    let (sign, number) = text.strip_prefix('-').map_or((1, text), |number| (-1, number));
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty() {
        return None;
    }
    let mut value = 0_i128;
    for byte in whole.bytes().chain(fraction.bytes()) {
        let digit = byte.is_ascii_digit().then(|| i128::from(byte - b'0'))?;
        value = value.checked_mul(10)?.checked_add(digit)?;
    }
    if value == 0 {
        return Some(0);
    }
    let places = scale.checked_add(exponent)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let power = 10_i128.checked_pow(places.unsigned_abs())?;
    let value = if places >= 0 { value.checked_mul(power)? } else { exact_quotient(value, power)? };
    Some(sign * value)
}

fn exact_quotient(value: i128, divisor: i128) -> Option<i128> {
    (value % divisor == 0).then(|| value / divisor)
}

/// Days since 1970.
fn date(text: &str, utc: &Tz) -> Option<i32> {
    // Digits alone are a number, whatever date they may look like.
    let days = Date32Type::parse(text).filter(|_| text.contains('-'))?;
    // The parser takes points in time, too, and drops the time of day.
    let is_date = text.len() <= 10
        || string_to_datetime(utc, text).ok().is_none_or(|time| {
            time.timestamp_micros() == i64::from(days) * DAY_MICROSECONDS
                && !is_finer(text, MICROSECOND_DIGITS)
        });
    is_date.then_some(days)
}

/// Microseconds since 1970.
fn microseconds(text: &str, utc: &Tz) -> Option<i64> {
    let time = string_to_datetime(utc, text).ok()?;
    (!is_finer(text, MICROSECOND_DIGITS)).then(|| time.timestamp_micros())
}

/// Nanoseconds since 1970, which are of the years 1677 to 2262.
fn nanoseconds(text: &str, utc: &Tz) -> Option<i64> {
    let time = string_to_datetime(utc, text).ok()?;
    if is_finer(text, NANOSECOND_DIGITS) { None } else { time.timestamp_nanos_opt() }
}

/// Whether a point in time has more digits of a second than so many, which the
/// parser drops.
fn is_finer(text: &str, digits: usize) -> bool {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    fraction.bytes().take_while(u8::is_ascii_digit).skip(digits).any(|digit| digit != b'0')
}

/// Whether a text is a value of a column of points in time.
pub(super) fn is_timestamp(text: &str, unit: TimeUnit) -> bool {
    let Ok(utc) = "+00:00".parse::<Tz>() else { return false };
    let time = if unit == TimeUnit::Nanosecond { nanoseconds(text, &utc) } else { microseconds(text, &utc) };
    time.is_some()
}

/// What is wrong with a value of a column of points in time, if that is that it
/// is too fine.
pub(super) fn too_fine(column: &str, value: &str, data_type: &DataType) -> Option<String> {
    let DataType::Timestamp(TimeUnit::Microsecond, _) = data_type else { return None };
    let utc: Tz = "+00:00".parse().ok()?;
    let is_time = string_to_datetime(&utc, value).is_ok();
    (is_time && is_finer(value, MICROSECOND_DIGITS)).then(|| {
        format!(
            "column `{column}` has the value `{value}`, but its points in time (timestamp) have no more than \
             microseconds. Make it a string under `columns`, and convert it in the query, for example with \
             to_timestamp_nanos"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact() {
        let cases = [
            ("12", Some(12)),
            ("-0", Some(0)),
            ("1.0", Some(1)),
            ("1e3", Some(1000)),
            ("-12.50e1", Some(-125)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("9007199254740993.0", Some(9_007_199_254_740_993)),
            ("1.99", None),
            ("1.00000000000000000001", None),
            ("1e-1", None),
            ("1e99999999999", None),
            ("007", None),
            ("true", None),
            ("", None),
            ("-", None),
        ];
        for (text, value) in cases {
            assert_eq!(integer(text), value, "{text}");
        }
    }

    #[test]
    fn decimals_are_exact() {
        let cases = [
            ("0.1", Some(1_000_000_000)),
            ("-1e-7", Some(-1000)),
            ("0e-99999", Some(0)),
            ("1.12345678900", Some(11_234_567_890)),
            ("1.12345678901", None),
            (
                "1234567890123456789012345678.0123456789",
                Some(12_345_678_901_234_567_890_123_456_780_123_456_789),
            ),
            ("12345678901234567890123456789", None),
            ("1e28", None),
            ("1e", None),
        ];
        for (text, value) in cases {
            assert_eq!(decimal(text, 38, 10), value, "{text}");
        }
    }

    #[test]
    fn numbers_are_finite_unless_they_say_otherwise() {
        assert_eq!(number("1.50"), Some(1.5));
        assert_eq!(number("inf"), Some(f64::INFINITY));
        assert_eq!(number("1e999"), None);
        assert_eq!(number("01.5"), None);
    }

    #[test]
    fn numbers_are_no_dates() {
        let utc: Tz = "+00:00".parse().expect("zone");
        assert_eq!(date("1970-01-02", &utc), Some(1));
        assert_eq!(date("1970-01-02T00:00:00Z", &utc), Some(1));
        assert_eq!(date("1970-01-02T05:00:00Z", &utc), None);
        assert_eq!(date("20240101", &utc), None);
        assert_eq!(date("1970-01-02T00:00:00.0000001Z", &utc), None);
        assert_eq!(microseconds("1970-01-01T00:00:01Z", &utc), Some(1_000_000));
        for text in ["1704067200", "1704067200000", "1704067200.5", "20240101"] {
            assert_eq!(microseconds(text, &utc), None, "{text}");
        }
    }

    #[test]
    fn points_in_time_lose_no_digits() {
        let utc: Tz = "+00:00".parse().expect("zone");
        let cases = [
            ("1970-01-01T00:00:00.123456Z", Some(123_456), Some(123_456_000)),
            ("1970-01-01T00:00:00.123456000000Z", Some(123_456), Some(123_456_000)),
            ("1970-01-01 00:00:00.123456001", None, Some(123_456_001)),
            ("1970-01-01T01:00:00.000000001+01:00", None, Some(1)),
            ("1970-01-01T00:00:00.0000000001Z", None, None),
            ("9999-12-31T00:00:00Z", Some(253_402_214_400_000_000), None),
        ];
        for (text, micros, nanos) in cases {
            assert_eq!((microseconds(text, &utc), nanoseconds(text, &utc)), (micros, nanos), "{text}");
            assert_eq!(is_timestamp(text, TimeUnit::Microsecond), micros.is_some(), "{text}");
        }
    }
}
