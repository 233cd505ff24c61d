//! The operator's process. Everything is in the library.

use ai_saas_platform_operator::{Arguments, run};
use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    run(Arguments::parse()).await
}
