use std::collections::BTreeMap;

use crds::platform::configuration::PORT;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::Parts;
use crate::labels;
use crate::network_policy::{outbound, port};

impl Parts<'_> {
    /// Who may connect to the service: everybody to the gateway, and to the
    /// others only those that call them, the pods of AnalysisJobs of the
    /// namespace among them. They may connect to where data are.
    pub(super) fn network_policy(&self, api_server_ports: &[u16]) -> NetworkPolicy {
        let pods_with = |labels: BTreeMap<String, String>| LabelSelector {
            match_labels: Some(labels),
            ..LabelSelector::default()
        };
        let pods_of =
            |service: &str| pods_with(labels::platform_service_selector(&self.validated.name, service));
        let analysis_jobs =
            self.service.definition.serves_analysis_jobs.then(|| pods_with(labels::analysis_job_pods()));
        let callers: Vec<NetworkPolicyPeer> = self
            .validated
            .callers(self.service)
            .map(|caller| pods_of(caller.definition.name))
            .chain(analysis_jobs)
            .map(|pods| NetworkPolicyPeer { pod_selector: Some(pods), ..NetworkPolicyPeer::default() })
            .collect();
        let is_gateway = self.service.definition.is_gateway();
        // A rule without peers would let everybody in.
        let is_open = is_gateway || !callers.is_empty();
        let rule = NetworkPolicyIngressRule {
            from: Some(callers).filter(|_| !is_gateway),
            ports: Some(vec![port("TCP", i32::from(PORT))]),
        };
        let mut egress = outbound();
        if !self.service.definition.kubernetes_access.is_empty() {
            // Some networks, Cilium among them, take an API server for part of
            // no block of addresses.
            let ports = api_server_ports.iter().map(|number| port("TCP", i32::from(*number)));
            egress.push(NetworkPolicyEgressRule { to: None, ports: Some(ports.collect()) });
        }
        NetworkPolicy {
            metadata: self.metadata(self.service.deployment.as_str()),
            spec: Some(NetworkPolicySpec {
                pod_selector: Some(pods_of(self.service.definition.name)),
                policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
                // Empty and not left out: a rule that somebody adds is taken away.
                ingress: Some(if is_open { vec![rule] } else { Vec::new() }),
                egress: Some(egress),
            }),
        }
    }
}
