//! The NetworkPolicy of the analysis pods: one for each namespace that has
//! AnalysisJobs, since it is the same for all of them.
//!
//! Nothing may connect to these pods. They may connect to wherever data are,
//! but not to the link-local addresses, where clouds serve the credentials of
//! a node; except to resolve names.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client};
use tokio::sync::Mutex;

use crate::labels;
use crate::metrics::{ApiWrite, Metrics};

/// Name of the policy in each namespace.
pub const NAME: &str = "ai-saas-platform-analysis";
/// How long a policy that was seen to be right is taken to be so still.
const TRUST: Duration = Duration::from_secs(300);

/// The policy as it should be.
#[must_use]
pub fn build(namespace: &str) -> NetworkPolicy {
    let own = labels::analysis_job_pods();
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(
                own.clone()
                    .into_iter()
                    .chain([("app.kubernetes.io/part-of".to_owned(), "ai-saas-platform".to_owned())])
                    .collect(),
            ),
            ..ObjectMeta::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector { match_labels: Some(own), ..LabelSelector::default() }),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: None,
            egress: Some(outbound()),
        }),
    }
}

/// To wherever data are, but not to the link-local addresses, except to resolve
/// names: what every pod of the operator's may connect to.
#[must_use]
pub fn outbound() -> Vec<NetworkPolicyEgressRule> {
    let block = |cidr: &str, except: &str| NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: cidr.to_owned(), except: Some(vec![except.to_owned()]) }),
        ..NetworkPolicyPeer::default()
    };
    // Blocks are for what is outside of the cluster: some networks, Cilium among
    // them, never take the address of a pod for part of one. So the pods of all
    // namespaces are named beside them.
    let every_pod = NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        ..NetworkPolicyPeer::default()
    };
    vec![
        NetworkPolicyEgressRule {
            to: Some(vec![block("0.0.0.0/0", "169.254.0.0/16"), block("::/0", "fe80::/10"), every_pod]),
            ports: None,
        },
        // Names are resolved at such an address where each node has a cache of
        // its own (NodeLocal DNSCache).
        NetworkPolicyEgressRule { to: None, ports: Some(vec![port("UDP", 53), port("TCP", 53)]) },
    ]
}

/// A port, for a rule.
#[must_use]
pub fn port(protocol: &str, number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(number)),
        end_port: None,
    }
}

/// Sees to it that the policy is there before a pod is.
#[derive(Debug)]
pub struct NetworkPolicies {
    are_wanted: bool,
    // Held while a policy is read and written, so that of many AnalysisJobs
    // that come at once only the first does so.
    seen: Mutex<HashMap<String, Instant>>,
}

impl NetworkPolicies {
    /// Nothing seen yet. Policies are only written if they are wanted: a
    /// cluster may have its own ways.
    #[must_use]
    pub fn new(are_wanted: bool) -> Self {
        Self { are_wanted, seen: Mutex::default() }
    }

    /// Whether policies are to be written at all.
    #[must_use]
    pub const fn are_wanted(&self) -> bool {
        self.are_wanted
    }

    /// Reads the policy of a namespace and writes it if it is not as it
    /// should be. What was seen to be right is not read again for five
    /// minutes.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn ensure(
        &self,
        client: &Client,
        namespace: &str,
        metrics: &Metrics,
    ) -> Result<(), kube::Error> {
        if !self.are_wanted {
            return Ok(());
        }
        let mut seen = self.seen.lock().await;
        seen.retain(|_, at| at.elapsed() < TRUST);
        if seen.contains_key(namespace) {
            return Ok(());
        }
        let policies: Api<NetworkPolicy> = Api::namespaced(client.clone(), namespace);
        let desired = build(namespace);
        let current = policies.get_opt(NAME).await?;
        if current.and_then(|policy| policy.spec) != desired.spec {
            metrics.wrote(ApiWrite::ApplyNetworkPolicy);
            let parameters = PatchParams::apply(labels::FIELD_MANAGER).force();
            policies.patch(NAME, &parameters, &Patch::Apply(&desired)).await?;
        }
        seen.insert(namespace.to_owned(), Instant::now());
        Ok(())
    }
}
