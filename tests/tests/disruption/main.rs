//! What disturbs the whole cluster: the operator killed, the platform
//! uninstalled, the custom resource definition changed. One after the other,
//! and after everything else.

mod bad_objects;
mod installation;
mod killed_operator;
mod rest;

/// Held by each test while it runs.
pub(crate) static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
