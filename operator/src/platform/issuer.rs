//! Who signs service-account tokens, and with which keys: read from the API
//! server, which lets every service account do so, and handed to the services.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::Request;
use kube::Client;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;

/// How long what was read is taken to hold. New keys are used by the API server
/// before the old ones are gone, so this need not be short.
const TRUST: Duration = Duration::from_secs(300);

/// Who signs service-account tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Issuer {
    /// Its name, as tokens have it.
    pub name: String,
    /// Its keys: a JSON Web Key Set (RFC 7517).
    pub keys: Value,
}

/// The issuer as it was read last.
#[derive(Debug, Default)]
pub struct TokenIssuer {
    // Held while it is read, so that it is read once for all that ask.
    read: Mutex<Option<(Instant, Arc<Issuer>)>>,
}

/// OpenID Connect Discovery 1.0, as far as it is needed.
#[derive(Debug, Deserialize)]
struct Discovery {
    issuer: String,
}

impl TokenIssuer {
    /// The issuer. If it cannot be read, what was read before still holds.
    ///
    /// # Errors
    /// Those of the API server, if it was never read.
    pub async fn get(&self, client: &Client) -> Result<Arc<Issuer>, kube::Error> {
        let mut read = self.read.lock().await;
        let known = read.as_ref().map(|(at, issuer)| (at.elapsed() < TRUST, Arc::clone(issuer)));
        if let Some((true, issuer)) = known {
            return Ok(issuer);
        }
        match (fetch(client).await, known) {
            (Ok(issuer), _) => {
                let issuer = Arc::new(issuer);
                *read = Some((Instant::now(), Arc::clone(&issuer)));
                Ok(issuer)
            }
            (Err(error), Some((_, issuer))) => {
                tracing::warn!(%error, "The keys of service-account tokens could not be read again. Those from before are kept.");
                Ok(issuer)
            }
            (Err(error), None) => Err(error),
        }
    }
}

async fn fetch(client: &Client) -> Result<Issuer, kube::Error> {
    let discovery: Discovery = get(client, "/.well-known/openid-configuration").await?;
    let keys = get(client, "/openid/v1/jwks").await?;
    Ok(Issuer { name: discovery.issuer, keys })
}

async fn get<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T, kube::Error> {
    let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    client.request(request).await
}
