//! What the services of a Platform may do with the API server.
#![expect(clippy::unwrap_used, reason = "tests say what they expect by panicking")]

use ai_saas_platform_operator::platform::build::{Prepared, build};
use ai_saas_platform_operator::platform::children::ChildKind;
use ai_saas_platform_operator::platform::dereference::Observed;
use ai_saas_platform_operator::platform::services::{SERVICES, ServiceImages};
use ai_saas_platform_operator::platform::validate::validate;
use ai_saas_platform_operator::rules::Rules;
use crds::Platform;
use crds::workload::ImagePullPolicy;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The only one that reads of it.
const READER: &str = "platform-analysis-base";

fn built(spec: &Value) -> Prepared {
    let platform: Platform = serde_json::from_value(json!({
        "apiVersion": "aisaas.dev/v1alpha1", "kind": "Platform", "spec": spec,
        "metadata": { "name": "platform", "namespace": "demo", "uid": "5f0c8f0e-0000-4000-8000-000000000001" },
    }))
    .unwrap();
    let validated = validate(&platform, &Observed::default(), &Rules::default(), SERVICES).unwrap();
    let images = ServiceImages {
        monolith: "monolith".to_owned(),
        analysis_base: "analysis-base".to_owned(),
        pull_policy: ImagePullPolicy::IfNotPresent,
        pull_secrets: Vec::new(),
    };
    build(&validated, &images, true)
}

fn find<K: DeserializeOwned>(prepared: &Prepared, kind: ChildKind, name: &str) -> K {
    let object = prepared.objects.iter().find(|object| object.kind == kind && object.name == name);
    serde_json::from_value(object.unwrap().content.clone()).unwrap()
}

#[test]
fn only_a_service_that_reads_of_the_api_server_has_a_role() {
    let prepared = built(&json!({}));
    for kind in [ChildKind::Role, ChildKind::RoleBinding] {
        let of_kind = prepared.objects.iter().filter(|object| object.kind == kind);
        assert_eq!(of_kind.map(|object| object.name.as_str()).collect::<Vec<_>>(), [READER]);
    }
    let role: Role = find(&prepared, ChildKind::Role, READER);
    let rules = serde_json::to_value(role.rules).unwrap();
    assert_eq!(
        rules,
        json!([
            { "apiGroups": ["aisaas.dev"], "resources": ["analysisjobs"], "verbs": ["get", "list"] },
            { "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"] },
        ])
    );
    let without = built(&json!({ "services": [{ "name": "analysis-base", "enabled": false }] }));
    assert!(without.is_to_go(ChildKind::Role, READER) && without.is_to_go(ChildKind::RoleBinding, READER));
}

#[test]
fn only_its_pods_have_a_token_and_a_way_to_the_api_server() {
    let prepared = built(&json!({}));
    for (name, reads) in [(READER, true), ("platform", false)] {
        let deployment: Deployment = find(&prepared, ChildKind::Deployment, name);
        let pod = deployment.spec.unwrap().template.spec.unwrap();
        assert_eq!(pod.automount_service_account_token, Some(false));
        let mounts = pod.containers[0].volume_mounts.as_deref().unwrap();
        let folder = "/var/run/secrets/kubernetes.io/serviceaccount";
        let mount = mounts.iter().find(|mount| mount.mount_path == folder);
        assert_eq!(mount.is_some_and(|mount| mount.read_only == Some(true)), reads, "{name}");
        let policy: NetworkPolicy = find(&prepared, ChildKind::NetworkPolicy, name);
        let egress = serde_json::to_value(policy.spec.unwrap().egress).unwrap();
        assert_eq!(egress.to_string().contains("6443"), reads, "{name}");
    }
}

#[test]
fn the_role_is_given_to_the_account_that_the_pods_run_under() {
    let bound = |spec: &Value| {
        let binding: RoleBinding = find(&built(spec), ChildKind::RoleBinding, READER);
        assert_eq!((binding.role_ref.kind.as_str(), binding.role_ref.name.as_str()), ("Role", READER));
        let subject = binding.subjects.unwrap().remove(0);
        assert_eq!((subject.kind.as_str(), subject.namespace.as_deref()), ("ServiceAccount", Some("demo")));
        subject.name
    };
    assert_eq!(bound(&json!({})), READER);
    let workload = json!({ "serviceAccountName": "analyst" });
    assert_eq!(bound(&json!({ "services": [{ "name": "analysis-base", "workload": workload }] })), "analyst");
}
