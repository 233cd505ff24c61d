//! The gateway as its clients see it: the real program, with services behind
//! it that the tests play.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "helpers of tests say what they expect by panicking and show the log, as tests do"
)]

mod analyses;
mod bench;
mod collector;
mod cors;
mod documentation;
mod events;
mod forms;
mod keys;
mod limits;
#[path = "../../../service-kit/tests/storage/postgresql.rs"]
#[allow(dead_code, reason = "the tests of the kit need more of it")]
mod postgresql;
#[path = "../../../service-kit/tests/storage/process.rs"]
#[allow(dead_code, reason = "the tests of the kit need more of it")]
mod process;
mod proxying;
mod recovery;
mod replicas;
mod requests;
mod spans;
mod upgrades;
mod upstream;
mod webhooks;
