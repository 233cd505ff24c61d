use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject};

use super::Parts;

/// The API group of roles.
const GROUP: &str = "rbac.authorization.k8s.io";

impl Parts<'_> {
    /// What the service may do with the API server; `None` if that is nothing.
    pub(super) fn role(&self) -> Option<Role> {
        let access = self.service.definition.kubernetes_access;
        let rules = access.iter().map(|access| PolicyRule {
            api_groups: Some(vec![access.group.to_owned()]),
            resources: Some(vec![access.resource.to_owned()]),
            verbs: access.verbs.iter().map(|verb| (*verb).to_owned()).collect(),
            ..PolicyRule::default()
        });
        (!access.is_empty()).then(|| Role {
            metadata: self.metadata(self.service.deployment.as_str()),
            rules: Some(rules.collect()),
        })
    }

    /// Gives the role to the account that the pods run under, be it one of the
    /// user's. Pods from before it was another lose it.
    pub(super) fn role_binding(&self) -> Option<RoleBinding> {
        let role = self.role()?;
        Some(RoleBinding {
            metadata: self.metadata(self.service.deployment.as_str()),
            role_ref: RoleRef {
                api_group: GROUP.to_owned(),
                kind: "Role".to_owned(),
                name: role.metadata.name.unwrap_or_default(),
            },
            subjects: Some(vec![Subject {
                api_group: None,
                kind: "ServiceAccount".to_owned(),
                name: self.service.service_account.clone(),
                namespace: Some(self.validated.namespace.to_string()),
            }]),
        })
    }
}
