//! A client that is generated from the joined document, and a program that uses it.

use ai_saas_platform_tests::command::{repository_argument, run};
use ai_saas_platform_tests::{FrontDoor, python};
use anyhow::{Result, ensure};
use serde_json::Value;

use crate::folder::Folder;

/// Has to have a function for every operation: `--fail-on-warning` makes an
/// error of one that is left out.
pub async fn works(folder: &Folder, door: &FrontDoor, joined: &Value) -> Result<()> {
    let document = folder.write("for-the-generator.json", joined)?;
    let configuration = repository_argument("tests/tests/conformance/generated_client.yaml");
    let package = folder.argument("platform_client");
    let generator = python::TESTS.interpreter().await?.with_file_name("openapi-python-client");
    let mut arguments = vec!["generate", "--meta", "none", "--fail-on-warning", "--config", &configuration];
    arguments.extend(["--path", &document, "--output-path", &package]);
    run(generator.into_os_string(), &arguments, &[]).await?;

    let where_it_is = folder.path().to_string_lossy().into_owned();
    let data = repository_argument("tests/data/measurements.csv");
    let program = include_str!("generated_client.py");
    let printed = python::evaluate(program, &[&where_it_is, &door.url, &door.key, &data]).await?;
    let mentioned = joined["paths"].as_object().into_iter().flatten().flat_map(|(_, item)| item.as_object());
    let operations =
        mentioned.flatten().filter(|(_, operation)| operation["operationId"].is_string()).count();
    ensure!(printed.trim() == operations.to_string(), "{operations} operations became {printed} functions");
    Ok(())
}
