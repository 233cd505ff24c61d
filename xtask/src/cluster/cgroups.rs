//! The control group that holds every pod of the node.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::daemon::{self, Process};
use super::mounts;
use crate::process::wait_until;
use crate::versions::CLUSTER_NAME;

/// Makes the group in every hierarchy, as the kubelet expects of a group that it is told to use.
pub(crate) fn create() -> Result<()> {
    let hierarchies = hierarchies();
    let versioned = !hierarchies.iter().any(|hierarchy| hierarchy.legacy);
    for hierarchy in hierarchies {
        // Beside the old hierarchies, the new one is used by nobody.
        if !hierarchy.legacy && !versioned {
            continue;
        }
        let group = hierarchy.path.join(CLUSTER_NAME);
        fs::create_dir_all(&group)
            .with_context(|| format!("creating the control group {}", group.display()))?;
        if hierarchy.legacy {
            // A new group of this controller is useless until it is told its processors and memory nodes.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(value) = fs::read_to_string(hierarchy.path.join(file)) {
                    fs::write(group.join(file), value.trim())
                        .with_context(|| format!("writing {file} of {}", group.display()))?;
                }
            }
        } else {
            enable_controllers(&hierarchy.path);
            enable_controllers(&group);
        }
    }
    Ok(())
}

fn enable_controllers(group: &Path) {
    let controllers = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    for controller in controllers.split_whitespace() {
        // Some cannot be passed on; the kubelet says which of those that it needs are missing.
        let _ = fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// Ends everything in the group and removes it.
pub(crate) fn remove() {
    let groups: Vec<PathBuf> = hierarchies()
        .into_iter()
        .map(|hierarchy| hierarchy.path.join(CLUSTER_NAME))
        .filter(|group| group.is_dir())
        .collect();
    for _ in 0..5 {
        let mut processes: Vec<Process> =
            groups.iter().flat_map(|group| members(group)).filter_map(Process::current).collect();
        processes.sort_by_key(|process| process.id);
        processes.dedup();
        if processes.is_empty() {
            break;
        }
        daemon::end(&processes, Duration::from_secs(3));
    }
    for group in groups {
        // The kernel lets go of a group shortly after its last process.
        wait_until(Duration::from_secs(5), || remove_tree(&group).is_ok());
    }
}

/// The groups that are still there.
pub(crate) fn remaining() -> Vec<PathBuf> {
    hierarchies()
        .into_iter()
        .map(|hierarchy| hierarchy.path.join(CLUSTER_NAME))
        .filter(|group| group.exists())
        .collect()
}

fn members(group: &Path) -> Vec<u32> {
    let mut found: Vec<u32> = fs::read_to_string(group.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect();
    for child in children(group) {
        found.extend(members(&child));
    }
    found
}

fn children(group: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(group) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

fn remove_tree(group: &Path) -> io::Result<()> {
    for child in children(group) {
        remove_tree(&child)?;
    }
    match fs::remove_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[derive(Debug)]
struct Hierarchy {
    path: PathBuf,
    /// Version 1, one hierarchy for each controller.
    legacy: bool,
}

fn hierarchies() -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = mounts::all()
        .into_iter()
        .filter_map(|mount| match mount.kind.as_str() {
            "cgroup" => Some(Hierarchy { path: mount.path, legacy: true }),
            "cgroup2" => Some(Hierarchy { path: mount.path, legacy: false }),
            _ => None,
        })
        // A container's view of its own groups is mounted below the node's folders.
        .filter(|hierarchy| hierarchy.path.starts_with("/sys/fs/cgroup"))
        .collect();
    found.sort_by(|left, right| left.path.cmp(&right.path));
    found.dedup_by(|left, right| left.path == right.path);
    found
}
