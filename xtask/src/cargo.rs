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

/// A cargo command for release builds of all crates that are shipped, and of
/// those that test them.
///
/// Always of all of them: cargo chooses the features of shared dependencies by
/// the crates that it is to build, and for another choice it would build the
/// query engine anew. This program is left out for the same reason. The target
/// is named even though it is the host, so that the flags do not reach build
/// scripts and macros.
pub(crate) fn cargo(command: &str) -> Result<Tool> {
    Ok(plain(command)?
        .args(["--release", "--workspace", "--exclude", "xtask", "--target", &host()?])
        .env("RUSTFLAGS", RUSTFLAGS))
}

/// A cargo command for this program, as `cargo xtask` builds it.
pub(crate) fn own(command: &str) -> Result<Tool> {
    Ok(plain(command)?.args(["--release", "--package", "xtask"]))
}

/// Builds all binaries.
pub(crate) fn build() -> Result<()> {
    cargo("build")?.arg("--bins").run()
}

/// Builds all binaries, and gives the one of this name to run in the repository.
pub(crate) fn built(binary: &str) -> Result<Tool> {
    build()?;
    Ok(Tool::new(binaries()?.join(binary)).directory(&cache::repository()?))
}

/// A cargo command without any of the flags that builds share.
pub(crate) fn plain(command: &str) -> Result<Tool> {
    let mut cargo = Tool::new("cargo")
        .arg(command)
        .directory(&cache::repository()?)
        .env("CARGO_TARGET_DIR", cache::target()?);
    // Set by the cargo that runs this program, about this program. Build scripts
    // that look at them (ring's does) would run again whenever a developer's own
    // cargo and this one take turns, and everything above them be built anew.
    for (name, _) in std::env::vars_os() {
        if let Some(name) = name.to_str().filter(|name| is_about_this_program(name)) {
            cargo = cargo.without_env(name);
        }
    }
    Ok(cargo)
}

fn is_about_this_program(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| variable.starts_with(prefix))
}

/// Where a release build puts its binaries.
pub(crate) fn binaries() -> Result<PathBuf> {
    Ok(cache::target()?.join(host()?).join("release"))
}
