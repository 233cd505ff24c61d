//! From a valid Platform to the objects that it becomes. Pure, and cannot
//! fail: what could go wrong was found before.

mod autoscaling;
mod claim;
mod configuration;
mod deployment;
mod exposure;
mod network_policy;
mod role;
mod service;

use k8s_openapi::api::core::v1::Secret;
use kube::Resource;
use kube::api::ObjectMeta;
use serde::Serialize;
use serde_json::Value;

use super::children::ChildKind;
use super::dereference::admin_key_name;
use super::services::{GATEWAY, ServiceImages};
use super::validate::{ValidatedPlatform, ValidatedService};
use crate::labels;

/// The objects that a Platform becomes.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The Platform that they are made from.
    pub validated: ValidatedPlatform,
    /// The objects, in the order in which they are written.
    pub objects: Vec<Object>,
    /// Kinds of which nothing else is to be there.
    pub removable: Vec<ChildKind>,
    /// The Secret for the administrator's key, without the key, if it is to be
    /// made.
    pub admin_key: Option<Secret>,
}

/// An object as it is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its kind.
    pub kind: ChildKind,
    /// Its name.
    pub name: String,
    /// The object.
    pub content: Value,
}

impl Prepared {
    /// Whether an object that there is has to go: it is not asked for any more.
    #[must_use]
    pub fn is_to_go(&self, kind: ChildKind, name: &str) -> bool {
        let is_wanted = self.objects.iter().any(|object| object.kind == kind && object.name == name);
        // Pods run under the account of before until they are replaced, and a
        // user may give the name of an account of ours. Without it, there are no
        // tokens for them.
        let is_account = kind == ChildKind::ServiceAccount
            && self
                .validated
                .services
                .iter()
                .any(|service| service.accounts().any(|account| account == name));
        self.removable.contains(&kind) && !is_wanted && !is_account
    }
}

impl Object {
    fn new<K: Resource + Serialize>(kind: ChildKind, object: &K) -> Self {
        Self {
            kind,
            name: object.meta().name.clone().unwrap_or_default(),
            // Maps with text for keys: there is nothing that JSON cannot say.
            content: serde_json::to_value(object).unwrap_or_default(),
        }
    }
}

/// Builds the objects. Without ports of the API server, NetworkPolicies are not
/// among them.
#[must_use]
pub fn build(
    validated: &ValidatedPlatform,
    images: &ServiceImages,
    api_server_ports: Option<&[u16]>,
) -> Prepared {
    if validated.is_suspended {
        return build_suspended(validated, images);
    }
    let mut objects = Vec::new();
    for service in &validated.services {
        let parts = Parts { validated, service };
        objects
            .extend(parts.service_account().map(|account| Object::new(ChildKind::ServiceAccount, &account)));
        objects.extend(parts.role().map(|role| Object::new(ChildKind::Role, &role)));
        objects.extend(parts.role_binding().map(|binding| Object::new(ChildKind::RoleBinding, &binding)));
        objects.push(Object::new(ChildKind::ConfigMap, &parts.config_map()));
        objects.extend(parts.claim().map(|claim| Object::new(ChildKind::PersistentVolumeClaim, &claim)));
        objects.extend(
            api_server_ports.map(|ports| Object::new(ChildKind::NetworkPolicy, &parts.network_policy(ports))),
        );
        objects.push(Object::new(ChildKind::Service, &parts.service()));
        objects.push(Object::new(ChildKind::Deployment, &parts.deployment(images)));
        objects.extend(
            parts.disruption_budget().map(|budget| Object::new(ChildKind::PodDisruptionBudget, &budget)),
        );
        objects.extend(
            parts.autoscaler().map(|autoscaler| Object::new(ChildKind::HorizontalPodAutoscaler, &autoscaler)),
        );
        if service.definition.is_gateway() {
            objects.extend(parts.ingress().map(|ingress| Object::new(ChildKind::Ingress, &ingress)));
            objects.extend(parts.http_route().map(|route| Object::new(ChildKind::HttpRoute, &route)));
        }
    }
    objects.sort_by_key(|object| object.kind);
    let is_removable = |kind: &ChildKind| match kind {
        // Data that nobody uses now may be wanted back: they go with the Platform.
        ChildKind::PersistentVolumeClaim => false,
        // Policies that are not wanted any more stay: the chart says so.
        ChildKind::NetworkPolicy => api_server_ports.is_some(),
        _ => true,
    };
    Prepared {
        validated: validated.clone(),
        objects,
        removable: ChildKind::ALL.into_iter().filter(is_removable).collect(),
        admin_key: (!validated.has_admin_key).then(|| admin_key(validated)),
    }
}

/// A Platform that is suspended keeps its objects as they are, but for the
/// number of pods; nothing is made that is not there.
fn build_suspended(validated: &ValidatedPlatform, images: &ServiceImages) -> Prepared {
    let deployment = |service| Parts { validated, service }.deployment(images);
    Prepared {
        validated: validated.clone(),
        objects: validated
            .services
            .iter()
            .filter(|service| service.present.is_some())
            .map(|service| Object::new(ChildKind::Deployment, &deployment(service)))
            .collect(),
        removable: vec![ChildKind::Deployment],
        admin_key: None,
    }
}

fn admin_key(validated: &ValidatedPlatform) -> Secret {
    Secret {
        metadata: metadata(validated, GATEWAY, admin_key_name(validated.name.as_str())),
        ..Secret::default()
    }
}

fn metadata(validated: &ValidatedPlatform, service: &str, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(validated.namespace.to_string()),
        labels: Some(labels::platform_service(&validated.name, service)),
        owner_references: Some(vec![validated.owner_reference.clone()]),
        ..ObjectMeta::default()
    }
}

/// What the objects of one service are made from.
struct Parts<'a> {
    validated: &'a ValidatedPlatform,
    service: &'a ValidatedService,
}

impl Parts<'_> {
    fn metadata(&self, name: impl Into<String>) -> ObjectMeta {
        metadata(self.validated, self.service.definition.name, name.into())
    }
}
