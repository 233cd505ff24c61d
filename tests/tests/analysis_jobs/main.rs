//! AnalysisJobs on a real cluster.
//!
//! One program rather than one for each file: what takes time is waiting for
//! pods, and tests of one program wait at the same time.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests say what they expect by panicking, functions that they share included"
)]

mod bad_data;
mod bad_references;
mod charts;
mod examples;
mod lifecycle;
mod measurements;
mod memory;
mod names_taken;
mod outputs;
mod pods_that_wait;
mod privileges;
mod queueing;
mod retries;
mod rules;
mod sources;
mod suspension;
