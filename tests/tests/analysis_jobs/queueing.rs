//! A queueing system, such as Kueue, decides when a Job starts: its label is
//! passed on, and the operator does not jump the queue.

use ai_saas_platform_tests::specification::{inline_csv, query, with};
use ai_saas_platform_tests::{outcome, with_namespace};
use anyhow::Result;
use crds::AnalysisJob;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;

const QUEUE: &str = "kueue.x-k8s.io/queue-name";

#[tokio::test]
async fn a_job_waits_in_its_queue_until_its_turn_has_come() -> Result<()> {
    with_namespace(async |namespace| {
        let spec =
            with(query(inline_csv("data", "n\n1\n"), "SELECT n FROM data"), json!({ "suspend": true }));
        let mut queued = AnalysisJob::new("queued", serde_json::from_value(spec)?);
        queued.labels_mut().insert(QUEUE.to_owned(), "nightly".to_owned());
        namespace.create_object(&queued).await?;
        namespace
            .wait_for_analysis("queued", "to be suspended", |job| outcome::reason(job) == "Suspended")
            .await?;

        // The user lets it run; it is the queue's turn to say when.
        namespace.change_analysis("queued", json!({ "spec": { "suspend": false } })).await?;
        let job = namespace
            .wait_for_analysis("queued", "to wait in its queue", |job| {
                outcome::message(job).contains("queue")
            })
            .await?;
        assert_eq!(outcome::message(&job), "Waiting in its queue: a queueing system has suspended the Job");
        let job = namespace.api::<Job>().get("queued").await?;
        assert_eq!(job.labels().get(QUEUE).map(String::as_str), Some("nightly"));
        assert_eq!(job.spec.and_then(|spec| spec.suspend), Some(true));

        let turn = Patch::Merge(json!({ "spec": { "suspend": false } }));
        namespace.api::<Job>().patch("queued", &PatchParams::default(), &turn).await?;
        let job = namespace.wait_until_ended("queued").await?;
        assert!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
        Ok(())
    })
    .await
}
