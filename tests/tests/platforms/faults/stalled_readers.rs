//! Clients that ask for much and stop reading.

use std::time::{Duration, Instant};

use ai_saas_platform_tests::platform_pods::restarts;
use ai_saas_platform_tests::{FrontDoor, StalledReader, with_namespace};
use anyhow::{Context as _, Result};
use reqwest::Method;
use serde_json::json;

/// More than the buffers of connections hold; and all downloads together are
/// more than the memory that the gateway may have.
const DATA_BYTES: usize = 64 << 20;
const DOWNLOADS: usize = 8;
/// Fewer than analysis-base sends at once.
const RESULTS: usize = 3;
const ROWS: usize = 500_000;
/// After a minute without a byte a client is cut off.
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn clients_that_stop_reading_are_cut_off_and_are_in_nobodys_way() -> Result<()> {
    with_namespace(async |namespace| {
        let door = FrontDoor::serve(namespace, "platform", json!({})).await?;
        let row = format!("1,{}\n", "x".repeat(1021));
        let data = format!("n,text\n{}", row.repeat(DATA_BYTES / row.len()));
        let length = data.len();
        door.json(door.request(Method::PUT, "/v1/datasets/large?format=csv").body(data)).await?;
        let sql =
            format!("SELECT value, repeat('x', 100) AS text FROM t CROSS JOIN generate_series(1, {ROWS})");
        let source = json!({ "name": "t", "format": "csv", "inline": "n\n1\n" });
        let analysis = json!({ "sources": [source], "sql": sql });
        let analysis = door.json(door.post("/v1/analyses", &analysis)).await?;
        assert_eq!(analysis["status"], "succeeded", "{analysis}");
        let result = format!("/v1/analyses/{}/result", analysis["id"].as_str().context("an id")?);

        let content = "/v1/datasets/large/versions/1/content";
        let mut stalled = Vec::new();
        for _ in 0..DOWNLOADS {
            stalled.push(StalledReader::ask(&door, content, "*/*").await?);
        }
        let mut stalled_results = Vec::new();
        for _ in 0..RESULTS {
            stalled_results.push(StalledReader::ask(&door, &result, "text/csv").await?);
        }
        let since = Instant::now();

        // Others are served meanwhile.
        let whole = door.request(Method::GET, content).send().await?.error_for_status()?;
        assert_eq!(whole.bytes().await?.len(), length);
        let whole = door.request(Method::GET, &result).header("accept", "text/csv").send().await?;
        let whole = whole.error_for_status()?.text().await?;
        assert_eq!(whole.lines().count(), ROWS + 1);
        while since.elapsed() < LIMIT + Duration::from_secs(10) {
            let asked = Instant::now();
            let listed = door.json(door.request(Method::GET, "/v1/datasets")).await?;
            assert_eq!(listed["items"][0]["name"], "large", "{listed}");
            assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
            tokio::time::sleep(Duration::from_secs(2)).await;
        }

        for reader in stalled {
            let rest = reader.rest().await?;
            assert!(rest < length as u64, "a client has got all of it, {rest} bytes");
        }
        for reader in stalled_results {
            let rest = reader.rest().await?;
            assert!(rest < whole.len() as u64, "a client has got all of it, {rest} bytes");
        }
        // What they did not take was not kept for them.
        for service in ["monolith", "analysis-base"] {
            for pod in namespace.pods_of("platform", service).await? {
                assert_eq!(restarts(&pod), 0, "{service} was ended, for its memory perhaps");
            }
        }
        Ok(())
    })
    .await
}
