//! Parts of specifications, said in few words.

use serde_json::{Value, json};

/// A source with inline CSV.
#[must_use]
pub fn inline_csv(name: &str, text: &str) -> Value {
    json!({ "name": name, "format": "csv", "inline": text })
}

/// A source with a file from a web server.
#[must_use]
pub fn csv_at(name: &str, url: &str) -> Value {
    json!({ "name": name, "format": "csv", "uri": { "url": url } })
}

/// A query over one source.
#[must_use]
pub fn query(source: Value, sql: &str) -> Value {
    json!({ "sources": vec![source], "sql": sql })
}

/// The same specification with further fields.
#[must_use]
pub fn with(mut specification: Value, fields: Value) -> Value {
    if let (Some(specification), Value::Object(fields)) = (specification.as_object_mut(), fields) {
        specification.extend(fields);
    }
    specification
}

/// A result in the ConfigMap of the AnalysisJob, in a format.
#[must_use]
pub fn to_config_map(format: &str) -> Value {
    json!({ "output": { "format": format, "configMap": {} } })
}

/// A small pod, of which many fit onto a small node.
#[must_use]
pub fn small_workload() -> Value {
    let resources = json!({
        "requests": { "cpu": "10m", "memory": "64Mi" },
        "limits": { "cpu": "1", "memory": "256Mi" },
    });
    json!({ "workload": { "resources": resources } })
}

/// A source with the whole numbers from 1 to `count`, in the column `n`.
#[must_use]
pub fn numbers(count: u32) -> Value {
    let mut text = "n\n".to_owned();
    for number in 1..=count {
        text.push_str(&format!("{number}\n"));
    }
    inline_csv("numbers", &text)
}
