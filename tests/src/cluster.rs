//! The cluster that the tests run on.

use std::env;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, Client};

/// Namespace and name of the Helm release of the operator.
pub const RELEASE: &str = "ai-saas-platform";
/// Name of the operator's Deployment and Service.
pub const OPERATOR: &str = "ai-saas-platform-operator";

const HOW_TO_RUN: &str = "these tests need a cluster with the platform: run them by `cargo xtask test`, \
    or set KUBECONFIG to a cluster with the Helm release `ai-saas-platform` in the namespace `ai-saas-platform`";

/// The cluster that the tests run on.
#[derive(Clone)]
pub struct Cluster {
    /// Its API server.
    pub client: Client,
    /// An address of this machine that its pods reach.
    pub host_address: String,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Cluster").field("host_address", &self.host_address).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Connects, and sees that the operator is installed.
    ///
    /// # Errors
    /// If there is no cluster or no operator, with what to do.
    pub async fn connect() -> Result<Self> {
        // Only a cluster that was chosen: the default one of a person may be
        // one that matters.
        ensure!(env::var_os("KUBECONFIG").is_some(), "KUBECONFIG is not set: {HOW_TO_RUN}");
        let client = Client::try_default().await.context(HOW_TO_RUN)?;
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), RELEASE);
        let Some(operator) = deployments.get_opt(OPERATOR).await.context(HOW_TO_RUN)? else {
            bail!("there is no Deployment `{RELEASE}/{OPERATOR}`: {HOW_TO_RUN}");
        };
        let replicas = operator.status.and_then(|status| status.replicas).unwrap_or(0);
        ensure!(replicas > 0, "the Deployment `{RELEASE}/{OPERATOR}` has no pod: {HOW_TO_RUN}");
        let host_address = match env::var("TEST_HOST_ADDRESS") {
            Ok(address) => address,
            // The local node is this machine.
            Err(_) => node_address(&client).await?,
        };
        Ok(Self { client, host_address })
    }
}

async fn node_address(client: &Client) -> Result<String> {
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = nodes.list(&ListParams::default()).await.context("listing the nodes")?;
    nodes
        .items
        .into_iter()
        .filter(|node| !is_simulated(node))
        .filter_map(|node| node.status?.addresses)
        .flatten()
        .find(|address| address.type_ == "InternalIP")
        .map(|address| address.address)
        .context(
            "no node has an InternalIP: set TEST_HOST_ADDRESS to an address of this machine that pods reach",
        )
}

/// KWOK's nodes carry this annotation, and run nothing.
fn is_simulated(node: &Node) -> bool {
    node.metadata.annotations.iter().flatten().any(|(key, _)| key.starts_with("kwok.x-k8s.io/"))
}
