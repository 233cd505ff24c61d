//! What is the same for all operations of an API, in the document that
//! describes it: the problems that any request can meet, said once and
//! referred to by each, and bodies that are just bytes.

use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{
    Components, Content, KnownFormat, ObjectBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder, Schema,
    SchemaFormat, Type,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use crate::problem::{MEDIA_TYPE, ProblemBody};

/// A problem that many operations can answer with.
struct Common {
    /// Its name among the components of the document.
    name: &'static str,
    status: &'static str,
    description: &'static str,
    /// Whether an operation can.
    occurs: fn(&Described<'_>) -> bool,
}

/// An operation, and where it is.
struct Described<'a> {
    path: &'a str,
    /// Whether it changes nothing (RFC 9110, section 9.2.1).
    is_safe: bool,
    operation: &'a Operation,
}

const COMMON: [Common; 10] = [
    Common {
        name: "BadRequest",
        status: "400",
        description: "The request cannot be understood: `detail` says what of it",
        occurs: |described| has_body(described) || described.operation.parameters.is_some(),
    },
    Common {
        name: "Unauthorized",
        status: "401",
        description: "The request does not say who makes it, or not credibly",
        occurs: |_| true,
    },
    Common {
        name: "Forbidden",
        status: "403",
        description: "Whoever makes the request may not do this",
        occurs: |_| true,
    },
    Common {
        name: "NotFound",
        status: "404",
        description: "There is no such thing",
        occurs: |described| described.path.contains('{'),
    },
    Common {
        name: "TooLarge",
        status: "413",
        description: "The body is longer than is accepted here",
        occurs: has_body,
    },
    Common {
        name: "UnsupportedMediaType",
        status: "415",
        description: "The body is said to be something that is not accepted here",
        occurs: has_json_body,
    },
    Common {
        name: "Unprocessable",
        status: "422",
        description: "The request is understood, and cannot be carried out as it is: `detail` says why",
        occurs: has_body,
    },
    Common {
        name: "Unavailable",
        status: "503",
        description: "Not now. `Retry-After` says when it may be worth trying again",
        occurs: |_| true,
    },
    Common {
        name: "TimedOut",
        status: "504",
        description: "The answer was not ready in time",
        occurs: |_| true,
    },
    Common {
        name: "StorageFull",
        status: "507",
        description: "There is no room left where data are kept",
        occurs: |described| !described.is_safe,
    },
];

fn has_body(described: &Described<'_>) -> bool {
    described.operation.request_body.is_some()
}

fn has_json_body(described: &Described<'_>) -> bool {
    match &described.operation.request_body {
        Some(RefOr::T(body)) => body.content.contains_key("application/json"),
        _ => false,
    }
}

/// Adds to every operation the problems that it can answer with and does not
/// name itself, and to bodies without a schema that they are bytes.
pub(crate) fn complete(document: &mut OpenApi) {
    let mut used = [false; COMMON.len()];
    for (path, item) in &mut document.paths.paths {
        for (is_safe, operation) in operations(item) {
            as_bytes(operation);
            for (common, used) in COMMON.iter().zip(&mut used) {
                let occurs = (common.occurs)(&Described { path, is_safe, operation });
                if occurs && !operation.responses.responses.contains_key(common.status) {
                    *used = true;
                    let response = RefOr::Ref(Ref::from_response_name(common.name));
                    operation.responses.responses.insert(common.status.to_owned(), response);
                }
            }
        }
    }
    let components = document.components.get_or_insert_with(Components::new);
    for (common, _) in COMMON.iter().zip(used).filter(|(_, used)| *used) {
        components.responses.insert(common.name.to_owned(), RefOr::T(common.response()));
    }
    components.schemas.entry(ProblemBody::name().into_owned()).or_insert_with(ProblemBody::schema);
}

impl Common {
    fn response(&self) -> Response {
        let schema: RefOr<Schema> = RefOr::Ref(Ref::from_schema_name(ProblemBody::name()));
        let content = Content::new(Some(schema));
        ResponseBuilder::new().description(self.description).content(MEDIA_TYPE, content).build()
    }
}

/// The operations of a path, each with whether it is safe.
fn operations(item: &mut PathItem) -> impl Iterator<Item = (bool, &mut Operation)> {
    let all = [
        (true, &mut item.get),
        (true, &mut item.head),
        (true, &mut item.options),
        (false, &mut item.put),
        (false, &mut item.post),
        (false, &mut item.patch),
        (false, &mut item.delete),
    ];
    all.into_iter().filter_map(|(is_safe, operation)| Some((is_safe, operation.as_mut()?)))
}

/// Generators of clients pass over a body without a schema.
fn as_bytes(operation: &mut Operation) {
    let Some(RefOr::T(body)) = &mut operation.request_body else { return };
    for content in body.content.values_mut() {
        let RefOr::T(content) = content else { continue };
        if content.schema.is_none() {
            let bytes = ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)));
            content.schema = Some(bytes.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn completed(document: Value) -> Value {
        let mut document: OpenApi = serde_json::from_value(document).unwrap();
        complete(&mut document);
        serde_json::to_value(document).unwrap()
    }

    fn document(path: &str, method: &str, operation: &Value) -> Value {
        json!({
            "openapi": "3.1.0",
            "info": { "title": "a", "version": "1" },
            "paths": { path: { method: operation } },
        })
    }

    #[test]
    fn an_operation_has_the_problems_that_it_can_meet() {
        let responses =
            json!({ "200": { "description": "It is there" }, "404": { "description": "Its own" } });
        let completed = completed(document("/v1/things/{id}", "get", &json!({ "responses": responses })));
        let responses = completed["paths"]["/v1/things/{id}"]["get"]["responses"].as_object().unwrap();
        let statuses: Vec<&str> = responses.keys().map(String::as_str).collect();
        assert_eq!(statuses, ["200", "401", "403", "404", "503", "504"]);
        assert_eq!(responses["404"]["description"], "Its own");
        assert_eq!(responses["401"]["$ref"], "#/components/responses/Unauthorized");
        let unauthorized = &completed["components"]["responses"]["Unauthorized"];
        let schema = &unauthorized["content"]["application/problem+json"]["schema"];
        assert_eq!(schema["$ref"], "#/components/schemas/Problem");
        assert_eq!(completed["components"]["schemas"]["Problem"]["type"], "object");
        assert!(completed["components"]["responses"]["TooLarge"].is_null());
    }

    #[test]
    fn what_has_a_body_can_be_refused_for_it() {
        let content = json!({ "application/json": { "schema": { "type": "object" } }, "text/csv": {} });
        let operation = json!({ "requestBody": { "content": content }, "responses": {} });
        let completed = completed(document("/v1/things", "post", &operation));
        let operation = &completed["paths"]["/v1/things"]["post"];
        for status in ["400", "413", "415", "422", "507"] {
            assert!(operation["responses"][status]["$ref"].is_string(), "{status}");
        }
        let content = &operation["requestBody"]["content"];
        assert_eq!(content["text/csv"]["schema"], json!({ "type": "string", "format": "binary" }));
        assert_eq!(content["application/json"]["schema"]["type"], "object");
    }
}
