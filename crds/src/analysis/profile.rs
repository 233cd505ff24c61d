use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A description of one source: for each column its type, the number of
/// missing and of distinct values, minimum and maximum, mean, standard
/// deviation, quantiles, a histogram and the most frequent values; and the
/// correlations between the first 200 columns with numbers. Minimum, maximum
/// and the most frequent values are exact for integers and decimals; mean,
/// quantiles and histogram are computed in double precision.
///
/// The result has a row for each column; nested parts are JSON text in csv.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// Name of the source to describe.
    #[schemars(length(min = 1, max = 63))]
    pub source: String,
    /// Columns to describe; all if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 256)))]
    pub columns: Vec<String>,
    /// How many of the most frequent values to list; 10 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub top_values: Option<u32>,
    /// How many bins a histogram has; 20 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 200))]
    pub histogram_bins: Option<u32>,
    /// Whether to compute correlations (Pearson's) between the first 200
    /// columns with numbers; true if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlations: Option<bool>,
}
