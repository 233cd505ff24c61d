//! What the operator is allowed to do. Each rule stands with the reason why
//! it is needed; the chart's Role and ClusterRole are generated from here.

use k8s_openapi::api::rbac::v1::PolicyRule;

/// What is done with objects that are the operator's own.
const OWNED: &[&str] = &["get", "list", "watch", "create", "patch", "delete"];

/// The rules, for the namespaces that the operator works in.
#[must_use]
pub fn rules() -> Vec<PolicyRule> {
    vec![
        // What users declare. `delete` is for expired objects.
        rule("aisaas.dev", &["analysisjobs"], &["get", "list", "watch", "delete"]),
        rule("aisaas.dev", &["analysisjobs/status"], &["patch"]),
        rule("aisaas.dev", &["platforms"], &["get", "list", "watch"]),
        rule("aisaas.dev", &["platforms/status"], &["patch"]),
        // The Jobs, and how they go.
        rule("batch", &["jobs"], &["get", "list", "watch", "create", "patch", "delete"]),
        rule("", &["pods"], &["list", "watch"]),
        // A result for a ConfigMap comes by the log of its pod.
        rule("", &["pods/log"], &["get"]),
        // Secrets are read by name: whether they are there, and the keys that
        // the pods of a Platform read when they start, so that others are
        // started when those change. They are never listed or watched. One is
        // created, with the API key of an administrator.
        rule("", &["secrets"], &["get", "create"]),
        // What a Platform becomes: looked for by name before it is made, so
        // that nobody else's is taken over; watched, so that whatever somebody
        // changes is put right; deleted when it is not asked for any more.
        // ConfigMaps also have results of AnalysisJobs, and claims their data.
        rule("", &["configmaps", "serviceaccounts", "services"], OWNED),
        // Data are deleted with their Platform and never by the operator.
        rule("", &["persistentvolumeclaims"], &["get", "list", "watch", "create", "patch"]),
        rule("apps", &["deployments"], OWNED),
        rule("autoscaling", &["horizontalpodautoscalers"], OWNED),
        rule("policy", &["poddisruptionbudgets"], OWNED),
        rule("networking.k8s.io", &["ingresses", "networkpolicies"], OWNED),
        // Not watched: not every cluster has them.
        rule("gateway.networking.k8s.io", &["httproutes"], &["get", "create", "patch", "delete"]),
        // What a service of a Platform may read of the API: a Role of its own.
        // The API server lets nobody grant more than they have, so the operator
        // can give away no more than the rules above.
        rule("rbac.authorization.k8s.io", &["roles", "rolebindings"], OWNED),
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
