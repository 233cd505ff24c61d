//! Making and comparing conditions.

use crds::condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use crate::labels;

/// The API server refuses longer messages (`metav1.Condition`).
const MESSAGE_LIMIT_BYTES: usize = 32768;

/// A condition as it should be, without the time of its last change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// One of the types in `crds::condition`.
    pub condition_type: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// One word for machines: stable over repeated reconciles.
    pub reason: String,
    /// A sentence for people: stable over repeated reconciles, without times
    /// or counts that change by themselves.
    pub message: String,
}

impl Desired {
    /// A condition as it should be.
    #[must_use]
    pub fn new(condition_type: &'static str, holds: bool, reason: &str, message: impl Into<String>) -> Self {
        Self { condition_type, holds, reason: reason.to_owned(), message: message.into() }
    }

    /// That an object is left alone.
    #[must_use]
    pub fn paused() -> Self {
        let message = format!(
            "The annotation `{}` keeps the operator from changing anything: remove it to go on",
            labels::PAUSED
        );
        Self::new(condition::RECONCILING, false, "Paused", message)
    }
}

/// Brings conditions in line: the time of the last change is kept where the
/// status did not change.
#[must_use]
pub fn merge(
    current: &[Condition],
    desired: Vec<Desired>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    desired
        .into_iter()
        .map(|desired| {
            let status = if desired.holds { "True" } else { "False" };
            let last_transition_time = current
                .iter()
                .find(|condition| condition.type_ == desired.condition_type && condition.status == status)
                .map_or_else(|| Time(now), |condition| condition.last_transition_time.clone());
            Condition {
                type_: desired.condition_type.to_owned(),
                status: status.to_owned(),
                reason: desired.reason,
                message: cut(desired.message, MESSAGE_LIMIT_BYTES),
                observed_generation: generation,
                last_transition_time,
            }
        })
        .collect()
}

/// Conditions with some of them replaced or added, and the others as they are,
/// in the order in which they are.
#[must_use]
pub fn replaced(
    current: &[Condition],
    desired: Vec<Desired>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let mut new = merge(current, desired, generation, now);
    let mut conditions: Vec<Condition> = current
        .iter()
        .map(|condition| match new.iter().position(|new| new.type_ == condition.type_) {
            Some(index) => new.remove(index),
            None => condition.clone(),
        })
        .collect();
    conditions.append(&mut new);
    conditions
}

/// The condition of a type.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], condition_type: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == condition_type)
}

/// Cuts a text at a number of bytes, never within a character.
#[must_use]
pub fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let end = (0..=limit).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired(holds: bool) -> Vec<Desired> {
        vec![Desired::new("Ready", holds, "R", "m")]
    }

    #[test]
    fn the_time_of_the_last_change_moves_only_with_the_status() {
        let early = Timestamp::from_second(1_000).unwrap();
        let late = Timestamp::from_second(2_000).unwrap();
        let first = merge(&[], desired(true), Some(1), early);
        let same = merge(&first, desired(true), Some(2), late);
        assert_eq!(same[0].last_transition_time.0, early);
        assert_eq!(same[0].observed_generation, Some(2));
        let changed = merge(&same, desired(false), Some(2), late);
        assert_eq!(changed[0].last_transition_time.0, late);
        assert_eq!(find(&changed, "Ready").unwrap().status, "False");
    }

    #[test]
    fn conditions_that_are_not_replaced_stay_as_they_are() {
        let now = Timestamp::from_second(1_000).unwrap();
        let of = |types: [&'static str; 3], reason: &str| -> Vec<Desired> {
            types.map(|condition_type| Desired::new(condition_type, true, reason, "m")).into()
        };
        let current = merge(&[], of(["A", "Ready", "C"], "old"), Some(1), now);
        let told: Vec<(String, String)> = replaced(&current, of(["New", "C", "Ready"], "new"), Some(2), now)
            .into_iter()
            .map(|condition| (condition.type_, condition.reason))
            .collect();
        let expected = [("A", "old"), ("Ready", "new"), ("C", "new"), ("New", "new")];
        assert_eq!(told, expected.map(|(one, other)| (one.to_owned(), other.to_owned())));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("aä".to_owned(), 2), "a");
        assert_eq!(cut("aä".to_owned(), 3), "aä");
    }
}
