use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use service_kit::database::DatabaseSettings;
use service_kit::identity::TrustSettings;
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
    pub namespace: Option<String>,
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

/// Whose tokens are believed.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustConfiguration {
    issuer: String,
    audience: String,
    keys: Value,
    callers: BTreeMap<String, String>,
}

impl TrustConfiguration {
    /// The same for the kit.
    #[must_use]
    pub fn settings(&self) -> TrustSettings<'_> {
        TrustSettings {
            issuer: &self.issuer,
            audience: &self.audience,
            keys: &self.keys,
            callers: &self.callers,
        }
    }
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
        let bounds: Bounds = serde_json::from_str(r#"{"resultDays": 1}"#).expect("bounds");
        assert_eq!(bounds, Bounds { result_days: 1, ..Bounds::default() });
    }
}
