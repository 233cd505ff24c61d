//! Analyses from their specification to their result, without a cluster.

mod bench;
mod bucket;
mod charts;
mod failures;
mod formats;
mod limits;
mod process;
mod profiles;
mod remote;
