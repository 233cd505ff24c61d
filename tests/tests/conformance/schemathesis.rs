//! Requests made up from the documents, good ones and bad ones, and what
//! Schemathesis finds in the answers. What it tries is in `schemathesis.toml`.

use ai_saas_platform_tests::command::{repository_argument, run};
use ai_saas_platform_tests::front_door::cluster_ip;
use ai_saas_platform_tests::{FrontDoor, Namespace, python};
use anyhow::{Context as _, Result};
use serde_json::{Map, Value};

use crate::ANALYSIS_BASE;
use crate::around_the_gateway::token_of_the_gateway;
use crate::folder::Folder;

/// All operations, with the administrator's key.
pub async fn through_the_gateway(folder: &Folder, door: &FrontDoor, joined: &Value) -> Result<()> {
    let asked = Asked {
        name: "gateway.json",
        document: joined,
        url: &door.url,
        token: &door.key,
        phases: "examples,coverage,fuzzing,stateful",
    };
    tried(folder, &asked).await
}

/// Those of the service behind it, as the gateway calls them.
pub async fn without_the_gateway(folder: &Folder, namespace: &Namespace) -> Result<()> {
    let url = format!("http://{}", cluster_ip(namespace, ANALYSIS_BASE).await?);
    let document = reqwest::get(format!("{url}/openapi.json")).await?.text().await?;
    let document: Value = serde_json::from_str(&document).context("the document of the service")?;
    let token = token_of_the_gateway(namespace).await?;
    // The longer phases have been through the same code by now.
    let asked = Asked {
        name: "service.json",
        document: &document,
        url: &url,
        token: &token,
        phases: "examples,coverage",
    };
    tried(folder, &asked).await
}

/// What is tried.
struct Asked<'a> {
    /// The name of the file.
    name: &'a str,
    document: &'a Value,
    url: &'a str,
    token: &'a str,
    phases: &'a str,
}

async fn tried(folder: &Folder, asked: &Asked<'_>) -> Result<()> {
    let document = folder.write(asked.name, &named(asked.document.clone()))?;
    let here = repository_argument("tests/tests/conformance");
    let configuration = format!("{here}/schemathesis.toml");
    let authorization = format!("Authorization: Bearer {}", asked.token);
    let program = python::TESTS.interpreter().await?.with_file_name("schemathesis");
    let arguments = [
        "--config-file",
        &configuration,
        "--no-color",
        "run",
        &document,
        "--url",
        asked.url,
        "--header",
        &authorization,
        "--phases",
        asked.phases,
    ];
    let notes = folder.argument("hypothesis");
    let variables = [
        // Where the hooks are.
        ("PYTHONPATH", here.as_str()),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("HYPOTHESIS_STORAGE_DIRECTORY", notes.as_str()),
        // Proxies of the machine have nothing to do with a service on it.
        ("NO_PROXY", "*"),
    ];
    run(program.into_os_string(), &arguments, &variables).await.map(drop)
}

/// The document without `default` among the responses: that is for clients.
/// Here each status that occurs has to have been named.
fn named(mut document: Value) -> Value {
    let paths = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    let operations = paths.filter_map(Value::as_object_mut).flat_map(Map::values_mut);
    for operation in operations {
        if let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) {
            responses.remove("default");
        }
    }
    document
}
