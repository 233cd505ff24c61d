//! Reading web servers only at addresses of the public internet: whoever may ask
//! for an analysis must not reach by it what only the cluster can reach
//! (server-side request forgery).
//!
//! What counts is the address that is connected to, at every redirect, so names
//! are looked at when they are resolved and addresses when they are in a URL.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::ClientBuilder;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use service_kit::addresses::is_public;
use url::{Host, Url};

/// Most redirects that are followed.
const MOST_REDIRECTS: usize = 5;

/// Why a server is not connected to.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the address is not public")]
struct NotPublic;

/// A client that connects to public addresses only.
pub(super) fn only(builder: ClientBuilder) -> ClientBuilder {
    let redirects = Policy::custom(|attempt| {
        if has_private_address(attempt.url()) {
            return attempt.error(NotPublic);
        }
        Policy::limited(MOST_REDIRECTS).redirect(attempt)
    });
    // A proxy would connect to what was not looked at here.
    builder.no_proxy().redirect(redirects).dns_resolver(Arc::new(PublicAddresses))
}

/// Whether a URL names an address that is not public. What is behind a name is
/// seen only when it is resolved.
pub(super) fn is_private(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| has_private_address(&url))
}

/// Whether a request failed because it led to an address that is not public.
pub(super) fn was_refused(error: &reqwest::Error) -> bool {
    let mut current: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = current {
        if cause.is::<NotPublic>() {
            return true;
        }
        current = cause.source();
    }
    false
}

fn has_private_address(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => !is_public(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => !is_public(IpAddr::V6(address)),
        Some(Host::Domain(_)) | None => false,
    }
}

/// The name servers of the system, without the addresses that are not public.
#[derive(Debug)]
struct PublicAddresses;

impl Resolve for PublicAddresses {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The client puts the port of the URL in the place of 0.
            let found = tokio::net::lookup_host((name.as_str(), 0_u16)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic.into());
            }
            let addresses: Addrs = Box::new(public.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_a_url_is_looked_at_however_it_is_written() {
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "https://[::1]:8080/",
            "http://[::ffff:10.0.0.1]/",
            "http://169.254.169.254/latest/meta-data",
        ] {
            assert!(is_private(url), "{url}");
        }
        for url in ["https://example.com/", "https://1.1.1.1/", "http://localhost/"] {
            assert!(!is_private(url), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_of_a_private_address_is_not_connected_to() {
        let client = only(reqwest::Client::builder()).build().expect("client");
        let error = client.get("http://localhost:1/").send().await.expect_err("refused");
        assert!(was_refused(&error), "{error:?}");
    }
}
