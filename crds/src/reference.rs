//! References to other objects. They always mean the same namespace: there
//! are no cross-namespace references in this version.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Name of a Secret in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One key of a ConfigMap in the same namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKey {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key whose value is read. Both `data` and `binaryData` work.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// A file or folder on a PersistentVolumeClaim in the same namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.path.startsWith('/') && !self.path.split('/').exists(part, part == '..')")
    .message("path is relative to the root of the volume and must not contain `..`"))]
pub struct ClaimPath {
    /// Name of the PersistentVolumeClaim.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: String,
    /// Path on the volume, relative to its root.
    #[schemars(length(min = 1, max = 1024))]
    pub path: String,
}
