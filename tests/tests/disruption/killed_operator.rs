//! The operator is killed while a hundred analyses run: all end well, and none
//! runs twice.

use std::collections::BTreeMap;

use ai_saas_platform_tests::sightings::Sightings;
use ai_saas_platform_tests::specification::{inline_csv, query, small_workload, to_config_map, with};
use ai_saas_platform_tests::{Namespace, Operator, outcome, with_namespace};
use anyhow::{Context as _, Result, anyhow, ensure};
use crds::AnalysisJob;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt as _;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt as _, watcher};

use crate::ALONE;

const COUNT: usize = 100;
/// Kills when this many have ended: at the start, amid, and near the end.
const KILLS: [usize; 3] = [5, 40, 80];
/// Labels that tell whose a Job or a pod is.
const ANALYSIS_JOB: &str = "aisaas.dev/analysis-job";

fn name(index: usize) -> String {
    format!("analysis-{index:03}")
}

#[tokio::test]
async fn every_analysis_runs_exactly_once_whenever_the_operator_is_killed() -> Result<()> {
    let _alone = ALONE.lock().await;
    with_namespace(async |namespace| {
        let jobs = Sightings::of::<Job>(namespace, ANALYSIS_JOB);
        let pods = Sightings::of::<Pod>(namespace, ANALYSIS_JOB);
        let operator = Operator::of(&namespace.cluster);
        stream::iter(0..COUNT)
            .map(|index| async move {
                let spec = query(inline_csv("data", &format!("n\n{index}\n")), "SELECT n + 1 AS n FROM data");
                let spec = with(with(spec, to_config_map("csv")), small_workload());
                namespace.create_analysis(&name(index), spec).await.map(drop)
            })
            .buffer_unordered(8)
            .try_collect::<()>()
            .await?;
        kill_and_wait(namespace, &operator).await?;
        operator.wait_until_ready().await?;

        all_are_right(namespace).await?;
        let once: BTreeMap<String, usize> = (0..COUNT).map(|index| (name(index), 1)).collect();
        assert_eq!(jobs.counts(), once, "Jobs that were ever there");
        assert_eq!(pods.counts(), once, "pods that were ever there");
        Ok(())
    })
    .await
}

/// Kills the operator each time that so many have ended, and waits for the
/// rest.
async fn kill_and_wait(namespace: &Namespace, operator: &Operator) -> Result<()> {
    let watch = watcher(namespace.api::<AnalysisJob>(), watcher::Config::default()).default_backoff();
    let mut changes = std::pin::pin!(watch.applied_objects());
    let mut ended = std::collections::BTreeSet::new();
    let mut kills = KILLS.into_iter().peekable();
    let watching = async {
        while ended.len() < COUNT {
            let Ok(job) = changes.next().await.context("the watch has ended")? else { continue };
            if outcome::has_ended(&job) {
                ensure!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
                ended.insert(job.name_any());
            }
            if kills.next_if(|kill| ended.len() >= *kill).is_some() {
                operator.kill().await?;
            }
        }
        Ok(())
    };
    let patience = 2 * ai_saas_platform_tests::namespace::PATIENCE;
    let waited = tokio::time::timeout(patience, watching).await;
    waited.map_err(|_| anyhow!("{} of {COUNT} have ended", ended.len()))?
}

async fn all_are_right(namespace: &Namespace) -> Result<()> {
    // The Job controller counts the pods some moments after they have ended.
    for index in 0..COUNT {
        let is_counted =
            |job: &Job| job.status.as_ref().is_some_and(|status| status.completion_time.is_some());
        let job = namespace
            .wait_for::<Job>(&name(index), "to be complete", |job| job.is_some_and(is_counted))
            .await?
            .with_context(|| format!("Job `{}` is gone", name(index)))?;
        let status = job.status.unwrap_or_default();
        let counts = (status.succeeded, status.failed.unwrap_or(0));
        assert_eq!(counts, (Some(1), 0), "succeeded and failed pods of {}", name(index));
    }
    let all = ListParams::default();
    let results = namespace.api::<ConfigMap>().list(&all.labels(ANALYSIS_JOB)).await?;
    let mut found: BTreeMap<String, String> = results
        .into_iter()
        .map(|map| (map.name_any(), map.data.unwrap_or_default().remove("result.csv").unwrap_or_default()))
        .collect();
    for index in 0..COUNT {
        let result = found.remove(&format!("{}-result", name(index)));
        assert_eq!(result, Some(format!("n\n{}\n", index + 1)), "the result of {}", name(index));
    }
    assert!(found.is_empty(), "{found:?}");
    Ok(())
}
