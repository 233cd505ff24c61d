//! What a Platform says to clients that others have written, and to everybody
//! who may not.
//!
//! One test with one Platform: to start one takes longer than most of what is
//! tried on it.

mod around_the_gateway;
mod authorization;
mod documents;
mod flights;
mod folder;
mod generated_client;
mod schemathesis;

use ai_saas_platform_tests::command::{kubectl, repository_argument};
use ai_saas_platform_tests::{FrontDoor, with_namespace};
use anyhow::{Result, ensure};
use reqwest::Method;

use crate::folder::Folder;

/// The Platform of the example.
const PLATFORM: &str = "platform";
/// Its service behind the gateway.
const ANALYSIS_BASE: &str = "platform-analysis-base";

#[tokio::test]
async fn clients_of_others_find_what_is_documented_and_nobody_finds_more() -> Result<()> {
    with_namespace(async |namespace| {
        let example = repository_argument("examples/platform/platform.yaml");
        kubectl(&["apply", "--namespace", &namespace.name, "--filename", &example]).await?;
        let door = FrontDoor::of(namespace, PLATFORM).await?;
        let joined = door.json(door.request(Method::GET, "/openapi.json")).await?;
        ensure!(joined["x-unavailable"].is_null(), "services are missing: {}", joined["x-unavailable"]);
        let folder = Folder::create(&namespace.name)?;

        // All of them at once: most of the time goes into waiting.
        let (valid, allowed, refused, generated, flights) = tokio::join!(
            documents::are_valid(&folder, &joined),
            authorization::holds(&door, &joined),
            around_the_gateway::is_refused(namespace, &door),
            generated_client::works(&folder, &door, &joined),
            flights::are_uploaded_and_asked_about(&door),
        );
        // Afterwards, and one after the other: it deletes what it finds.
        let all = schemathesis::through_the_gateway(&folder, &door, &joined).await;
        let alone = schemathesis::without_the_gateway(&folder, namespace).await;

        let outcomes = [
            ("the documents", valid),
            ("the table of keys and operations", allowed),
            ("requests around the gateway", refused),
            ("the generated client", generated),
            ("the flights", flights),
            ("schemathesis through the gateway", all),
            ("schemathesis without the gateway", alone),
        ];
        let failures: Vec<String> = outcomes
            .into_iter()
            .filter_map(|(what, outcome)| Some(format!("{what}: {:#}", outcome.err()?)))
            .collect();
        ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
        Ok(())
    })
    .await
}
