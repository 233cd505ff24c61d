//! No file of the process may be larger than a limit.

use std::io;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

/// Lets the kernel refuse what would make a file larger than `bytes`. The
/// write fails then, as on a full disk. The limit cannot be raised again.
///
/// # Errors
/// If the limit cannot be set, or outside of a runtime that takes signals.
pub fn set(bytes: u64) -> io::Result<()> {
    // The kernel also sends a signal, which ends a process that does not take
    // it. It is taken from now on, whether somebody listens or not.
    drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
    let there = getrlimit(Resource::Fsize);
    let bytes = there.maximum.map_or(bytes, |maximum| maximum.min(bytes));
    setrlimit(Resource::Fsize, Rlimit { current: Some(bytes), maximum: Some(bytes) })?;
    Ok(())
}
