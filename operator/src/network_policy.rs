//! The NetworkPolicy of the analysis pods: one for each namespace that has
//! AnalysisJobs, since it is the same for all of them.
//!
//! Nothing may connect to these pods. They may connect to wherever data are,
//! but not to the addresses where clouds serve the credentials of a node; except
//! to resolve names.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{ObjectMeta, PartialObjectMeta, Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::sync::Mutex;

use crate::labels;
use crate::metrics::{ApiWrite, Metrics};

/// Name of the policy in each namespace.
pub const NAME: &str = "ai-saas-platform-analysis";
/// How long a policy that was seen to be right is taken to be so still.
const TRUST: Duration = Duration::from_secs(300);

/// Where nodes are told about themselves: most clouds serve that at a link-local
/// address, Azure at one of its own, too, and Alibaba Cloud at one of the shared
/// address space.
const OF_NODES: [&str; 3] = ["169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32"];
/// The same of IPv6: AWS and Google Cloud have unique local addresses for it.
const OF_NODES_IPV6: [&str; 3] = ["fe80::/10", "fd00:ec2::254/128", "fd20:ce::254/128"];

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
            // Empty and not left out: a rule that somebody adds is taken away.
            ingress: Some(Vec::new()),
            egress: Some(outbound()),
        }),
    }
}

/// To wherever data are, but not to where nodes are told about themselves, except
/// to resolve names: what every pod of the operator's may connect to.
#[must_use]
pub fn outbound() -> Vec<NetworkPolicyEgressRule> {
    let block = |cidr: &str, except: [&str; 3]| NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: cidr.to_owned(), except: Some(except.map(str::to_owned).into()) }),
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
            to: Some(vec![block("0.0.0.0/0", OF_NODES), block("::/0", OF_NODES_IPV6), every_pod]),
            ports: None,
        },
        // Names are resolved at a link-local address where each node has a cache of
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
    api_server_ports: Option<Vec<u16>>,
    // By namespace. Held while a policy is read and written, so that of many
    // AnalysisJobs that come at once only the first does so.
    seen: Mutex<HashMap<String, Seen>>,
}

/// A policy that was as it should be.
#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Instant,
    version: u64,
}

impl NetworkPolicies {
    /// Nothing seen yet. Policies are only written if there are ports of the API
    /// server to write into them: a cluster may have its own ways.
    #[must_use]
    pub fn new(api_server_ports: Option<Vec<u16>>) -> Self {
        Self { api_server_ports, seen: Mutex::default() }
    }

    /// Whether policies are to be written at all.
    #[must_use]
    pub const fn are_wanted(&self) -> bool {
        self.api_server_ports.is_some()
    }

    /// The ports of the API server, for the policies of those that talk to it.
    /// `None` if none are to be written.
    #[must_use]
    pub fn api_server_ports(&self) -> Option<&[u16]> {
        self.api_server_ports.as_deref()
    }

    /// Follows a watch of the policies: one that somebody changes or deletes is
    /// looked at again before the next pod, and so are all of them when the
    /// watch has to begin anew, since it does not tell of what happened between.
    pub async fn follow(
        &self,
        events: impl Stream<Item = watcher::Result<watcher::Event<PartialObjectMeta<NetworkPolicy>>>>,
    ) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Apply(policy) | watcher::Event::Delete(policy)) => {
                    let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
                    let mut seen = self.seen.lock().await;
                    // The watch tells of an own write, too.
                    if seen.get(namespace).is_some_and(|seen| seen.version < version(&policy.metadata)) {
                        seen.remove(namespace);
                    }
                }
                Ok(watcher::Event::Init) => self.seen.lock().await.clear(),
                Ok(watcher::Event::InitApply(_) | watcher::Event::InitDone) => {}
                Err(error) => {
                    tracing::warn!(%error, "The watch of NetworkPolicies was interrupted and starts again.");
                }
            }
        }
    }

    /// Reads the policy of a namespace and writes it if it is not as it
    /// should be. What was seen to be right is not read again for five
    /// minutes, unless the watch tells of a change.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn ensure(
        &self,
        client: &Client,
        namespace: &str,
        metrics: &Metrics,
    ) -> Result<(), kube::Error> {
        if !self.are_wanted() {
            return Ok(());
        }
        let mut seen = self.seen.lock().await;
        seen.retain(|_, policy| policy.at.elapsed() < TRUST);
        if seen.contains_key(namespace) {
            return Ok(());
        }
        let policies: Api<NetworkPolicy> = Api::namespaced(client.clone(), namespace);
        let desired = build(namespace);
        let found = policies.get_opt(NAME).await?;
        let policy = match found.filter(|policy| is_in_line(policy, &desired)) {
            Some(policy) => policy,
            None => {
                metrics.wrote(ApiWrite::ApplyNetworkPolicy);
                let parameters = PatchParams::apply(labels::FIELD_MANAGER).force();
                policies.patch(NAME, &parameters, &Patch::Apply(&desired)).await?
            }
        };
        let version = version(&policy.metadata);
        seen.insert(namespace.to_owned(), Seen { at: Instant::now(), version });
        Ok(())
    }
}

/// Whether a policy allows what it should allow. The API server leaves out what
/// is empty.
fn is_in_line(found: &NetworkPolicy, desired: &NetworkPolicy) -> bool {
    let rules = |policy: &NetworkPolicy| {
        let mut spec = policy.spec.clone().unwrap_or_default();
        spec.ingress.get_or_insert_default();
        spec
    };
    found.metadata.deletion_timestamp.is_none() && rules(found) == rules(desired)
}

/// Resource versions are comparable numbers (Kubernetes KEP-5504).
fn version(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use axum::Router;
    use axum::http::{Method, StatusCode};
    use futures::stream;
    use k8s_openapi::api::networking::v1::NetworkPolicyIngressRule;
    use kube::core::PartialObjectMetaExt;
    use serde_json::json;

    use super::*;

    /// An API server that has no policy and takes any, and counts those.
    fn server(writes: &Arc<AtomicU64>) -> Client {
        let writes = Arc::clone(writes);
        let server: Router = Router::new().fallback(move |method: Method| {
            let (code, answer) = if method == Method::PATCH {
                let version = 10 * (writes.fetch_add(1, Ordering::Relaxed) + 1);
                let metadata =
                    json!({ "name": NAME, "namespace": "demo", "resourceVersion": version.to_string() });
                (StatusCode::OK, json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata }))
            } else {
                (
                    StatusCode::NOT_FOUND,
                    json!({ "status": "Failure", "message": "m", "reason": "NotFound", "code": 404 }),
                )
            };
            async move { (code, answer.to_string()) }
        });
        Client::new(server, "demo")
    }

    fn policy(namespace: &str, version: &str) -> PartialObjectMeta<NetworkPolicy> {
        let metadata = ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(namespace.to_owned()),
            resource_version: Some(version.to_owned()),
            ..ObjectMeta::default()
        };
        metadata.into_response_partial()
    }

    #[tokio::test]
    async fn a_policy_that_somebody_changes_or_deletes_is_looked_at_again() {
        let writes = Arc::default();
        let client = server(&writes);
        let policies = NetworkPolicies::new(Some(vec![443]));
        let metrics = Metrics::default();
        let check = async |event: Option<watcher::Event<PartialObjectMeta<NetworkPolicy>>>, expected: u64| {
            policies.follow(stream::iter(event.map(Ok))).await;
            policies.ensure(&client, "demo", &metrics).await.unwrap();
            assert_eq!(writes.load(Ordering::Relaxed), expected);
        };
        check(None, 1).await;
        check(None, 1).await;
        // Of the own write, and of another namespace.
        check(Some(watcher::Event::Apply(policy("demo", "10"))), 1).await;
        check(Some(watcher::Event::Delete(policy("other", "11"))), 1).await;
        check(Some(watcher::Event::Apply(policy("demo", "12"))), 2).await;
        check(Some(watcher::Event::Delete(policy("demo", "21"))), 3).await;
        check(Some(watcher::Event::Init), 4).await;
    }

    #[test]
    fn a_rule_that_lets_somebody_in_is_a_difference_and_an_empty_list_is_none() {
        let desired = build("demo");
        let found = |change: fn(&mut NetworkPolicySpec)| {
            let mut found = desired.clone();
            found.spec.iter_mut().for_each(change);
            is_in_line(&found, &desired)
        };
        assert!(found(|spec| spec.ingress = None));
        assert!(!found(|spec| spec.ingress = Some(vec![NetworkPolicyIngressRule::default()])));
        assert!(!found(|spec| spec.egress = None));
    }
}
