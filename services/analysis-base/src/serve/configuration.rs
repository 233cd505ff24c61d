use std::collections::BTreeMap;

use crds::platform::configuration::ANALYSIS_JOB_CALLER;
use serde::Deserialize;
use serde_json::Value;
use service_kit::database::DatabaseSettings;
use service_kit::identity::{NamespaceAccounts, TrustSettings};
use service_kit::objects::ObjectSettings;
use service_kit::queue::DispatchSettings;

/// `configuration.json`. All but the places of database, objects and queues can
/// be changed while the service runs.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// The Platform that the service belongs to.
    #[serde(default)]
    pub platform: Option<String>,
    /// Its namespace.
    #[serde(default)]
    pub namespace: String,
    /// Where data sets and analyses are noted down.
    pub database: DatabaseSettings,
    /// Where data and results are.
    pub objects: ObjectSettings,
    /// What hands out analyses and uploads; without it, the database.
    #[serde(default)]
    pub queue: Option<DispatchSettings>,
    /// Who may call; without it, everybody.
    #[serde(default)]
    pub trust: Option<TrustConfiguration>,
    /// How much is taken on and kept.
    #[serde(default)]
    pub analyses: Bounds,
}

impl Settings {
    /// Whose tokens are believed, for the kit.
    #[must_use]
    pub fn trust_settings(&self) -> Option<TrustSettings<'_>> {
        let trust = self.trust.as_ref()?;
        let accounts = NamespaceAccounts { namespace: self.namespace.as_str(), caller: ANALYSIS_JOB_CALLER };
        Some(TrustSettings {
            issuer: &trust.issuer,
            audience: &trust.audience,
            keys: &trust.keys,
            callers: &trust.callers,
            accounts: trust.analysis_jobs.then_some(accounts),
        })
    }
}

/// Whose tokens are believed.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustConfiguration {
    issuer: String,
    audience: String,
    keys: Value,
    callers: BTreeMap<String, String>,
    /// Whether pods of AnalysisJobs may call: all service accounts of the namespace.
    #[serde(default)]
    analysis_jobs: bool,
}

/// How much is taken on and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Bounds {
    /// Most bytes of a version of a data set.
    pub upload_limit_bytes: u64,
    /// Most analyses that wait or run. A change takes effect with a restart.
    pub queue_length: u32,
    /// How long a result is kept.
    pub result_days: u32,
    /// Whether sources may be at addresses that are not public, and in buckets. What the service can reach
    /// in the cluster, its callers can then read.
    pub allow_private_sources: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            upload_limit_bytes: 10 << 30,
            queue_length: 1000,
            result_days: 7,
            allow_private_sources: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_a_default() {
        let text = r#"{
            "platform": "p", "namespace": "n",
            "database": {"sqlite": {"path": "/data/database.sqlite3"}},
            "objects": {"folder": {"path": "/data/objects"}},
            "services": {}
        }"#;
        let settings: Settings = serde_json::from_str(text).expect("settings");
        assert_eq!(settings.analyses, Bounds::default());
        assert!(settings.trust.is_none());
        assert_eq!(settings.namespace, "n");
        let bounds: Bounds = serde_json::from_str(r#"{"resultDays": 1}"#).expect("bounds");
        assert_eq!(bounds, Bounds { result_days: 1, ..Bounds::default() });
    }

    #[test]
    fn analysis_jobs_may_call_where_the_operator_says_so() {
        let accounts = |trust: &str| {
            let text = format!(
                r#"{{
                    "namespace": "n",
                    "database": {{"sqlite": {{"path": "/data/database.sqlite3"}}}},
                    "objects": {{"folder": {{"path": "/data/objects"}}}},
                    "trust": {{"issuer": "i", "audience": "a", "keys": {{}}, "callers": {{}}{trust}}}
                }}"#
            );
            let settings: Settings = serde_json::from_str(&text).expect("settings");
            let trust = settings.trust_settings().expect("trust");
            trust.accounts.map(|accounts| (accounts.namespace.to_owned(), accounts.caller.to_owned()))
        };
        assert_eq!(accounts(""), None);
        let expected = ("n".to_owned(), "analysis-job".to_owned());
        assert_eq!(accounts(r#", "analysisJobs": true"#), Some(expected));
    }
}
