//! An operator that has nothing to do writes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use ai_saas_platform_tests::specification::{inline_csv, query, small_workload, to_config_map, with};
use ai_saas_platform_tests::{Namespace, Operator, outcome, with_namespace};
use anyhow::{Context as _, Result};
use crds::AnalysisJob;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::ListParams;
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::ALONE;

/// How long nothing is to happen: this is what is measured, not waited for.
const REST: Duration = Duration::from_secs(15);
/// The writes of the objects of Platforms, as the operator counts them.
const PLATFORM_OBJECTS: &str = "ApplyPlatformObject";

/// Objects of every state that lasts: ended well, ended badly, suspended, not
/// accepted, not schedulable, without an image.
async fn create_lasting_states(namespace: &Namespace) -> Result<()> {
    let of = |fields: Value| {
        with(with(query(inline_csv("data", "n\n1\n"), "SELECT n FROM data"), small_workload()), fields)
    };
    let states = [
        ("well", of(to_config_map("csv")), "Succeeded"),
        ("badly", of(json!({ "sql": "SELECT m FROM data" })), "InvalidQuery"),
        ("suspended", of(json!({ "suspend": true })), "Suspended"),
        (
            "missing",
            of(
                json!({ "sources": [{ "name": "data", "format": "csv", "configMap": { "name": "no", "key": "no" } }] }),
            ),
            "ConfigMapNotFound",
        ),
        (
            "nowhere",
            of(json!({ "workload": { "nodeSelector": { "aisaas.dev/nowhere": "true" } } })),
            "Pending",
        ),
        ("pulling", of(json!({ "workload": { "image": "aisaas.local/nothing:1" } })), "Pending"),
    ];
    stream::iter(states)
        .map(|(name, spec, reason)| async move {
            namespace.create_analysis(name, spec).await?;
            namespace
                .wait_for_analysis(name, &format!("to be {reason}"), |job| {
                    outcome::reason(job) == reason
                        && (reason != "Pending"
                            || outcome::message(job).contains("Unschedulable")
                            || outcome::message(job).contains("ImagePullBackOff"))
                })
                .await
                .map(drop)
        })
        .buffer_unordered(6)
        .try_collect()
        .await
}

async fn versions<K>(namespace: &Namespace) -> Result<BTreeMap<String, Option<String>>>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let list = namespace.api::<K>().list(&ListParams::default()).await.context("listing")?;
    Ok(list.items.iter().map(|object| (object.name_any(), object.resource_version())).collect())
}

async fn all_versions(namespace: &Namespace) -> Result<[BTreeMap<String, Option<String>>; 4]> {
    Ok([
        versions::<AnalysisJob>(namespace).await?,
        versions::<Job>(namespace).await?,
        versions::<ConfigMap>(namespace).await?,
        versions::<NetworkPolicy>(namespace).await?,
    ])
}

/// The counters once they stand still: namespaces of tests before this one may
/// still be going away, and what is in them changes until it is gone.
async fn settled_writes(operator: &Operator) -> Result<BTreeMap<String, u64>> {
    let deadline = tokio::time::Instant::now() + ai_saas_platform_tests::namespace::PATIENCE;
    let mut writes = operator.writes().await?;
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let later = operator.writes().await?;
        if later == writes {
            return Ok(writes);
        }
        anyhow::ensure!(
            tokio::time::Instant::now() < deadline,
            "the operator does not come to rest: {later:?}"
        );
        writes = later;
    }
}

#[tokio::test]
async fn nothing_is_written_at_rest_nor_after_a_restart() -> Result<()> {
    let _alone = ALONE.lock().await;
    with_namespace(async |namespace| {
        create_lasting_states(namespace).await?;
        let operator = Operator::of(&namespace.cluster);
        operator.wait_until_ready().await?;
        let writes = settled_writes(&operator).await?;
        let before = all_versions(namespace).await?;
        assert!(writes.contains_key("ApplyStatus"), "the counters are not to be found: {writes:?}");
        tokio::time::sleep(REST).await;
        assert_eq!(operator.writes().await?, writes, "writes at rest");
        assert_eq!(all_versions(namespace).await?, before, "versions of the objects at rest");

        // A new operator looks at everything again and finds it right.
        operator.kill().await?;
        operator.wait_until_ready().await?;
        let deadline = tokio::time::Instant::now() + ai_saas_platform_tests::namespace::PATIENCE;
        while operator.reconciles().await? < 6 {
            anyhow::ensure!(tokio::time::Instant::now() < deadline, "the new operator looks at nothing");
        }
        tokio::time::sleep(REST).await;
        let mut writes = operator.writes().await?;
        // Platforms that the cluster has, such as that of the demonstration: a
        // new operator writes each of their objects once, as it is.
        writes.remove(PLATFORM_OBJECTS);
        assert_eq!(writes, BTreeMap::new(), "writes after a restart");
        assert_eq!(all_versions(namespace).await?, before, "versions of the objects after a restart");
        Ok(())
    })
    .await
}
