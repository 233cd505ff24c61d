//! Why a pod does not run yet, in words that stay the same while it waits.

use k8s_openapi::api::core::v1::ContainerState;
use serde::Deserialize;

/// A condition of a pod, as far as it is read.
#[derive(Clone, Debug, Deserialize)]
pub struct PodCondition {
    /// Its type.
    #[serde(rename = "type")]
    pub condition_type: String,
    /// `True` or `False`.
    pub status: String,
    /// Why, in one word.
    pub reason: Option<String>,
    /// Why, in a sentence.
    pub message: Option<String>,
}

/// Why a pod does not run yet: reason and message. `None` if there is nothing
/// to say.
#[must_use]
pub fn waiting(conditions: &[PodCondition], container: Option<&ContainerState>) -> Option<(String, String)> {
    let unscheduled = conditions
        .iter()
        .find(|condition| condition.condition_type == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        return Some((
            condition.reason.clone().unwrap_or_default(),
            condition.message.clone().unwrap_or_default(),
        ));
    }
    let waiting = container?.waiting.as_ref()?;
    let message = waiting.message.clone().unwrap_or_default();
    Some(match waiting.reason.clone().unwrap_or_default() {
        // The kubelet goes back and forth between these two; a status that
        // followed would be written again and again.
        reason if matches!(reason.as_str(), "ErrImagePull" | "ImagePullBackOff") => {
            let cause = message.split_once("ErrImagePull: ").map(|(_, cause)| cause.to_owned());
            ("ImagePullBackOff".to_owned(), cause.unwrap_or(message))
        }
        reason => (reason, message),
    })
}

/// Every pod passes through some states of waiting; they say nothing and are
/// not worth a write.
#[must_use]
pub fn is_telling(reason: &str) -> bool {
    !matches!(reason, "" | "ContainerCreating" | "PodInitializing")
}
