//! Writes the generated files: `generate ROOT`. Called by `cargo xtask generate`.

use std::path::PathBuf;

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let root = std::env::args_os().nth(1).map(PathBuf::from).context("usage: generate ROOT")?;
    ai_saas_platform_operator::generate::generate(&root)
}
