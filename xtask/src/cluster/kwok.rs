//! A fake node, on which pods succeed without running.

use anyhow::{Result, bail};
use std::time::Duration;

use super::daemon;
use super::state::{Paths, Record};
use crate::go_modules;
use crate::process::wait_until;

const STAGES: &str = include_str!("../../../cluster/config/kwok-stages.yaml");
const NODE: &str = include_str!("../../../cluster/manifests/kwok-node.yaml");

/// Starts kwok and adds its node. Pods get there with the node selector and the
/// toleration `kwok.x-k8s.io/node=fake`.
pub(crate) fn start(paths: &Paths, record: &mut Record) -> Result<()> {
    let stages = paths.write("kwok.yaml", STAGES, &[])?;
    let node = paths.write("manifests/kwok-node.yaml", NODE, &[])?;
    super::kubectl(paths)?.args(["apply", "--server-side", "--force-conflicts", "-f"]).arg(node).quiet()?;
    if !daemon::running(record, "kwok") {
        let arguments = [
            format!("--kubeconfig={}", paths.kubeconfig().display()),
            format!("--config={}", stages.display()),
            "--manage-all-nodes=false".to_owned(),
            "--manage-nodes-with-label-selector=kwok.x-k8s.io/node=fake".to_owned(),
            "--node-lease-duration-seconds=40".to_owned(),
            // Addresses that no packet is ever sent to.
            "--cidr=198.18.0.0/15".to_owned(),
            "--node-ip=198.18.0.1".to_owned(),
            "--server-address=127.0.0.1:10247".to_owned(),
        ];
        daemon::start(paths, record, "kwok", &go_modules::KWOK.path("kwok")?, &arguments)?;
    }
    let ready = wait_until(Duration::from_secs(60), || {
        super::kubectl(paths).is_ok_and(|kubectl| {
            kubectl.args(["wait", "--for=condition=Ready", "--timeout=1s", "node/kwok"]).ok()
        })
    });
    if !ready {
        bail!("the fake node does not become ready; kwok's log is {}", paths.log("kwok").display());
    }
    Ok(())
}
