//! Taking the node down, in whatever state it is.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::state::{KUBELET_FOLDER, KUBERNETES_FOLDER, Paths, Record, claimed};
use super::{cgroups, containerd, daemon, mounts, network};
use crate::cache;
use crate::packages;
use crate::step::{self, Steps};

/// Stops the node; what it stored stays.
pub(crate) fn down() -> Result<()> {
    let (paths, _lock) = prepare()?;
    stop(&paths)?;
    report(&paths)
}

/// Stops the node and removes all that it stored.
pub(crate) fn reset() -> Result<()> {
    let (paths, _lock) = prepare()?;
    wipe(&paths)?;
    report(&paths)
}

fn prepare() -> Result<(Paths, fs::File)> {
    if !packages::is_root() {
        bail!("the local node belongs to root; run this with sudo");
    }
    let paths = Paths::new()?;
    let lock = cache::lock(&paths.lock(), "changing the node")?;
    Ok((paths, lock))
}

/// Each step works whether or not the others have anything to do.
pub(crate) fn stop(paths: &Paths) -> Result<()> {
    let mut record = Record::load(paths);
    let mut steps = Steps::new("cluster down", 4);
    steps.next("processes");
    // The kubelet first, or it would start again what is ended after it.
    for (name, seconds) in [("kwok", 5), ("kubelet", 10), ("kube-proxy", 5)] {
        daemon::stop(paths, &mut record, name, Duration::from_secs(seconds))?;
    }
    steps.next("containers");
    let sockets = containerd::shim_sockets(paths);
    cgroups::remove();
    // With their containers gone, the shims have an answer for containerd and end by themselves.
    daemon::stop(paths, &mut record, "containerd", Duration::from_secs(10))?;
    daemon::stop_marked(paths);
    cgroups::remove();
    for socket in sockets {
        let _ = fs::remove_file(socket);
    }
    steps.next("mounts");
    mounts::release(&folders(paths));
    steps.next("network");
    network::remove(paths, &mut record)?;
    forget_run(paths, &mut record)?;
    steps.done("stopped");
    Ok(())
}

/// Removes what is of use only to running processes.
pub(crate) fn forget_run(paths: &Paths, record: &mut Record) -> Result<()> {
    mounts::release(&[&paths.run]);
    remove_folder(&paths.run)?;
    containerd::forget_results(paths);
    record.processes.clear();
    record.boot.clear();
    record.save(paths)
}

/// Stops the node and removes what it stored.
pub(crate) fn wipe(paths: &Paths) -> Result<()> {
    if paths.state.exists() || paths.run.exists() {
        stop(paths)?;
    }
    for folder in [KUBELET_FOLDER, KUBERNETES_FOLDER] {
        let folder = Path::new(folder);
        if claimed(folder) {
            remove_folder(folder)?;
        }
    }
    forget_log_links(paths);
    remove_folder(&paths.state)
}

/// The kubelet links its logs where log collectors look for them.
fn forget_log_links(paths: &Paths) {
    let Ok(entries) = fs::read_dir("/var/log/containers") else { return };
    for link in entries.flatten().map(|entry| entry.path()) {
        if fs::read_link(&link).is_ok_and(|target| target.starts_with(&paths.state)) {
            let _ = fs::remove_file(link);
        }
    }
}

fn folders(paths: &Paths) -> Vec<&Path> {
    let mut folders = vec![paths.state.as_path(), paths.run.as_path()];
    if claimed(Path::new(KUBELET_FOLDER)) {
        folders.push(Path::new(KUBELET_FOLDER));
    }
    folders
}

fn remove_folder(folder: &Path) -> Result<()> {
    // Never delete through a mount.
    if !mounts::below(&[folder]).is_empty() {
        bail!("something is still mounted below {}; find out with `findmnt` what uses it", folder.display());
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Says what is left, which should be nothing.
fn report(paths: &Paths) -> Result<()> {
    let mut left: Vec<String> =
        daemon::marked(paths).into_iter().map(|process| format!("process {}", process.id)).collect();
    left.extend(mounts::below(&folders(paths)).into_iter().map(|path| format!("mount {}", path.display())));
    left.extend(cgroups::remaining().into_iter().map(|path| format!("control group {}", path.display())));
    left.extend(network::remaining());
    if left.is_empty() {
        step::detail("nothing of the node is left on the machine");
        return Ok(());
    }
    bail!("the node is down, but this is left: {}", left.join(", "))
}
