//! A volume that fills up.

use ai_saas_platform_tests::front_door::problem;
use ai_saas_platform_tests::{FrontDoor, Namespace, SmallVolume, with_namespace};
use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, Response};
use serde_json::json;

use super::eventually;

const VOLUME_KIBIBYTES: u32 = 64 << 10;
const LARGE_BYTES: usize = 16 << 20;
/// Less than what is still taken in of an upload that is refused.
const SMALL_BYTES: usize = 900 << 10;
/// More than the volume has room for.
const MOST_UPLOADS: usize = 64;

/// A table of about so many bytes.
fn csv(bytes: usize) -> String {
    let row = format!("1,{}\n", "x".repeat(253));
    let mut text = "n,text\n".to_owned();
    text.push_str(&row.repeat(bytes / row.len()));
    text
}

async fn upload(door: &FrontDoor, name: &str, content: &str) -> Result<Response> {
    let path = format!("/v1/datasets/{name}?format=csv");
    Ok(door.request(Method::PUT, &path).body(content.to_owned()).send().await?)
}

/// Uploads until there is no room; gives the names of what was accepted.
async fn fill(door: &FrontDoor) -> Result<Vec<String>> {
    let (large, small) = (csv(LARGE_BYTES), csv(SMALL_BYTES));
    let mut accepted = Vec::new();
    for index in 0..MOST_UPLOADS {
        let name = format!("data-{index}");
        let response = upload(door, &name, if index < 3 { &large } else { &small }).await?;
        if response.status() == 201 {
            accepted.push(name);
            continue;
        }
        let refused = problem(response).await?;
        assert_eq!(refused["status"], 507, "{refused}");
        assert_eq!(refused["title"], "Storage full");
        ensure!(accepted.len() > 3, "{accepted:?}");
        return Ok(accepted);
    }
    anyhow::bail!("{MOST_UPLOADS} uploads do not fill the volume")
}

#[tokio::test]
async fn a_full_volume_is_told_and_loses_nothing_and_is_of_use_again_with_room() -> Result<()> {
    with_namespace(async |namespace| {
        let claim = "platform-analysis-base-data";
        let volume = SmallVolume::reserve(namespace, claim, VOLUME_KIBIBYTES).await?;
        let result = on_a_small_volume(namespace, volume.storage_class()).await;
        volume.remove().await?;
        result
    })
    .await
}

async fn on_a_small_volume(namespace: &Namespace, storage_class: &str) -> Result<()> {
    let storage = json!({ "size": "16Mi", "storageClassName": storage_class });
    let spec = json!({
        "database": { "embedded": { "size": "16Mi" } },
        "storage": { "persistentVolumeClaim": storage },
    });
    let door = FrontDoor::serve(namespace, "platform", spec).await?;
    let accepted = fill(&door).await?;

    // An analysis is accepted, but its result finds no room: eight million bytes
    // that nothing makes smaller.
    let source = json!({ "name": "t", "format": "csv", "inline": "n\n1\n" });
    let sql = "SELECT random() AS number FROM t CROSS JOIN generate_series(1, 1000000)";
    let analysis = json!({ "sources": [source], "sql": sql });
    let response = door.post("/v1/analyses", &analysis).header("prefer", "respond-async").send().await?;
    let location = response.headers().get("location").and_then(|value| value.to_str().ok());
    let failed = door.ended(location.context("the address of the analysis")?).await?;
    assert_eq!((&failed["status"], &failed["reason"]), (&json!("failed"), &json!("StorageFull")), "{failed}");
    assert!(failed["message"].as_str().is_some_and(|text| text.contains("Delete data sets")), "{failed}");
    let id = failed["id"].as_str().context("an id")?;
    let result = door.request(Method::GET, &format!("/v1/analyses/{id}/result")).send().await?;
    let refused = problem(result).await?;
    assert_eq!(refused["status"], 507, "{refused}");

    // What was accepted is there, and is read as before.
    let listed = door.items("/v1/datasets").await?;
    let mut names: Vec<&str> = listed.iter().filter_map(|dataset| dataset["name"].as_str()).collect();
    let mut expected: Vec<&str> = accepted.iter().map(String::as_str).collect();
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
    for (name, bytes) in [(&accepted[0], LARGE_BYTES), (&accepted[accepted.len() - 1], SMALL_BYTES)] {
        let path = format!("/v1/datasets/{name}/versions/1/content");
        let content = door.request(Method::GET, &path).send().await?.error_for_status()?;
        assert!(content.text().await? == csv(bytes), "{name} is another one");
    }

    let deleted = door.request(Method::DELETE, &format!("/v1/datasets/{}", accepted[0])).send().await?;
    assert_eq!(deleted.status(), 204);
    let small = csv(SMALL_BYTES);
    eventually(
        "there is room again",
        async || Ok(upload(&door, "afterwards", &small).await?.status() == 201),
    )
    .await?;
    let analysis = door.json(door.post("/v1/analyses", &analysis)).await?;
    assert_eq!(analysis["status"], "succeeded", "{analysis}");
    Ok(())
}
