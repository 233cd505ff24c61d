//! The operator: turns what is declared as custom resources into workloads,
//! and reports back what becomes of them.
//!
//! ```text
//!              ┌────────── one folder for each kind ───────────┐
//!  watch ───▶  dereference ─▶ validate ─▶ build ─▶ apply ─▶ status
//!              reads          pure        pure     writes   writes
//!                 ▲                                   │
//!                 └────── children (watched) ◀────────┘
//! ```
//!
//! A reconcile never acts on what an event said: it reads the state of the
//! object and of its children, and brings the one in line with the other.
//! Running it again changes nothing; running it after a crash finishes what
//! was begun.

pub mod analysis_job;
pub mod arguments;
pub mod backoff;
pub mod children;
pub mod conditions;
pub mod context;
pub mod digest;
pub mod errors;
pub mod generate;
pub mod http;
pub mod labels;
pub mod listen;
pub mod metrics;
pub mod names;
pub mod network_policy;
pub mod platform;
pub mod pods;
pub mod quantity;
pub mod rbac;
pub mod rules;
mod run;
pub mod statuses;
pub mod telemetry;
pub mod waiting;
pub mod watches;

pub use arguments::Arguments;
pub use run::run;
