//! The versions that do not stand in a `go.mod`, and the names of what the node is made of.

/// Stamped into the Kubernetes binaries; `cluster/go/kubernetes/go.mod` pins the same one.
pub(crate) const KUBERNETES: &str = "v1.34.4";
/// The tag kubeadm is told for etcd; `cluster/go/etcd/go.mod` pins the source.
pub(crate) const ETCD_TAG: &str = "3.6.5-0";
pub(crate) const COREDNS_TAG: &str = "v1.12.4";
pub(crate) const METRICS_SERVER_TAG: &str = "v0.9.0";
pub(crate) const LOCAL_PATH_TAG: &str = "v0.0.30";
/// Stamped into Helm; `cluster/go/addons/go.mod` pins the same one.
pub(crate) const HELM: &str = "v3.19.0";
pub(crate) const PAUSE_TAG: &str = "3.10.1";
pub(crate) const BUSYBOX_TAG: &str = "1.35";
/// Installed from crates.io when a check needs it and it is missing.
pub(crate) const CARGO_DENY: &str = "0.20.2";

/// The registry in the names of images that are built here; nothing is ever pulled from it.
pub(crate) const REGISTRY: &str = "aisaas.local";
/// Where the node's own images are named.
pub(crate) const NODE_REPOSITORY: &str = "aisaas.local/node";

/// The node's name in the API.
pub(crate) const NODE_NAME: &str = "ai-saas-platform";
/// The name of the cluster, its context, its CNI network and its control group.
pub(crate) const CLUSTER_NAME: &str = "ai-saas-platform";

/// The node's address lies on the loopback link. It stays the same when the
/// machine gets another one, so certificates and static pods stay valid.
pub(crate) const NODE_IP: &str = "10.234.0.1";
pub(crate) const POD_CIDR: &str = "10.234.64.0/18";
pub(crate) const SERVICE_CIDR: &str = "10.234.128.0/18";
