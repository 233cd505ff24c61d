//! analysis-base: sources in, one analysis, a result and charts out.
//!
//! ```text
//!   specification ─▶ source ─▶ engine ─▶ query or profile ─▶ output
//!                                              └─▶ chart ─▶ output
//!   datasets: those of a Platform, as source and as output
//!   run: the process around it (limits, signals, the summary it leaves)
//!   serve: data sets and analyses over HTTP, each analysis such a process
//! ```

pub mod analysis;
pub mod chart;
pub mod datasets;
pub mod engine;
pub mod environment;
pub mod failure;
pub mod file_limit;
pub mod memory;
pub mod output;
pub mod profile;
pub mod query;
pub mod run;
pub mod serve;
pub mod source;
pub mod summary;
