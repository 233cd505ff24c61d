//! What is done when the API server says that an object has changed in the
//! meantime (409), which is not to say that it is gone.
#![expect(clippy::unwrap_used, reason = "tests say what they expect by panicking")]

use std::sync::Arc;

use ai_saas_platform_operator::analysis_job::Error;
use ai_saas_platform_operator::analysis_job::apply::{Application, apply};
use ai_saas_platform_operator::analysis_job::build::build;
use ai_saas_platform_operator::analysis_job::children::JobState;
use ai_saas_platform_operator::analysis_job::dereference::Observed;
use ai_saas_platform_operator::analysis_job::validate::validate;
use ai_saas_platform_operator::context::{Context, WrittenStatuses};
use ai_saas_platform_operator::network_policy::NetworkPolicies;
use ai_saas_platform_operator::platform::services::ServiceImages;
use ai_saas_platform_operator::rules::Rules;
use ai_saas_platform_operator::statuses;
use axum::Router;
use axum::http::{Method, StatusCode};
use crds::workload::ImagePullPolicy;
use crds::{AnalysisJob, AnalysisJobStatus};
use kube::Client;
use serde_json::{Value, json};

/// With an API server that answers so.
fn context(answers: impl Fn(&Method) -> Value + Clone + Send + Sync + 'static) -> Context {
    let server: Router = Router::new().fallback(move |method: Method| {
        let body = answers(&method);
        let code = body["code"].as_u64().map_or(200, |code| u16::try_from(code).unwrap());
        async move { (StatusCode::from_u16(code).unwrap(), body.to_string()) }
    });
    let images = ServiceImages {
        monolith: "registry.example/monolith:1".to_owned(),
        analysis_base: "registry.example/analysis-base:1".to_owned(),
        pull_policy: ImagePullPolicy::IfNotPresent,
        pull_secrets: Vec::new(),
    };
    Context::new(Client::new(server, "demo"), images, NetworkPolicies::new(None))
}

fn failure(code: u16) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "m", "reason": "R", "code": code })
}

fn suspended() -> AnalysisJob {
    serde_json::from_value(json!({
        "apiVersion": "aisaas.dev/v1alpha1",
        "kind": "AnalysisJob",
        "metadata": { "name": "a", "namespace": "demo", "uid": "u", "generation": 2 },
        "spec": {
            "sources": [{ "name": "t", "format": "csv", "inline": "a\n1\n" }],
            "sql": "select 1",
            "suspend": true,
        },
    }))
    .unwrap()
}

#[tokio::test]
async fn a_job_that_changed_while_it_was_to_be_removed_is_looked_at_again() {
    let removed = async |code: u16| {
        let context = context(move |method| {
            if *method == Method::DELETE {
                return failure(code);
            }
            let labels = json!({ "aisaas.dev/analysis-job": "a" });
            json!({
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": { "name": "a", "namespace": "demo", "uid": "j", "resourceVersion": "7", "labels": labels },
                "spec": { "template": {} },
                "status": { "active": 1 },
            })
        });
        let validated = validate(&suspended(), &Observed::default(), &Rules::default()).unwrap();
        let observed = Observed {
            job: Some(Arc::new(JobState { active: 1, ..JobState::default() })),
            ..Observed::default()
        };
        apply(build(&validated, &context.analysis_images), &observed, &context).await
    };
    assert!(matches!(removed(409).await, Err(Error::DeleteJob(_))));
    assert!(matches!(removed(404).await, Ok(Application::Applied(_))));
}

#[tokio::test]
async fn a_status_that_is_not_written_is_tried_again_unless_its_object_is_gone() {
    let written = async |code: u16| {
        let known = WrittenStatuses::default();
        let context = context(move |_| failure(code));
        let status = AnalysisJobStatus::default();
        statuses::apply::<AnalysisJob, _>(&suspended().metadata, &status, &known, &context).await
    };
    assert!(matches!(written(409).await, Err(kube::Error::Api(answer)) if answer.code == 409));
    assert!(!written(404).await.unwrap());
}
