//! analysis-base killed in the middle of queries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ai_saas_platform_tests::front_door::problem;
use ai_saas_platform_tests::{FrontDoor, HttpServer, Page, with_namespace};
use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::json;

use super::{eventually, has_summed, id_of, sum_of, with_private_addresses};

/// Reads again and again until it is told to stop: each answer is the list, or
/// says when to come again. How many of each there were.
async fn read_on(door: FrontDoor, stop: Arc<AtomicBool>) -> Result<(usize, usize)> {
    let (mut answered, mut refused) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        // Only an answer that had begun when the service was killed has no end.
        if let Ok(response) = door.request(Method::GET, "/v1/datasets").send().await {
            if response.status() == 200 {
                answered += 1;
            } else {
                let problem = problem(response).await?;
                ensure!(problem["status"] == 503, "{problem}");
                refused += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok((answered, refused))
}

#[tokio::test]
async fn a_query_that_was_cut_off_is_run_again_and_has_one_result() -> Result<()> {
    with_namespace(async |namespace| {
        let held = || Page::new("n\n1\n2\n").held();
        let site =
            HttpServer::start(&namespace.cluster, [("alone.csv", held()), ("asked.csv", held())]).await?;
        let door = FrontDoor::serve(namespace, "platform", with_private_addresses()).await?;
        let analysis = json!({
            "sources": [{ "name": "t", "format": "csv", "uri": { "url": site.url("alone.csv") } }],
            "sql": "SELECT sum(n) AS total FROM t",
        });
        let alone = door.post("/v1/analyses", &analysis).header("prefer", "respond-async");
        let alone = id_of(&door.json(alone).await?)?;
        let asked = door.post("/v1/requests", &sum_of(&site.url("asked.csv")));
        let asked = id_of(&door.json(asked.header("prefer", "respond-async")).await?)?;
        let are_read =
            |times: usize| ["alone.csv", "asked.csv"].into_iter().all(|name| site.requests(name) >= times);
        eventually("both queries run", async || Ok(are_read(1))).await?;

        let stop = Arc::new(AtomicBool::new(false));
        let reading = tokio::spawn(read_on(door.clone(), Arc::clone(&stop)));
        namespace.kill_pods_of("platform", "analysis-base").await?;
        eventually("both queries run again", async || Ok(are_read(2))).await?;
        stop.store(true, Ordering::SeqCst);
        let (answered, refused) = reading.await??;
        assert!(answered > 0, "{refused} refused");

        site.release();
        let analysis = door.ended(&format!("/v1/analyses/{alone}")).await?;
        assert_eq!(analysis["status"], "succeeded", "{analysis}");
        assert_eq!(analysis["result"]["rows"], json!([{ "total": 3 }]));
        let request = door.ended(&format!("/v1/requests/{asked}")).await?;
        assert!(has_summed(&request), "{request}");
        let analyses = door.items("/v1/analyses").await?;
        assert_eq!(analyses.len(), 2, "{analyses:?}");
        Ok(())
    })
    .await
}
