//! Installing, upgrading and uninstalling by Helm.

use ai_saas_platform_tests::helm::{Release, rendered};
use ai_saas_platform_tests::specification::{inline_csv, query, to_config_map, with};
use ai_saas_platform_tests::{Operator, outcome, with_namespace};
use anyhow::{Context as _, Result};
use crds::AnalysisJob;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::Value;

use crate::ALONE;

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

#[tokio::test]
async fn with_namespaces_the_operator_may_nothing_elsewhere() -> Result<()> {
    let objects = rendered(&["rbac.namespaces={one,two}"]).await?;
    assert!(of_kind(&objects, "ClusterRoleBinding").is_empty());
    // What is left are the roles that add to view, edit and admin: they are
    // bound to nobody here.
    for role in of_kind(&objects, "ClusterRole") {
        let labels = role["metadata"]["labels"].as_object().context("labels")?;
        assert!(
            labels.keys().any(|key| key.starts_with("rbac.authorization.k8s.io/aggregate-to-")),
            "{role}"
        );
    }
    let places = |kind: &str| -> Vec<String> {
        let objects = of_kind(&objects, kind);
        objects
            .iter()
            .map(|object| object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(places("Role"), ["one", "two"]);
    assert_eq!(places("RoleBinding"), ["one", "two"]);
    let variables = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["env"];
    let watched = variables
        .as_array()
        .context("variables")?
        .iter()
        .find(|variable| variable["name"] == "WATCH_NAMESPACES");
    assert_eq!(watched.context("the namespaces")?["value"], "one,two");

    let objects = rendered(&["rbac.namespaces={one,two}", "rbac.aggregate=false"]).await?;
    assert!(of_kind(&objects, "ClusterRole").is_empty());
    Ok(())
}

#[tokio::test]
async fn the_operator_is_told_the_ports_of_the_api_server() -> Result<()> {
    let objects = rendered(&["networkPolicy.apiServerPorts={443,8443}"]).await?;
    let variables = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["env"];
    let ports = variables
        .as_array()
        .context("variables")?
        .iter()
        .find(|variable| variable["name"] == "API_SERVER_PORTS");
    assert_eq!(ports.context("the ports")?["value"], "443,8443");
    Ok(())
}

#[tokio::test]
async fn no_role_of_the_operator_has_a_wildcard_or_reads_all_secrets() -> Result<()> {
    let objects = rendered(&["rbac.aggregate=false"]).await?;
    let roles = of_kind(&objects, "ClusterRole");
    assert_eq!(roles.len(), 1);
    for rule in roles[0]["rules"].as_array().context("rules")? {
        let has = |list: &str, word: &str| {
            rule[list].as_array().is_some_and(|words| words.iter().any(|one| one == word))
        };
        for list in ["apiGroups", "resources", "verbs"] {
            assert!(!has(list, "*"), "{rule}");
        }
        if has("resources", "secrets") {
            for verb in ["list", "watch", "update", "patch", "delete"] {
                assert!(!has("verbs", verb), "{rule}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_upgrade_to_the_same_changes_nothing() -> Result<()> {
    let _alone = ALONE.lock().await;
    with_namespace(async |namespace| {
        let operator = Operator::of(&namespace.cluster);
        operator.wait_until_ready().await?;
        let (pod, generation) =
            (operator.pod().await?.uid(), operator.deployment().await?.metadata.generation);
        Release::definitions().await?.install(&[]).await?;
        Release::operator().await?.install(&[]).await?;
        assert_eq!(operator.deployment().await?.metadata.generation, generation);
        assert_eq!(operator.pod().await?.uid(), pod, "the operator was restarted");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_cluster_may_have_its_own_network_policies() -> Result<()> {
    let _alone = ALONE.lock().await;
    with_namespace(async |namespace| {
        let operator = Release::operator().await?;
        operator.install(&["networkPolicy.workloads=false"]).await?;
        let spec = query(inline_csv("data", "n\n1\n"), "SELECT n FROM data");
        let analysed = namespace.analyse_well("open", spec).await;
        let policies = namespace.api::<NetworkPolicy>().list(&ListParams::default()).await;
        operator.install(&[]).await?;
        analysed?;
        assert!(policies?.items.is_empty());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn uninstalling_keeps_what_users_declared_and_what_runs() -> Result<()> {
    let _alone = ALONE.lock().await;
    with_namespace(async |namespace| {
        let spec = || with(query(inline_csv("data", "n\n1\n"), "SELECT n FROM data"), to_config_map("csv"));
        let before = namespace.analyse_well("before", spec()).await?;
        let (definitions, operator) = (Release::definitions().await?, Release::operator().await?);

        operator.uninstall().await?;
        definitions.uninstall().await?;
        let result = while_uninstalled(namespace, &before, spec()).await;
        definitions.install(&[]).await?;
        operator.install(&[]).await?;
        result?;

        // What was declared in the meantime is done, what was done is not done again.
        let job = namespace.wait_until_ended("meanwhile").await?;
        assert!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
        let after = namespace.api::<AnalysisJob>().get("before").await?;
        assert_eq!(after.metadata.resource_version, before.metadata.resource_version);
        Ok(())
    })
    .await
}

async fn while_uninstalled(
    namespace: &ai_saas_platform_tests::Namespace,
    before: &AnalysisJob,
    spec: Value,
) -> Result<()> {
    let all: Api<CustomResourceDefinition> = Api::all(namespace.cluster.client.clone());
    let definition = all.get("analysisjobs.aisaas.dev").await.context("the CRD is gone")?;
    anyhow::ensure!(definition.metadata.deletion_timestamp.is_none(), "the CRD is being deleted");
    let kept = namespace.api::<AnalysisJob>().get("before").await.context("the AnalysisJob is gone")?;
    anyhow::ensure!(kept.metadata.uid == before.metadata.uid, "the AnalysisJob is another");
    namespace.api::<Job>().get("before").await.context("the Job is gone")?;
    namespace.api::<ConfigMap>().get("before-result").await.context("the result is gone")?;
    namespace.create_analysis("meanwhile", spec).await.map(drop)
}

#[tokio::test]
async fn in_namespaced_mode_the_operator_works_there_and_nowhere_else() -> Result<()> {
    let _alone = ALONE.lock().await;
    with_namespace(async |inside| {
        with_namespace(async |outside| {
            let release = Release::operator().await?;
            let namespaces = format!("rbac.namespaces={{{}}}", inside.name);
            release.install(&[&namespaces]).await?;
            let result = works_only_inside(inside, outside).await;
            release.install(&[]).await?;
            result?;
            let job = outside.wait_until_ended("outside").await?;
            assert!(outcome::has_succeeded(&job), "{}", outcome::in_words(&job));
            Ok(())
        })
        .await
    })
    .await
}

async fn works_only_inside(
    inside: &ai_saas_platform_tests::Namespace,
    outside: &ai_saas_platform_tests::Namespace,
) -> Result<()> {
    let spec = || with(query(inline_csv("data", "n\n1\n"), "SELECT n FROM data"), to_config_map("csv"));
    outside.create_analysis("outside", spec()).await?;
    inside.analyse_well("inside", spec()).await?;
    let untouched = outside.api::<AnalysisJob>().get("outside").await?;
    anyhow::ensure!(untouched.status.is_none(), "the operator works in another namespace: {untouched:?}");
    let log = Operator::of(&inside.cluster).log(None).await?;
    anyhow::ensure!(!log.contains("forbidden: User"), "the operator lacks permissions: {log}");
    Ok(())
}
