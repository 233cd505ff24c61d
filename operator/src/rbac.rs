//! What the operator is allowed to do. Each rule stands with the reason why
//! it is needed; the chart's Role and ClusterRole are generated from here.

use k8s_openapi::api::rbac::v1::PolicyRule;

/// The rules, for the namespaces that the operator works in.
#[must_use]
pub fn rules() -> Vec<PolicyRule> {
    vec![
        // What users declare. `delete` is for expired objects.
        rule("aisaas.dev", &["analysisjobs"], &["get", "list", "watch", "delete"]),
        rule("aisaas.dev", &["analysisjobs/status"], &["patch"]),
        // Needed where the plug-in OwnerReferencesPermissionEnforcement is on:
        // the children block the deletion of their owner.
        rule("aisaas.dev", &["analysisjobs/finalizers"], &["update"]),
        // The Jobs, and how they go.
        rule("batch", &["jobs"], &["get", "list", "watch", "create", "patch", "delete"]),
        rule("", &["pods"], &["list", "watch"]),
        // A result for a ConfigMap comes by the log of its pod.
        rule("", &["pods/log"], &["get"]),
        rule("", &["configmaps"], &["get", "create", "patch"]),
        // Only the metadata of these are read, by name, to tell a user early
        // that something is missing. They are never listed or watched.
        rule("", &["secrets", "persistentvolumeclaims"], &["get"]),
        rule("networking.k8s.io", &["networkpolicies"], &["get", "create", "patch"]),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
    ]
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}
