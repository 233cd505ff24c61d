//! What every pod that the operator makes has in common, whatever the kind:
//! it passes the PodSecurity profile `restricted`, has no token, cannot write
//! to its image, and has requests and limits.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crds::WorkloadSpec;
use crds::workload::ImagePullPolicy;
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, EnvVarSource, LocalObjectReference, PodSecurityContext, PodSpec,
    ResourceFieldSelector, ResourceRequirements, SeccompProfile, SecurityContext,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::quantity::compare;

/// The user and group of the processes when nothing else is asked for: the
/// number that distroless images made customary for `nonroot`.
const NON_ROOT: i64 = 65532;

/// Images and pulling, as the operator was told at its start.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageDefaults {
    /// The image of the service.
    pub image: String,
    /// When it is pulled.
    pub pull_policy: ImagePullPolicy,
    /// Secrets with the credentials of the registry.
    pub pull_secrets: Vec<String>,
}

/// Requests and limits where a workload names none.
#[derive(Clone, Copy, Debug)]
pub struct DefaultResources {
    /// Requests by resource.
    pub requests: &'static [(&'static str, &'static str)],
    /// Limits by resource.
    pub limits: &'static [(&'static str, &'static str)],
}

/// A pod with one container. `container` has what is particular to it: its
/// name, arguments, variables and mounts.
#[must_use]
pub fn restricted(
    container: Container,
    workload: &WorkloadSpec,
    images: &ImageDefaults,
    resources: DefaultResources,
) -> PodSpec {
    let identity = workload.security_context.clone().unwrap_or_default();
    let own_names: Vec<String> =
        container.env.iter().flatten().map(|variable| variable.name.clone()).collect();
    // The operator's variables come first, so that those of the user can
    // refer to them, and cannot be replaced.
    let mut variables = container.env.unwrap_or_default();
    variables.extend(
        last_of_each_name(&workload.env).into_iter().filter(|variable| !own_names.contains(&variable.name)),
    );
    let pull_secrets = pull_secrets(workload, images);

    PodSpec {
        containers: vec![Container {
            image: Some(workload.image.clone().unwrap_or_else(|| images.image.clone())),
            image_pull_policy: Some(pull_policy(workload.image_pull_policy.unwrap_or(images.pull_policy))),
            env: Some(variables).filter(|variables| !variables.is_empty()),
            resources: Some(with_defaults(workload.resources.clone().unwrap_or_default(), resources)),
            security_context: Some(SecurityContext {
                allow_privilege_escalation: Some(false),
                capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
                read_only_root_filesystem: Some(true),
                run_as_non_root: Some(true),
                ..SecurityContext::default()
            }),
            ..container
        }],
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(identity.run_as_user.unwrap_or(NON_ROOT)),
            run_as_group: Some(identity.run_as_group.unwrap_or(NON_ROOT)),
            fs_group: Some(identity.fs_group.unwrap_or(NON_ROOT)),
            // A volume with many files is not gone through at every start.
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            supplemental_groups: Some(identity.supplemental_groups).filter(|groups| !groups.is_empty()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        automount_service_account_token: Some(false),
        // Variables for every Service of the namespace break pods where there
        // are thousands ("argument list too long").
        enable_service_links: Some(false),
        service_account_name: workload.service_account_name.clone(),
        image_pull_secrets: Some(pull_secrets).filter(|secrets| !secrets.is_empty()),
        node_selector: Some(workload.node_selector.clone()).filter(|selector| !selector.is_empty()),
        tolerations: Some(workload.tolerations.clone()).filter(|tolerations| !tolerations.is_empty()),
        affinity: workload.affinity.clone(),
        priority_class_name: workload.priority_class_name.clone(),
        ..PodSpec::default()
    }
}

/// Variables of which the last of a name counts, as in a container that has it
/// twice. Server-side apply refuses a list that does.
fn last_of_each_name(variables: &[EnvVar]) -> Vec<EnvVar> {
    let is_last = |(index, variable): &(usize, &EnvVar)| {
        !variables.iter().skip(index + 1).any(|later| later.name == variable.name)
    };
    variables.iter().enumerate().filter(is_last).map(|(_, variable)| variable.clone()).collect()
}

/// The Secrets of the user and those of the operator, each named once: the two
/// may well be the same, and server-side apply refuses a name that is there
/// twice.
fn pull_secrets(workload: &WorkloadSpec, images: &ImageDefaults) -> Vec<LocalObjectReference> {
    let mut secrets: Vec<LocalObjectReference> = Vec::new();
    let given = workload.image_pull_secrets.iter().map(|secret| &secret.name);
    for name in given.chain(&images.pull_secrets) {
        if secrets.iter().all(|secret| secret.name != *name) {
            secrets.push(LocalObjectReference { name: name.clone() });
        }
    }
    secrets
}

/// A variable with a limit of the container, in whole units of `divisor`
/// (rounded up), so that a program knows what it may use.
#[must_use]
pub fn limit_variable(name: &str, container: &str, resource: &str, divisor: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            resource_field_ref: Some(ResourceFieldSelector {
                container_name: Some(container.to_owned()),
                resource: format!("limits.{resource}"),
                divisor: Some(Quantity(divisor.to_owned())),
            }),
            ..EnvVarSource::default()
        }),
    }
}

/// Adds defaults to what a user gives, so that the two agree: a given request
/// lifts a lower default limit, and a given limit lowers a higher default
/// request.
fn with_defaults(given: ResourceRequirements, defaults: DefaultResources) -> ResourceRequirements {
    let mut requests = quantities(defaults.requests);
    let mut limits = quantities(defaults.limits);
    for (resource, limit) in given.limits.iter().flatten() {
        keep(&mut requests, resource, limit, Ordering::Greater);
    }
    for (resource, request) in given.requests.iter().flatten() {
        keep(&mut limits, resource, request, Ordering::Less);
    }
    requests.extend(given.requests.unwrap_or_default());
    limits.extend(given.limits.unwrap_or_default());
    ResourceRequirements { requests: Some(requests), limits: Some(limits), claims: given.claims }
}

/// Replaces a default that is on the wrong side of a bound by the bound.
fn keep(quantities: &mut BTreeMap<String, Quantity>, resource: &str, bound: &Quantity, wrong_side: Ordering) {
    if let Some(quantity) = quantities.get_mut(resource)
        && compare(quantity, bound) == Some(wrong_side)
    {
        *quantity = bound.clone();
    }
}

fn quantities(list: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    list.iter().map(|(resource, text)| ((*resource).to_owned(), Quantity((*text).to_owned()))).collect()
}

/// Labels or annotations of a user with those of the operator over them.
#[must_use]
pub fn merged(user: &BTreeMap<String, String>, own: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut merged = user.clone();
    merged.extend(own);
    merged
}

fn pull_policy(policy: ImagePullPolicy) -> String {
    match policy {
        ImagePullPolicy::Always => "Always",
        ImagePullPolicy::IfNotPresent => "IfNotPresent",
        ImagePullPolicy::Never => "Never",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_given_twice_is_there_once() {
        let workload: WorkloadSpec = serde_json::from_value(json!({
            "env": [
                { "name": "A", "value": "1" }, { "name": "B", "value": "$(A)" },
                { "name": "OWN", "value": "theirs" }, { "name": "A", "value": "2" },
            ],
            "imagePullSecrets": [{ "name": "theirs" }, { "name": "registry" }, { "name": "theirs" }],
        }))
        .unwrap();
        let images = ImageDefaults {
            image: "image".to_owned(),
            pull_policy: ImagePullPolicy::IfNotPresent,
            pull_secrets: vec!["registry".to_owned(), "other".to_owned()],
        };
        let own = EnvVar { name: "OWN".to_owned(), value: Some("ours".to_owned()), value_from: None };
        let container = Container { env: Some(vec![own]), ..Container::default() };
        let resources = DefaultResources { requests: &[], limits: &[] };
        let pod = restricted(container, &workload, &images, resources);
        let variables: Vec<(String, Option<String>)> = pod.containers[0]
            .env
            .iter()
            .flatten()
            .map(|variable| (variable.name.clone(), variable.value.clone()))
            .collect();
        let expected = [("OWN", "ours"), ("B", "$(A)"), ("A", "2")]
            .map(|(name, value)| (name.to_owned(), Some(value.to_owned())));
        assert_eq!(variables, expected);
        let secrets: Vec<String> =
            pod.image_pull_secrets.into_iter().flatten().map(|secret| secret.name).collect();
        assert_eq!(secrets, ["theirs", "registry", "other"]);
    }
}
