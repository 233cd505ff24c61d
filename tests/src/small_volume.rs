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
        let volume = Self::mount(namespace, claim, kibibytes)?;
        volume.declare(namespace, claim, kibibytes, "").await?;
        let object: PersistentVolumeClaim = serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": { "name": claim },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": { "requests": { "storage": format!("{kibibytes}Ki") } },
                "storageClassName": "",
                "volumeName": volume.name,
            },
        }))?;
        namespace.create_object(&object).await?;
        Ok(volume)
    }

    /// Makes the file system, and a volume for a claim of this name that
    /// somebody else is going to make, of the storage class
    /// [`Self::storage_class`].
    ///
    /// # Errors
    /// If the file system cannot be mounted, and those of the API server.
    pub async fn reserve(namespace: &Namespace, claim: &str, kibibytes: u32) -> Result<Self> {
        let volume = Self::mount(namespace, claim, kibibytes)?;
        volume.declare(namespace, claim, kibibytes, &volume.name).await?;
        Ok(volume)
    }

    /// The storage class of a volume that is reserved. It has nothing else, so
    /// nobody makes a volume of it.
    #[must_use]
    pub fn storage_class(&self) -> &str {
        &self.name
    }

    fn mount(namespace: &Namespace, claim: &str, kibibytes: u32) -> Result<Self> {
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
        Ok(volume)
    }

    async fn declare(
        &self,
        namespace: &Namespace,
        claim: &str,
        kibibytes: u32,
        storage_class: &str,
    ) -> Result<()> {
        let object: PersistentVolume = serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": { "name": self.name },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": { "storage": format!("{kibibytes}Ki") },
                "hostPath": { "path": self.folder, "type": "Directory" },
                "claimRef": { "namespace": namespace.name, "name": claim },
                "storageClassName": storage_class,
            },
        }))?;
        self.volumes.create(&PostParams::default(), &object).await.map(drop).context("creating the volume")
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
