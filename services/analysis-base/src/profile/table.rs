//! The profile as a table. Its columns are part of the contract with users.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Float64Builder, Int64Array, ListArray, MapBuilder, RecordBatch,
    StringArray, StringBuilder, StructArray,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, Fields};
use datafusion::arrow::error::ArrowError;

use super::column::Description;
use super::correlation::Correlations;
use super::number::Statistics;

/// A row for each column of the source:
///
/// | column | type | meaning |
/// |---|---|---|
/// | `column`, `type` | text | name, and type in the words of the specification |
/// | `count`, `nulls`, `distinct` | integer | rows, missing values, different values |
/// | `approximate` | boolean | whether distinct, quantiles, histogram and top values are estimates |
/// | `minimum`, `maximum` | text | in the notation of the type; exact |
/// | `mean`, `standard_deviation` | number | of a date or timestamp: seconds (since 1970) |
/// | `quantiles` | struct of numbers | `p05`, `p25`, `p50`, `p75`, `p95` |
/// | `histogram` | list of structs | `lower`, `upper`, `count` |
/// | `top_values` | list of structs | `value` (text, exact as `minimum` is), `count` |
/// | `correlations` | map | name of another column with numbers → Pearson's coefficient; only of the first 200 columns with numbers |
///
/// What is of the type `number` is in double precision: of integers beyond
/// 2^53 and of long decimals it is the nearest.
pub(super) fn build(
    descriptions: &[Description],
    names: &[&str],
    correlations: &Correlations,
) -> Result<RecordBatch, ArrowError> {
    let of_each = |part: fn(&Description) -> Option<u64>| -> ArrayRef {
        Arc::new(descriptions.iter().map(|one| part(one).map(number)).collect::<Int64Array>())
    };
    let statistic = |part: fn(&Statistics) -> Option<f64>| -> ArrayRef {
        let values = descriptions.iter().map(|one| one.statistics.as_ref().and_then(part));
        Arc::new(values.collect::<Float64Array>())
    };
    let text = |part: fn(&Description) -> Option<&str>| -> ArrayRef {
        Arc::new(descriptions.iter().map(part).collect::<StringArray>())
    };
    let approximate: BooleanArray = descriptions.iter().map(|one| Some(one.approximate)).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("column", Arc::new(StringArray::from(names.to_vec())) as ArrayRef, false),
        ("type", text(|one| Some(one.kind)), false),
        ("count", of_each(|one| Some(one.count)), false),
        ("nulls", of_each(|one| Some(one.nulls)), false),
        ("distinct", of_each(|one| one.distinct), true),
        ("approximate", Arc::new(approximate), false),
        ("minimum", text(|one| one.minimum.as_deref()), true),
        ("maximum", text(|one| one.maximum.as_deref()), true),
        ("mean", statistic(|one| Some(one.mean)), true),
        ("standard_deviation", statistic(|one| one.standard_deviation), true),
        ("quantiles", quantiles(descriptions), true),
        ("histogram", histograms(descriptions)?, true),
        ("top_values", top_values(descriptions)?, true),
        ("correlations", correlation_maps(names, correlations)?, true),
    ])
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn quantiles(descriptions: &[Description]) -> ArrayRef {
    let names = ["p05", "p25", "p50", "p75", "p95"];
    let fields: Fields = names.iter().map(|name| Field::new(*name, DataType::Float64, true)).collect();
    let columns = (0..names.len())
        .map(|index| {
            let values =
                descriptions.iter().map(|one| one.statistics.as_ref().map(|found| found.quantiles[index]));
            Arc::new(values.collect::<Float64Array>()) as ArrayRef
        })
        .collect();
    let present = descriptions.iter().map(|one| one.statistics.is_some()).collect();
    Arc::new(StructArray::new(fields, columns, Some(present)))
}

fn histograms(descriptions: &[Description]) -> Result<ArrayRef, ArrowError> {
    let bins: Vec<_> =
        descriptions.iter().flat_map(|one| &one.statistics).flat_map(|one| &one.histogram).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("lower", Arc::new(bins.iter().map(|bin| Some(bin.lower)).collect::<Float64Array>())),
        ("upper", Arc::new(bins.iter().map(|bin| Some(bin.upper)).collect::<Float64Array>())),
        ("count", Arc::new(bins.iter().map(|bin| Some(number(bin.count))).collect::<Int64Array>())),
    ];
    let lengths = descriptions.iter().map(|one| one.statistics.as_ref().map(|found| found.histogram.len()));
    list_of_structs(columns, lengths)
}

fn top_values(descriptions: &[Description]) -> Result<ArrayRef, ArrowError> {
    let values: Vec<_> = descriptions.iter().flat_map(|one| &one.top_values).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("value", Arc::new(values.iter().map(|(value, _)| Some(value.as_str())).collect::<StringArray>())),
        ("count", Arc::new(values.iter().map(|(_, count)| Some(number(*count))).collect::<Int64Array>())),
    ];
    let lengths = descriptions.iter().map(|one| one.distinct.map(|_| one.top_values.len()));
    list_of_structs(columns, lengths)
}

fn list_of_structs(
    columns: Vec<(&str, ArrayRef)>,
    lengths: impl Iterator<Item = Option<usize>> + Clone,
) -> Result<ArrayRef, ArrowError> {
    let fields: Fields =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), false)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let structs = StructArray::try_new(fields, columns, None)?;
    let item = Arc::new(Field::new("item", DataType::Struct(structs.fields().clone()), false));
    let offsets = OffsetBuffer::from_lengths(lengths.clone().map(Option::unwrap_or_default));
    let present = lengths.map(|length| length.is_some()).collect();
    Ok(Arc::new(ListArray::try_new(item, offsets, Arc::new(structs), Some(present))?))
}

fn correlation_maps(names: &[&str], correlations: &Correlations) -> Result<ArrayRef, ArrowError> {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
    for found in correlations.of_each(names.len()) {
        for (other, coefficient) in &found {
            maps.keys().append_value(names[*other]);
            maps.values().append_value(*coefficient);
        }
        maps.append(!found.is_empty())?;
    }
    Ok(Arc::new(maps.finish()))
}
