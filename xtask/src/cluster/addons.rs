//! What makes a bare control plane a usable cluster: DNS, metrics, storage.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::images;
use super::state::Paths;
use crate::step::Ticker;

const METRICS_SERVER: &str = include_str!("../../../cluster/manifests/metrics-server.yaml");
const STORAGE: &str = include_str!("../../../cluster/manifests/local-path-storage.yaml");
/// What the manifests contribute to the node's fingerprint.
pub(crate) const SETTINGS: &[&str] = &[METRICS_SERVER, STORAGE];

/// The deployments that a ready cluster has.
const DEPLOYMENTS: &[(&str, &str)] = &[
    ("kube-system", "coredns"),
    ("local-path-storage", "local-path-provisioner"),
    ("kube-system", "metrics-server"),
];

/// Applies the manifests.
pub(crate) fn apply(paths: &Paths) -> Result<()> {
    let values = [
        ("METRICS_SERVER_IMAGE", images::reference("metrics-server")),
        ("LOCAL_PATH_IMAGE", images::reference("local-path-provisioner")),
        ("BUSYBOX_IMAGE", images::reference("busybox")),
    ];
    let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let files: Vec<PathBuf> = [("metrics-server", METRICS_SERVER), ("local-path-storage", STORAGE)]
        .iter()
        .map(|(name, manifest)| paths.write(&format!("manifests/{name}.yaml"), manifest, &values))
        .collect::<Result<_>>()?;
    for file in files {
        super::kubectl(paths)?
            .args(["apply", "--server-side", "--force-conflicts", "-f"])
            .arg(file)
            .quiet()?;
    }
    // One node gains nothing from the second replica that kubeadm asks for.
    super::kubectl(paths)?
        .args(["--namespace", "kube-system", "scale", "deployment/coredns", "--replicas=1"])
        .quiet()
}

/// Waits until all of them serve.
pub(crate) fn wait(paths: &Paths) -> Result<()> {
    let _ticker = Ticker::start("waiting for CoreDNS, storage and metrics");
    for (namespace, name) in DEPLOYMENTS {
        super::kubectl(paths)?
            .args(["--namespace", namespace, "rollout", "status", "--timeout=120s"])
            .arg(format!("deployment/{name}"))
            .quiet()
            .with_context(|| format!("waiting for {name}"))?;
    }
    super::kubectl(paths)?
        .args(["wait", "--for=condition=Available", "--timeout=60s", "apiservice/v1beta1.metrics.k8s.io"])
        .quiet()
}

/// Whether all of them serve now.
pub(crate) fn ready(paths: &Paths) -> bool {
    DEPLOYMENTS.iter().all(|(namespace, name)| {
        super::kubectl(paths).is_ok_and(|kubectl| {
            kubectl
                .args(["--namespace", namespace, "wait", "--for=condition=Available", "--timeout=1s"])
                .arg(format!("deployment/{name}"))
                .ok()
        })
    })
}
