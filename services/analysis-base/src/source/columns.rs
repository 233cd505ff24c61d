//! The columns that the files of a source have together.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};

/// The columns of all files: by name, in the order in which they come.
#[derive(Debug, Default)]
pub(super) struct Columns {
    fields: Vec<Field>,
    /// By name: the place in `fields`, and the first file that has the column.
    places: HashMap<String, (usize, String)>,
    last: Option<SchemaRef>,
    differ: bool,
}

impl Columns {
    /// Adds the columns of a file.
    ///
    /// # Errors
    /// What is wrong if a column has another type than in an earlier file, and
    /// no type holds the values of both exactly.
    pub(super) fn add(&mut self, file: &str, schema: &SchemaRef) -> Result<(), String> {
        if let Some(last) = self.last.replace(Arc::clone(schema)) {
            if last.fields() == schema.fields() {
                return Ok(());
            }
            self.differ = true;
        }
        for field in schema.fields() {
            let Some((place, first)) = self.places.get(field.name()) else {
                self.places.insert(field.name().clone(), (self.fields.len(), file.to_owned()));
                self.fields.push(field.as_ref().clone());
                continue;
            };
            let known = &mut self.fields[*place];
            let Some(data_type) = common_type(known.data_type(), field.data_type()) else {
                return Err(format!(
                    "column `{}` is of the type {} here, but {} in {first}. Write it with one type, or read \
                     the files as two sources and cast it in the query",
                    field.name(),
                    field.data_type(),
                    known.data_type()
                ));
            };
            known.set_data_type(data_type);
        }
        Ok(())
    }

    /// All columns. Where files differ, any of them may lack a column.
    pub(super) fn schema(self) -> SchemaRef {
        match self.last {
            Some(schema) if !self.differ => schema,
            _ => {
                let fields: Fields = self.fields.into_iter().map(|field| field.with_nullable(true)).collect();
                Arc::new(Schema::new(fields))
            }
        }
    }
}

/// The type that holds the values of both types exactly, if there is one.
fn common_type(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType::{
        Binary, BinaryView, Dictionary, LargeBinary, LargeUtf8, List, Null, Struct, Timestamp, Utf8, Utf8View,
    };
    if one == other {
        return Some(one.clone());
    }
    match (one, other) {
        (Null, known) | (known, Null) => Some(known.clone()),
        (Dictionary(_, values), known) | (known, Dictionary(_, values)) => common_type(values, known),
        (Utf8View, Utf8 | LargeUtf8) | (Utf8 | LargeUtf8, Utf8View) => Some(Utf8View),
        (Utf8, LargeUtf8) | (LargeUtf8, Utf8) => Some(LargeUtf8),
        (BinaryView, Binary | LargeBinary) | (Binary | LargeBinary, BinaryView) => Some(BinaryView),
        (Binary, LargeBinary) | (LargeBinary, Binary) => Some(LargeBinary),
        (Timestamp(unit, zone), Timestamp(other_unit, other_zone)) if zone == other_zone => {
            Some(Timestamp(*unit.max(other_unit), zone.clone()))
        }
        (List(item), List(other_item)) => Some(List(common_field(item, other_item)?)),
        (Struct(fields), Struct(other_fields)) => Some(Struct(common_fields(fields, other_fields)?)),
        _ => common_number(one, other),
    }
}

fn common_number(one: &DataType, other: &DataType) -> Option<DataType> {
    let width = |data_type: &DataType| data_type.primitive_width().unwrap_or(usize::MAX);
    let alike = (one.is_signed_integer() && other.is_signed_integer())
        || (one.is_unsigned_integer() && other.is_unsigned_integer())
        || (one.is_floating() && other.is_floating());
    if alike {
        return Some(if width(one) < width(other) { other.clone() } else { one.clone() });
    }
    // A file in which a value is missing often has numbers with a floating
    // point where the others have integers: pandas writes it so.
    if matches!((one, other), (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64)) {
        return Some(DataType::Float64);
    }
    // Every integer of 32 bits is exact in 64 bits, with a sign or with a floating point.
    let narrow = |data_type: &DataType| data_type.is_integer() && width(data_type) <= 4;
    let wide = |data_type: &DataType| match data_type {
        floating if floating.is_floating() => Some(DataType::Float64),
        integer if narrow(integer) || *integer == DataType::Int64 => Some(DataType::Int64),
        _ => None,
    };
    if narrow(one) {
        wide(other)
    } else if narrow(other) {
        wide(one)
    } else {
        None
    }
}

fn common_fields(ones: &Fields, others: &Fields) -> Option<Fields> {
    let nullable = |field: &FieldRef| Arc::new(field.as_ref().clone().with_nullable(true));
    let shared = ones.iter().map(|one| match others.find(one.name()) {
        Some((_, other)) => common_field(one, other),
        None => Some(nullable(one)),
    });
    let added = others.iter().filter(|other| ones.find(other.name()).is_none());
    shared.chain(added.map(|other| Some(nullable(other)))).collect()
}

fn common_field(one: &FieldRef, other: &FieldRef) -> Option<FieldRef> {
    let data_type = common_type(one.data_type(), other.data_type())?;
    Some(Arc::new(one.as_ref().clone().with_data_type(data_type).with_nullable(true)))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::DataType::{
        Boolean, Date32, Float32, Float64, Int8, Int32, Int64, LargeUtf8, UInt8, UInt32, UInt64, Utf8,
        Utf8View,
    };
    use datafusion::arrow::datatypes::TimeUnit;

    use super::*;

    #[test]
    fn types_that_hold_the_values_of_both_are_common() {
        let seconds = DataType::Timestamp(TimeUnit::Second, None);
        let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
        let dictionary = DataType::Dictionary(Box::new(Int8), Box::new(Utf8));
        let cases = [
            (Int32, Int64, Some(Int64)),
            (UInt32, Int8, Some(Int64)),
            (UInt8, UInt64, Some(UInt64)),
            (UInt64, Int64, None),
            (Float32, Float64, Some(Float64)),
            (Int32, Float32, Some(Float64)),
            (Int64, Float64, Some(Float64)),
            (Int64, Utf8, None),
            (Int64, Boolean, None),
            (Int32, Date32, None),
            (Utf8, LargeUtf8, Some(LargeUtf8)),
            (Utf8, Utf8View, Some(Utf8View)),
            (dictionary, Utf8, Some(Utf8)),
            (DataType::Null, Utf8, Some(Utf8)),
            (seconds, nanoseconds.clone(), Some(nanoseconds)),
        ];
        for (one, other, common) in cases {
            assert_eq!(common_type(&one, &other), common, "{one} and {other}");
            assert_eq!(common_type(&other, &one), common, "{other} and {one}");
        }
    }

    #[test]
    fn nested_fields_are_joined_by_name() {
        let list = |fields: Vec<Field>| DataType::new_list(DataType::Struct(fields.into()), false);
        let one = list(vec![Field::new("a", Int32, false)]);
        let other = list(vec![Field::new("b", Utf8, false), Field::new("a", Int64, false)]);
        let Some(DataType::List(item)) = common_type(&one, &other) else { unreachable!("no list") };
        let expected = vec![Field::new("a", Int64, true), Field::new("b", Utf8, true)];
        assert_eq!(*item.data_type(), DataType::Struct(expected.into()));
    }

    #[test]
    fn a_file_alone_keeps_its_schema() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", Int32, false)]));
        let mut columns = Columns::default();
        columns.add("1", &schema).expect("first");
        columns.add("2", &schema).expect("same");
        assert_eq!(columns.schema(), schema);
    }
}
