//! One OpenAPI document out of several. Pure.

use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::{Map, Value, json};

use crate::configuration::Prefix;
use crate::scope::{self, Scope};

/// A service, and what it says about itself.
#[derive(Debug)]
pub struct Described<'a> {
    /// Its name.
    pub name: &'a str,
    /// What of it the gateway passes on.
    pub routes: &'a [Prefix],
    /// Its document; `None` if it is away.
    pub document: Option<Value>,
}

/// Adds what is the same for all operations of a document: the keys and scopes
/// that they need, and what problems look like.
pub fn describe(document: &mut Value) {
    document["servers"] = json!([{ "url": "/" }]);
    document["components"]["securitySchemes"] = json!({
        "apiKey": { "type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer KEY`." },
        "apiKeyHeader": { "type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "The same key in a header of its own." },
    });
    document["components"]["responses"]["TooManyRequests"] =
        problem("The key is used more often than it may be. `Retry-After` says when to come again");
    for (path, method, operation) in operations(document) {
        let scope = Method::from_bytes(method.to_uppercase().as_bytes())
            .ok()
            .and_then(|method| scope::required(&method, path))
            .unwrap_or(Scope::Admin);
        operation["security"] = json!([{ "apiKey": [scope] }, { "apiKeyHeader": [scope] }]);
        if !operation["responses"].is_object() {
            operation["responses"] = json!({});
        }
        if operation["responses"]["default"].is_null() {
            operation["responses"]["default"] = problem("A problem (RFC 9457)");
        }
        operation["responses"]["429"] = json!({ "$ref": "#/components/responses/TooManyRequests" });
    }
}

fn problem(description: &str) -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    json!({ "description": description, "content": { "application/problem+json": { "schema": schema } } })
}

/// The gateway's own document with those of the services: of each the paths
/// that are passed on to it, and all that these refer to.
pub fn join(mut own: Value, services: Vec<Described<'_>>) -> Value {
    // What is joined is the platform's, not only the gateway's.
    own["info"]["title"] = json!("ai-saas-platform");
    let mut unavailable = Vec::new();
    for service in services {
        match service.document {
            Some(document) => add(&mut own, service.name, service.routes, document),
            None => unavailable.push(service.name),
        }
    }
    if !unavailable.is_empty() {
        own["x-unavailable"] = json!(unavailable);
    }
    describe(&mut own);
    own
}

fn add(own: &mut Value, name: &str, routes: &[Prefix], mut document: Value) {
    if let Some(components) = document.get_mut("components").and_then(Value::as_object_mut) {
        // How the gateway is let in is nothing to a client.
        components.remove("securitySchemes");
    }
    let renamed = conflicts(&own["components"], &document["components"], name);
    rename(&mut document, &renamed);
    if let Value::Object(sections) = document["components"].take() {
        for (section, components) in sections {
            let Value::Object(components) = components else { continue };
            for (component, value) in components {
                let reference = reference(&section, &component);
                let component = renamed.get(&reference).map_or(component, |new| last(new).to_owned());
                own["components"][section.as_str()][component] = value;
            }
        }
    }
    let Value::Object(paths) = document["paths"].take() else { return };
    for (path, mut item) in paths {
        if !routes.iter().any(|route| route.covers(&path)) || !own["paths"][path.as_str()].is_null() {
            continue;
        }
        for operation in
            item.as_object_mut().into_iter().flat_map(Map::values_mut).filter(|one| one.is_object())
        {
            if operation["tags"].as_array().is_none_or(Vec::is_empty) {
                operation["tags"] = json!([name]);
            }
            // Names are unique within a document only.
            if let Some(id) = operation["operationId"].as_str() {
                operation["operationId"] = json!(format!("{name}.{id}"));
            }
        }
        own["paths"][path] = item;
    }
}

/// References to components that mean something else in the other document,
/// with those that they get instead.
fn conflicts(own: &Value, other: &Value, name: &str) -> BTreeMap<String, String> {
    let mut renamed = BTreeMap::new();
    loop {
        let before = renamed.len();
        for (section, components) in other.as_object().into_iter().flatten() {
            for (component, value) in components.as_object().into_iter().flatten() {
                let reference = reference(section, component);
                let there = &own[section.as_str()][component.as_str()];
                // What is the same word for word, but refers to something that
                // is renamed, means something else all the same.
                let is_other = *there != *value || refers_to_any(value, &renamed);
                if !there.is_null() && is_other && !renamed.contains_key(&reference) {
                    let new = format!("#/components/{section}/{name}.{component}");
                    renamed.insert(reference, new);
                }
            }
        }
        if renamed.len() == before {
            return renamed;
        }
    }
}

fn reference(section: &str, component: &str) -> String {
    format!("#/components/{section}/{component}")
}

fn last(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or(reference)
}

fn refers_to_any(value: &Value, renamed: &BTreeMap<String, String>) -> bool {
    match value {
        Value::String(text) => renamed.contains_key(text),
        Value::Array(items) => items.iter().any(|item| refers_to_any(item, renamed)),
        Value::Object(members) => members.values().any(|member| refers_to_any(member, renamed)),
        _ => false,
    }
}

/// Changes references wherever they are: as `$ref`, and as values of a
/// discriminator's mapping.
fn rename(value: &mut Value, renamed: &BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            if let Some(new) = renamed.get(text) {
                text.clone_from(new);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, renamed)),
        Value::Object(members) => members.values_mut().for_each(|member| rename(member, renamed)),
        _ => {}
    }
}

/// Each operation with its path and its method.
fn operations(document: &mut Value) -> impl Iterator<Item = (&str, &str, &mut Value)> {
    const METHODS: [&str; 7] = ["get", "put", "post", "delete", "options", "head", "patch"];
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        let members = item.as_object_mut().into_iter().flatten();
        members
            .filter(|(method, _)| METHODS.contains(&method.as_str()))
            .map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Value {
        json!({
            "openapi": "3.1.0",
            "paths": { "/v1/keys": { "get": { "operationId": "listKeys", "tags": ["keys"], "responses": {} } } },
            "components": { "schemas": {
                "Problem": { "type": "object" },
                "Page": { "items": { "$ref": "#/components/schemas/Item" } },
                "Item": { "type": "string" },
            } },
        })
    }

    fn service(document: Value) -> Value {
        let routes = [Prefix::try_from("/v1/datasets".to_owned()).unwrap()];
        join(own(), vec![Described { name: "analysis-base", routes: &routes, document: Some(document) }])
    }

    #[test]
    fn what_is_passed_on_is_described_and_nothing_else() {
        let joined = service(json!({
            "paths": {
                "/v1/datasets/{name}": { "get": { "operationId": "show", "security": [{ "token": [] }], "responses": {} } },
                "/internal": { "get": { "operationId": "internal", "responses": {} } },
            },
            "components": { "securitySchemes": { "token": {} } },
        }));
        assert!(joined["paths"]["/internal"].is_null());
        let operation = &joined["paths"]["/v1/datasets/{name}"]["get"];
        assert_eq!(operation["operationId"], "analysis-base.show");
        assert_eq!(operation["tags"], json!(["analysis-base"]));
        assert_eq!(operation["responses"]["429"]["$ref"], "#/components/responses/TooManyRequests");
        assert!(joined["components"]["responses"]["TooManyRequests"]["content"].is_object());
        assert_eq!(operation["security"][0], json!({ "apiKey": ["datasets:read"] }));
        assert_eq!(joined["paths"]["/v1/keys"]["get"]["security"][0], json!({ "apiKey": ["admin"] }));
        assert!(joined["components"]["securitySchemes"]["token"].is_null());
    }

    #[test]
    fn components_that_mean_something_else_get_another_name() {
        let joined = service(json!({
            "paths": { "/v1/datasets": { "get": {
                "operationId": "list",
                "responses": { "200": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Page" } } } } },
            } } },
            "components": { "schemas": {
                "Problem": { "type": "object" },
                "Page": { "items": { "$ref": "#/components/schemas/Item" } },
                "Item": { "type": "integer" },
            } },
        }));
        let schemas = &joined["components"]["schemas"];
        assert_eq!(schemas["Item"]["type"], "string");
        assert_eq!(schemas["analysis-base.Item"]["type"], "integer");
        assert_eq!(schemas["analysis-base.Page"]["items"]["$ref"], "#/components/schemas/analysis-base.Item");
        assert!(schemas["analysis-base.Problem"].is_null());
        let response = &joined["paths"]["/v1/datasets"]["get"]["responses"]["200"];
        let schema = &response["content"]["application/json"]["schema"];
        assert_eq!(schema["$ref"], "#/components/schemas/analysis-base.Page");
    }

    #[test]
    fn a_service_that_is_away_is_named() {
        let joined = join(own(), vec![Described { name: "analysis-base", routes: &[], document: None }]);
        assert_eq!(joined["x-unavailable"], json!(["analysis-base"]));
        assert!(joined["paths"]["/v1/keys"].is_object());
    }
}
