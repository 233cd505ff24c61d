//! Pods that cannot start: the AnalysisJob says why.

use ai_saas_platform_tests::specification::{inline_csv, query};
use ai_saas_platform_tests::{outcome, with_namespace};
use anyhow::Result;
use crds::condition::{ACCEPTED, READY};
use serde_json::{Value, json};

fn with_workload(workload: Value) -> Value {
    let mut spec = query(inline_csv("data", "n\n1\n"), "SELECT n FROM data");
    spec["workload"] = workload;
    spec
}

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_told() -> Result<()> {
    with_namespace(async |namespace| {
        namespace
            .create_analysis("pulling", with_workload(json!({ "image": "aisaas.local/nothing:1" })))
            .await?;
        let job = namespace
            .wait_for_analysis("pulling", "to fail to pull", |job| {
                let message = outcome::message(job);
                message.contains("ErrImagePull") || message.contains("ImagePullBackOff")
            })
            .await?;
        assert_eq!(outcome::reason(&job), "Pending");
        assert!(
            outcome::message(&job).starts_with("The pod does not run yet: "),
            "{}",
            outcome::message(&job)
        );
        assert!(outcome::message(&job).contains("aisaas.local/nothing:1"), "{}", outcome::message(&job));
        assert!(outcome::holds(&job, ACCEPTED) && !outcome::holds(&job, READY));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_image_that_is_not_on_the_node_is_told() -> Result<()> {
    with_namespace(async |namespace| {
        let workload = json!({ "image": "aisaas.local/nothing:1", "imagePullPolicy": "Never" });
        namespace.create_analysis("absent", with_workload(workload)).await?;
        namespace
            .wait_for_analysis("absent", "to lack its image", |job| {
                outcome::message(job).starts_with("The pod does not run yet: ErrImageNeverPull")
            })
            .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_pod_that_fits_nowhere_is_told() -> Result<()> {
    with_namespace(async |namespace| {
        for (name, workload) in [
            ("nowhere", json!({ "nodeSelector": { "aisaas.dev/nowhere": "true" } })),
            ("huge", json!({ "resources": { "requests": { "memory": "900Gi" }, "limits": { "memory": "900Gi" } } })),
        ] {
            namespace.create_analysis(name, with_workload(workload)).await?;
            let job = namespace
                .wait_for_analysis(name, "to fit nowhere", |job| outcome::message(job).contains("Unschedulable"))
                .await?;
            assert_eq!(outcome::reason(&job), "Pending");
            assert!(outcome::message(&job).contains("nodes are available"), "{}", outcome::message(&job));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_pod_that_cannot_be_made_is_told() -> Result<()> {
    with_namespace(async |namespace| {
        for (name, workload) in [
            ("nobody", json!({ "serviceAccountName": "nobody" })),
            ("nothing", json!({ "priorityClassName": "nothing" })),
        ] {
            namespace.create_analysis(name, with_workload(workload)).await?;
            let told = format!("The Job cannot make its pod: `kubectl describe job {name} ");
            let job = namespace
                .wait_for_analysis(name, "to have no pod", |job| outcome::message(job).starts_with(&told))
                .await?;
            assert_eq!(outcome::reason(&job), "Pending");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_job_that_a_quota_refuses_is_told_and_starts_when_there_is_room() -> Result<()> {
    with_namespace(async |namespace| {
        let quota =
            json!({ "metadata": { "name": "none" }, "spec": { "hard": { "count/jobs.batch": "0" } } });
        let quota = serde_json::from_value::<k8s_openapi::api::core::v1::ResourceQuota>(quota)?;
        namespace.create_object(&quota).await?;
        namespace
            .wait_for::<k8s_openapi::api::core::v1::ResourceQuota>("none", "to count", |quota| {
                quota.and_then(|quota| quota.status.as_ref()?.hard.as_ref()).is_some()
            })
            .await?;
        namespace.create_analysis("refused", with_workload(json!({}))).await?;
        let job = namespace
            .wait_for_analysis("refused", "to be refused", |job| outcome::reason(job) == "CreateJob")
            .await?;
        let expected = "The API server refuses what the analysis needs, which is tried again: ";
        assert!(outcome::message(&job).starts_with(expected), "{}", outcome::message(&job));
        assert!(outcome::message(&job).contains("exceeded quota: none"), "{}", outcome::message(&job));

        namespace
            .api::<k8s_openapi::api::core::v1::ResourceQuota>()
            .delete("none", &kube::api::DeleteParams::default())
            .await?;
        let job = namespace.wait_until_ended("refused").await?;
        assert!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
        Ok(())
    })
    .await
}
