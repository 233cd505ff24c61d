//! What the operator tells a service: the contract between the two, as
//! `configuration.json`.
//!
//! The file is mounted in a folder, so a change reaches the running service,
//! which reads it again. It has no secrets, only the paths of the files that
//! have them. A service passes over what it does not know: the operator may be
//! newer than the service.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The configuration of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceConfiguration {
    /// Name of the Platform.
    pub platform: String,
    /// Its namespace.
    pub namespace: String,
    /// Where the service keeps its records; absent if it keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseConfiguration>,
    /// Where the service keeps objects; absent if it keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<ObjectsConfiguration>,
    /// What hands out the work that the service has accepted; the database if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueConfiguration>,
    /// Whom the service obeys; absent at the gateway, which is called with API
    /// keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
    /// The services that this one may call, by their names.
    #[serde(default)]
    pub services: BTreeMap<String, Callee>,
    /// The gateway.
    pub gateway: GatewayConfiguration,
    /// Analyses.
    #[serde(default)]
    pub analyses: AnalysesConfiguration,
}

/// Where a service keeps its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum DatabaseConfiguration {
    /// A SQLite database that belongs to this process.
    Sqlite {
        /// Its file.
        path: String,
    },
    /// A PostgreSQL database that is shared with other services.
    Postgresql {
        /// The file with its address,
        /// `postgres://user:password@host:5432/database`.
        url_file: String,
        /// The schema that belongs to this service.
        schema: String,
    },
}

/// Where a service keeps objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ObjectsConfiguration {
    /// A folder that belongs to this process.
    Folder {
        /// The folder.
        path: String,
    },
    /// A prefix in an S3-compatible store that belongs to this service.
    S3 {
        /// `s3://BUCKET/PREFIX`.
        url: String,
        /// Address of the store, if it is not Amazon's.
        #[serde(default)]
        endpoint: Option<String>,
        /// Region of the bucket, if it is not us-east-1.
        #[serde(default)]
        region: Option<String>,
        /// Folder with the files AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and,
        /// if there is one, AWS_SESSION_TOKEN.
        credentials_folder: String,
    },
}

/// What hands out the work that a service has accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum QueueConfiguration {
    /// NATS JetStream, with the database behind it.
    NatsJetStream {
        /// `nats://HOST:4222`, or `tls://HOST:4222`.
        url: String,
        /// What the subjects of the service's queues begin with; each adds its
        /// name. With `_` for each dot it is the name of the stream.
        subject: String,
        /// On how many servers each stream is.
        replicas: i32,
        /// Folder with the file `credentials`, or `username` and `password`, or
        /// `token`; and with `ca.crt`, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credentials_folder: Option<String>,
    },
}

/// Whom a service obeys: whoever shows a service-account token (a JWT, RFC
/// 7519) of this issuer, for this audience, and is one of the callers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trust {
    /// The issuer of the tokens (`iss`).
    pub issuer: String,
    /// The audience that a token must be for (`aud`).
    pub audience: String,
    /// The keys that tokens are signed with: a JSON Web Key Set (RFC 7517), as
    /// the API server publishes it.
    pub keys: serde_json::Value,
    /// The names of the services that may call, by the subjects of their
    /// tokens (`sub`).
    pub callers: BTreeMap<String, String>,
    /// Whether the pods of AnalysisJobs may call, as [`ANALYSIS_JOB_CALLER`]:
    /// that is whoever shows a token of any service account of the namespace.
    /// Pods have the account that their author chooses, and a token for this
    /// audience is only where an author has asked for it; so this is all that
    /// there is to tell them by, and what they may do is to be little.
    #[serde(default, skip_serializing_if = "is_false")]
    pub analysis_jobs: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A service that may be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Callee {
    /// Where it is reached.
    pub url: String,
    /// The file with the token to show it. It is replaced before it expires.
    pub token_file: String,
    /// The prefixes of paths that the gateway passes on to it.
    #[serde(default)]
    pub routes: Vec<String>,
}

/// What there is to know of the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayConfiguration {
    /// Where it is reached inside the cluster.
    pub url: String,
    /// Origins of web pages that may call it from a browser.
    #[serde(default)]
    pub cors_allowed_origins: Vec<String>,
    /// Whether webhooks may go to addresses that are not public.
    #[serde(default)]
    pub allow_private_webhooks: bool,
}

/// What there is to know of analyses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnalysesConfiguration {
    /// Whether sources may be at addresses that are not public, and in buckets.
    #[serde(default)]
    pub allow_private_sources: bool,
}

/// The name under which the pods of AnalysisJobs call a service.
pub const ANALYSIS_JOB_CALLER: &str = "analysis-job";

/// The audience of the tokens that are shown to a service.
#[must_use]
pub fn audience(deployment: &str, namespace: &str) -> String {
    format!("{deployment}.{namespace}.aisaas.dev")
}

/// The subject of the tokens of a service account.
#[must_use]
pub fn subject(service_account: &str, namespace: &str) -> String {
    format!("system:serviceaccount:{namespace}:{service_account}")
}

/// Port that every service listens on.
pub const PORT: u16 = 8080;

/// Where the operator mounts what, and where a service looks for it.
pub mod paths {
    /// Folder of the configuration. It is mounted as a whole, since a file
    /// that is mounted alone is not updated.
    pub const CONFIGURATION_FOLDER: &str = "/etc/aisaas/configuration";
    /// Name of the file in it, and of the key of its ConfigMap.
    pub const CONFIGURATION_FILE: &str = "configuration.json";
    /// The claim of the service, if it has one.
    pub const DATA: &str = "/var/lib/aisaas/data";
    /// The embedded database.
    pub const DATABASE: &str = "/var/lib/aisaas/data/database.sqlite3";
    /// The objects, if they are on the claim.
    pub const OBJECTS: &str = "/var/lib/aisaas/data/objects";
    /// Folder with one token for each service that may be called, in a file of
    /// its name.
    pub const TOKENS: &str = "/var/run/secrets/aisaas/tokens";
    /// Folder with a token for the API server, the certificate of its authority
    /// and the namespace, of a service that has access to it: where every client
    /// of Kubernetes looks for them.
    pub const KUBERNETES: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    /// Folder with the API key of the first administrator, at the gateway.
    pub const ADMIN_KEY_FOLDER: &str = "/var/run/secrets/aisaas/admin-key";
    /// Name of the file in it, and of the key of its Secret.
    pub const ADMIN_KEY_FILE: &str = "api-key";
    /// Folder with the address of the PostgreSQL database.
    pub const DATABASE_SECRET_FOLDER: &str = "/var/run/secrets/aisaas/database";
    /// Name of the file in it.
    pub const DATABASE_URL_FILE: &str = "url";
    /// Folder with the credentials of the S3-compatible store.
    pub const OBJECTS_SECRET_FOLDER: &str = "/var/run/secrets/aisaas/objects";
    /// Folder with the credentials of NATS.
    pub const QUEUE_SECRET_FOLDER: &str = "/var/run/secrets/aisaas/queue";
    /// A folder that the service may write to, and that is gone with its pod.
    pub const TEMPORARY: &str = "/tmp";
    /// Where a service that cannot go on leaves one sentence that says why.
    pub const TERMINATION_MESSAGE: &str = "/dev/termination-log";
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_configuration_is_the_json_that_is_agreed_upon() {
        let sqlite = DatabaseConfiguration::Sqlite { path: paths::DATABASE.to_owned() };
        let postgresql = DatabaseConfiguration::Postgresql {
            url_file: format!("{}/{}", paths::DATABASE_SECRET_FOLDER, paths::DATABASE_URL_FILE),
            schema: "analysis_base".to_owned(),
        };
        let s3 = ObjectsConfiguration::S3 {
            url: "s3://bucket/prefix".to_owned(),
            endpoint: None,
            region: None,
            credentials_folder: paths::OBJECTS_SECRET_FOLDER.to_owned(),
        };
        let nats = QueueConfiguration::NatsJetStream {
            url: "nats://nats.messaging:4222".to_owned(),
            subject: "aisaas.demo.platform.monolith".to_owned(),
            replicas: 3,
            credentials_folder: Some(paths::QUEUE_SECRET_FOLDER.to_owned()),
        };
        for (value, expected) in [
            (
                serde_json::to_value(nats).unwrap(),
                json!({ "natsJetStream": {
                    "url": "nats://nats.messaging:4222", "subject": "aisaas.demo.platform.monolith",
                    "replicas": 3, "credentialsFolder": "/var/run/secrets/aisaas/queue",
                } }),
            ),
            (
                serde_json::to_value(sqlite).unwrap(),
                json!({ "sqlite": { "path": "/var/lib/aisaas/data/database.sqlite3" } }),
            ),
            (
                serde_json::to_value(postgresql).unwrap(),
                json!({ "postgresql": { "urlFile": "/var/run/secrets/aisaas/database/url", "schema": "analysis_base" } }),
            ),
            (
                serde_json::to_value(s3).unwrap(),
                json!({ "s3": {
                    "url": "s3://bucket/prefix", "endpoint": null, "region": null,
                    "credentialsFolder": "/var/run/secrets/aisaas/objects",
                } }),
            ),
        ] {
            assert_eq!(value, expected);
        }
    }

    #[test]
    fn what_a_service_does_not_know_does_not_stop_it() {
        let configuration: ServiceConfiguration = serde_json::from_value(json!({
            "platform": "p", "namespace": "n", "of a later version": true,
            "gateway": { "url": "http://p.n.svc", "of a later version": true },
        }))
        .unwrap();
        assert_eq!(configuration.gateway.url, "http://p.n.svc");
        assert!(configuration.trust.is_none() && configuration.services.is_empty());
    }
}
