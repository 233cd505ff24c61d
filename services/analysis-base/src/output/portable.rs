use std::collections::HashSet;
use std::sync::Arc;

use crds::analysis::OutputFormat;
use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, StringArray, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::writer::{LineDelimited, WriterBuilder};

/// Turns the engine's types into those that every reader of a format knows.
#[derive(Clone, Debug)]
pub struct Portable {
    schema: SchemaRef,
    nested_as_text: bool,
}

impl Portable {
    /// For results of this schema. CSV has no nested values: they become JSON text.
    #[must_use]
    pub fn new(schema: &Schema, format: OutputFormat) -> Self {
        let nested_as_text = format == OutputFormat::Csv;
        let mut fields: Vec<Field> = Vec::with_capacity(schema.fields().len());
        let mut names = HashSet::new();
        for field in schema.fields() {
            let data_type = match field.data_type() {
                nested if nested_as_text && nested.is_nested() => DataType::Utf8,
                other => portable_type(other),
            };
            // A join of tables may give two columns of one name, which most
            // formats cannot hold.
            let mut name = field.name().clone();
            let mut number = 2;
            while !names.insert(name.clone()) {
                name = format!("{}_{number}", field.name());
                number += 1;
            }
            fields.push(Field::new(name, data_type, true));
        }
        Self { schema: Arc::new(Schema::new(fields)), nested_as_text }
    }

    /// The schema of what [`Portable::convert`] gives.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The same rows in portable types.
    ///
    /// # Errors
    /// If a value cannot be converted.
    pub fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        if self.schema.fields().is_empty() {
            return Ok(batch.clone());
        }
        let columns = batch
            .columns()
            .iter()
            .zip(self.schema.fields())
            .map(|(column, field)| {
                if column.data_type() == field.data_type() {
                    Ok(Arc::clone(column))
                } else if self.nested_as_text && column.data_type().is_nested() {
                    as_json_text(column)
                } else {
                    cast(column, field.data_type())
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
}

fn portable_type(data_type: &DataType) -> DataType {
    let inner = |field: &FieldRef| {
        Arc::new(Field::new(field.name(), portable_type(field.data_type()), field.is_nullable()))
    };
    match data_type {
        // A column of nothing but NULL: text, since some formats have no such type.
        DataType::Utf8View | DataType::Null => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::List(field) | DataType::ListView(field) => DataType::List(inner(field)),
        DataType::LargeList(field) | DataType::LargeListView(field) => DataType::LargeList(inner(field)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect::<Fields>()),
        DataType::Dictionary(_, values) => portable_type(values),
        other => other.clone(),
    }
}

/// Nested values as JSON, one text for each row.
fn as_json_text(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if column.is_empty() {
        return Ok(Arc::new(StringArray::from(Vec::<Option<&str>>::new())));
    }
    const PREFIX: &[u8] = b"{\"v\":";
    let schema = Schema::new(vec![Field::new("v", column.data_type().clone(), true)]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::clone(column)])?;
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(&batch)?;
    writer.finish()?;
    // JSON escapes line breaks, so that a line is a row.
    let bytes = writer.into_inner();
    let mut text = StringBuilder::with_capacity(column.len(), bytes.len());
    for (row, line) in bytes.split(|byte| *byte == b'\n').take(column.len()).enumerate() {
        let value = line.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(b"}")).unwrap_or(line);
        if column.is_null(row) {
            text.append_null();
        } else {
            text.append_value(String::from_utf8_lossy(value));
        }
    }
    Ok(Arc::new(text.finish()))
}
