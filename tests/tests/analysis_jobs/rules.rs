//! The rules of the CRD, by the API server and by the operator's own check.

use ai_saas_platform_tests::rule_table::{Change, Creation, Verdict, changes, creations};
use ai_saas_platform_tests::{Namespace, with_namespace};
use crds::AnalysisJob;
use crds::rules::check_analysis_job_value;
use futures::{StreamExt, stream};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::Value;

#[test]
fn the_operator_checks_objects_by_the_rules() {
    for Creation { name, object, verdict } in creations() {
        compare_own_check(name, verdict, check_analysis_job_value(&object, None));
    }
    for Change { name, before, after, verdict } in changes() {
        compare_own_check(name, verdict, check_analysis_job_value(&after, Some(&before)));
    }
}

fn compare_own_check(name: &str, verdict: Verdict, result: Result<(), Vec<String>>) {
    match (verdict, result) {
        // The schema is the API server's and serde's.
        (Verdict::Accepted | Verdict::Schema(_), Ok(())) => {}
        (Verdict::Rule(expected), Err(messages)) => {
            assert!(messages.iter().any(|message| message.contains(expected)), "{name}: {messages:?}");
        }
        (Verdict::Schema(_), Err(_)) => {}
        (verdict, result) => panic!("{name}: expected {verdict:?}, found {result:?}"),
    }
}

#[tokio::test]
async fn the_api_server_creates_what_the_rules_allow() -> anyhow::Result<()> {
    with_namespace(async |namespace| {
        let jobs = untyped(namespace);
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        stream::iter(creations())
            .for_each_concurrent(4, async |Creation { name, object, verdict }| {
                let object: DynamicObject = serde_json::from_value(object).expect("an object");
                compare_answer(name, verdict, jobs.create(&dry_run, &object).await);
            })
            .await;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_api_server_changes_what_the_rules_allow() -> anyhow::Result<()> {
    with_namespace(async |namespace| {
        let jobs = untyped(namespace);
        let dry_run = PatchParams { dry_run: true, ..PatchParams::default() };
        for (index, Change { name, before, after, verdict }) in changes().into_iter().enumerate() {
            let object_name = format!("change-{index}");
            let mut before = renamed(before, &object_name);
            // Nothing is to run here.
            before["spec"]["suspend"] = Value::Bool(true);
            let before: DynamicObject = serde_json::from_value(before)?;
            let before = jobs.create(&PostParams::default(), &before).await?;
            let change = replacing(&before.data["spec"], &after["spec"]);
            let change = Patch::Merge(serde_json::json!({ "spec": change }));
            compare_answer(name, verdict, jobs.patch(&object_name, &dry_run, &change).await);
        }
        Ok(())
    })
    .await
}

fn compare_answer(name: &str, verdict: Verdict, answer: kube::Result<DynamicObject>) {
    match (verdict, answer) {
        (Verdict::Accepted, Ok(_)) => {}
        (Verdict::Rule(expected) | Verdict::Schema(expected), Err(kube::Error::Api(status))) => {
            assert_eq!(status.code, 422, "{name}: {}", status.message);
            assert!(status.message.contains(expected), "{name}: {}", status.message);
        }
        (verdict, answer) => panic!("{name}: expected {verdict:?}, found {answer:?}"),
    }
}

fn untyped(namespace: &Namespace) -> Api<DynamicObject> {
    let resource = ApiResource::erase::<AnalysisJob>(&());
    Api::namespaced_with(namespace.cluster.client.clone(), &namespace.name, &resource)
}

fn renamed(mut object: Value, name: &str) -> Value {
    object["metadata"]["name"] = Value::from(name);
    object
}

/// A merge patch from one specification to another: what is not in the other
/// becomes null.
fn replacing(before: &Value, after: &Value) -> Value {
    let mut change = after.clone();
    for field in before.as_object().into_iter().flat_map(|fields| fields.keys()) {
        if after.get(field).is_none() {
            change[field] = Value::Null;
        }
    }
    change
}
