//! Condition types. All are of positive polarity: `True` is what one hopes
//! for, so that a reader (or Argo CD) never has to know a list of exceptions.

/// The specification is understood and everything that it refers to exists.
pub const ACCEPTED: &str = "Accepted";
/// The work is running, or has done what was asked: nothing stands in its way.
pub const READY: &str = "Ready";
/// The work has ended well. `False` with one of the terminal reasons of the
/// kind once it has ended badly.
pub const COMPLETE: &str = "Complete";
