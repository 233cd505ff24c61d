//! Whether a service can work: `/livez` and `/readyz`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use futures::future::BoxFuture;

/// A check that has not answered by then has failed.
const CHECK_LIMIT: Duration = Duration::from_secs(2);

type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What has to be well for the service to be sent requests. Cheap to clone: all clones are the same.
#[derive(Clone, Default)]
pub struct Readiness {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    checks: Vec<(&'static str, Check)>,
    is_stopping: bool,
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Readiness")
    }
}

impl Readiness {
    /// Adds a check. It has to be quick and to change nothing: it runs every few seconds.
    pub fn require<F, R>(&self, what: &'static str, check: F)
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), String>> + Send + 'static,
    {
        let check: Check = Arc::new(move || Box::pin(check()));
        self.lock().checks.push((what, check));
    }

    /// From here on no new requests are wanted; those under way are finished.
    pub fn stop(&self) {
        self.lock().is_stopping = true;
    }

    /// What is not well; nothing if all is. Why not is logged: it may name
    /// places inside of the cluster, and everybody may ask.
    pub async fn problems(&self) -> Vec<String> {
        let (checks, is_stopping) = {
            let inner = self.lock();
            (inner.checks.clone(), inner.is_stopping)
        };
        if is_stopping {
            return vec!["the service is stopping".to_owned()];
        }
        let checked = checks.into_iter().map(|(what, check)| async move {
            match tokio::time::timeout(CHECK_LIMIT, check()).await {
                Ok(Ok(())) => None,
                Ok(Err(problem)) => {
                    tracing::warn!(check = what, problem, "The service is not ready.");
                    Some(what.to_owned())
                }
                Err(_) => {
                    let seconds = CHECK_LIMIT.as_secs();
                    tracing::warn!(
                        check = what,
                        seconds,
                        "The service is not ready: a check has not answered."
                    );
                    Some(what.to_owned())
                }
            }
        });
        futures::future::join_all(checked).await.into_iter().flatten().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `/livez` and `/readyz`.
pub(crate) fn routes(readiness: Readiness) -> Router {
    Router::new()
        // Answering at all is being alive: what is missing elsewhere is no
        // reason to be restarted.
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(readiness)
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, String) {
    let problems = readiness.problems().await;
    if problems.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", problems.join("\n")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_well_is_named() {
        let readiness = Readiness::default();
        readiness.require("database", || async { Err("no connection".to_owned()) });
        readiness.require("objects", || async { Ok(()) });
        assert_eq!(readiness.problems().await, ["database"]);
        readiness.stop();
        assert_eq!(readiness.problems().await, ["the service is stopping"]);
    }

    #[tokio::test]
    async fn a_check_that_hangs_has_failed() {
        let readiness = Readiness::default();
        readiness.require("database", std::future::pending);
        assert_eq!(readiness.problems().await, ["database"]);
    }
}
