//! Cargo, always with the one set of flags that tests and images share.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::cache;
use crate::process::Tool;

/// Static binaries: they run in an image made from nothing, and tests run what is shipped.
const RUSTFLAGS: &str = "-C target-feature=+crt-static";

/// What this machine compiles for by default.
pub(crate) fn host() -> Result<String> {
    let output = Tool::new("rustc").arg("-vV").output()?;
    output
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("`rustc -vV` does not name the host; check the Rust installation with `rustup show`")
}

/// A cargo command for release builds. The target is named even though it is
/// the host, so that the flags do not reach build scripts and macros.
pub(crate) fn cargo(command: &str) -> Result<Tool> {
    Ok(plain(command)?.arg("--release").args(["--target", &host()?]).env("RUSTFLAGS", RUSTFLAGS))
}

/// A cargo command that builds nothing for the target.
pub(crate) fn plain(command: &str) -> Result<Tool> {
    Ok(Tool::new("cargo")
        .arg(command)
        .directory(&cache::repository()?)
        .env("CARGO_TARGET_DIR", cache::target()?)
        // Set by the cargo that runs this program, for this program only.
        .without_env("CARGO_MANIFEST_DIR"))
}

/// Where a release build puts its binaries.
pub(crate) fn binaries() -> Result<PathBuf> {
    Ok(cache::target()?.join(host()?).join("release"))
}
