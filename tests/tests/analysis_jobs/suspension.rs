//! Suspending and resuming.

use ai_saas_platform_tests::specification::{csv_at, inline_csv, query, with};
use ai_saas_platform_tests::{HttpServer, Page, outcome, with_namespace};
use anyhow::{Context as _, Result};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::json;

#[tokio::test]
async fn a_suspended_analysis_starts_when_it_is_resumed() -> Result<()> {
    with_namespace(async |namespace| {
        let spec =
            with(query(inline_csv("data", "n\n1\n"), "SELECT n FROM data"), json!({ "suspend": true }));
        namespace.create_analysis("later", spec).await?;
        let job = namespace
            .wait_for_analysis("later", "to be suspended", |job| outcome::reason(job) == "Suspended")
            .await?;
        assert_eq!(outcome::message(&job), "Suspended: set spec.suspend to false to run the analysis");
        assert!(namespace.api::<Pod>().list(&ListParams::default()).await?.items.is_empty());
        namespace.change_analysis("later", json!({ "spec": { "suspend": false } })).await?;
        let job = namespace.wait_until_ended("later").await?;
        assert!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_running_analysis_is_suspended_changed_and_resumed() -> Result<()> {
    with_namespace(async |namespace| {
        let server = HttpServer::start(&namespace.cluster, [("slow", Page::new("n\n1\n").held())]).await?;
        let memory =
            |amount: &str| json!({ "workload": { "resources": { "limits": { "memory": amount } } } });
        let spec = with(query(csv_at("data", &server.url("slow")), "SELECT n FROM data"), memory("256Mi"));
        namespace.create_analysis("paused", spec).await?;
        namespace.wait_for_analysis("paused", "to run", |job| outcome::reason(job) == "Running").await?;
        let pods = namespace.api::<Pod>();
        let first = pods.list(&ListParams::default()).await?.items.pop().context("a pod")?.name_any();

        namespace.change_analysis("paused", json!({ "spec": { "suspend": true } })).await?;
        namespace
            .wait_for_analysis("paused", "to be suspended", |job| outcome::reason(job) == "Suspended")
            .await?;
        namespace.wait_until_gone::<Pod>(&first).await?;
        // A queueing system that starts Jobs finds none.
        namespace.wait_until_gone::<Job>("paused").await?;

        namespace.change_analysis("paused", json!({ "spec": memory("384Mi") })).await?;
        namespace.change_analysis("paused", json!({ "spec": { "suspend": false } })).await?;
        namespace
            .wait_for::<Job>("paused", "to be made anew", |job| {
                job.and_then(|job| {
                    job.spec.as_ref()?.template.spec.as_ref()?.containers[0].resources.as_ref()
                })
                .and_then(|resources| resources.limits.as_ref()?.get("memory"))
                .is_some_and(|memory| memory.0 == "384Mi")
            })
            .await?;
        server.release();
        let job = namespace.wait_until_ended("paused").await?;
        assert!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
        // Suspending is no failure.
        assert_eq!(job.status.and_then(|status| status.failed_attempts), None);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_a_suspended_analysis_refers_to_may_come_later() -> Result<()> {
    with_namespace(async |namespace| {
        let source =
            json!({ "name": "data", "format": "csv", "configMap": { "name": "later", "key": "data.csv" } });
        let spec = json!({ "sources": [source], "sql": "SELECT n FROM data", "suspend": true });
        namespace.create_analysis("early", spec).await?;
        namespace
            .wait_for_analysis("early", "to be suspended", |job| outcome::reason(job) == "Suspended")
            .await?;
        namespace.change_analysis("early", json!({ "spec": { "suspend": false } })).await?;
        namespace
            .wait_for_analysis("early", "to miss its data", |job| outcome::reason(job) == "ConfigMapNotFound")
            .await?;
        namespace.change_analysis("early", json!({ "spec": { "suspend": true } })).await?;
        let job = namespace
            .wait_for_analysis("early", "to be suspended again", |job| outcome::reason(job) == "Suspended")
            .await?;
        assert_eq!(job.status.and_then(|status| status.completion_time), None);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_running_analysis_is_not_disturbed_by_a_change_of_its_workload() -> Result<()> {
    with_namespace(async |namespace| {
        let server = HttpServer::start(&namespace.cluster, [("slow", Page::new("n\n1\n").held())]).await?;
        namespace
            .create_analysis("steady", query(csv_at("data", &server.url("slow")), "SELECT n FROM data"))
            .await?;
        namespace.wait_for_analysis("steady", "to run", |job| outcome::reason(job) == "Running").await?;
        let before = namespace.api::<Job>().get("steady").await?.metadata.uid;
        let change = json!({ "workload": { "podLabels": { "a": "b" } }, "activeDeadlineSeconds": 170 });
        let changed = namespace.change_analysis("steady", json!({ "spec": change })).await?;
        namespace
            .wait_for_analysis("steady", "to see the change", |job| {
                job.status
                    .as_ref()
                    .is_some_and(|status| status.observed_generation == changed.metadata.generation)
            })
            .await?;
        // What can be changed of a Job that runs is, the rest waits.
        let job = namespace.api::<Job>().get("steady").await?;
        assert_eq!(job.metadata.uid, before);
        assert_eq!(job.spec.context("a specification")?.active_deadline_seconds, Some(170));
        server.release();
        let job = namespace.wait_until_ended("steady").await?;
        assert!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
        Ok(())
    })
    .await
}
