//! A Platform from its specification to what it becomes and what is said of it,
//! without an API server.
#![expect(clippy::unwrap_used, reason = "tests say what they expect by panicking")]

mod accounts;
mod build;
mod outcome;
mod replacement;
mod replicas;
mod roles;
mod services_table;
mod setup;
mod suspension;
mod validate;
