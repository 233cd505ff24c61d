//! A Platform and nothing else, used as a newcomer would.

use ai_saas_platform_tests::command::{kubectl, repository, repository_argument};
use ai_saas_platform_tests::front_door::cluster_ip;
use ai_saas_platform_tests::{FrontDoor, with_namespace};
use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn the_example_is_a_platform_that_analyses_what_is_uploaded() -> Result<()> {
    with_namespace(async |namespace| {
        let file = repository_argument("examples/platform/platform.yaml");
        kubectl(&["apply", "--namespace", &namespace.name, "--filename", &file]).await?;
        let door = FrontDoor::of(namespace, "platform").await?;

        // Only with a key, and only through the gateway.
        let datasets = format!("{}/v1/datasets", door.url);
        assert_eq!(door.without_key(&datasets).await?.status(), 401);
        let service = cluster_ip(namespace, "platform-analysis-base").await?;
        let behind = door.without_key(&format!("http://{service}/v1/datasets")).await?;
        assert_eq!(behind.status(), 401);
        let stolen = door.request(Method::GET, "/v1/datasets").build()?;
        let stolen = reqwest::Client::new()
            .get(format!("http://{service}/v1/datasets"))
            .headers(stolen.headers().clone())
            .send()
            .await?;
        assert_eq!(stolen.status(), 401, "a key opens the gateway and no service");

        let csv = std::fs::read(repository("tests/data/measurements.csv"))?;
        let upload = door.request(Method::PUT, "/v1/datasets/measurements?format=csv").body(csv);
        let version = door.json(upload).await?;
        assert_eq!(version["version"], 1, "{version}");

        let analysis = json!({
            "sources": [{ "name": "m", "dataset": { "name": "measurements" } }],
            "sql": "SELECT station, count(*) AS n FROM m GROUP BY station ORDER BY station",
        });
        let analysis = door.json(door.post("/v1/analyses", &analysis)).await?;
        assert_eq!(analysis["status"], "succeeded", "{analysis}");
        assert_eq!(analysis["result"]["rows"][2], json!({ "station": "the \"old\" mill", "n": 1 }));

        let order = json!({
            "input": "What is the average temperature by station?",
            "data": [{ "name": "measurements", "dataset": { "name": "measurements" } }],
        });
        let request = door.json(door.post("/v1/requests", &order)).await?;
        assert_eq!(request["status"], "succeeded", "{request}");
        let text = request.to_string();
        assert!(text.contains("Reykjav"), "{text}");

        // Nothing is lost when pods are.
        for pod in namespace.api::<Pod>().list(&ListParams::default()).await?.items {
            namespace.api::<Pod>().delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await?;
        }
        let id = request["id"].as_str().context("an id")?;
        let again = until_answered(&door, &format!("/v1/requests/{id}")).await?;
        assert_eq!(again["status"], "succeeded", "{again}");
        let versions = until_answered(&door, "/v1/datasets/measurements").await?;
        assert_eq!(versions["name"], "measurements", "{versions}");
        Ok(())
    })
    .await
}

/// Asks again while pods are away.
async fn until_answered(door: &FrontDoor, path: &str) -> Result<serde_json::Value> {
    let begun = std::time::Instant::now();
    loop {
        match door.json(door.request(Method::GET, path)).await {
            Ok(answer) => return Ok(answer),
            Err(error) if begun.elapsed().as_secs() > 90 => return Err(error),
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(500)).await,
        }
    }
}
