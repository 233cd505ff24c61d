//! What a Platform becomes, and how it stays so.

use ai_saas_platform_tests::front_door::is_ready;
use ai_saas_platform_tests::{FrontDoor, Namespace, with_namespace};
use anyhow::{Context as _, Result};
use crds::Platform;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret, Service};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

async fn create(namespace: &Namespace, spec: Value) -> Result<()> {
    namespace.create_object(&Platform::new("platform", serde_json::from_value(spec)?)).await.map(drop)
}

async fn change(namespace: &Namespace, spec: Value) -> Result<()> {
    let patch = Patch::Merge(json!({ "spec": spec }));
    namespace.api::<Platform>().patch("platform", &PatchParams::default(), &patch).await?;
    Ok(())
}

fn reason<'a>(platform: &'a Platform, condition_type: &str) -> Option<&'a str> {
    let conditions = &platform.status.as_ref()?.conditions;
    conditions.iter().find(|condition| condition.type_ == condition_type).map(|found| found.reason.as_str())
}

#[tokio::test]
async fn what_is_changed_or_removed_by_hand_is_put_right_and_nothing_is_written_without_need() -> Result<()> {
    with_namespace(async |namespace| {
        create(namespace, json!({})).await?;
        let door = FrontDoor::of(namespace, "platform").await?;
        assert!(door.key.starts_with("aisaas_") && door.key.len() == 50, "{}", door.key.len());

        namespace.api::<Service>().delete("platform-analysis-base", &DeleteParams::default()).await?;
        let there = |service: Option<&Service>| {
            service.is_some_and(|service| service.metadata.deletion_timestamp.is_none())
        };
        namespace.wait_for::<Service>("platform-analysis-base", "to be back", there).await?;
        let none = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
        namespace.api::<Deployment>().patch("platform", &PatchParams::default(), &none).await?;
        namespace
            .wait_for::<Deployment>("platform", "to have its pod again", |deployment| {
                deployment.and_then(|deployment| deployment.spec.as_ref()?.replicas) == Some(1)
            })
            .await?;
        FrontDoor::of(namespace, "platform").await?;

        // The key is made once.
        let key = namespace.api::<Secret>().get("platform-admin-key").await?.metadata.resource_version;
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        let before = versions(namespace).await?;
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
        assert_eq!(versions(namespace).await?, before);
        assert_eq!(namespace.api::<Secret>().get("platform-admin-key").await?.metadata.resource_version, key);
        Ok(())
    })
    .await
}

/// The versions of what the operator writes. Deployments are left out: their
/// status is others'.
async fn versions(namespace: &Namespace) -> Result<Vec<Option<String>>> {
    let mut versions = vec![namespace.api::<Platform>().get("platform").await?.metadata.resource_version];
    let all = ListParams::default();
    for service in namespace.api::<Service>().list(&all).await?.items {
        versions.push(service.metadata.resource_version);
    }
    for policy in namespace.api::<NetworkPolicy>().list(&all).await?.items {
        versions.push(policy.metadata.resource_version);
    }
    for deployment in namespace.api::<Deployment>().list(&all).await?.items {
        versions.push(deployment.metadata.generation.map(|generation| generation.to_string()));
    }
    Ok(versions)
}

#[tokio::test]
async fn it_is_suspended_and_resumed_with_its_data() -> Result<()> {
    with_namespace(async |namespace| {
        create(namespace, json!({ "suspend": true })).await?;
        namespace
            .wait_for::<Platform>("platform", "to be suspended", |platform| {
                platform.and_then(|platform| reason(platform, "Ready")) == Some("Suspended")
            })
            .await?;
        assert!(namespace.api::<Deployment>().list(&ListParams::default()).await?.items.is_empty());
        change(namespace, json!({ "suspend": false })).await?;
        FrontDoor::of(namespace, "platform").await?;
        let claim = namespace.api::<PersistentVolumeClaim>().get("platform-analysis-base-data").await?;

        change(namespace, json!({ "suspend": true })).await?;
        namespace
            .wait_for::<Deployment>("platform", "to have no pod", |deployment| {
                deployment.and_then(|deployment| deployment.spec.as_ref()?.replicas) == Some(0)
            })
            .await?;
        let kept = namespace.api::<PersistentVolumeClaim>().get("platform-analysis-base-data").await?;
        assert_eq!(kept.metadata.uid, claim.metadata.uid);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_missing_secret_is_named_and_an_exposure_comes_and_goes() -> Result<()> {
    with_namespace(async |namespace| {
        let database = json!({ "postgresql": { "secret": { "name": "later", "key": "url" } } });
        create(namespace, json!({ "database": database })).await?;
        let platform = namespace
            .wait_for::<Platform>("platform", "to miss the Secret", |platform| {
                platform.and_then(|platform| reason(platform, "Accepted")) == Some("SecretNotFound")
            })
            .await?
            .context("the Platform")?;
        let message = platform.status.into_iter().flat_map(|status| status.conditions).next();
        assert!(message.is_some_and(|condition| condition.message.contains("`later`")));

        change(
            namespace,
            json!({ "database": null, "exposure": { "ingress": { "host": "ai.example.com" } } }),
        )
        .await?;
        namespace.wait_for::<Ingress>("platform", "to be there", |ingress| ingress.is_some()).await?;
        namespace
            .wait_for::<Platform>("platform", "to be ready", |platform| platform.is_some_and(is_ready))
            .await?;
        change(namespace, json!({ "exposure": null })).await?;
        namespace.wait_until_gone::<Ingress>("platform").await
    })
    .await
}
