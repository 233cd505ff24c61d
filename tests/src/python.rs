//! The Python packages that the tests hold the analyses against, in a virtual
//! environment of their own in the cache.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::command::{repository, run};

/// The Python interpreter with the packages of `tests/requirements.txt`,
/// which are installed when they are not there.
///
/// # Errors
/// If they cannot be installed.
pub async fn interpreter() -> Result<PathBuf> {
    tokio::task::spawn_blocking(install).await.context("waiting for the Python packages")?
}

/// Runs a Python program and returns what it prints.
///
/// # Errors
/// If it fails, with what it says.
pub async fn evaluate(program: &str, arguments: &[&str]) -> Result<String> {
    let interpreter = interpreter().await?;
    let arguments: Vec<&str> = ["-c", program].into_iter().chain(arguments.iter().copied()).collect();
    run(interpreter.into_os_string(), &arguments, &[]).await
}

fn install() -> Result<PathBuf> {
    let requirements = repository("tests/requirements.txt");
    let wanted = fs::read_to_string(&requirements).context("reading the requirements")?;
    let folder = cache()?.join("python/tests");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    // Tests run at the same time: the first installs, the others wait for it.
    let lock = File::create(folder.join(".lock")).context("creating the lock")?;
    lock.lock().context("locking the Python packages")?;
    let interpreter = folder.join("environment/bin/python");
    let installed = folder.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(interpreter);
    }
    let environment = folder.join("environment");
    succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    succeed(
        Command::new(&interpreter)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(&requirements),
    )?;
    fs::write(&installed, wanted).context("noting what is installed")?;
    Ok(interpreter)
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn cache() -> Result<PathBuf> {
    let root = match std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(root.join("ai-saas-platform"))
}
