//! What a key may do, and what of it each address asks for: the one table.

use std::fmt;

use axum::http::Method;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a key may do. `admin` may do everything. `analyses:write` includes
/// reading any data set by an analysis, and the scopes of requests include what
/// a request does on the way: reading data sets and running analyses. What a
/// scope shows or changes is that of all keys, such as the requests of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
pub enum Scope {
    /// Everything, keys included.
    #[serde(rename = "admin")]
    Admin,
    /// See data sets and what is in them.
    #[serde(rename = "datasets:read")]
    DatasetsRead,
    /// Upload and delete data sets.
    #[serde(rename = "datasets:write")]
    DatasetsWrite,
    /// See analyses and AnalysisJobs, and their results.
    #[serde(rename = "analyses:read")]
    AnalysesRead,
    /// Run, cancel and delete analyses.
    #[serde(rename = "analyses:write")]
    AnalysesWrite,
    /// See requests and their answers.
    #[serde(rename = "requests:read")]
    RequestsRead,
    /// Make and cancel requests.
    #[serde(rename = "requests:write")]
    RequestsWrite,
}

impl Scope {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::DatasetsRead => "datasets:read",
            Self::DatasetsWrite => "datasets:write",
            Self::AnalysesRead => "analyses:read",
            Self::AnalysesWrite => "analyses:write",
            Self::RequestsRead => "requests:read",
            Self::RequestsWrite => "requests:write",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Where the gateway's own counters are.
pub const METRICS: &str = "/metrics";

/// Addresses that begin with the path ask for the first scope to see
/// something, and for the second one to change something.
const TABLE: [(&str, Scope, Scope); 7] = [
    // They tell how much is done here, and by which services.
    (METRICS, Scope::Admin, Scope::Admin),
    ("/v1/keys", Scope::Admin, Scope::Admin),
    ("/v1/requests", Scope::RequestsRead, Scope::RequestsWrite),
    ("/v1/datasets", Scope::DatasetsRead, Scope::DatasetsWrite),
    // Nobody but who uploads has a reason to look at an upload.
    ("/v1/uploads", Scope::DatasetsWrite, Scope::DatasetsWrite),
    ("/v1/analyses", Scope::AnalysesRead, Scope::AnalysesWrite),
    // They are declared to Kubernetes, and only seen here.
    ("/v1/analysis-jobs", Scope::AnalysesRead, Scope::AnalysesWrite),
];

/// What a request asks for; `None` if the address is not in the table.
#[must_use]
pub fn required(method: &Method, path: &str) -> Option<Scope> {
    let (_, read, write) = TABLE.iter().find(|(prefix, ..)| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })?;
    // Safe methods (RFC 9110, section 9.2.1) change nothing.
    Some(if method.is_safe() { *read } else { *write })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scope_is_written_as_it_is_read() {
        for scope in [
            Scope::Admin,
            Scope::DatasetsRead,
            Scope::DatasetsWrite,
            Scope::AnalysesRead,
            Scope::AnalysesWrite,
            Scope::RequestsRead,
            Scope::RequestsWrite,
        ] {
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
        }
    }

    #[test]
    fn the_table_goes_by_method_and_by_whole_segments() {
        let required = |method: &str, path| required(&Method::from_bytes(method.as_bytes()).unwrap(), path);
        assert_eq!(required("GET", "/v1/datasets/flights"), Some(Scope::DatasetsRead));
        assert_eq!(required("PUT", "/v1/datasets/flights"), Some(Scope::DatasetsWrite));
        assert_eq!(required("HEAD", "/v1/uploads/1"), Some(Scope::DatasetsWrite));
        assert_eq!(required("POST", "/v1/requests"), Some(Scope::RequestsWrite));
        assert_eq!(required("OPTIONS", "/v1/analyses"), Some(Scope::AnalysesRead));
        assert_eq!(required("PURGE", "/v1/analyses"), Some(Scope::AnalysesWrite));
        assert_eq!(required("GET", "/v1/analysis-jobs/penguins/result"), Some(Scope::AnalysesRead));
        assert_eq!(required("GET", "/v1/keys"), Some(Scope::Admin));
        assert_eq!(required("GET", "/metrics"), Some(Scope::Admin));
        assert_eq!(required("GET", "/v1/datasets2"), None);
    }
}
