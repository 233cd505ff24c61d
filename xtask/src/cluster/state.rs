//! What is known about the node between two runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::daemon::Process;
use crate::cache;
use crate::versions::{CLUSTER_NAME, NODE_IP, NODE_NAME, POD_CIDR, SERVICE_CIDR};

/// Kept in the state folder, written before anything that it describes is relied upon.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The boot in which the processes were started; after another one they are gone.
    #[serde(default)]
    pub(crate) boot: String,
    /// Stands for the programs and settings that the node was made with.
    #[serde(default)]
    pub(crate) fingerprint: String,
    /// Whether the control plane has come up once.
    #[serde(default)]
    pub(crate) initialised: bool,
    /// Seconds since 1970 at which the certificates were made.
    #[serde(default)]
    pub(crate) created: u64,
    #[serde(default)]
    pub(crate) processes: BTreeMap<String, Process>,
    /// Images on the node and the key of what each was imported from.
    #[serde(default)]
    pub(crate) images: BTreeMap<String, String>,
    /// Kernel settings that were changed, with the values to put back.
    #[serde(default)]
    pub(crate) sysctls: BTreeMap<String, String>,
}

/// The folders of the node.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// Survives a restart of the machine.
    pub(crate) state: PathBuf,
    /// Sockets and what else ends with the processes.
    pub(crate) run: PathBuf,
}

/// Where kubeadm and the kubelet keep what cannot be put elsewhere.
pub(crate) const KUBERNETES_FOLDER: &str = "/etc/kubernetes";
pub(crate) const KUBELET_FOLDER: &str = "/var/lib/kubelet";
/// The file that marks a folder outside of the state folder as this node's.
const MARK: &str = ".ai-saas-platform-node";

impl Paths {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { state: cache::state()?, run: PathBuf::from("/run/ai-saas-platform") })
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.run.join("containerd.sock")
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.state.join("logs").join(format!("{name}.log"))
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.state.join("node.json")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        // Beside the folder, because a reset removes the folder itself.
        self.state.with_extension("lock")
    }

    /// Fills in the placeholders of a template.
    pub(crate) fn render(&self, template: &str, more: &[(&str, &str)]) -> String {
        let state = self.state.to_string_lossy();
        let run = self.run.to_string_lossy();
        let common = [
            ("STATE", state.as_ref()),
            ("RUN", run.as_ref()),
            ("NETWORK", CLUSTER_NAME),
            ("NODE_NAME", NODE_NAME),
            ("NODE_IP", NODE_IP),
            ("POD_CIDR", POD_CIDR),
            ("SERVICE_CIDR", SERVICE_CIDR),
        ];
        common
            .iter()
            .chain(more)
            .fold(template.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
    }

    /// Writes a rendered template and returns its path.
    pub(crate) fn write(&self, name: &str, template: &str, more: &[(&str, &str)]) -> Result<PathBuf> {
        let path = self.state.join(name);
        cache::write_atomically(&path, self.render(template, more).as_bytes())?;
        Ok(path)
    }
}

impl Record {
    /// A record that cannot be read is treated as none: the node is then rebuilt.
    pub(crate) fn load(paths: &Paths) -> Self {
        fs::read(paths.record())
            .ok()
            .and_then(|content| serde_json::from_slice(&content).ok())
            .unwrap_or_default()
    }

    pub(crate) fn save(&self, paths: &Paths) -> Result<()> {
        // Taking down a node that does not exist must not make its folder.
        if self.fingerprint.is_empty() && !paths.state.exists() {
            return Ok(());
        }
        let content = serde_json::to_vec_pretty(self).context("writing the record of the node")?;
        cache::write_atomically(&paths.record(), &content)
    }
}

/// Identifies the present run of the kernel.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Takes a folder outside of the state folder, unless somebody else uses it.
pub(crate) fn claim(folder: &Path, paths: &Paths) -> Result<()> {
    let mark = folder.join(MARK);
    if mark.exists() {
        return mark_as(&mark, paths);
    }
    let used = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if used {
        anyhow::bail!(
            "{} is in use by another Kubernetes node of this machine; \
             run the task against that one with `--context NAME`, or remove it first",
            folder.display()
        );
    }
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    mark_as(&mark, paths)
}

fn mark_as(mark: &Path, paths: &Paths) -> Result<()> {
    fs::write(mark, paths.state.as_os_str().as_encoded_bytes())
        .with_context(|| format!("writing {}", mark.display()))
}

/// Whether a folder was taken by a node of this project.
pub(crate) fn claimed(folder: &Path) -> bool {
    folder.join(MARK).exists()
}

/// Whether what is in a folder belongs to the node with this state, and not to
/// one with another state folder that was made later.
pub(crate) fn is_of(folder: &Path, paths: &Paths) -> bool {
    fs::read(folder.join(MARK)).is_ok_and(|state| state == paths.state.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_the_node_that_took_it_last() {
        let folder = std::env::temp_dir().join(format!("ai-saas-platform-claim-{}", std::process::id()));
        let node = |state: &str| Paths { state: PathBuf::from(state), run: PathBuf::from("/run/nothing") };
        assert!(!is_of(&folder, &node("/one")) && !claimed(&folder));
        claim(&folder, &node("/one")).unwrap();
        assert!(is_of(&folder, &node("/one")) && !is_of(&folder, &node("/two")));
        claim(&folder, &node("/two")).unwrap();
        assert!(is_of(&folder, &node("/two")) && !is_of(&folder, &node("/one")) && claimed(&folder));
        fs::remove_file(folder.join(MARK)).unwrap();
        fs::write(folder.join("other"), "").unwrap();
        let error = claim(&folder, &node("/one")).unwrap_err().to_string();
        fs::remove_dir_all(&folder).unwrap();
        assert!(error.contains("in use by another"), "{error}");
    }
}
