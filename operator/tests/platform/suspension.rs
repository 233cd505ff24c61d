//! A Platform that is to stand still, before an API server that refuses what
//! its pods are to be.

use ai_saas_platform_operator::context::Context;
use ai_saas_platform_operator::network_policy::NetworkPolicies;
use ai_saas_platform_operator::platform::apply::{Application, Applied, apply};
use ai_saas_platform_operator::platform::children::{ChildKind, ChildState, DeploymentState, Known};
use ai_saas_platform_operator::platform::dereference::Observed;
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use kube::Client;
use serde_json::json;

use crate::setup::{built_from, images, platform, with_deployment};

/// What becomes of it if the API server takes patches of this content type, and
/// no others.
async fn applied(accepted: &'static str) -> Applied {
    let server: Router = Router::new().fallback(move |headers: HeaderMap, body: String| async move {
        let patch = serde_json::from_str::<serde_json::Value>(&body).unwrap();
        assert_eq!(patch["metadata"]["uid"], "d");
        let (code, answer) = if headers["content-type"] == accepted {
            let labels = json!({ "aisaas.dev/platform": "platform" });
            let metadata = json!({
                "name": "platform", "namespace": "demo", "uid": "d", "resourceVersion": "8", "labels": labels,
            });
            let spec = json!({ "replicas": patch["spec"]["replicas"] });
            (200, json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec }))
        } else {
            (422, json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "m", "reason": "Invalid", "code": 422 }))
        };
        (StatusCode::from_u16(code).unwrap(), answer.to_string())
    });
    let context = Context::new(Client::new(server, "demo"), images(), NetworkPolicies::new(None));
    let platform = platform("suspend: true");
    let child = ChildState { name: "platform".to_owned(), uid: "d".to_owned(), ..ChildState::default() };
    let observed = Observed {
        children: vec![Known { kind: ChildKind::Deployment, state: child }],
        ..with_deployment(DeploymentState { replicas: 1, ..DeploymentState::default() })
    };
    let prepared = built_from(&platform, &observed);
    let application = apply(&prepared, &platform, &observed, &context).await.unwrap();
    let Application::Applied(applied) = application else { unreachable!("{application:?}") };
    applied
}

#[tokio::test]
async fn pods_go_though_a_change_of_them_is_refused() {
    let applied = applied("application/merge-patch+json").await;
    assert!(applied.refused.is_empty());
    assert_eq!(applied.deployments[0].replicas, 0);
}

#[tokio::test]
async fn pods_that_cannot_be_taken_away_are_told() {
    let applied = applied("none").await;
    assert_eq!(applied.refused.len(), 1);
    assert_eq!(applied.refused[0].reason(), "ApplyDeployment");
}
