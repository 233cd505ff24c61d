use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::reference::SecretReference;

/// Where services keep objects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.persistentVolumeClaim) != has(self.s3)")
        .message("give exactly one of `persistentVolumeClaim` and `s3`")
)]
pub struct Storage {
    /// A folder on the claim of each service that keeps objects, which also has
    /// its embedded database: the claim has the size of both together. 10Gi if
    /// `size` is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<Claim>,

    /// An S3-compatible store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Storage>,
}

/// Where services keep their records.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.embedded) != has(self.postgresql)")
        .message("give exactly one of `embedded` and `postgresql`")
)]
pub struct Database {
    /// SQLite on the claim of each service, for services of one pod. 5Gi if
    /// `size` is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedded: Option<Claim>,

    /// A PostgreSQL database, in which each service has a schema of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgresql: Option<PostgresqlDatabase>,
}

/// Room on a claim.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// How much room, such as `20Gi`: a whole number of Mi, Gi or Ti, or of M,
    /// G or T. A claim can only grow, and only if its storage class lets it: a
    /// size below that of an existing claim changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 7), regex(pattern = r"^[1-9][0-9]{0,4}(Mi|Gi|Ti|M|G|T)$"))]
    pub size: Option<String>,

    /// Storage class; the default one of the cluster if left out. That of an
    /// existing claim cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}

/// A PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PostgresqlDatabase {
    /// The key of a Secret with the address of the database:
    /// `postgres://USER:PASSWORD@HOST:5432/DATABASE`. Its user must be allowed
    /// to create schemas. When the address changes, the pods are replaced. Give
    /// each Platform a database of its own: two with the same one have the same
    /// keys, requests and data sets.
    pub secret: SecretKey,
}

/// One key of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key whose value is read.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// A prefix in an S3-compatible store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Storage {
    /// `s3://BUCKET/PREFIX`; each service keeps its objects below it, in a
    /// folder of its own name.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^s3://[^\s/]+(/\S*)?$"))]
    pub url: String,
    /// Address of the store, if it is not Amazon's. An `http://` address is
    /// used without encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^https?://\S+$"))]
    pub endpoint: Option<String>,
    /// Region of the bucket; us-east-1 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub region: Option<String>,
    /// Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and
    /// AWS_SESSION_TOKEN if there is one. When they change, the pods are
    /// replaced.
    pub secret: SecretReference,
}
