//! What the node is doing.

use anyhow::{Result, bail};

use super::state::{Paths, Record};
use super::{daemon, kubeadm};
use crate::step;

/// Prints it; fails if the node is not up.
pub(crate) fn status() -> Result<()> {
    let paths = Paths::new()?;
    let record = Record::load(&paths);
    if !record.initialised {
        bail!("there is no node; make one with `cargo xtask cluster up`");
    }
    if record.processes.is_empty() {
        step::detail("the node is down; start it with `cargo xtask cluster up`");
        return Ok(());
    }
    for name in ["containerd", "kubelet", "kube-proxy", "kwok"] {
        let text = match record.processes.get(name) {
            Some(process) if daemon::running(&record, name) => format!("running as process {}", process.id),
            Some(_) => format!("ended; its log is {}", paths.log(name).display()),
            None if name == "kwok" => "not started (`cargo xtask cluster up --kwok`)".to_owned(),
            None => "not started".to_owned(),
        };
        step::detail(&format!("{name:12} {text}"));
    }
    if !kubeadm::api_ready(&paths) {
        bail!("the API server does not answer; repair the node with `cargo xtask cluster up`");
    }
    super::kubectl(&paths)?.args(["get", "nodes,pods", "--all-namespaces", "--output=wide"]).run()?;
    step::detail(&format!("export KUBECONFIG={}", paths.kubeconfig().display()));
    Ok(())
}
