//! A route of the Gateway API. Nothing here serves such routes: what is tested
//! is that the API server takes the route by the real definition, what is in it,
//! and that it comes and goes with its field. That a Gateway leads traffic to
//! it is not.

use std::env;

use ai_saas_platform_tests::command::kubectl;
use ai_saas_platform_tests::{Namespace, with_namespace};
use anyhow::{Context as _, Result, anyhow};
use crds::{Platform, condition};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use serde_json::json;

const DEFINITION: &str = "httproutes.gateway.networking.k8s.io";
const FILE: &str = "gateway.networking.k8s.io_httproutes.yaml";

fn routes(namespace: &Namespace) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute");
    let resource = ApiResource::from_gvk_with_plural(&kind, "httproutes");
    Api::namespaced_with(namespace.cluster.client.clone(), &namespace.name, &resource)
}

async fn route_to(namespace: &Namespace, host: &str) -> Result<()> {
    let route = json!({
        "parentRefs": [{ "name": "public", "namespace": "gateways", "sectionName": "https" }],
        "hostnames": [host],
    });
    change(namespace, json!({ "httpRoute": route })).await
}

async fn change(namespace: &Namespace, exposure: serde_json::Value) -> Result<()> {
    let patch = Patch::Merge(json!({ "spec": { "exposure": exposure } }));
    namespace.api::<Platform>().patch("platform", &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn wait_until_exposed(namespace: &Namespace, reason: &str) -> Result<()> {
    let is_so = |platform: Option<&Platform>| {
        let status = platform.and_then(|platform| platform.status.as_ref());
        status.is_some_and(|status| {
            let mut conditions = status.conditions.iter();
            conditions.any(|found| found.type_ == condition::EXPOSED && found.reason == reason)
        })
    };
    namespace.wait_for::<Platform>("platform", &format!("to be {reason}"), is_so).await.map(drop)
}

async fn wait_for_route(
    namespace: &Namespace,
    what: &str,
    is_so: impl Fn(Option<&DynamicObject>) -> bool,
) -> Result<Option<DynamicObject>> {
    let waited = await_condition(routes(namespace), "platform", |route: Option<&DynamicObject>| is_so(route));
    let waited = tokio::time::timeout(ai_saas_platform_tests::namespace::PATIENCE, waited).await;
    Ok(waited.map_err(|_| anyhow!("the HTTPRoute is not {what}"))??)
}

#[tokio::test]
async fn an_http_route_is_accepted_by_its_real_definition_and_goes_with_its_field() -> Result<()> {
    let folder = env::var("TEST_GATEWAY_API").context(
        "TEST_GATEWAY_API is not set: it names the folder with the definitions of the Gateway API, as \
         `cargo xtask test` does",
    )?;
    with_namespace(async |namespace| {
        namespace.create_object(&Platform::new("platform", serde_json::from_value(json!({}))?)).await?;
        route_to(namespace, "first.example.com").await?;
        let definitions: Api<CustomResourceDefinition> = Api::all(namespace.cluster.client.clone());
        if definitions.get_opt(DEFINITION).await?.is_some() {
            // The cluster has a Gateway API of its own, which is left as it is.
            return with_definition(namespace).await;
        }
        wait_until_exposed(namespace, "HTTPRouteUnknown").await?;
        kubectl(&["apply", "--server-side", "--filename", &format!("{folder}/{FILE}")]).await?;
        let result = with_definition(namespace).await;
        kubectl(&["delete", "crd", DEFINITION]).await?;
        result
    })
    .await
}

async fn with_definition(namespace: &Namespace) -> Result<()> {
    let definition = format!("crd/{DEFINITION}");
    kubectl(&["wait", "--for=condition=Established", "--timeout=60s", &definition]).await?;
    route_to(namespace, "ai.example.com").await?;
    wait_until_exposed(namespace, "Exposed").await?;
    let has_host = |route: Option<&DynamicObject>| {
        route.is_some_and(|route| route.data["spec"]["hostnames"] == json!(["ai.example.com"]))
    };
    let route = wait_for_route(namespace, "there", has_host).await?.context("the HTTPRoute")?;
    let spec = &route.data["spec"];
    let parent = &spec["parentRefs"][0];
    assert_eq!((&parent["name"], &parent["namespace"]), (&json!("public"), &json!("gateways")), "{spec}");
    // What the definition fills in is of its own version, and no difference to
    // the operator.
    assert_eq!((&parent["kind"], &parent["sectionName"]), (&json!("Gateway"), &json!("https")), "{spec}");
    let backend = &spec["rules"][0]["backendRefs"][0];
    assert_eq!((&backend["name"], &backend["port"]), (&json!("platform"), &json!(80)), "{spec}");
    let owner = route.metadata.owner_references.unwrap_or_default();
    assert_eq!(owner.first().map(|owner| owner.kind.as_str()), Some("Platform"));

    change(namespace, json!(null)).await?;
    wait_for_route(namespace, "gone", |route| route.is_none()).await?;
    Ok(())
}
