use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_nats::ConnectOptions;
use async_nats::rustls::crypto::ring;
use async_nats::rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;

use super::error::DispatchError;

/// Files in the folder of the credentials, each of which need not be there.
const CREDENTIALS: &str = "credentials";
const USER_NAME: &str = "username";
const PASSWORD: &str = "password";
const TOKEN: &str = "token";
const AUTHORITY: &str = "ca.crt";

/// How workers learn of jobs, as the configuration says it. If it says nothing,
/// from the database.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DispatchSettings {
    /// From NATS JetStream.
    NatsJetStream(NatsSettings),
}

/// Where NATS JetStream is, and what is the service's in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NatsSettings {
    /// `nats://HOST:4222`, or `tls://HOST:4222` to insist on TLS.
    pub url: String,
    /// What the subjects of the service's queues begin with, in words of
    /// letters, digits, `-` and `_` between dots. Each queue adds its name. With
    /// `_` for each dot it is the name of the stream.
    pub subject: String,
    /// On how many servers of a cluster each stream is: 1, 3 or 5.
    #[serde(default = "one")]
    pub replicas: usize,
    /// A folder with the file `credentials` (as `nsc` writes them), or
    /// `username` and `password`, or `token`; and `ca.crt` if the certificate of
    /// the server is not from a public authority.
    #[serde(default)]
    pub credentials_folder: Option<PathBuf>,
}

const fn one() -> usize {
    1
}

impl NatsSettings {
    /// What is needed to connect, read anew from its files.
    pub(super) async fn options(&self) -> Result<ConnectOptions, DispatchError> {
        let mut options = ConnectOptions::new();
        let Some(folder) = &self.credentials_folder else {
            return Ok(options.tls_client_config(public_authorities()?));
        };
        if let Some(text) = read(folder, CREDENTIALS).await? {
            // The last of its lines has to be a whole one.
            options = options
                .credentials(&format!("{text}\n"))
                .map_err(|_| DispatchError::Credentials(folder.join(CREDENTIALS)))?;
        } else if let Some(user) = read(folder, USER_NAME).await? {
            let password = read(folder, PASSWORD).await?.unwrap_or_default();
            options = options.user_and_password(user, password);
        } else if let Some(token) = read(folder, TOKEN).await? {
            options = options.token(token);
        }
        if read(folder, AUTHORITY).await?.is_some() {
            Ok(options.add_root_certificates(folder.join(AUTHORITY)))
        } else {
            Ok(options.tls_client_config(public_authorities()?))
        }
    }
}

async fn read(folder: &Path, name: &str) -> Result<Option<String>, DispatchError> {
    let path = folder.join(name);
    match tokio::fs::read_to_string(&path).await {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DispatchError::Read { path, source }),
    }
}

/// The image of a service has no certificates of its own.
fn public_authorities() -> Result<ClientConfig, DispatchError> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(DispatchError::Tls)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_those_of_the_configuration() {
        let text = r#"{"natsJetStream": {
            "url": "tls://nats:4222", "subject": "aisaas.demo.platform.monolith", "replicas": 3,
            "credentialsFolder": "/secrets/queue"
        }}"#;
        let DispatchSettings::NatsJetStream(settings) = serde_json::from_str(text).unwrap();
        assert_eq!((settings.url.as_str(), settings.replicas), ("tls://nats:4222", 3));
        assert_eq!(settings.credentials_folder.as_deref(), Some(Path::new("/secrets/queue")));
        let text = r#"{"natsJetStream": {"url": "nats://nats", "subject": "a.b"}}"#;
        let DispatchSettings::NatsJetStream(settings) = serde_json::from_str(text).unwrap();
        assert_eq!((settings.replicas, settings.credentials_folder), (1, None));
    }

    #[tokio::test]
    async fn what_is_wrong_with_credentials_is_told_without_them() {
        let folder = tempfile::tempdir().unwrap();
        let settings = NatsSettings {
            url: "nats://localhost".to_owned(),
            subject: "a".to_owned(),
            replicas: 1,
            credentials_folder: Some(folder.path().to_owned()),
        };
        settings.options().await.unwrap();
        std::fs::write(folder.path().join("token"), "hidden\n").unwrap();
        settings.options().await.unwrap();
        std::fs::write(folder.path().join("credentials"), "hidden").unwrap();
        let error = crate::problem::chain(&settings.options().await.unwrap_err());
        assert!(error.contains("/credentials") && !error.contains("hidden"), "{error}");
    }
}
