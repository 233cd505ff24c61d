//! JSON schemas of the Kubernetes API for kubeconform, made from the API's
//! description in the pinned Kubernetes module, because there is nowhere to
//! download them from.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use crate::cache;
use crate::go_modules;
use crate::process::Tool;

const PREFIX: &str = "#/definitions/";

/// The folder of schemas, made if it is not in the cache.
pub(crate) fn folder() -> Result<PathBuf> {
    let cache = cache::cache()?;
    let folder = cache.join("schemas").join(go_modules::KUBERNETES.key()?);
    if folder.is_dir() {
        return Ok(folder);
    }
    let partial = folder.with_extension("partial");
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).with_context(|| format!("creating {}", partial.display()))?;
    let module = Tool::new("go")
        .args(["list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"])
        .directory(&cache::repository()?.join("cluster/go/kubernetes"))
        .env("GOFLAGS", "-mod=mod")
        .env("GOTOOLCHAIN", "local")
        .output()?;
    let description = Path::new(module.trim()).join("api/openapi-spec/swagger.json");
    let content = fs::read(&description).with_context(|| format!("reading {}", description.display()))?;
    let mut description: Value =
        serde_json::from_slice(&content).context("parsing the description of the API")?;
    let mut definitions = match description["definitions"].take() {
        Value::Object(definitions) => definitions,
        _ => Map::new(),
    };
    for (name, definition) in &mut definitions {
        tighten(name, definition);
    }
    for (name, definition) in &definitions {
        for file in file_names(definition) {
            let schema = schema(name, &definitions);
            cache::write_atomically(&partial.join(file), &serde_json::to_vec(&schema)?)?;
        }
    }
    fs::rename(&partial, &folder).with_context(|| format!("moving {} into place", folder.display()))?;
    Ok(folder)
}

/// Says what the description leaves to the reader: which fields may be numbers
/// and that there are no other fields.
fn tighten(name: &str, definition: &mut Value) {
    if name.ends_with(".util.intstr.IntOrString") || name.ends_with(".api.resource.Quantity") {
        *definition = json!({"type": ["string", "number", "integer"]});
        return;
    }
    if let Value::Object(fields) = definition
        && fields.contains_key("properties")
        && !fields.contains_key("additionalProperties")
        && fields.get("x-kubernetes-preserve-unknown-fields") != Some(&Value::Bool(true))
    {
        fields.insert("additionalProperties".into(), Value::Bool(false));
    }
}

/// The names under which kubeconform looks for the kinds of a definition.
fn file_names(definition: &Value) -> Vec<String> {
    let kinds = definition["x-kubernetes-group-version-kind"].as_array().cloned().unwrap_or_default();
    // Types such as DeleteOptions belong to every group and are in no manifest.
    if kinds.len() > 1 {
        return Vec::new();
    }
    kinds
        .iter()
        .filter_map(|kind| {
            let (group, version) = (kind["group"].as_str()?, kind["version"].as_str()?);
            let name = kind["kind"].as_str()?.to_lowercase();
            Some(match group.split('.').next() {
                None | Some("") => format!("{name}-{version}.json"),
                Some(group) => format!("{name}-{group}-{version}.json"),
            })
        })
        .collect()
}

/// A definition with all that it refers to, directly or not.
fn schema(name: &str, definitions: &Map<String, Value>) -> Value {
    let mut needed = BTreeSet::from([name.to_owned()]);
    let mut waiting = vec![name.to_owned()];
    while let Some(name) = waiting.pop() {
        let Some(definition) = definitions.get(&name) else { continue };
        references(definition, &mut |reference| {
            if needed.insert(reference.to_owned()) {
                waiting.push(reference.to_owned());
            }
        });
    }
    let closure: Map<String, Value> = needed
        .into_iter()
        .filter_map(|name| definitions.get(&name).map(|definition| (name, definition.clone())))
        .collect();
    json!({"$ref": format!("{PREFIX}{name}"), "definitions": closure})
}

fn references(value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::Object(fields) => {
            if let Some(name) =
                fields.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix(PREFIX))
            {
                found(name);
            }
            for field in fields.values() {
                references(field, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                references(item, found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_holds_what_it_needs_and_no_more() {
        let definitions = json!({
            "A": {"properties": {"b": {"$ref": "#/definitions/B"}}},
            "B": {"properties": {"again": {"type": "array", "items": {"$ref": "#/definitions/B"}}}},
            "C": {},
        });
        let schema = schema("A", definitions.as_object().unwrap());
        let names: Vec<&String> = schema["definitions"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["A", "B"]);
    }

    #[test]
    fn files_are_named_as_kubeconform_asks_for_them() {
        let definition = |group: &str| json!({"x-kubernetes-group-version-kind": [{"group": group, "version": "v1", "kind": "NetworkPolicy"}]});
        assert_eq!(file_names(&definition("networking.k8s.io")), ["networkpolicy-networking-v1.json"]);
        assert_eq!(file_names(&definition("")), ["networkpolicy-v1.json"]);
    }
}
