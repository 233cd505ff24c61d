//! The services of a platform: what the operator has to know of each. A new
//! service is an entry here, with its image and its name in the specification.

use crds::workload::ImagePullPolicy;

use crate::pods::{DefaultResources, ImageDefaults};

/// The service that everybody talks to.
pub const GATEWAY: &str = "monolith";
/// The service that keeps data sets.
pub const ANALYSIS_BASE: &str = "analysis-base";

/// Name of the Deployment of a service, of its Service, and of most of its other
/// objects.
#[must_use]
pub fn deployment_name(platform: &str, service: &str) -> String {
    if service == GATEWAY { platform.to_owned() } else { format!("{platform}-{service}") }
}

/// Where the pods of a Deployment are reached inside the cluster.
#[must_use]
pub fn service_url(deployment: &str, namespace: &str) -> String {
    format!("http://{deployment}.{namespace}.svc")
}

/// What there is to know of a service.
#[derive(Clone, Copy, Debug)]
pub struct ServiceDefinition {
    /// Its name: in the specification, in labels, of its container.
    pub name: &'static str,
    /// The condition that says whether it serves.
    pub condition: &'static str,
    /// Its image, of those that the operator was told at its start.
    pub image: fn(&ServiceImages) -> &str,
    /// Whether it keeps records in a database.
    pub has_database: bool,
    /// Whether it keeps objects.
    pub has_objects: bool,
    /// Whether it has work that is handed out to its pods.
    pub has_queue: bool,
    /// Requests and limits, where the specification names none.
    pub resources: DefaultResources,
    /// The services that it calls.
    pub calls: &'static [&'static str],
    /// The prefixes of paths that the gateway passes on to it.
    pub routes: &'static [&'static str],
    /// Whether the pods of AnalysisJobs may call it, too.
    pub serves_analysis_jobs: bool,
    /// What it may do with objects of its namespace. Without anything, its pods
    /// get no token for the API server.
    pub kubernetes_access: &'static [KubernetesAccess],
}

/// What a service may do with some kind of objects.
#[derive(Clone, Copy, Debug)]
pub struct KubernetesAccess {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The kind, as the API server spells it in paths.
    pub resource: &'static str,
    /// What may be done. The operator can grant only what it may do itself.
    pub verbs: &'static [&'static str],
}

impl ServiceDefinition {
    /// Whether everybody talks to it, and not only other services.
    #[must_use]
    pub fn is_gateway(&self) -> bool {
        self.name == GATEWAY
    }
}

/// Every service.
pub const SERVICES: &[ServiceDefinition] = &[
    ServiceDefinition {
        name: GATEWAY,
        condition: "MonolithReady",
        image: |images| &images.monolith,
        has_database: true,
        has_objects: false,
        has_queue: true,
        resources: DefaultResources {
            requests: &[("cpu", "50m"), ("memory", "64Mi"), ("ephemeral-storage", "64Mi")],
            limits: &[("cpu", "2"), ("memory", "256Mi"), ("ephemeral-storage", "1Gi")],
        },
        calls: &[ANALYSIS_BASE],
        routes: &[],
        kubernetes_access: &[],
        serves_analysis_jobs: false,
    },
    ServiceDefinition {
        name: ANALYSIS_BASE,
        condition: "AnalysisBaseReady",
        image: |images| &images.analysis_base,
        has_database: true,
        has_objects: true,
        has_queue: true,
        resources: DefaultResources {
            requests: &[("cpu", "100m"), ("memory", "256Mi"), ("ephemeral-storage", "64Mi")],
            limits: &[("cpu", "2"), ("memory", "1Gi"), ("ephemeral-storage", "8Gi")],
        },
        calls: &[],
        routes: &["/v1/datasets", "/v1/uploads", "/v1/analyses", "/v1/analysis-jobs"],
        // It shows AnalysisJobs. Their results are in ConfigMaps, of which it
        // reads those that an AnalysisJob names and controls.
        kubernetes_access: &[
            KubernetesAccess { group: "aisaas.dev", resource: "analysisjobs", verbs: &["get", "list"] },
            KubernetesAccess { group: "", resource: "configmaps", verbs: &["get"] },
        ],
        serves_analysis_jobs: true,
    },
];

/// The images of the services, and how they are pulled, as the operator was
/// told at its start.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceImages {
    /// The image of the monolith.
    pub monolith: String,
    /// The image of analysis-base.
    pub analysis_base: String,
    /// When images are pulled.
    pub pull_policy: ImagePullPolicy,
    /// Secrets with the credentials of the registry.
    pub pull_secrets: Vec<String>,
}

impl ServiceImages {
    /// The image of a service, and how it is pulled.
    #[must_use]
    pub fn of(&self, service: &ServiceDefinition) -> ImageDefaults {
        ImageDefaults {
            image: (service.image)(self).to_owned(),
            pull_policy: self.pull_policy,
            pull_secrets: self.pull_secrets.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crds::platform::ServiceName;

    #[test]
    fn the_services_are_those_that_a_specification_may_name() {
        let names: Vec<&str> = SERVICES.iter().map(|service| service.name).collect();
        assert_eq!(names, ServiceName::ALL.map(ServiceName::as_str));
        for service in SERVICES {
            for callee in service.calls {
                assert!(names.contains(callee), "{} calls {callee}, which is no service", service.name);
            }
        }
    }

    #[test]
    fn a_condition_has_the_name_of_its_service() {
        for service in SERVICES {
            let words = service.name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
            assert_eq!(service.condition, format!("{}Ready", words.collect::<String>()));
        }
    }

    #[test]
    fn a_path_leads_to_one_service() {
        let mut routes: Vec<&str> = SERVICES.iter().flat_map(|service| service.routes).copied().collect();
        let count = routes.len();
        routes.sort_unstable();
        routes.dedup();
        assert_eq!(routes.len(), count);
    }

    #[test]
    fn no_service_is_granted_what_the_operator_may_not_do_itself() {
        let rules = crate::rbac::rules();
        for service in SERVICES {
            for access in service.kubernetes_access {
                for verb in access.verbs {
                    let is_held = rules.iter().any(|rule| {
                        let has = |texts: &[String], text: &str| texts.iter().any(|one| one == text);
                        has(rule.api_groups.as_deref().unwrap_or_default(), access.group)
                            && has(rule.resources.as_deref().unwrap_or_default(), access.resource)
                            && has(&rule.verbs, verb)
                    });
                    assert!(is_held, "{}: {verb} {}", service.name, access.resource);
                }
            }
        }
    }
}
