use std::io;
use std::time::Duration;

use axum::http::StatusCode;
use service_kit::Problem;
use service_kit::problem::chain;

/// When an API server that does not answer may be asked again.
const SOON: Duration = Duration::from_secs(5);
/// When somebody may have mended what keeps the service from asking.
const LATER: Duration = Duration::from_secs(60);

/// Why the API server gave no object.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// There is no API server, or no token for it.
    #[error("the service has no access to a Kubernetes API server: {0}")]
    NoAccess(String),
    /// It lets the service not do this.
    #[error("the API server does not let the service read `{resource}`: {message}")]
    Forbidden {
        /// What was to be read.
        resource: &'static str,
        /// What the API server said.
        message: String,
    },
    /// It does not believe the token.
    #[error("the API server does not believe the token of the service: {0}")]
    Unauthorized(String),
    /// It does not have the object, or does not know its kind.
    #[error("the API server does not know `{resource}`")]
    NotFound {
        /// What was to be read.
        resource: &'static str,
        /// The name of the object that it does not have, if it knows the kind.
        object: Option<String>,
    },
    /// A list has changed too much since its first part was given.
    #[error("the rest of the list is not kept any more")]
    Expired,
    /// What is asked for makes no sense to it.
    #[error("the API server does not understand the request: {0}")]
    Invalid(String),
    /// It does not answer, or cannot at present.
    #[error("the API server does not answer")]
    Unavailable(#[source] Box<kube::Error>),
    /// Its answer takes too long.
    #[error("the API server did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// Its answer broke off.
    #[error("an answer of the API server broke off")]
    BrokenOff(#[source] io::Error),
    /// Its answer is larger than there is room for.
    #[error("an answer of the API server is too large")]
    TooLarge,
    /// Its answer is not what it should be.
    #[error("an answer of the API server cannot be understood")]
    Unreadable(#[source] serde_json::Error),
}

impl KubernetesError {
    /// A request that cannot be made.
    #[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
    pub(super) fn request(error: kube::core::request::Error) -> Self {
        Self::Invalid(error.to_string())
    }

    /// What an answer means that is no success.
    pub(super) fn answered(error: kube::Error, resource: &'static str) -> Self {
        let status = match error {
            kube::Error::Api(status) => status,
            other => return Self::Unavailable(Box::new(other)),
        };
        match status.code {
            400 | 422 => Self::Invalid(status.message),
            401 => Self::Unauthorized(status.message),
            403 => Self::Forbidden { resource, message: status.message },
            404 => Self::NotFound {
                resource,
                object: status.details.map(|details| details.name).filter(|name| !name.is_empty()),
            },
            410 => Self::Expired,
            _ => Self::Unavailable(Box::new(kube::Error::Api(status))),
        }
    }
}

impl From<KubernetesError> for Problem {
    fn from(error: KubernetesError) -> Self {
        if let KubernetesError::Expired = error {
            return Self::new(
                StatusCode::GONE,
                "cursor-expired",
                "Cursor expired",
                "The rest of this list is not kept any more: begin again without `cursor`.",
            );
        }
        tracing::warn!(error = %chain(&error), "The Kubernetes API could not be read.");
        match error {
            KubernetesError::NoAccess(why) => Self::unavailable(
                format!(
                    "AnalysisJobs are objects of Kubernetes, and this service has no access to its API: {why}. A \
                     Platform gives analysis-base a token and a Role; outside of a cluster, `--kubernetes-url` names \
                     an API server such as that of `kubectl proxy`."
                ),
                LATER,
            ),
            KubernetesError::Forbidden { resource, message } => Self::unavailable(
                format!(
                    "The API server does not let analysis-base read `{resource}`. The operator makes a Role and a \
                     RoleBinding for it, of the name of its Deployment: see whether both are there and name its \
                     ServiceAccount. The API server says: {message}"
                ),
                LATER,
            )
            .with("missingPermission", resource),
            KubernetesError::Unauthorized(message) => Self::unavailable(
                format!("The API server does not believe the token of analysis-base. It says: {message}"),
                LATER,
            ),
            KubernetesError::NotFound { resource, .. } => Self::unavailable(
                format!("The API server knows no `{resource}`: install the chart ai-saas-platform-crds."),
                LATER,
            ),
            KubernetesError::Unavailable(_)
            | KubernetesError::Silent(_)
            | KubernetesError::BrokenOff(_)
            | KubernetesError::TooLarge => Self::unavailable(
                "The API server of Kubernetes does not answer as it should. It is reached from the pod of \
                 analysis-base, which a NetworkPolicy may keep from it; everything but AnalysisJobs works without it.",
                SOON,
            ),
            error => Self::internal(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    fn answered(status: serde_json::Value) -> KubernetesError {
        let status: Status = serde_json::from_value(status).expect("status");
        KubernetesError::answered(kube::Error::Api(Box::new(status)), "analysisjobs")
    }

    #[test]
    fn a_missing_role_is_named() {
        let error = answered(json!({"code": 403, "reason": "Forbidden", "message": "is forbidden: User"}));
        let problem = Problem::from(error);
        assert_eq!(problem.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(problem.detail.contains("Role") && problem.detail.contains("analysisjobs"), "{problem:?}");
        assert!(problem.detail.contains("is forbidden: User") && problem.retry_after.is_some());
    }

    #[test]
    fn an_object_that_is_not_there_is_told_from_a_kind_that_is_not() {
        let object = |status| match answered(status) {
            KubernetesError::NotFound { object, .. } => object,
            other => panic!("{other:?}"),
        };
        let missing =
            json!({"code": 404, "reason": "NotFound", "message": "", "details": {"name": "penguins"}});
        assert_eq!(object(missing).as_deref(), Some("penguins"));
        assert_eq!(object(json!({"code": 404, "reason": "NotFound", "message": "", "details": {}})), None);
    }

    #[test]
    fn what_may_pass_is_told_from_what_does_not() {
        let status = |code: u16| Problem::from(answered(json!({"code": code}))).status.as_u16();
        for (code, expected) in [(401, 503), (404, 503), (410, 410), (429, 503), (500, 503), (504, 503)] {
            assert_eq!(status(code), expected, "{code}");
        }
    }
}
