//! The control plane, the kubelet and kube-proxy.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};

use super::daemon;
use super::state::{self, KUBELET_FOLDER, KUBERNETES_FOLDER, Paths, Record};
use crate::cache;
use crate::go_modules;
use crate::process::{Tool, wait_until};
use crate::step::Ticker;
use crate::versions::{CLUSTER_NAME, COREDNS_TAG, ETCD_TAG, KUBERNETES, NODE_IP, NODE_NAME, NODE_REPOSITORY};

const CONFIG: &str = include_str!("../../../cluster/config/kubeadm.yaml");
const PROXY: &str = include_str!("../../../cluster/config/kube-proxy.yaml");
/// What the configuration contributes to the node's fingerprint.
pub(crate) const SETTINGS: &[&str] = &[CONFIG, PROXY];

/// Writes certificates, kubeconfigs, static pods and the kubelet's settings.
pub(crate) fn prepare(paths: &Paths, record: &mut Record) -> Result<()> {
    state::claim(Path::new(KUBERNETES_FOLDER), paths)?;
    state::claim(Path::new(KUBELET_FOLDER), paths)?;
    let config = config(paths)?;
    for phase in ["certs all", "kubeconfig all", "kubelet-start", "control-plane all", "etcd local"] {
        kubeadm(paths)?
            .args(["init", "phase"])
            .args(phase.split(' '))
            .arg("--config")
            .arg(&config)
            .quiet()
            .with_context(|| format!("preparing the node (kubeadm phase {phase})"))?;
    }
    record.created = now();
    record.save(paths)?;
    write_kubeconfigs(paths, &config)
}

/// Does the rest of kubeadm's work, for which the API server must answer.
pub(crate) fn finish(paths: &Paths) -> Result<()> {
    let skipped =
        "preflight,certs,kubeconfig,kubelet-start,control-plane,etcd,addon/kube-proxy,show-join-command";
    let _ticker = Ticker::start("kubeadm init");
    kubeadm(paths)?
        .args(["init", "--skip-phases", skipped, "--config"])
        .arg(config(paths)?)
        .quiet()
        .with_context(|| format!("see also the logs in {}", paths.state.join("logs").display()))
}

fn config(paths: &Paths) -> Result<PathBuf> {
    let values = [
        ("KUBERNETES", KUBERNETES),
        ("REPOSITORY", NODE_REPOSITORY),
        ("ETCD_TAG", ETCD_TAG),
        ("COREDNS_TAG", COREDNS_TAG),
    ];
    paths.write("kubeadm.yaml", CONFIG, &values)
}

fn kubeadm(_paths: &Paths) -> Result<Tool> {
    Ok(Tool::new(go_modules::KUBERNETES.path("kubeadm")?))
}

fn write_kubeconfigs(paths: &Paths, config: &Path) -> Result<()> {
    let admin = Path::new(KUBERNETES_FOLDER).join("admin.conf");
    let content = fs::read_to_string(&admin).with_context(|| format!("reading {}", admin.display()))?;
    let content = content.replace(&format!("kubernetes-admin@{CLUSTER_NAME}"), CLUSTER_NAME);
    write_private(&paths.kubeconfig(), &content)?;

    let proxy = kubeadm(paths)?
        .args([
            "kubeconfig",
            "user",
            "--client-name",
            "system:kube-proxy",
            "--validity-period",
            "8760h",
            "--config",
        ])
        .arg(config)
        .output()?;
    write_private(&paths.state.join("kube-proxy.kubeconfig"), &proxy)
}

fn write_private(path: &Path, content: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    cache::write_atomically(path, content.as_bytes())?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("restricting {}", path.display()))
}

/// Starts the kubelet if it is not running.
pub(crate) fn start_kubelet(paths: &Paths, record: &mut Record) -> Result<()> {
    if daemon::running(record, "kubelet") {
        return Ok(());
    }
    let folder = Path::new(KUBERNETES_FOLDER);
    let arguments = [
        format!("--config={KUBELET_FOLDER}/config.yaml"),
        format!("--kubeconfig={}", folder.join("kubelet.conf").display()),
        format!("--bootstrap-kubeconfig={}", folder.join("bootstrap-kubelet.conf").display()),
        format!("--hostname-override={NODE_NAME}"),
        format!("--node-ip={NODE_IP}"),
    ];
    daemon::start(paths, record, "kubelet", &go_modules::KUBERNETES.path("kubelet")?, &arguments)
}

/// Starts kube-proxy if it is not running. It is a process of the machine and
/// no pod, because its image would need the machine's packet filter tools.
pub(crate) fn start_proxy(paths: &Paths, record: &mut Record) -> Result<()> {
    if daemon::running(record, "kube-proxy") {
        return Ok(());
    }
    let config = paths.write("kube-proxy.yaml", PROXY, &[])?;
    let arguments = [format!("--config={}", config.display())];
    daemon::start(paths, record, "kube-proxy", &go_modules::KUBERNETES.path("kube-proxy")?, &arguments)
}

/// Whether the API server says that it is ready.
pub(crate) fn api_ready(paths: &Paths) -> bool {
    super::kubectl(paths)
        .is_ok_and(|kubectl| kubectl.args(["get", "--raw", "/readyz", "--request-timeout=3s"]).ok())
}

/// Waits for the API server and then for the node.
pub(crate) fn wait_for_api(paths: &Paths, record: &Record, limit: Duration) -> Result<()> {
    let _ticker = Ticker::start("waiting for the API server");
    let mut kubelet_ended = false;
    let ready = wait_until(limit, || {
        kubelet_ended = !daemon::running(record, "kubelet");
        kubelet_ended || api_ready(paths)
    });
    if kubelet_ended {
        bail!("the kubelet ended; its log is {}", paths.log("kubelet").display());
    }
    if !ready {
        bail!("the API server does not answer; the kubelet's log is {}", paths.log("kubelet").display());
    }
    Ok(())
}

/// Waits until the node takes pods.
pub(crate) fn wait_for_node(paths: &Paths, limit: Duration) -> Result<()> {
    super::kubectl(paths)?
        .args(["wait", "--for=condition=Ready", "--timeout"])
        .arg(format!("{}s", limit.as_secs()))
        .arg(format!("node/{NODE_NAME}"))
        .quiet()
        .with_context(|| format!("the kubelet's log is {}", paths.log("kubelet").display()))
}

/// Whether the certificates, which are good for a year, soon are not.
pub(crate) fn certificates_old(record: &Record) -> bool {
    const LIMIT: u64 = 300 * 24 * 60 * 60;
    now().saturating_sub(record.created) > LIMIT
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
