//! Analyses from their specification to their result, without a cluster.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "tests say what they expect by panicking, and pass values that they have just made"
)]

mod bench;
mod bucket;
mod charts;
mod failures;
mod formats;
mod limits;
mod process;
mod profiles;
mod remote;
mod store;
mod times;
