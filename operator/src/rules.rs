//! The rules of the CRDs, checked once for each specification.
//!
//! An object is reconciled some ten times in its life, and evaluating its
//! rules costs more than all the rest of a reconcile.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crds::rules::{check_analysis_job, check_platform};
use crds::{AnalysisJob, Platform};
use kube::api::ObjectMeta;

/// Which specifications were seen to keep the rules: generations by the uid of
/// their object. The rules look at nothing that changes without the generation.
#[derive(Debug, Default)]
pub struct Rules {
    kept: Mutex<HashMap<String, i64>>,
}

impl Rules {
    /// Checks an AnalysisJob, unless this specification was seen to be right.
    ///
    /// # Errors
    /// The messages of the rules that are broken, each with the path of its field.
    pub fn check(&self, job: &AnalysisJob) -> Result<(), Vec<String>> {
        self.check_once(&job.metadata, || check_analysis_job(job))
    }

    /// Checks a Platform, unless this specification was seen to be right.
    ///
    /// # Errors
    /// The messages of the rules that are broken, each with the path of its field.
    pub fn check_platform(&self, platform: &Platform) -> Result<(), Vec<String>> {
        self.check_once(&platform.metadata, || check_platform(platform))
    }

    fn check_once(
        &self,
        metadata: &ObjectMeta,
        check: impl FnOnce() -> Result<(), Vec<String>>,
    ) -> Result<(), Vec<String>> {
        let (Some(uid), Some(generation)) = (&metadata.uid, metadata.generation) else {
            return check();
        };
        if self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(uid) == Some(&generation) {
            return Ok(());
        }
        check()?;
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.clone(), generation);
        Ok(())
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, uid: &str) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(generation: i64, analysis: &str) -> AnalysisJob {
        serde_yaml_ng::from_str(&format!(
            "apiVersion: aisaas.dev/v1alpha1\nkind: AnalysisJob\n\
             metadata: {{name: a, namespace: demo, uid: u, generation: {generation}}}\n\
             spec: {{sources: [{{name: t, format: csv, inline: \"a\\n1\\n\"}}], {analysis}}}\n"
        ))
        .unwrap()
    }

    #[test]
    fn a_changed_specification_is_checked_again() {
        let rules = Rules::default();
        assert!(rules.check(&job(1, "sql: select 1")).is_ok());
        assert!(rules.check(&job(1, "sql: select 1")).is_ok());
        assert!(rules.check(&job(2, "sql: select 1, profile: {source: t}")).is_err());
        // One that is wrong is not remembered as right.
        assert!(rules.check(&job(2, "sql: select 1, profile: {source: t}")).is_err());
        assert!(rules.check(&job(3, "sql: select 1")).is_ok());
    }
}
