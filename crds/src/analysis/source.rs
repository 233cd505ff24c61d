use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::{ClaimPath, ConfigMapKey, SecretReference};

/// A data source: where it is, and how it is to be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.inline), has(self.configMap), has(self.persistentVolumeClaim), has(self.uri), has(self.dataset)].filter(given, given).size() == 1")
        .message("give exactly one of `inline`, `configMap`, `persistentVolumeClaim`, `uri` and `dataset`"),
    validation = Rule::new("has(self.dataset) || has(self.format)")
        .message("say in `format` which format the data has"),
    validation = Rule::new("!has(self.dataset) || !(has(self.format) || has(self.csv) || has(self.jsonLines) || (has(self.columns) && self.columns.size() > 0))")
        .message("how a data set is read was said when it was uploaded: leave out `format`, `csv`, `jsonLines` and `columns`"),
    validation = Rule::new("self.name != 'result'")
        .message("`result` is the name of the table with the result: choose another name"),
    validation = Rule::new("!has(self.csv) || has(self.dataset) || (has(self.format) && self.format == 'csv')")
        .message("`csv` options go with `format: csv`"),
    validation = Rule::new("!has(self.jsonLines) || has(self.dataset) || (has(self.format) && self.format == 'jsonLines')")
        .message("`jsonLines` options go with `format: jsonLines`"),
    validation = Rule::new("!has(self.columns) || self.columns.size() == 0 || !has(self.format) || self.format in ['csv', 'jsonLines']")
        .message("`columns` go with csv and jsonLines: the other formats carry their types"),
    validation = Rule::new("!has(self.inline) || !has(self.format) || self.format in ['csv', 'jsonLines']")
        .message("inline data is text: use `format: csv` or `format: jsonLines`")
)]
pub struct Source {
    /// Name of the table that this source becomes: lower-case letters, digits
    /// and underscores, not starting with a digit.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z_][a-z0-9_]*$"))]
    pub name: String,

    /// Format of the data. A data set knows its own; for all other data it has
    /// to be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<SourceFormat>,

    /// How CSV is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<CsvOptions>,

    /// How JSON lines are read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_lines: Option<JsonLinesOptions>,

    /// Types of columns. Columns that are not named here get the type that
    /// the first rows suggest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub columns: Vec<Column>,

    /// The data itself, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32768))]
    pub inline: Option<String>,

    /// A key of a ConfigMap holds the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapKey>,

    /// A file on a volume, or all files of the format in a folder: those that
    /// end in .csv, .tsv or .txt; .jsonl, .ndjson or .json; .parquet; .arrow,
    /// .arrows, .feather or .ipc; and in .gz, .zst, .bz2 or .xz behind that
    /// where `compression` says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<ClaimPath>,

    /// A file, or all files of the format below a prefix that ends in `/`,
    /// in an S3-compatible store; or a file on a web server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<UriSource>,

    /// A data set of a Platform in this namespace. It is read as was said when
    /// it was uploaded: `format`, `csv`, `jsonLines` and `columns` are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<DatasetSource>,
}

/// A version of a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatasetSource {
    /// Name of the data set.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z][a-z0-9_-]*$"))]
    pub name: String,
    /// Number of the version; if left out, the one that is the latest when the
    /// pod starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub version: Option<i64>,
    /// Name of the Platform that keeps the data set; the only one of the
    /// namespace if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub platform: Option<String>,
}

/// Format of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SourceFormat {
    /// Comma-separated values (RFC 4180), UTF-8.
    Csv,
    /// One JSON object a line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow IPC, file or stream.
    Arrow,
}

/// Compression of the data; `none` if left out. The ending of a name says
/// nothing, except in a folder, where files without the ending of the
/// compression are not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Compression {
    /// Not compressed.
    #[default]
    None,
    /// gzip, usually `.gz`.
    Gzip,
    /// Zstandard, usually `.zst`.
    Zstd,
    /// bzip2, usually `.bz2`.
    Bzip2,
    /// xz, usually `.xz`.
    Xz,
}

/// How CSV is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CsvOptions {
    /// Whether the first line names the columns. True if left out. Without a
    /// header the columns are called column_1, column_2 and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// The character between two values; a comma if left out, `\t` for a tab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2), regex(pattern = r"^([ -~]|\\t)$"))]
    pub delimiter: Option<String>,
    /// The character around a value that contains the delimiter; `"` if left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1), regex(pattern = r"^[ -~]$"))]
    pub quote: Option<String>,
    /// Lines that start with this character are passed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1), regex(pattern = r"^[ -~]$"))]
    pub comment: Option<String>,
    /// Values that stand for a missing one, beside the empty value: for
    /// example `NA`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    pub null_values: Vec<String>,
    /// Compression of the data; none if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

/// How JSON lines are read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct JsonLinesOptions {
    /// Compression of the data; none if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

/// The type of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Column {
    /// Name of the column, as in the data.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Type of its values: `boolean`; `integer`, of 64 bits; `number`, with a
    /// floating point, of 64 bits; `decimal`, 38 digits with 10 of them behind
    /// the point, for money; `string`; `date`, as in 2013-01-31; `timestamp`,
    /// as in 2013-01-31T05:00:00Z.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
}

/// Type of the values of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ColumnType {
    /// True or false.
    Boolean,
    /// A whole number of 64 bits.
    Integer,
    /// A floating-point number of 64 bits.
    Number,
    /// A decimal number with 38 digits, 10 of them behind the point: for money.
    Decimal,
    /// Text.
    String,
    /// A date, as in 2013-01-31.
    Date,
    /// A date and time of day, as in 2013-01-31T05:00:00Z.
    Timestamp,
}

/// Data that is fetched by its address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.url.startsWith('s3://') || (!has(self.endpoint) && !has(self.region))")
        .message("`endpoint` and `region` go with an s3:// address")
)]
pub struct UriSource {
    /// `https://…`, `http://…` or `s3://BUCKET/KEY`.
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^(https?|s3)://[^\s/]+/\S*$"))]
    pub url: String,
    /// For s3: address of the store, if it is not Amazon's. An `http://`
    /// address is used without encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^https?://\S+$"))]
    pub endpoint: Option<String>,
    /// For s3: region of the bucket; us-east-1 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub region: Option<String>,
    /// Credentials. For s3 the Secret has the keys AWS_ACCESS_KEY_ID and
    /// AWS_SECRET_ACCESS_KEY, and may have AWS_SESSION_TOKEN; without a Secret
    /// the bucket is read without credentials. For http(s) it has `token`
    /// (sent as a bearer token), or `username` and `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretReference>,
}
