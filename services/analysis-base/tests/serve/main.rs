//! The service from outside: a process of the built program on a port of this machine.
#![expect(clippy::expect_used, clippy::panic, reason = "tests say what they expect by panicking")]
#![expect(clippy::needless_pass_by_value, reason = "what `json!` makes is written where it is passed")]

mod analyses;
mod analysis_job_results;
mod analysis_jobs;
mod api_server;
mod datasets;
mod document;
mod pods;
mod processes;
mod restart;
mod results;
mod server;
mod statistics;
mod tokens;
mod uploads;
