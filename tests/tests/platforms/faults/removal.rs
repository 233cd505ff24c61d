//! Platforms that are removed, one beside another, while programs use them.

use ai_saas_platform_tests::front_door::problem;
use ai_saas_platform_tests::{
    FrontDoor, HttpServer, Namespace, Operator, Page, platform_pods, with_namespace,
};
use anyhow::{Context as _, Result};
use crds::Platform;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace as NamespaceObject, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount,
};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Resource, ResourceExt as _};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{eventually, id_of, sum_of, with_private_addresses};

/// The names of the objects of a kind that belong to a Platform.
async fn names_of<K>(namespace: &Namespace, platform: &str) -> Result<Vec<String>>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let labels = format!("app.kubernetes.io/instance={platform}");
    let found = namespace.api::<K>().list(&ListParams::default().labels(&labels)).await?;
    Ok(found.items.iter().map(|object| format!("{} {}", K::kind(&()), object.name_any())).collect())
}

/// Everything that belongs to a Platform.
async fn objects_of(namespace: &Namespace, platform: &str) -> Result<Vec<String>> {
    let mut names = names_of::<Deployment>(namespace, platform).await?;
    names.extend(names_of::<Pod>(namespace, platform).await?);
    names.extend(names_of::<Service>(namespace, platform).await?);
    names.extend(names_of::<ConfigMap>(namespace, platform).await?);
    names.extend(names_of::<Secret>(namespace, platform).await?);
    names.extend(names_of::<ServiceAccount>(namespace, platform).await?);
    names.extend(names_of::<PersistentVolumeClaim>(namespace, platform).await?);
    Ok(names)
}

/// Begins a request that does not end, since its data do not come.
async fn begin(door: &FrontDoor, site: &HttpServer, page: &str) -> Result<String> {
    let order = sum_of(&site.url(page));
    let accepted = door.post("/v1/requests", &order).header("prefer", "respond-async");
    let id = id_of(&door.json(accepted).await?)?;
    eventually("its query runs", async || Ok(site.requests(page) > 0)).await?;
    Ok(id)
}

#[tokio::test]
async fn a_platform_that_is_removed_while_it_works_leaves_nothing_and_its_neighbour_alone() -> Result<()> {
    with_namespace(async |namespace| {
        let elsewhere = second_namespace(namespace).await?;
        let result = remove(namespace, &elsewhere).await;
        // It is gone already, unless the test has failed.
        let namespaces: Api<NamespaceObject> = Api::all(namespace.cluster.client.clone());
        let _ = namespaces.delete(&elsewhere.name, &DeleteParams::default()).await;
        result
    })
    .await
}

async fn remove(namespace: &Namespace, elsewhere: &Namespace) -> Result<()> {
    let held = || Page::new("n\n1\n2\n").held();
    let site =
        HttpServer::start(&namespace.cluster, [("one.csv", held()), ("elsewhere.csv", held())]).await?;
    let (one, two, third) = tokio::try_join!(
        FrontDoor::serve(namespace, "one", with_private_addresses()),
        FrontDoor::serve(namespace, "two", with_private_addresses()),
        FrontDoor::serve(elsewhere, "platform", with_private_addresses()),
    )?;
    let operator = Operator::of(&namespace.cluster).pod().await?;

    // What the one has is not the other's, and neither is its key.
    one.json(one.request(Method::PUT, "/v1/datasets/own?format=csv").body("n\n1\n")).await?;
    assert!(two.items("/v1/datasets").await?.is_empty());
    let stolen = one.at(two.url.clone()).request(Method::GET, "/v1/datasets").send().await?;
    assert_eq!(problem(stolen).await?["status"], 401);

    let (first, _) = tokio::try_join!(begin(&one, &site, "one.csv"), begin(&third, &site, "elsewhere.csv"))?;
    let waiting = one.request(Method::GET, &format!("/v1/requests/{first}?wait=25"));
    let waiting = tokio::spawn(waiting.send());
    let namespaces: Api<NamespaceObject> = Api::all(namespace.cluster.client.clone());
    namespace.api::<Platform>().delete("one", &DeleteParams::default()).await?;
    namespaces.delete(&elsewhere.name, &DeleteParams::default()).await?;

    // Who waits gets an answer or an error.
    if let Ok(answer) = waiting.await? {
        let status = answer.status();
        assert!(status == 200 || status == 503, "{status}");
    }
    eventually("nothing of it is left", async || Ok(objects_of(namespace, "one").await?.is_empty())).await?;
    eventually("the other namespace is gone", async || {
        Ok(namespaces.get_opt(&elsewhere.name).await?.is_none())
    })
    .await?;

    assert!(two.items("/v1/datasets").await?.is_empty(), "the neighbour answers as before");
    let analysis = json!({
        "sources": [{ "name": "t", "format": "csv", "inline": "n\n1\n2\n" }],
        "sql": "SELECT sum(n) AS total FROM t",
    });
    let analysis = two.json(two.post("/v1/analyses", &analysis)).await?;
    assert_eq!(analysis["result"]["rows"], json!([{ "total": 3 }]), "{analysis}");
    let after = Operator::of(&namespace.cluster).pod().await?;
    assert_eq!(
        (after.uid(), platform_pods::restarts(&after)),
        (operator.uid(), platform_pods::restarts(&operator)),
        "the operator was started again"
    );
    Ok(())
}

/// Another namespace, which goes before the test ends.
async fn second_namespace(namespace: &Namespace) -> Result<Namespace> {
    let namespaces: Api<NamespaceObject> = Api::all(namespace.cluster.client.clone());
    let object: NamespaceObject = serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": format!("{}-second", namespace.name),
            "labels": { "pod-security.kubernetes.io/enforce": "restricted" },
        },
    }))?;
    let created = namespaces.create(&PostParams::default(), &object).await.context("creating a namespace")?;
    let second = Namespace { cluster: namespace.cluster.clone(), name: created.name_any() };
    second.wait_for::<ServiceAccount>("default", "to exist", |account| account.is_some()).await?;
    Ok(second)
}
