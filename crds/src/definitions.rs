//! The CustomResourceDefinitions, for the generator and the tests.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{AnalysisJob, Platform};

/// Every CustomResourceDefinition of the platform.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![AnalysisJob::crd(), Platform::crd()]
}
