//! Programs that a user would run.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs `kubectl` (or what `KUBECTL` names) and returns what it prints.
///
/// # Errors
/// If it is not there or fails, with what it says.
pub async fn kubectl(arguments: &[&str]) -> Result<String> {
    run(program("KUBECTL", "kubectl"), arguments, &[]).await
}

/// Runs `helm` (or what `HELM` names) and returns what it prints.
///
/// # Errors
/// If it is not there or fails, with what it says.
pub async fn helm(arguments: &[&str]) -> Result<String> {
    run(program("HELM", "helm"), arguments, &[]).await
}

/// Runs a program with further variables and returns what it prints.
///
/// # Errors
/// If it is not there or fails, with what it says.
pub async fn run(program: OsString, arguments: &[&str], variables: &[(&str, &str)]) -> Result<String> {
    let shown = format!("{} {}", program.to_string_lossy(), arguments.join(" "));
    let mut command = Command::new(&program);
    command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::null());
    let finished =
        tokio::task::spawn_blocking(move || command.output()).await.context("waiting for a program")?;
    let output = finished.with_context(|| format!("starting `{shown}`"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let complained = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed ({}):\n{printed}{complained}", output.status);
    }
    Ok(printed)
}

/// A path in the repository that the process was started in. Not in the one
/// that it was compiled in: clones that share a target folder share programs.
#[must_use]
pub fn repository(path: &str) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    here.ancestors().find(|folder| folder.join("Cargo.lock").is_file()).unwrap_or(&here).join(path)
}

/// A path in the repository, as an argument.
#[must_use]
pub fn repository_argument(path: &str) -> String {
    repository(path).to_string_lossy().into_owned()
}

fn program(variable: &str, name: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| name.into())
}
