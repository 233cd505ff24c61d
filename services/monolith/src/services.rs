//! The services behind the gateway, and what is passed on to which.

use std::collections::BTreeMap;
use std::sync::Arc;

use service_kit::client::{ClientError, ClientSettings, ServiceClient};

use crate::configuration::{Prefix, ServiceSettings};

/// One of them.
#[derive(Debug)]
pub struct Service {
    /// Its name, as in the table of services.
    pub name: String,
    /// Where it is, without a slash at the end.
    pub base: String,
    /// What is passed on to it.
    pub routes: Vec<Prefix>,
    /// Calls it, and has the token for it.
    pub client: ServiceClient,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Services(Vec<Arc<Service>>);

impl Services {
    /// The services of a configuration.
    ///
    /// # Errors
    /// If an HTTP client cannot be made.
    pub fn new(settings: &BTreeMap<String, ServiceSettings>) -> Result<Self, ClientError> {
        let services = settings.iter().map(|(name, settings)| {
            let client = ServiceClient::new(ClientSettings {
                service: name.clone(),
                url: settings.url.clone(),
                token_file: settings.token_file.clone(),
            })?;
            Ok(Arc::new(Service {
                name: name.clone(),
                base: settings.url.as_str().trim_end_matches('/').to_owned(),
                routes: settings.routes.clone(),
                client,
            }))
        });
        Ok(Self(services.collect::<Result<_, ClientError>>()?))
    }

    /// Whose a path is: the service with the longest prefix of it.
    #[must_use]
    pub fn for_path(&self, path: &str) -> Option<&Arc<Service>> {
        let routes =
            self.0.iter().flat_map(|service| service.routes.iter().map(move |route| (route, service)));
        routes
            .filter(|(route, _)| route.covers(path))
            .max_by_key(|(route, _)| route.as_str().len())
            .map(|(_, service)| service)
    }

    /// The service of this name, if it is there.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Service>> {
        self.0.iter().find(|service| service.name == name)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_decides() {
        let settings = serde_json::from_value(serde_json::json!({
            "one": {"url": "http://one/", "routes": ["/v1"]},
            "two": {"url": "http://two:8080", "routes": ["/v1/datasets", "/v2"]},
        }))
        .unwrap();
        let services = Services::new(&settings).unwrap();
        let name = |path: &str| services.for_path(path).map(|service| service.name.as_str());
        assert_eq!(name("/v1/other"), Some("one"));
        assert_eq!(name("/v1/datasets/flights"), Some("two"));
        assert_eq!(name("/v2"), Some("two"));
        assert_eq!(name("/v3"), None);
        assert_eq!(services.named("two").unwrap().base, "http://two:8080");
    }
}
