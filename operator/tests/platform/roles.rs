//! What the services of a Platform may do with the API server.

use ai_saas_platform_operator::platform::children::ChildKind;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use serde_json::json;

use crate::setup::{SMALLEST, built, find, names, pod};

/// The only one that reads of it.
const READER: &str = "platform-analysis-base";

#[test]
fn only_a_service_that_reads_of_the_api_server_has_a_role() {
    let prepared = built(SMALLEST);
    for kind in [ChildKind::Role, ChildKind::RoleBinding] {
        assert_eq!(names(&prepared, kind), [READER]);
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
    let without = built("services: [{name: analysis-base, enabled: false}]");
    assert!(without.is_to_go(ChildKind::Role, READER) && without.is_to_go(ChildKind::RoleBinding, READER));
}

#[test]
fn only_its_pods_have_a_token_and_a_way_to_the_api_server() {
    let prepared = built(SMALLEST);
    for (name, reads) in [(READER, true), ("platform", false)] {
        let pod = pod(&prepared, name);
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
    let bound = |spec: &str| {
        let binding: RoleBinding = find(&built(spec), ChildKind::RoleBinding, READER);
        assert_eq!((binding.role_ref.kind.as_str(), binding.role_ref.name.as_str()), ("Role", READER));
        let subject = binding.subjects.unwrap().remove(0);
        assert_eq!((subject.kind.as_str(), subject.namespace.as_deref()), ("ServiceAccount", Some("demo")));
        subject.name
    };
    assert_eq!(bound(SMALLEST), READER);
    let named = "services: [{name: analysis-base, workload: {serviceAccountName: analyst}}]";
    assert_eq!(bound(named), "analyst");
}
