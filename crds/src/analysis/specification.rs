use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AnalysisJobSpec, Chart, Output, Profile, Source};

/// Annotation of the pod that holds the specification. The downward API
/// mounts it as a file: no further object has to be written, and a pod and
/// its specification cannot be told apart in time.
pub const SPECIFICATION_ANNOTATION: &str = "aisaas.dev/analysis-specification";

/// What a pod is to do: the part of an AnalysisJob that is about data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisSpecification {
    /// The data to read.
    pub sources: Vec<Source>,
    /// A query; exactly one of this and `profile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// A profile of one source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Charts to draw.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<Chart>,
    /// Where the result goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
    /// The Platforms whose data sets are read or written, by their names. With
    /// them, every data set names its Platform.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub platforms: BTreeMap<String, PlatformAccess>,
    /// Names the result that becomes a version of a data set: an attempt that
    /// finds it there makes no other version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// How the data sets of a Platform are reached. The token is in a file of the
/// Platform's name, in [`paths::PLATFORM_TOKENS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlatformAccess {
    /// Where its analysis-base is.
    pub url: String,
}

impl From<&AnalysisJobSpec> for AnalysisSpecification {
    fn from(spec: &AnalysisJobSpec) -> Self {
        Self {
            sources: spec.sources.clone(),
            sql: spec.sql.clone(),
            profile: spec.profile.clone(),
            charts: spec.charts.clone(),
            output: spec.output.clone(),
            platforms: BTreeMap::new(),
            idempotency_key: None,
        }
    }
}

impl AnalysisSpecification {
    /// The names of Platforms that the data sets give, those that give none
    /// included.
    pub fn dataset_platforms_mut(&mut self) -> impl Iterator<Item = &mut Option<String>> {
        let sources = self.sources.iter_mut().filter_map(|source| source.dataset.as_mut());
        let output = self.output.as_mut().and_then(|output| output.dataset.as_mut());
        sources.map(|dataset| &mut dataset.platform).chain(output.map(|dataset| &mut dataset.platform))
    }
}

/// Where the operator mounts what, and where the run looks for it.
pub mod paths {
    /// The specification, as JSON.
    pub const SPECIFICATION: &str = "/etc/aisaas/analysis/specification.json";
    /// Below it, one folder for each source that is a ConfigMap key: the file
    /// `SOURCES/<source>/<key>`.
    pub const SOURCES: &str = "/var/lib/aisaas/sources";
    /// Below it, one folder for each claim that is read: `CLAIMS/<claim>`.
    pub const CLAIMS: &str = "/var/lib/aisaas/claims";
    /// The claim that the result is written to.
    pub const OUTPUT: &str = "/var/lib/aisaas/output";
    /// Below it, one folder for each Secret, one file for each key:
    /// `SECRETS/<secret>/<key>`.
    pub const SECRETS: &str = "/var/run/secrets/aisaas";
    /// Folder with a token for each Platform whose data sets are used, in a
    /// file of its name. A file is replaced before its token expires.
    pub const PLATFORM_TOKENS: &str = "/var/run/secrets/aisaas-platforms";
    /// A folder of the pod's own that the engine may write to.
    pub const TEMPORARY: &str = "/tmp";
    /// Where the summary is left.
    pub const TERMINATION_MESSAGE: &str = "/dev/termination-log";
}

/// Exit codes of a run, after BSD's `sysexits.h`. The Job's pod failure policy
/// tells by them what is tried again.
pub mod exit_code {
    /// Trying again would only fail again: EX_DATAERR.
    pub const PERMANENT: i32 = 65;
    /// May be tried again: EX_TEMPFAIL.
    pub const TEMPORARY: i32 = 75;
    /// Ended by a signal that a program brings upon itself: SIGILL, SIGABRT,
    /// SIGBUS, SIGFPE, SIGSEGV, each as 128 and its number. Trying again would
    /// only fail again.
    pub const ABORTED: [i32; 5] = [132, 134, 135, 136, 139];
}

/// A line on standard output that starts with this carries a part of a file
/// of the result: the rest of the line is an [`OutputPart`] as JSON. A result
/// that is to be in a ConfigMap travels this way, since the pod has neither a
/// token nor a volume: the operator reads the log and makes the ConfigMap.
pub const OUTPUT_MARKER: &str = "aisaas.dev/output ";

/// A part of a file of the result. Parts are in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputPart {
    /// Name of the file.
    pub file: String,
    /// Number of this part, from 0.
    pub part: u32,
    /// How many parts the file has.
    pub parts: u32,
    /// The bytes, as standard base64. At most 8 KiB of bytes, so that no line
    /// exceeds the 16 KiB at which container runtimes split lines.
    pub data: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_needs_no_platform_is_said_as_it_always_was() {
        // The digest of a Job's template is made from this text.
        let specification: AnalysisSpecification = serde_json::from_value(json!({
            "sources": [{ "name": "t", "format": "csv", "inline": "a\n1\n" }],
            "sql": "SELECT 1",
        }))
        .unwrap();
        assert_eq!(
            serde_json::to_string(&specification).unwrap(),
            r#"{"sources":[{"name":"t","format":"csv","inline":"a\n1\n"}],"sql":"SELECT 1"}"#
        );
    }

    #[test]
    fn every_data_set_has_a_place_for_its_platform() {
        let mut specification: AnalysisSpecification = serde_json::from_value(json!({
            "sources": [
                { "name": "a", "dataset": { "name": "x" } },
                { "name": "b", "dataset": { "name": "y", "version": 2, "platform": "other" } },
                { "name": "c", "format": "csv", "inline": "a\n" },
            ],
            "sql": "SELECT 1",
            "output": { "format": "parquet", "dataset": { "name": "z" } },
        }))
        .unwrap();
        let named: Vec<_> = specification.dataset_platforms_mut().map(Option::take).collect();
        assert_eq!(named, [None, Some("other".to_owned()), None]);
    }
}
