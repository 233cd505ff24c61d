use crds::platform::configuration::PORT;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::Parts;
use crate::labels;
use crate::network_policy::{outbound, port};

impl Parts<'_> {
    /// Who may connect to the service: everybody to the gateway, and to the
    /// others only those that call them. They may connect to where data are.
    pub(super) fn network_policy(&self) -> NetworkPolicy {
        let pods_of = |service: &str| LabelSelector {
            match_labels: Some(labels::platform_service_selector(&self.validated.name, service)),
            ..LabelSelector::default()
        };
        let callers: Vec<NetworkPolicyPeer> = self
            .validated
            .callers(self.service)
            .map(|caller| NetworkPolicyPeer {
                pod_selector: Some(pods_of(caller.definition.name)),
                ..NetworkPolicyPeer::default()
            })
            .collect();
        let is_gateway = self.service.definition.is_gateway();
        // A rule without peers would let everybody in.
        let is_open = is_gateway || !callers.is_empty();
        let rule = NetworkPolicyIngressRule {
            from: Some(callers).filter(|_| !is_gateway),
            ports: Some(vec![port("TCP", i32::from(PORT))]),
        };
        NetworkPolicy {
            metadata: self.metadata(self.service.deployment.as_str()),
            spec: Some(NetworkPolicySpec {
                pod_selector: Some(pods_of(self.service.definition.name)),
                policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
                ingress: is_open.then(|| vec![rule]),
                egress: Some(outbound()),
            }),
        }
    }
}
