//! The tables: made once, by tpchgen, and kept in the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ai_saas_platform_tests::{cache, tpch};
use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

/// As the generator writes it if nothing is said: row groups of 7 MiB before
/// they are compressed, with Snappy.
const ARGUMENTS: [&str; 6] = ["parquet", "--scale-factor", "1", "--no-progress", "--quiet", "--output-dir"];

/// The folder with a Parquet file for each table, at scale factor 1. Programs
/// of Python packages are beside the interpreter.
pub(crate) async fn ensure(interpreter: &Path) -> Result<PathBuf> {
    let folder = cache::folder()?.join("data/tpch-sf1");
    if folder.is_dir() {
        return Ok(folder);
    }
    let partial = folder.with_extension("partial");
    // What an earlier run may have left.
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial).with_context(|| format!("creating {}", partial.display()))?;
    let output = Command::new(interpreter.with_file_name("tpchgen-cli"))
        .args(ARGUMENTS)
        .arg(&partial)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("starting the generator")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the generator failed ({}):\n{complaint}", output.status);
    for table in tpch::TABLES {
        let file = partial.join(format!("{table}.parquet"));
        ensure!(file.is_file(), "the generator has not written {}", file.display());
    }
    fs::rename(&partial, &folder).with_context(|| format!("moving {} into place", folder.display()))?;
    Ok(folder)
}
