//! How AnalysisJobs end and go, with all that belongs to them.

use ai_saas_platform_tests::specification::{csv_at, inline_csv, query, to_config_map, with};
use ai_saas_platform_tests::{HttpServer, Page, outcome, with_namespace};
use anyhow::{Context as _, Result};
use crds::AnalysisJob;
use crds::condition::RECONCILING;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};

fn one_row(fields: Value) -> Value {
    with(with(query(inline_csv("data", "n\n1\n"), "SELECT n FROM data"), to_config_map("csv")), fields)
}

#[tokio::test]
async fn the_status_tells_what_was_done() -> Result<()> {
    with_namespace(async |namespace| {
        let spec = with(
            query(inline_csv("data", "n\n1\n2\n"), "SELECT sum(n) AS total FROM data"),
            to_config_map("csv"),
        );
        let job = namespace.analyse_well("told", spec).await?;
        assert_eq!(outcome::message(&job), "The result has 1 row, in 1 file.");
        let status = job.status.clone().context("a status")?;
        assert_eq!(status.observed_generation, job.metadata.generation);
        assert_eq!(status.job_name.as_deref(), Some("told"));
        assert_eq!((status.rows_read, status.bytes_read, status.rows_written), (Some(2), Some(6), Some(1)));
        assert_eq!(status.preview.as_deref(), Some("total\n3\n"));
        assert!(status.duration.is_some() && status.duration_milliseconds > Some(0), "{status:?}");
        assert!(status.peak_memory_bytes > Some(1024 * 1024), "{status:?}");
        assert!(status.start_time <= status.completion_time, "{status:?}");
        assert_eq!(status.failed_attempts, None);
        let output = status.output.context("an output")?;
        assert_eq!(
            (output.location.as_str(), output.config_map.as_deref()),
            ("configmap/told-result", Some("told-result"))
        );
        for condition in &status.conditions {
            assert_eq!(
                (condition.status.as_str(), condition.observed_generation),
                ("True", job.metadata.generation)
            );
        }
        let types: Vec<&str> = status.conditions.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(types, ["Accepted", "Ready", "Complete"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn all_that_belongs_to_it_goes_with_it() -> Result<()> {
    with_namespace(async |namespace| {
        namespace.analyse_well("going", one_row(json!({}))).await?;
        let pods = namespace.api::<Pod>().list(&ListParams::default()).await?;
        let pod = pods.items.first().context("a pod")?.name_any();
        namespace.api::<AnalysisJob>().delete("going", &DeleteParams::background()).await?;
        namespace.wait_until_gone::<Job>("going").await?;
        namespace.wait_until_gone::<Pod>(&pod).await?;
        namespace.wait_until_gone::<ConfigMap>("going-result").await
    })
    .await
}

#[tokio::test]
async fn it_can_be_made_again_under_its_name_at_once() -> Result<()> {
    with_namespace(async |namespace| {
        let first = namespace.analyse_well("again", one_row(json!({}))).await?;
        namespace.api::<AnalysisJob>().delete("again", &DeleteParams::background()).await?;
        let spec = with(query(inline_csv("data", "n\n2\n"), "SELECT n FROM data"), to_config_map("csv"));
        let second = namespace.analyse_well("again", spec).await?;
        assert_ne!(first.metadata.uid, second.metadata.uid);
        assert_eq!(outcome::preview(&second), "n\n2\n");
        assert_eq!(namespace.text_of("again-result", "result.csv").await?, "n\n2\n");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn it_goes_when_its_time_has_come() -> Result<()> {
    with_namespace(async |namespace| {
        namespace.create_analysis("fleeting", one_row(json!({ "ttlSecondsAfterFinished": 2 }))).await?;
        namespace.wait_until_ended("fleeting").await?;
        namespace.wait_until_gone::<AnalysisJob>("fleeting").await?;
        namespace.wait_until_gone::<Job>("fleeting").await?;
        namespace.wait_until_gone::<ConfigMap>("fleeting-result").await?;

        // The time can be set when the analysis has ended already.
        namespace.analyse_well("kept", one_row(json!({}))).await?;
        namespace.change_analysis("kept", json!({ "spec": { "ttlSecondsAfterFinished": 0 } })).await?;
        namespace.wait_until_gone::<AnalysisJob>("kept").await
    })
    .await
}

#[tokio::test]
async fn it_is_left_alone_while_it_is_paused() -> Result<()> {
    with_namespace(async |namespace| {
        let pause = |value: Value| json!({ "metadata": { "annotations": { "aisaas.dev/paused": value } } });
        let is_paused = |job: &AnalysisJob| outcome::condition_of(job, RECONCILING).is_some();
        let spec = one_row(json!({ "ttlSecondsAfterFinished": 8 }));
        let mut job = AnalysisJob::new("paused", serde_json::from_value(spec)?);
        job.annotations_mut().insert("aisaas.dev/paused".to_owned(), "true".to_owned());
        namespace.create_object(&job).await?;
        namespace.wait_for_analysis("paused", "to be paused", is_paused).await?;
        assert!(namespace.api::<Job>().get_opt("paused").await?.is_none());

        namespace.change_analysis("paused", pause(Value::Null)).await?;
        let job = namespace.wait_until_ended("paused").await?;
        assert!(outcome::has_succeeded(&job) && !is_paused(&job), "{}", outcome::in_words(&job));

        namespace.change_analysis("paused", pause(json!("true"))).await?;
        tokio::time::sleep(std::time::Duration::from_secs(11)).await;
        let job = namespace.api::<AnalysisJob>().get("paused").await?;
        assert!(outcome::has_succeeded(&job) && is_paused(&job), "it does not expire");
        namespace.change_analysis("paused", pause(Value::Null)).await?;
        namespace.wait_until_gone::<AnalysisJob>("paused").await
    })
    .await
}

#[tokio::test]
async fn it_is_stopped_at_its_deadline() -> Result<()> {
    with_namespace(async |namespace| {
        let server = HttpServer::start(&namespace.cluster, [("slow", Page::new("n\n1\n").held())]).await?;
        let spec = query(csv_at("data", &server.url("slow")), "SELECT n FROM data");
        let job = namespace.analyse("late", with(spec, json!({ "activeDeadlineSeconds": 5 }))).await?;
        assert_eq!(outcome::reason(&job), "DeadlineExceeded", "{}", outcome::in_words(&job));
        assert_eq!(
            outcome::message(&job),
            "The analysis did not end within its 5 s: create it again with a longer spec.activeDeadlineSeconds, or a smaller analysis"
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_running_analysis_is_stopped_by_its_deletion() -> Result<()> {
    with_namespace(async |namespace| {
        let server = HttpServer::start(&namespace.cluster, [("slow", Page::new("n\n1\n").held())]).await?;
        namespace
            .create_analysis("stopped", query(csv_at("data", &server.url("slow")), "SELECT n FROM data"))
            .await?;
        namespace.wait_for_analysis("stopped", "to run", |job| outcome::reason(job) == "Running").await?;
        let pods = namespace.api::<Pod>().list(&ListParams::default()).await?;
        let pod = pods.items.first().context("a pod")?.name_any();
        namespace.api::<AnalysisJob>().delete("stopped", &DeleteParams::background()).await?;
        namespace.wait_until_gone::<Pod>(&pod).await
    })
    .await
}
