//! What is referred to and is not there: said at once, and mended by creating
//! it.

use ai_saas_platform_tests::specification::query;
use ai_saas_platform_tests::{HttpServer, Namespace, Page, outcome, with_namespace};
use anyhow::Result;
use crds::condition::ACCEPTED;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

/// Creates an AnalysisJob that is not accepted, and sees that it says so and
/// has no Job.
async fn is_not_accepted(
    namespace: &Namespace,
    name: &str,
    spec: Value,
    reason: &str,
    message: &str,
) -> Result<()> {
    namespace.create_analysis(name, spec).await?;
    let job =
        namespace.wait_for_analysis(name, "to be looked at", |job| !outcome::reason(job).is_empty()).await?;
    assert_eq!(outcome::reason(&job), reason, "{}", outcome::in_words(&job));
    assert_eq!(outcome::message(&job), message);
    let accepted = outcome::condition_of(&job, ACCEPTED).expect("a condition");
    assert_eq!((accepted.status.as_str(), accepted.reason.as_str()), ("False", reason));
    assert!(namespace.api::<Job>().get_opt(name).await?.is_none(), "there is a Job");
    namespace.wait_for_event(name, reason).await?;
    Ok(())
}

async fn starts_by_itself(namespace: &Namespace, name: &str) -> Result<()> {
    let job = namespace.wait_until_ended(name).await?;
    assert!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
    assert!(outcome::holds(&job, ACCEPTED));
    Ok(())
}

#[tokio::test]
async fn a_missing_config_map_and_its_key_are_waited_for() -> Result<()> {
    with_namespace(async |namespace| {
        let source = json!({ "name": "data", "format": "csv", "configMap": { "name": "numbers", "key": "numbers.csv" } });
        let spec = query(source, "SELECT sum(n) AS total FROM data");
        let missing = "ConfigMap `numbers` does not exist in this namespace: create it, and the analysis starts by itself";
        is_not_accepted(namespace, "waiting", spec, "ConfigMapNotFound", missing).await?;

        namespace.create_config_map("numbers", "others.csv", b"n\n1\n").await?;
        let job = namespace
            .wait_for_analysis("waiting", "to miss the key", |job| outcome::reason(job) == "ConfigMapKeyNotFound")
            .await?;
        assert_eq!(
            outcome::message(&job),
            "ConfigMap `numbers` has no key `numbers.csv`: add it, and the analysis starts by itself"
        );

        let added = Patch::Merge(json!({ "data": { "numbers.csv": "n\n1\n2\n" } }));
        namespace
            .api::<k8s_openapi::api::core::v1::ConfigMap>()
            .patch("numbers", &PatchParams::default(), &added)
            .await?;
        starts_by_itself(namespace, "waiting").await
    })
    .await
}

#[tokio::test]
async fn a_missing_secret_is_waited_for() -> Result<()> {
    with_namespace(async |namespace| {
        let page = Page::new("n\n1\n").for_those_who_say("Bearer t0ken");
        let server = HttpServer::start(&namespace.cluster, [("numbers", page)]).await?;
        let source = json!({
            "name": "data", "format": "csv", "uri": { "url": server.url("numbers"), "secret": { "name": "credentials" } },
        });
        let missing = "Secret `credentials` does not exist in this namespace: create it, and the analysis starts by itself";
        is_not_accepted(namespace, "waiting", query(source, "SELECT n FROM data"), "SecretNotFound", missing).await?;
        namespace.create_secret("credentials", &[("token", "t0ken")]).await?;
        starts_by_itself(namespace, "waiting").await
    })
    .await
}

#[tokio::test]
async fn a_missing_claim_is_waited_for() -> Result<()> {
    with_namespace(async |namespace| {
        let spec = json!({
            "sources": [{ "name": "data", "format": "csv", "inline": "n\n1\n" }],
            "sql": "SELECT n FROM data",
            "output": { "format": "csv", "persistentVolumeClaim": { "claimName": "results", "path": "." } },
        });
        let missing =
            "PersistentVolumeClaim `results` does not exist in this namespace: create it, and the analysis starts by itself";
        is_not_accepted(namespace, "waiting", spec, "PersistentVolumeClaimNotFound", missing).await?;
        namespace.create_claim("results").await?;
        starts_by_itself(namespace, "waiting").await
    })
    .await
}

#[tokio::test]
async fn a_secret_without_its_keys_is_explained() -> Result<()> {
    with_namespace(async |namespace| {
        namespace.create_secret("credentials", &[("AWS_ACCESS_KEY_ID", "a")]).await?;
        let source = json!({
            "name": "data", "format": "csv",
            "uri": { "url": "s3://bucket/data.csv", "secret": { "name": "credentials" } },
        });
        let job = namespace.analyse("keyless", query(source, "SELECT 1")).await?;
        assert_eq!(outcome::reason(&job), "AccessDenied", "{}", outcome::in_words(&job));
        assert_eq!(outcome::message(&job), "Secret `credentials` has no key `AWS_SECRET_ACCESS_KEY`.");
        Ok(())
    })
    .await
}
