//! A volume that is soon full.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use crate::Namespace;

/// A file system of its own in the memory of this machine, which is the node,
/// with a volume and a claim on it.
#[derive(Debug)]
pub struct SmallVolume {
    folder: PathBuf,
    /// Name of the PersistentVolume.
    name: String,
    volumes: Api<PersistentVolume>,
}

impl SmallVolume {
    /// Makes the file system, the volume, and a claim of this name.
    ///
    /// # Errors
    /// If the file system cannot be mounted, and those of the API server.
    pub async fn create(namespace: &Namespace, claim: &str, kibibytes: u32) -> Result<Self> {
        let name = format!("{}-{claim}", namespace.name);
        let folder = std::env::temp_dir().join(&name);
        std::fs::create_dir(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let volumes: Api<PersistentVolume> = Api::all(namespace.cluster.client.clone());
        let volume = Self { folder, name, volumes };
        let options = format!("size={kibibytes}k,mode=1777");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&volume.folder)
            .status()
            .context("starting `mount`")?;
        ensure!(
            mounted.success(),
            "a file system in memory cannot be mounted: this test needs root on the node"
        );

        let capacity = json!({ "storage": format!("{kibibytes}Ki") });
        let object: PersistentVolume = serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": { "name": volume.name },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": capacity,
                "hostPath": { "path": volume.folder, "type": "Directory" },
                "claimRef": { "namespace": namespace.name, "name": claim },
            },
        }))?;
        volume.volumes.create(&PostParams::default(), &object).await.context("creating the volume")?;
        let object: PersistentVolumeClaim = serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": { "name": claim },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": { "requests": capacity },
                "storageClassName": "",
                "volumeName": volume.name,
            },
        }))?;
        namespace.create_object(&object).await?;
        Ok(volume)
    }

    /// The names of the files on it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn files(&self) -> Result<Vec<String>> {
        let entries = std::fs::read_dir(&self.folder).context("reading the volume")?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// Removes the volume; the claim goes with its namespace.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn remove(&self) -> Result<()> {
        self.volumes
            .delete(&self.name, &DeleteParams::background())
            .await
            .map(drop)
            .context("deleting the volume")
    }
}

impl Drop for SmallVolume {
    fn drop(&mut self) {
        // A pod that still has it keeps its own view; here it is gone at once.
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
        let _ = std::fs::remove_dir(&self.folder);
    }
}
