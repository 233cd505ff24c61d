//! Condition types. All are of positive polarity: `True` is what one hopes
//! for, so that a reader (or Argo CD) never has to know a list of exceptions.

/// The specification is understood and everything that it refers to exists.
pub const ACCEPTED: &str = "Accepted";
/// The work is running, or has done what was asked: nothing stands in its way.
pub const READY: &str = "Ready";
/// The work has ended well. `False` with one of the terminal reasons of the
/// kind once it has ended badly.
pub const COMPLETE: &str = "Complete";
/// It is exposed to the outside as its specification asks for.
pub const EXPOSED: &str = "Exposed";
/// The operator brings the object in line. Only there while it is `False`: that
/// it does so is nothing to tell, and some tools take `True` for a rollout
/// under way.
pub const RECONCILING: &str = "Reconciling";
