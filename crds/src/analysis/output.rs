use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::{ClaimPath, SecretReference};

/// Where the result goes and in which format. The result is called
/// `result.csv`, `result.jsonl`, `result.parquet` or `result.arrow`, and lies
/// beside the charts. Files of the same name are replaced. Nothing is visible
/// before everything has succeeded, charts included; the result comes last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.configMap), has(self.persistentVolumeClaim), has(self.s3), has(self.dataset)].filter(given, given).size() == 1")
        .message("give exactly one of `configMap`, `persistentVolumeClaim`, `s3` and `dataset`")
)]
pub struct Output {
    /// Format of the result: `csv`, with a header; `jsonLines`, one object a
    /// line; `parquet`, compressed with Zstandard; `arrow`, an IPC file. The
    /// file is called `result.csv`, `result.jsonl`, `result.parquet` or
    /// `result.arrow`. In a data set, `parquet` and `arrow` keep the types of
    /// the columns; of the others they are found anew.
    pub format: OutputFormat,
    /// A ConfigMap that belongs to this AnalysisJob: for results of up to 700
    /// KiB, charts included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapOutput>,
    /// A folder on a volume. It is made if it is not there. Files are written
    /// under a hidden name that ends in `.analysis-partial`; what a killed pod
    /// leaves of them is removed a day later, by the next analysis that writes
    /// there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<ClaimPath>,
    /// A prefix in an S3-compatible store. A pod that is killed can leave an
    /// incomplete multipart upload: give the bucket a lifecycle rule that ends
    /// those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Output>,
    /// A data set of a Platform in this namespace: the result becomes its next
    /// version, and only once, however often the pod is tried again. Charts go
    /// into a ConfigMap that belongs to this AnalysisJob and has its name with
    /// `-charts` behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<DatasetOutput>,
}

/// Format of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OutputFormat {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    JsonLines,
    /// Apache Parquet, compressed with Zstandard.
    Parquet,
    /// Apache Arrow IPC file.
    Arrow,
}

impl OutputFormat {
    /// The word for it, as in a specification.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::JsonLines => "jsonLines",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }

    /// Name of the file that holds the result.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Csv => "result.csv",
            Self::JsonLines => "result.jsonl",
            Self::Parquet => "result.parquet",
            Self::Arrow => "result.arrow",
        }
    }
}

/// A ConfigMap made for the result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapOutput {
    /// Name of the ConfigMap; that of the AnalysisJob with `-result` behind it
    /// if left out. A ConfigMap that is there already and does not belong to
    /// this AnalysisJob is left alone, and the AnalysisJob is not accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: Option<String>,
}

/// A data set that gets a new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatasetOutput {
    /// Name of the data set. It is made if there is none.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z][a-z0-9_-]*$"))]
    pub name: String,
    /// Name of the Platform that keeps the data set; the only one of the
    /// namespace if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub platform: Option<String>,
}

/// A prefix in an S3-compatible store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct S3Output {
    /// `s3://BUCKET/PREFIX`; the files are written below it.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^s3://[^\s/]+(/\S*)?$"))]
    pub url: String,
    /// Address of the store, if it is not Amazon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^https?://\S+$"))]
    pub endpoint: Option<String>,
    /// Region of the bucket; us-east-1 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub region: Option<String>,
    /// Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and
    /// AWS_SESSION_TOKEN if there is one.
    pub secret: SecretReference,
}
