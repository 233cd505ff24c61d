//! Objects of somebody else that have the names that ours would get: they are
//! left alone.

use ai_saas_platform_tests::namespace::named;
use ai_saas_platform_tests::specification::{inline_csv, query, to_config_map, with};
use ai_saas_platform_tests::{outcome, with_namespace};
use anyhow::Result;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::DeleteParams;
use serde_json::json;

#[tokio::test]
async fn a_job_of_somebody_else_is_left_alone() -> Result<()> {
    with_namespace(async |namespace| {
        let strange: Job = serde_json::from_value(json!({
            "metadata": { "name": "taken" },
            "spec": {
                "suspend": true,
                "template": { "spec": { "restartPolicy": "Never", "containers": [{ "name": "other", "image": "other" }] } },
            },
        }))?;
        let strange = namespace.create_object(&strange).await?;
        namespace.create_analysis("taken", query(inline_csv("data", "n\n1\n"), "SELECT n FROM data")).await?;
        let job = namespace
            .wait_for_analysis("taken", "to find its name taken", |job| outcome::reason(job) == "JobNameTaken")
            .await?;
        assert_eq!(
            outcome::message(&job),
            "Job `taken` exists and does not belong to this AnalysisJob: delete it, or choose another name"
        );
        let still_there = namespace.api::<Job>().get("taken").await?;
        assert_eq!(still_there.metadata.uid, strange.metadata.uid);
        assert_eq!(still_there.spec, strange.spec);

        namespace.api::<Job>().delete("taken", &DeleteParams::background()).await?;
        let job = namespace.wait_until_ended("taken").await?;
        assert!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_config_map_of_somebody_else_is_left_alone() -> Result<()> {
    with_namespace(async |namespace| {
        let strange = ConfigMap {
            metadata: named("taken-result"),
            data: Some([("precious".to_owned(), "yes".to_owned())].into()),
            ..ConfigMap::default()
        };
        let strange = namespace.create_object(&strange).await?;
        let spec = with(query(inline_csv("data", "n\n1\n"), "SELECT n FROM data"), to_config_map("csv"));
        namespace.create_analysis("taken", spec).await?;
        let job = namespace
            .wait_for_analysis("taken", "to find the name taken", |job| outcome::reason(job) == "ConfigMapNameTaken")
            .await?;
        assert_eq!(
            outcome::message(&job),
            "ConfigMap `taken-result` exists and does not belong to this AnalysisJob: delete it, or create the AnalysisJob again with another output.configMap.name"
        );
        let still_there = namespace.api::<ConfigMap>().get("taken-result").await?;
        assert_eq!(still_there.metadata.resource_version, strange.metadata.resource_version);

        namespace.api::<ConfigMap>().delete("taken-result", &DeleteParams::default()).await?;
        let job = namespace.wait_until_ended("taken").await?;
        assert!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
        assert_eq!(namespace.text_of("taken-result", "result.csv").await?, "n\n1\n");
        Ok(())
    })
    .await
}
