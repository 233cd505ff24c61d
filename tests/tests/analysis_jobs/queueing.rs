//! A queueing system, such as Kueue, decides when a Job starts: its label is
//! passed on, and the operator does not jump the queue.

use ai_saas_platform_tests::specification::{inline_csv, query, with};
use ai_saas_platform_tests::{Namespace, outcome, with_namespace};
use anyhow::{Context as _, Result};
use crds::AnalysisJob;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

const QUEUE: &str = "kueue.x-k8s.io/queue-name";
/// Label of the nodes that the queue chooses.
const FLAVOR: &str = "example.com/flavor";

#[tokio::test]
async fn a_job_waits_in_its_queue_until_its_turn_has_come() -> Result<()> {
    with_namespace(async |namespace| {
        // No node has the label: nothing runs before the queue has seen the Job.
        let spec = with(
            query(inline_csv("data", "n\n1\n"), "SELECT n FROM data"),
            json!({ "suspend": true, "workload": { "nodeSelector": { FLAVOR: "any" } } }),
        );
        let mut queued = AnalysisJob::new("queued", serde_json::from_value(spec)?);
        queued.labels_mut().insert(QUEUE.to_owned(), "nightly".to_owned());
        namespace.create_object(&queued).await?;
        namespace
            .wait_for_analysis("queued", "to be suspended", |job| outcome::reason(job) == "Suspended")
            .await?;
        // It is not in the queue, which would start it.
        assert!(namespace.api::<Job>().get_opt("queued").await?.is_none());

        namespace.change_analysis("queued", json!({ "spec": { "suspend": false } })).await?;
        namespace
            .wait_for_analysis("queued", "to join the queue", |job| outcome::reason(job) == "Pending")
            .await?;
        change_job(namespace, json!({ "suspend": true })).await?;
        let job = namespace
            .wait_for_analysis("queued", "to wait in its queue", |job| {
                outcome::message(job).contains("queue")
            })
            .await?;
        assert_eq!(
            outcome::message(&job),
            "Waiting in its queue: the Job is suspended, by a queueing system or by hand"
        );

        // The queue was the wrong one.
        let other = json!({ "metadata": { "labels": { QUEUE: "daily" } } });
        namespace.change_analysis("queued", other).await?;
        let has_moved = |job: &Job| job.labels().get(QUEUE).is_some_and(|queue| queue == "daily");
        namespace
            .wait_for::<Job>("queued", "to be in the other queue", |job| job.is_some_and(has_moved))
            .await?;

        // Whatever wakes the operator, it does not jump the queue.
        namespace.change_analysis("queued", json!({ "spec": { "backoffLimit": 1 } })).await?;
        let is_changed = |job: &Job| job.spec.as_ref().is_some_and(|spec| spec.backoff_limit == Some(1));
        let job = namespace
            .wait_for::<Job>("queued", "to change", |job| job.is_some_and(is_changed))
            .await?
            .context("the Job is gone")?;
        assert_eq!(job.labels().get(QUEUE).map(String::as_str), Some("daily"));
        assert_eq!(job.spec.and_then(|spec| spec.suspend), Some(true));

        // Its turn has come. The queue says on which nodes, too, as Kueue does:
        // the template may be changed of a Job that has not started.
        let unstarted = Patch::Merge(json!({ "status": { "startTime": null } }));
        namespace.api::<Job>().patch_status("queued", &PatchParams::default(), &unstarted).await?;
        let anywhere = json!({ "spec": { "nodeSelector": { FLAVOR: null } } });
        change_job(namespace, json!({ "suspend": false, "template": anywhere })).await?;
        let job = namespace.wait_until_ended("queued").await?;
        assert!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
        Ok(())
    })
    .await
}

/// As with Kueue's `manageJobsWithoutQueueName`.
#[tokio::test]
async fn a_queueing_system_may_hold_jobs_without_its_label() -> Result<()> {
    with_namespace(async |namespace| {
        let spec = with(
            query(inline_csv("data", "n\n1\n"), "SELECT n FROM data"),
            json!({ "workload": { "nodeSelector": { FLAVOR: "any" } } }),
        );
        namespace.create_analysis("queued", spec).await?;
        let is_there = |job: Option<&Job>| job.is_some();
        namespace.wait_for::<Job>("queued", "to be there", is_there).await?;
        change_job(namespace, json!({ "suspend": true })).await?;
        namespace
            .wait_for_analysis("queued", "to wait in its queue", |job| {
                outcome::message(job).contains("queue")
            })
            .await?;
        namespace.change_analysis("queued", json!({ "spec": { "backoffLimit": 1 } })).await?;
        let is_changed = |job: &Job| job.spec.as_ref().is_some_and(|spec| spec.backoff_limit == Some(1));
        let job = namespace
            .wait_for::<Job>("queued", "to change", |job| job.is_some_and(is_changed))
            .await?
            .context("the Job is gone")?;
        assert_eq!(job.spec.and_then(|spec| spec.suspend), Some(true));
        Ok(())
    })
    .await
}

async fn change_job(namespace: &Namespace, spec: Value) -> Result<()> {
    let change = Patch::Merge(json!({ "spec": spec }));
    namespace.api::<Job>().patch("queued", &PatchParams::default(), &change).await?;
    Ok(())
}
