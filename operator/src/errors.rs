//! What the kinds do alike with errors.

use std::error::Error;
use std::fmt::Write as _;

/// What the API server said, if it refused: a quota, a policy, a missing
/// permission, an admission webhook that fails. `None` if it did not answer, or
/// stumbled itself.
#[must_use]
pub fn refusal(error: &kube::Error) -> Option<&str> {
    match error {
        kube::Error::Api(status)
            if (400..500).contains(&status.code) && !matches!(status.code, 408 | 409 | 429)
                || status.code == 500 && status.message.contains("webhook") =>
        {
            Some(&status.message)
        }
        _ => None,
    }
}

/// An error with its causes, each said once.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // What the API server says is one sentence; the client's own words
        // for it repeat that sentence and all that came with it.
        if let Some(kube::Error::Api(status)) = error.downcast_ref() {
            let _ = write!(text, ": {}", status.message);
            break;
        }
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis_job;

    #[test]
    fn what_the_api_server_says_is_said_once() {
        let status = kube::core::Status::failure("exceeded quota: none", "Forbidden").with_code(403);
        let error = analysis_job::Error::CreateJob(kube::Error::Api(status.boxed()));
        assert_eq!(chain(&error), "failed to create the Job: exceeded quota: none");
    }
}
