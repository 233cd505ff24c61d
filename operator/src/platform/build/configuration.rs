use std::collections::BTreeMap;

use crds::platform::configuration::{
    AnalysesConfiguration, Callee, GatewayConfiguration, ServiceConfiguration, Trust, audience, paths,
    subject,
};
use k8s_openapi::api::core::v1::ConfigMap;

use super::Parts;
use crate::platform::services::service_url;

impl Parts<'_> {
    pub(super) fn config_map(&self) -> ConfigMap {
        // Maps with text for keys: there is nothing that JSON cannot say.
        let text = serde_json::to_string_pretty(&self.configuration()).unwrap_or_default();
        ConfigMap {
            metadata: self.metadata(self.service.configuration_name()),
            data: Some(BTreeMap::from([(paths::CONFIGURATION_FILE.to_owned(), text)])),
            ..ConfigMap::default()
        }
    }

    fn configuration(&self) -> ServiceConfiguration {
        let callees = self.validated.callees(self.service).map(|callee| {
            let name = callee.definition.name;
            let callee = Callee {
                url: callee.url.clone(),
                token_file: format!("{}/{name}", paths::TOKENS),
                routes: callee.definition.routes.iter().map(|route| (*route).to_owned()).collect(),
            };
            (name.to_owned(), callee)
        });
        ServiceConfiguration {
            platform: self.validated.name.to_string(),
            namespace: self.validated.namespace.to_string(),
            database: self.service.storage.database.clone(),
            objects: self.service.storage.objects.clone(),
            queue: self.service.queue.as_ref().map(|queue| queue.configuration.clone()),
            trust: self.trust(),
            services: callees.collect(),
            gateway: GatewayConfiguration {
                url: service_url(self.validated.name.as_str(), self.validated.namespace.as_str()),
                cors_allowed_origins: self.validated.exposure.cors_allowed_origins.clone(),
                allow_private_webhooks: self.validated.allow_private_addresses,
            },
            analyses: AnalysesConfiguration { allow_private_sources: self.validated.allow_private_addresses },
        }
    }

    /// Whom the service obeys; `None` for the gateway.
    fn trust(&self) -> Option<Trust> {
        let issuer = self.validated.issuer.as_ref().filter(|_| !self.service.definition.is_gateway())?;
        let namespace = self.validated.namespace.as_str();
        let callers = self.validated.callers(self.service).flat_map(move |caller| {
            // An account of the own name that is not the Platform's could be
            // anybody's.
            let is_trusted = move |account: &&str| {
                let is_own_name = *account == caller.deployment.as_str();
                !is_own_name || *account == caller.service_account || caller.has_own_account
            };
            let accounts = caller.accounts().filter(is_trusted);
            accounts.map(move |account| (subject(account, namespace), caller.definition.name.to_owned()))
        });
        Some(Trust {
            issuer: issuer.name.clone(),
            audience: audience(self.service.deployment.as_str(), namespace),
            keys: issuer.keys.clone(),
            callers: callers.collect(),
            analysis_jobs: self.service.definition.serves_analysis_jobs,
        })
    }
}
