//! An object that this version of the operator cannot read: one that a newer
//! CRD allowed, or a restored backup. The others go on.

use ai_saas_platform_tests::specification::{inline_csv, query};
use ai_saas_platform_tests::{Cluster, Operator, outcome, with_namespace};
use anyhow::{Context as _, Result, anyhow};
use crds::AnalysisJob;
use futures::FutureExt as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

use crate::ALONE;

const DEFINITION: &str = "analysisjobs.aisaas.dev";
const FORMATS: &str =
    "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/sources/items/properties/format/enum";

/// Sets the formats that a source may have.
async fn allow_formats(cluster: &Cluster, formats: &Value) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let patch = serde_json::from_value(json!([{ "op": "replace", "path": FORMATS, "value": formats }]))?;
    definitions
        .patch(DEFINITION, &PatchParams::default(), &Patch::<()>::Json(patch))
        .await
        .context("changing the CRD")?;
    Ok(())
}

async fn formats(cluster: &Cluster) -> Result<Value> {
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    let definition = serde_json::to_value(definitions.get(DEFINITION).await.context("reading the CRD")?)?;
    definition.pointer(FORMATS).cloned().context("the CRD has no list of formats")
}

#[tokio::test]
async fn an_object_that_cannot_be_read_does_not_stop_the_others() -> Result<()> {
    let _alone = ALONE.lock().await;
    with_namespace(async |namespace| {
        let cluster = &namespace.cluster;
        let known = formats(cluster).await?;
        let mut more = known.clone();
        more.as_array_mut().context("a list of formats")?.push("excel".into());

        allow_formats(cluster, &more).await?;
        let created = create_unreadable(cluster, &namespace.name).boxed().await;
        allow_formats(cluster, &known).await?;
        created?;

        let objects = untyped(cluster, &namespace.name);
        let is_told = await_condition(objects.clone(), "unreadable", |object: Option<&DynamicObject>| {
            object.is_some_and(|object| object.data["status"]["conditions"][0]["reason"] == "Unreadable")
        });
        let told = tokio::time::timeout(ai_saas_platform_tests::namespace::PATIENCE, is_told).await;
        let told = told
            .map_err(|_| anyhow!("it is not told that the object cannot be read"))??
            .context("the object")?;
        let message = told.data["status"]["conditions"][0]["message"].as_str().unwrap_or_default();
        assert!(message.starts_with("The object cannot be read: ") && message.contains("excel"), "{message}");

        let readable = || query(inline_csv("data", "n\n1\n"), "SELECT n FROM data");
        namespace.analyse_well("beside", readable()).await?;
        // Nor one that starts and finds it there.
        let operator = Operator::of(cluster);
        operator.kill().await?;
        operator.wait_until_ready().await?;
        let job = namespace.analyse_well("afterwards", readable()).await?;
        assert!(outcome::has_succeeded(&job));
        Ok(())
    })
    .await
}

/// The API server takes a moment to follow a change of a CRD.
async fn create_unreadable(cluster: &Cluster, namespace: &str) -> Result<()> {
    let object = json!({
        "apiVersion": "aisaas.dev/v1alpha1",
        "kind": "AnalysisJob",
        "metadata": { "name": "unreadable" },
        "spec": { "sources": [{ "name": "data", "format": "excel", "uri": { "url": "https://a/b.xlsx" } }], "sql": "SELECT 1" },
    });
    let object: DynamicObject = serde_json::from_value(object)?;
    let objects = untyped(cluster, namespace);
    let deadline = tokio::time::Instant::now() + ai_saas_platform_tests::namespace::PATIENCE;
    loop {
        match objects.create(&PostParams::default(), &object).await {
            Ok(_) => return Ok(()),
            Err(kube::Error::Api(status)) if status.code == 422 && tokio::time::Instant::now() < deadline => {
            }
            Err(error) => return Err(error).context("creating an object that cannot be read"),
        }
    }
}

fn untyped(cluster: &Cluster, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(cluster.client.clone(), namespace, &ApiResource::erase::<AnalysisJob>(&()))
}
