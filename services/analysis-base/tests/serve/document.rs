//! The document of the API.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::server::Server;

const METHODS: [&str; 7] = ["get", "put", "post", "patch", "delete", "head", "options"];

#[tokio::test]
async fn the_document_describes_every_operation() {
    let server = Server::start();
    let document = server.get("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let tags: Vec<&str> =
        document["tags"].as_array().expect("tags").iter().filter_map(|tag| tag["name"].as_str()).collect();
    let mut ids = HashSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in METHODS {
            let operation = &item[method];
            if operation.is_null() {
                continue;
            }
            let name = format!("{method} {path}");
            assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{name}");
            assert!(ids.insert(operation["operationId"].as_str().expect("id").to_owned()), "{name}");
            assert!(operation["tags"].as_array().is_some_and(|own| !own.is_empty()), "{name}");
            for tag in operation["tags"].as_array().into_iter().flatten() {
                assert!(tags.contains(&tag.as_str().unwrap_or_default()), "{name}: {tag}");
            }
            for part in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                let parameters = operation["parameters"].as_array().expect("parameters");
                let found: Vec<&Value> =
                    parameters.iter().filter(|parameter| parameter["name"] == part).collect();
                assert_eq!(found.len(), 1, "{name}: {part}");
                assert_eq!(
                    (&found[0]["in"], &found[0]["required"]),
                    (&json!("path"), &json!(true)),
                    "{name}"
                );
            }
            for response in operation["responses"].as_object().expect("responses").values() {
                let response = match response["$ref"].as_str() {
                    Some(common) => document.pointer(&common[1..]).expect("a common one"),
                    None => response,
                };
                assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
            }
        }
    }
    assert!(ids.len() >= 22, "{ids:?}");
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("of this document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                references.push(reference.to_owned());
            }
            members.values().for_each(|member| collect(member, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}
