//! The CEL rules of the CRDs, evaluated here. The API server enforces them at
//! admission; the operator checks them again in reconcile, so that an object
//! that came in by another way (an older CRD, a restored backup) meets the
//! same rules and the same messages.

use std::sync::LazyLock;

use kube::CustomResourceExt;
use kube::core::cel::{CompiledSchema, compile_schema, validate_compiled};
use serde::Serialize;

use crate::{AnalysisJob, Platform};

static ANALYSIS_JOB: LazyLock<CompiledSchema> = LazyLock::new(compile::<AnalysisJob>);
static PLATFORM: LazyLock<CompiledSchema> = LazyLock::new(compile::<Platform>);

/// Checks an object against the rules of its CRD.
///
/// # Errors
/// The messages of the rules that are broken, each with the path of its field.
pub fn check_analysis_job(job: &AnalysisJob) -> Result<(), Vec<String>> {
    check_object(&ANALYSIS_JOB, job)
}

/// Checks an object against the rules of its CRD.
///
/// # Errors
/// The messages of the rules that are broken, each with the path of its field.
pub fn check_platform(platform: &Platform) -> Result<(), Vec<String>> {
    check_object(&PLATFORM, platform)
}

/// Checks an object, as JSON, against the rules for its creation or, with the
/// object as it was before, for a change.
///
/// # Errors
/// The messages of the rules that are broken, each with the path of its field.
pub fn check_analysis_job_value(
    value: &serde_json::Value,
    previous: Option<&serde_json::Value>,
) -> Result<(), Vec<String>> {
    check(&ANALYSIS_JOB, value, previous)
}

/// Checks an object, as JSON, against the rules for its creation or, with the
/// object as it was before, for a change.
///
/// # Errors
/// The messages of the rules that are broken, each with the path of its field.
pub fn check_platform_value(
    value: &serde_json::Value,
    previous: Option<&serde_json::Value>,
) -> Result<(), Vec<String>> {
    check(&PLATFORM, value, previous)
}

fn check_object(schema: &CompiledSchema, object: &impl Serialize) -> Result<(), Vec<String>> {
    let value = serde_json::to_value(object).map_err(|error| vec![error.to_string()])?;
    check(schema, &value, None)
}

fn check(
    schema: &CompiledSchema,
    value: &serde_json::Value,
    previous: Option<&serde_json::Value>,
) -> Result<(), Vec<String>> {
    validate_compiled(schema, value, previous)
        .map_err(|errors| errors.into_iter().map(|error| error.to_string()).collect())
}

fn compile<K: CustomResourceExt>() -> CompiledSchema {
    let definition = K::crd();
    let schema = definition
        .spec
        .versions
        .first()
        .and_then(|version| version.schema.as_ref())
        .and_then(|schema| schema.open_api_v3_schema.as_ref())
        .and_then(|schema| serde_json::to_value(schema).ok())
        .unwrap_or_default();
    compile_schema(&schema)
}
