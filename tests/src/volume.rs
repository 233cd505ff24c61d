//! Claims, and files on them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::Namespace;
use crate::namespace::named;

/// An image with a shell: the local node has this one.
const SHELL_IMAGE: &str = "aisaas.local/node/busybox:1.35";

/// The name of the image with a shell.
#[must_use]
pub fn shell_image() -> String {
    std::env::var("TEST_SHELL_IMAGE").unwrap_or_else(|_| SHELL_IMAGE.to_owned())
}

impl Namespace {
    /// Creates a claim.
    ///
    /// # Errors
    /// Those of the API server.
    pub async fn create_claim(&self, name: &str) -> Result<()> {
        let claim = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": { "name": name },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "64Mi" } } },
        });
        let claim: PersistentVolumeClaim = serde_json::from_value(claim).context("the claim")?;
        self.create_object(&claim).await.map(drop)
    }

    /// Puts files onto a claim, by their paths.
    ///
    /// # Errors
    /// If the pod that does it fails.
    pub async fn fill_claim(&self, claim: &str, files: &[(&str, &[u8])]) -> Result<()> {
        let name = format!("fill-{claim}");
        let mut bytes = BTreeMap::new();
        let mut script = "set -eu\n".to_owned();
        for (index, (path, content)) in files.iter().enumerate() {
            let key = format!("file-{index}");
            script.push_str(&format!(
                "mkdir -p \"$(dirname '/claim/{path}')\"\ncp /files/{key} '/claim/{path}'\n"
            ));
            bytes.insert(key, k8s_openapi::ByteString(content.to_vec()));
        }
        let map = ConfigMap { metadata: named(&name), binary_data: Some(bytes), ..ConfigMap::default() };
        self.create_object(&map).await?;
        let volumes = json!([
            { "name": "claim", "persistentVolumeClaim": { "claimName": claim } },
            { "name": "files", "configMap": { "name": name } },
        ]);
        let mounts = json!([
            { "name": "claim", "mountPath": "/claim" },
            { "name": "files", "mountPath": "/files" },
        ]);
        self.run_shell(&name, &script, &volumes, &mounts).await
    }

    /// Runs a script in a pod to its end.
    async fn run_shell(&self, name: &str, script: &str, volumes: &Value, mounts: &Value) -> Result<()> {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": name },
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "securityContext": {
                    "runAsNonRoot": true,
                    "runAsUser": 65532,
                    "runAsGroup": 65532,
                    "fsGroup": 65532,
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
                "containers": [{
                    "name": "shell",
                    "image": shell_image(),
                    "command": ["sh", "-c", script],
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "capabilities": { "drop": ["ALL"] },
                    },
                    "volumeMounts": mounts,
                }],
                "volumes": volumes,
            },
        });
        let pod: Pod = serde_json::from_value(pod).context("the pod with the script")?;
        let created = self.create_object(&pod).await?;
        let ended = self
            .wait_for::<Pod>(&created.name_any(), "to end", |pod| {
                let phase = pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref());
                matches!(phase, Some("Succeeded" | "Failed"))
            })
            .await?;
        let phase = ended.and_then(|pod| pod.status?.phase);
        anyhow::ensure!(phase.as_deref() == Some("Succeeded"), "the script in the pod `{name}` failed");
        Ok(())
    }
}
