//! Where a webhook may go. Whoever may make requests must not reach by them
//! what only the cluster can reach (server-side request forgery).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use service_kit::addresses::is_public;
use url::{Host, Url};

/// A name server that takes longer does not answer.
const RESOLVE_LIMIT: Duration = Duration::from_secs(5);

/// Why a webhook cannot go somewhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is no address.
    #[error("the address of the webhook begins with https:// or http://, and has a host")]
    NoAddress,
    /// It would be sent with every request.
    #[error("the address of the webhook has no user name or password in it")]
    Credentials,
    /// It is in a private network.
    #[error(
        "the webhook goes to an address that is not public, which the platform does not allow (spec.allowPrivateAddresses of the Platform)"
    )]
    Private,
    /// Nobody knows where it is now.
    #[error("the host of the webhook cannot be found")]
    Unknown,
}

/// An address that a webhook may go to.
#[derive(Clone, Debug)]
pub struct Target {
    /// As it was given.
    pub url: Url,
    host: Host<String>,
    port: u16,
}

impl Target {
    /// Reads one, and looks at what can be seen without asking a name server.
    pub fn parse(text: &str, allow_private: bool) -> Result<Self, TargetError> {
        let url = Url::parse(text).map_err(|_| TargetError::NoAddress)?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(TargetError::NoAddress);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::Credentials);
        }
        let host = url.host().ok_or(TargetError::NoAddress)?.to_owned();
        let port = url.port_or_known_default().ok_or(TargetError::NoAddress)?;
        let address = match &host {
            Host::Ipv4(address) => Some(IpAddr::V4(*address)),
            Host::Ipv6(address) => Some(IpAddr::V6(*address)),
            Host::Domain(_) => None,
        };
        if !allow_private && address.is_some_and(|address| !is_public(address)) {
            return Err(TargetError::Private);
        }
        Ok(Self { url, host, port })
    }

    /// The addresses behind it now. They are what is then connected to, so that
    /// another answer of the name server a moment later changes nothing.
    pub async fn resolve(&self, allow_private: bool) -> Result<Vec<SocketAddr>, TargetError> {
        let addresses: Vec<SocketAddr> = match &self.host {
            Host::Ipv4(address) => vec![(*address, self.port).into()],
            Host::Ipv6(address) => vec![(*address, self.port).into()],
            Host::Domain(name) => {
                let lookup = tokio::net::lookup_host((name.as_str(), self.port));
                match tokio::time::timeout(RESOLVE_LIMIT, lookup).await {
                    Ok(Ok(addresses)) => addresses.collect(),
                    Ok(Err(error)) => {
                        tracing::warn!(host = name, %error, "The host of a webhook cannot be found.");
                        return Err(TargetError::Unknown);
                    }
                    Err(_) => {
                        tracing::warn!(host = name, "No name server has answered for the host of a webhook.");
                        return Err(TargetError::Unknown);
                    }
                }
            }
        };
        if addresses.is_empty() {
            return Err(TargetError::Unknown);
        }
        let allowed: Vec<SocketAddr> =
            addresses.into_iter().filter(|address| allow_private || is_public(address.ip())).collect();
        if allowed.is_empty() { Err(TargetError::Private) } else { Ok(allowed) }
    }

    /// The name that is resolved; `None` if it is an address itself.
    pub fn domain(&self) -> Option<&str> {
        match &self.host {
            Host::Domain(name) => Some(name),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_looked_at_before_it_is_used() {
        let of = |text: &str| Target::parse(text, false).map(|target| target.url.to_string());
        assert_eq!(of("https://example.com/hook").unwrap(), "https://example.com/hook");
        assert_eq!(of("ftp://example.com/").unwrap_err(), TargetError::NoAddress);
        assert_eq!(of("example.com").unwrap_err(), TargetError::NoAddress);
        assert_eq!(of("https://user:secret@example.com/").unwrap_err(), TargetError::Credentials);
        for text in ["http://10.0.0.1/", "http://[::1]:8080/", "http://2130706433/", "http://0x7f.1/"] {
            assert_eq!(of(text).unwrap_err(), TargetError::Private, "{text}");
        }
        assert!(Target::parse("http://10.0.0.1/", true).is_ok());
    }

    #[tokio::test]
    async fn names_are_looked_up_before_they_are_used() {
        let target = Target::parse("http://localhost:8080/", false).unwrap();
        assert_eq!(target.resolve(false).await.unwrap_err(), TargetError::Private);
        assert_eq!(target.resolve(true).await.unwrap()[0].port(), 8080);
        assert_eq!(target.domain(), Some("localhost"));
    }
}
