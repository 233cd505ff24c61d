//! What analyses are made of, as the API describes and checks it.
//!
//! Charts, profiles and options of sources are those of an AnalysisJob. Their
//! schemas and rules are taken from its definition, so that there is one of each.

use std::sync::LazyLock;

use crds::analysis::AnalysisSpecification;
use datafusion::arrow::datatypes::{DataType, Schema};
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ColumnDescription {
    /// Its name.
    #[schema(example = "departure")]
    pub name: String,
    /// Type of its values: `boolean`, `integer`, `number`, `decimal`, `string`, `date`, `timestamp`, `time`,
    /// `binary`, `list`, `struct` or `map`.
    #[serde(rename = "type")]
    #[schema(example = "timestamp")]
    pub column_type: String,
}

/// The columns of a schema.
#[must_use]
pub fn describe(schema: &Schema) -> Vec<ColumnDescription> {
    let describe = |field: &datafusion::arrow::datatypes::FieldRef| ColumnDescription {
        name: field.name().clone(),
        column_type: type_name(field.data_type()).to_owned(),
    };
    schema.fields().iter().map(describe).collect()
}

fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "boolean",
        integer if integer.is_integer() => "integer",
        decimal if decimal.is_decimal() => "decimal",
        number if number.is_numeric() => "number",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Timestamp(..) => "timestamp",
        DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) | DataType::Interval(_) => "time",
        DataType::Struct(_) => "struct",
        DataType::Map(..) => "map",
        nested if nested.is_nested() => "list",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "binary"
        }
        _ => "string",
    }
}

/// The schema of the `spec` of an AnalysisJob.
static SPEC: LazyLock<Value> = LazyLock::new(|| {
    let definition = crds::definitions::all()
        .into_iter()
        .find(|definition| definition.spec.names.kind == "AnalysisJob")
        .and_then(|definition| serde_json::to_value(definition).ok())
        .unwrap_or_default();
    definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").cloned().unwrap_or_default()
});

pub(in crate::serve) fn charts() -> RefOr<utoipa::openapi::Schema> {
    part("/properties/charts")
}

pub(in crate::serve) fn profile() -> RefOr<utoipa::openapi::Schema> {
    part("/properties/profile")
}

pub(in crate::serve) fn source_name() -> RefOr<utoipa::openapi::Schema> {
    part("/properties/sources/items/properties/name")
}

pub(in crate::serve) fn source_format() -> RefOr<utoipa::openapi::Schema> {
    part("/properties/sources/items/properties/format")
}

pub(in crate::serve) fn inline() -> RefOr<utoipa::openapi::Schema> {
    part("/properties/sources/items/properties/inline")
}

pub(in crate::serve) fn sql() -> RefOr<utoipa::openapi::Schema> {
    part("/properties/sql")
}

pub(in crate::serve) fn csv_options() -> RefOr<utoipa::openapi::Schema> {
    part("/properties/sources/items/properties/csv")
}

pub(in crate::serve) fn json_lines_options() -> RefOr<utoipa::openapi::Schema> {
    part("/properties/sources/items/properties/jsonLines")
}

pub(in crate::serve) fn columns() -> RefOr<utoipa::openapi::Schema> {
    part("/properties/sources/items/properties/columns")
}

fn part(pointer: &str) -> RefOr<utoipa::openapi::Schema> {
    let mut schema = SPEC.pointer(pointer).cloned().unwrap_or_default();
    without_kubernetes(&mut schema);
    serde_json::from_value(schema).unwrap_or_default()
}

/// Takes out what only an API server of Kubernetes understands, and says in the
/// words of today's JSON Schema what may be `null`.
fn without_kubernetes(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.retain(|name, _| !name.starts_with("x-kubernetes-"));
            if members.remove("nullable") == Some(Value::Bool(true)) {
                or_null(members);
            }
            members.values_mut().for_each(without_kubernetes);
        }
        Value::Array(items) => items.iter_mut().for_each(without_kubernetes),
        _ => {}
    }
}

/// `nullable` is of OpenAPI 3.0; since 3.1 `null` is a type.
fn or_null(schema: &mut serde_json::Map<String, Value>) {
    if let Some(of_type @ Value::String(_)) = schema.get_mut("type") {
        *of_type = json!([of_type.take(), "null"]);
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum")
        && !values.contains(&Value::Null)
    {
        values.push(Value::Null);
    }
}

/// Checks a specification as an API server would check that of an AnalysisJob.
///
/// # Errors
/// What is wrong with it, each with the path of its field.
pub fn check(specification: &AnalysisSpecification) -> Result<(), Vec<String>> {
    let mut spec = serde_json::to_value(specification).map_err(|error| vec![error.to_string()])?;
    // There the charts are written to the output; here they always are.
    spec["output"] = json!({ "format": "parquet", "configMap": {} });
    let mut problems = Vec::new();
    check_bounds(&SPEC, &spec, "", &mut problems);
    let job = json!({
        "apiVersion": "aisaas.dev/v1alpha1",
        "kind": "AnalysisJob",
        "metadata": { "name": "analysis" },
        "spec": spec,
    });
    if let Err(broken) = crds::rules::check_analysis_job_value(&job, None) {
        problems.extend(broken.iter().map(|problem| field_first(problem)));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// A broken rule without the part of its path that is not of this API.
fn field_first(problem: &str) -> String {
    problem.strip_prefix("spec.").or_else(|| problem.strip_prefix("spec: ")).unwrap_or(problem).to_owned()
}

/// Bounds and patterns, which the API server of Kubernetes checks by itself.
fn check_bounds(schema: &Value, value: &Value, path: &str, problems: &mut Vec<String>) {
    let bound = |name: &str| schema[name].as_f64();
    let is_within = |least: &str, most: &str, actual: f64| {
        bound(least).is_none_or(|least| actual >= least) && bound(most).is_none_or(|most| actual <= most)
    };
    let mut range = |least: &str, most: &str, actual: f64, what: &str| {
        if !is_within(least, most, actual) {
            let least = bound(least).unwrap_or_default();
            let most = bound(most).map_or_else(|| "any number".to_owned(), |most| most.to_string());
            problems.push(format!("{path}: from {least} to {most} {what}are accepted, not {actual}"));
        }
    };
    match value {
        Value::String(text) => {
            range("minLength", "maxLength", count(text.chars().count()), "characters ");
            let pattern = schema["pattern"].as_str();
            if let Some(pattern) = pattern
                && !Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
            {
                problems.push(format!("{path}: does not match `{pattern}`"));
            }
        }
        Value::Number(number) => {
            range("minimum", "maximum", number.as_f64().unwrap_or_default(), "");
        }
        Value::Array(items) => {
            range("minItems", "maxItems", count(items.len()), "items ");
            for (index, item) in items.iter().enumerate() {
                check_bounds(&schema["items"], item, &format!("{path}[{index}]"), problems);
            }
        }
        Value::Object(members) => {
            let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
            for (name, member) in members {
                check_bounds(&schema["properties"][name], member, &format!("{prefix}{name}"), problems);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

#[expect(clippy::cast_precision_loss, reason = "no text or list of a request is that long")]
fn count(items: usize) -> f64 {
    items as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut specification = json!({
            "sources": [{"name": "t", "format": "csv", "inline": "a\n1\n"}],
            "sql": "SELECT a FROM t",
            "charts": [{
                "name": "c", "mark": "bar",
                "encoding": {"xAxis": {"field": "a"}, "yAxis": {"field": "a"}}
            }]
        });
        change(&mut specification);
        let specification: AnalysisSpecification =
            serde_json::from_value(specification).expect("specification");
        check(&specification).err().unwrap_or_default()
    }

    #[test]
    fn what_an_analysis_job_may_be_is_accepted() {
        assert_eq!(problems(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn bounds_and_patterns_hold() {
        assert_eq!(
            problems(|specification| specification["charts"][0]["name"] = json!("../up")),
            ["charts[0].name: does not match `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`"]
        );
        assert_eq!(
            problems(|specification| specification["charts"][0]["width"] = json!(99)),
            ["charts[0].width: from 100 to 4000 are accepted, not 99"]
        );
        assert_eq!(
            problems(|specification| specification["sql"] = json!("")),
            ["sql: from 1 to 32768 characters are accepted, not 0"]
        );
        let many: Vec<Value> = (0..17)
            .map(|index| json!({"name": format!("t{index}"), "format": "csv", "inline": "a"}))
            .collect();
        assert_eq!(
            problems(|specification| specification["sources"] = json!(many)),
            ["sources: from 1 to 16 items are accepted, not 17"]
        );
    }

    #[test]
    fn the_rules_hold() {
        assert_eq!(
            problems(|specification| specification["charts"][0]["mark"] = json!("rect")),
            ["charts[0]: the mark `rect` shows its value by colour: give `encoding.color`"]
        );
        let both = problems(|specification| specification["profile"] = json!({"source": "t"}));
        assert!(both.contains(&"give exactly one of `sql` and `profile`".to_owned()), "{both:?}");
    }

    #[test]
    fn the_schemas_are_those_of_the_definition() {
        let charts = serde_json::to_value(charts()).expect("schema");
        assert_eq!(charts["maxItems"], 16);
        let name = &charts["items"]["properties"]["name"];
        assert_eq!(name["pattern"], "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$");
        assert_eq!(charts["items"]["properties"]["mark"]["enum"][0], "bar");
        assert!(!charts.to_string().contains("kubernetes"));
        let query = serde_json::to_value(sql()).expect("schema");
        assert_eq!(query["type"], json!(["string", "null"]));
        assert!(query["nullable"].is_null());
        for schema in [profile(), source_name(), source_format(), inline(), sql(), csv_options(), columns()] {
            let schema = serde_json::to_value(schema).expect("schema");
            assert!(schema["description"].is_string(), "{schema}");
        }
    }
}
