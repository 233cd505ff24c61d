//! The container runtime.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::daemon;
use super::images;
use super::state::{Paths, Record};
use crate::process::{Tool, wait_until};

const CONFIG: &str = include_str!("../../../cluster/config/containerd.toml");
const NETWORK: &str = include_str!("../../../cluster/config/pods.conflist");
/// What the configuration contributes to the node's fingerprint.
pub(crate) const SETTINGS: &[&str] = &[CONFIG, NETWORK];

/// Starts containerd if it is not running, and waits until it answers.
pub(crate) fn start(paths: &Paths, record: &mut Record) -> Result<()> {
    if daemon::running(record, "containerd") && answers(paths) {
        return Ok(());
    }
    daemon::stop(paths, record, "containerd", Duration::from_secs(5))?;
    let config = paths.write("containerd.toml", CONFIG, &[("PAUSE_IMAGE", &images::reference("pause"))])?;
    paths.write("cni/10-pods.conflist", NETWORK, &[])?;
    fs::create_dir_all(&paths.run).with_context(|| format!("creating {}", paths.run.display()))?;
    // A socket that nothing listens on would be taken for a running containerd.
    let _ = fs::remove_file(paths.socket());
    let arguments = ["--config".to_owned(), config.display().to_string()];
    daemon::start(paths, record, "containerd", Path::new("/usr/bin/containerd"), &arguments)?;
    if !wait_until(Duration::from_secs(30), || answers(paths)) {
        bail!("containerd does not answer; its log is {}", paths.log("containerd").display());
    }
    Ok(())
}

fn answers(paths: &Paths) -> bool {
    ctr(paths).args(["--connect-timeout", "2s", "--timeout", "5s", "version"]).ok()
}

/// Loads an archive of an image.
pub(crate) fn import(paths: &Paths, archive: &Path) -> Result<()> {
    ctr(paths).args(["--namespace", "k8s.io", "images", "import"]).arg(archive).quiet()
}

/// Whether the node has an image.
pub(crate) fn has(paths: &Paths, reference: &str) -> bool {
    ctr(paths)
        .args(["--namespace", "k8s.io", "images", "list", "--quiet"])
        .arg(format!("name=={reference}"))
        .output()
        .is_ok_and(|names| !names.trim().is_empty())
}

fn ctr(paths: &Paths) -> Tool {
    Tool::new("ctr").arg("--address").arg(paths.socket())
}

/// Where CNI remembers what it answered; it cannot be told to use another folder.
pub(crate) fn forget_results(paths: &Paths) {
    let Ok(entries) = fs::read_dir("/var/lib/cni/results") else { return };
    let run = paths.run.to_string_lossy().into_owned();
    for path in entries.flatten().map(|entry| entry.path()) {
        // The network namespace named in it tells whose it is.
        if fs::read_to_string(&path).is_ok_and(|result| result.contains(&run)) {
            let _ = fs::remove_file(path);
        }
    }
}

/// The sockets of containers' shims, which lie outside of the node's folders.
pub(crate) fn shim_sockets(paths: &Paths) -> Vec<PathBuf> {
    let tasks = paths.run.join("containerd/io.containerd.runtime.v2.task/k8s.io");
    let Ok(entries) = fs::read_dir(tasks) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("address")).ok())
        .filter_map(|address| address.trim().strip_prefix("unix://").map(PathBuf::from))
        .collect()
}
