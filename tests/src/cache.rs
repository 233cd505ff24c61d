//! Where what can be made again is kept.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

/// The folder that `cargo xtask` keeps its own in as well.
///
/// # Errors
/// If the environment does not say where.
pub fn folder() -> Result<PathBuf> {
    let root = match std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(root.join("ai-saas-platform"))
}
