//! What the operator tells the gateway. All but the places of the database and
//! of the queues can be changed while it runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use service_kit::database::DatabaseSettings;
use service_kit::queue::DispatchSettings;
use url::Url;

use crate::rate::RateLimit;

/// `configuration.json` of the gateway.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// Name of the Platform.
    pub platform: String,
    /// Its namespace.
    pub namespace: String,
    /// Where the gateway keeps keys and requests.
    pub database: DatabaseSettings,
    /// What hands out requests and webhooks; without it, the database.
    #[serde(default)]
    pub queue: Option<DispatchSettings>,
    /// The services behind it, by their names in the table of services.
    #[serde(default)]
    pub services: BTreeMap<String, ServiceSettings>,
    /// The gateway itself.
    #[serde(default)]
    pub gateway: GatewaySettings,
}

/// One service behind the gateway.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSettings {
    /// Where it is.
    pub url: Url,
    /// The file with the token for it.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// What is passed on to it: paths that begin with one of these.
    #[serde(default)]
    pub routes: Vec<Prefix>,
}

/// How the gateway behaves.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewaySettings {
    /// Where it is reached from within the cluster.
    pub url: Option<Url>,
    /// Origins of pages that may call it from a browser; `*` stands for all.
    pub cors_allowed_origins: Vec<String>,
    /// Whether webhooks may go to addresses that are not public.
    pub allow_private_webhooks: bool,
    /// For keys that have no limit of their own.
    pub rate_limit: RateLimit,
    /// How long a service may take to begin its answer.
    pub response_time_limit_seconds: u64,
    /// How many requests are worked on at once.
    pub requests_at_once: usize,
    /// How long requests that have ended are kept.
    pub request_days: u32,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            url: None,
            cors_allowed_origins: Vec::new(),
            allow_private_webhooks: false,
            rate_limit: RateLimit { requests_per_minute: 6000, burst: Some(600) },
            response_time_limit_seconds: 60,
            requests_at_once: 8,
            request_days: 7,
        }
    }
}

impl GatewaySettings {
    /// How long a service may take to begin its answer.
    #[must_use]
    pub const fn response_time_limit(&self) -> Duration {
        Duration::from_secs(self.response_time_limit_seconds)
    }
}

/// The beginning of a path, in whole segments.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Prefix(String);

impl TryFrom<String> for Prefix {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_good = text.strip_prefix('/').is_some_and(|rest| {
            rest.split('/').all(|segment| !segment.is_empty() && segment != "." && segment != "..")
        });
        if is_good {
            Ok(Self(text))
        } else {
            Err(format!("`{text}` is not the beginning of a path, such as `/v1/datasets`"))
        }
    }
}

impl Prefix {
    /// Whether a path begins with it.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        path.strip_prefix(self.0.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_covers_whole_segments() {
        let prefix = Prefix::try_from("/v1/datasets".to_owned()).unwrap();
        assert!(prefix.covers("/v1/datasets") && prefix.covers("/v1/datasets/flights"));
        assert!(!prefix.covers("/v1/datasets2") && !prefix.covers("/v1"));
        for wrong in ["", "/", "v1", "/v1/", "/v1/../v2"] {
            assert!(Prefix::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let settings: GatewaySettings = serde_json::from_str(r#"{"corsAllowedOrigins": ["*"]}"#).unwrap();
        assert_eq!(settings.cors_allowed_origins, ["*"]);
        assert_eq!(settings.response_time_limit(), Duration::from_secs(60));
        assert!(!settings.allow_private_webhooks);
    }
}
