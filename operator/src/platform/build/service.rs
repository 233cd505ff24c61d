use k8s_openapi::api::core::v1::{Service, ServiceAccount, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Parts;
use super::deployment::PORT_NAME;
use crate::labels;

/// Port of every Service: that of http.
pub(super) const SERVICE_PORT: i32 = 80;

impl Parts<'_> {
    /// The identity of the service; `None` if it has one of the user's.
    pub(super) fn service_account(&self) -> Option<ServiceAccount> {
        self.service.workload.service_account_name.is_none().then(|| ServiceAccount {
            metadata: self.metadata(self.service.service_account.clone()),
            // Pods get tokens for the services that they call, and for the API
            // server if they have access to it, and no others.
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        })
    }

    pub(super) fn service(&self) -> Service {
        let is_gateway = self.service.definition.is_gateway();
        let exposure = &self.validated.exposure;
        let service_type = exposure.service_type.filter(|_| is_gateway).unwrap_or_default();
        Service {
            metadata: self.metadata(self.service.deployment.as_str()),
            spec: Some(ServiceSpec {
                type_: Some(service_type.as_str().to_owned()),
                selector: Some(labels::platform_service_selector(
                    &self.validated.name,
                    self.service.definition.name,
                )),
                ports: Some(vec![ServicePort {
                    name: Some("http".to_owned()),
                    protocol: Some("TCP".to_owned()),
                    port: SERVICE_PORT,
                    target_port: Some(IntOrString::String(PORT_NAME.to_owned())),
                    ..ServicePort::default()
                }]),
                ..ServiceSpec::default()
            }),
            status: None,
        }
    }
}
