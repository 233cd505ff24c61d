use std::collections::HashSet;

use crds::analysis::{AnalysisSpecification, FailureReason};

use crate::failure::Failure;

/// Checks what no rule of the CRD has checked for a run outside of a pod.
pub(super) fn check(specification: &AnalysisSpecification) -> Result<(), Failure> {
    let invalid = |text: String| Err(Failure::new(FailureReason::InvalidSpecification, text));
    if specification.sources.is_empty() {
        return invalid("There is no source. Give at least one.".to_owned());
    }
    let mut names = HashSet::new();
    if let Some(twice) = specification.sources.iter().find(|source| !names.insert(&source.name)) {
        return invalid(format!("Two sources are called `{}`.", twice.name));
    }
    match (&specification.sql, &specification.profile) {
        (Some(_), None) => Ok(()),
        (None, Some(profile)) if names.contains(&profile.source) => Ok(()),
        (None, Some(profile)) => {
            invalid(format!("The profile is of `{}`, which is not a source.", profile.source))
        }
        _ => invalid("Give exactly one of `sql` and `profile`.".to_owned()),
    }
}
