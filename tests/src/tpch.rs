//! TPC Benchmark H (Transaction Processing Performance Council) as AnalysisJobs:
//! its eight tables as Parquet on a volume, its 22 queries, each with the
//! parameters of its query validation.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::command::repository;

/// Its tables; each is a file on the volume.
pub const TABLES: [&str; 8] =
    ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"];
/// The claim with the tables, in specifications.
pub const CLAIM: &str = "tpch";
/// Where the queries are in the repository.
pub const QUERIES: &str = "tests/tpch";

/// The names of the queries, `q01` to `q22`.
#[must_use]
pub fn names() -> Vec<String> {
    (1..=22).map(|number| format!("q{number:02}")).collect()
}

/// The specification of an AnalysisJob that runs a query and leaves its result
/// as Parquet, in a folder of the query's name.
///
/// # Errors
/// If there is no such query.
pub fn specification(name: &str) -> Result<Value> {
    let path = repository(QUERIES).join(format!("{name}.sql"));
    let sql = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let sources = TABLES.map(|table| {
        let place = json!({ "claimName": CLAIM, "path": format!("{table}.parquet") });
        json!({ "name": table, "format": "parquet", "persistentVolumeClaim": place })
    });
    Ok(json!({
        "sources": sources,
        "sql": sql,
        "output": { "format": "parquet", "persistentVolumeClaim": { "claimName": "results", "path": name } },
    }))
}

#[cfg(test)]
mod tests {
    use crds::analysis::AnalysisSpecification;
    use crds::{AnalysisJob, rules};

    use super::*;

    #[test]
    fn every_query_is_within_what_an_analysis_job_may_ask_for() {
        let definition = serde_json::to_value(<AnalysisJob as kube::CustomResourceExt>::crd()).unwrap();
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        let bound =
            |path: &str| definition.pointer(&format!("{spec}{path}")).and_then(Value::as_u64).unwrap();
        assert!(bound("/sources/maxItems") >= TABLES.len() as u64);
        for name in names() {
            let specification = specification(&name).unwrap();
            let sql = specification["sql"].as_str().unwrap();
            assert!(bound("/sql/maxLength") >= sql.chars().count() as u64, "{name}");
            serde_json::from_value::<AnalysisSpecification>(specification.clone()).unwrap();
            let job = AnalysisJob::new(&name, serde_json::from_value(specification).unwrap());
            assert_eq!(rules::check_analysis_job(&job), Ok(()), "{name}");
        }
    }
}
