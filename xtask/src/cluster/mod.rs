//! The local Kubernetes node: one real node made of the programs pinned in `cluster/go`.

mod addons;
mod cgroups;
pub(crate) mod containerd;
mod daemon;
mod down;
pub(crate) mod images;
mod kubeadm;
mod kwok;
mod mounts;
mod network;
pub(crate) mod state;
mod status;
mod up;

use anyhow::Result;

pub(crate) use down::down;
pub(crate) use up::{Options, up};

use self::state::Paths;
use crate::go_modules;
use crate::process::Tool;
use crate::versions::CLUSTER_NAME;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Bring the node up, repairing or rebuilding it where necessary
    Up(Options),
    /// Stop the node; what it stored stays
    Down,
    /// Say what the node is doing
    Status,
    /// Stop the node and remove all that it stored; built programs stay
    Reset,
    /// Print the path of the kubeconfig
    Kubeconfig,
}

pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Up(options) => up(*options),
        Command::Down => down(),
        Command::Status => status::status(),
        Command::Reset => down::reset(),
        Command::Kubeconfig => {
            println!("{}", Paths::new()?.kubeconfig().display());
            Ok(())
        }
    }
}

/// `kubectl` for the node and for no other cluster.
fn kubectl(paths: &Paths) -> Result<Tool> {
    Ok(Tool::new(go_modules::KUBERNETES.path("kubectl")?)
        .arg("--kubeconfig")
        .arg(paths.kubeconfig())
        .args(["--context", CLUSTER_NAME]))
}
