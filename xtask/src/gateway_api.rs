//! The definitions of the Gateway API, as they are in its pinned Go module.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::cache;
use crate::process::Tool;

const MODULE: &str = "sigs.k8s.io/gateway-api";

/// The folder with the definitions that are stable.
pub(crate) fn definitions() -> Result<PathBuf> {
    let description = Tool::new("go")
        .args(["mod", "download", "-json", MODULE])
        .directory(&cache::repository()?.join("cluster/go/gateway-api"))
        .env("GOTOOLCHAIN", "local")
        .output()?;
    let description: Value =
        serde_json::from_str(&description).with_context(|| format!("what Go says of {MODULE}"))?;
    let folder = description["Dir"].as_str().with_context(|| format!("Go has no folder of {MODULE}"))?;
    let folder = Path::new(folder).join("config/crd/standard");
    ensure!(folder.is_dir(), "{MODULE} has no definitions in {}", folder.display());
    Ok(folder)
}
