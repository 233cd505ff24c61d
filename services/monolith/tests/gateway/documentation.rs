//! The APIs of all services in one document and on one page.

use std::process::Command;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::bench::{Bench, body};
use crate::upstream::Upstream;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_document_has_what_can_be_called() {
    let upstream = Upstream::start();
    let gateway = Bench::new(&upstream).start();
    let answer = gateway.http.get(format!("{}/openapi.json", gateway.url)).send().await.unwrap();
    let document = body(answer, StatusCode::OK).await;
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["paths"]["/v1/analyses"]["post"]["operationId"], "analysis-base.createAnalysis");
    assert_eq!(
        document["paths"]["/v1/analyses"]["post"]["security"][0],
        json!({ "apiKey": ["analyses:write"] })
    );
    assert_eq!(document["paths"]["/v1/requests"]["post"]["operationId"], "createRequest");
    assert_eq!(document["paths"]["/v1/requests"]["get"]["operationId"], "listRequests");
    assert_eq!(document["paths"]["/internal"], Value::Null);
    assert_eq!(document["components"]["schemas"]["analysis-base.Problem"]["type"], "string");
    assert_eq!(document["x-unavailable"], Value::Null);
    assert_no_dangling_references(&document, &document);

    let page = gateway.http.get(format!("{}/docs", gateway.url)).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'self'"));
    let page = page.text().await.unwrap();
    for file in ["/docs/page.css", "/docs/page.js"] {
        assert!(page.contains(file));
        let answer = gateway.http.get(format!("{}{file}", gateway.url)).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    }
    assert!(!page.contains("http://") && !page.contains("https://"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_that_is_away_is_left_out_and_named() {
    let mut upstream = Upstream::start();
    let bench = Bench::new(&upstream);
    upstream.stop();
    let gateway = bench.start();
    let answer = gateway.http.get(format!("{}/openapi.json", gateway.url)).send().await.unwrap();
    let document = body(answer, StatusCode::OK).await;
    assert_eq!(document["x-unavailable"], json!(["analysis-base"]));
    assert!(document["paths"]["/v1/keys"].is_object());
}

#[test]
fn the_program_prints_its_own_document() {
    let printed = Command::new(env!("CARGO_BIN_EXE_monolith")).arg("openapi").output().unwrap();
    assert!(printed.status.success());
    let document: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert!(document["paths"]["/v1/requests/{id}/events"]["get"].is_object());
    assert_eq!(document["components"]["securitySchemes"]["apiKey"]["scheme"], "bearer");
    assert_no_dangling_references(&document, &document);
}

fn assert_no_dangling_references(value: &Value, document: &Value) {
    match value {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
            }
            members.values().for_each(|member| assert_no_dangling_references(member, document));
        }
        Value::Array(items) => items.iter().for_each(|item| assert_no_dangling_references(item, document)),
        _ => {}
    }
}
