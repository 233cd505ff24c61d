//! The program in an analysis pod.

use std::path::PathBuf;
use std::process;

use analysis_base::environment::{Environment, Folders};
use analysis_base::{memory, run};
use clap::{Parser, Subcommand};
use crds::analysis::paths;

/// Memory that is freed goes back to the system soon, which glibc's allocator
/// does not do with many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Reads data sources, runs one analysis over them, and leaves a result.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one analysis to completion.
    Run(RunArguments),
}

#[derive(Debug, clap::Args)]
struct RunArguments {
    /// The specification, as JSON.
    #[arg(long, default_value = paths::SPECIFICATION)]
    specification: PathBuf,
    /// Where the summary is left.
    #[arg(long, default_value = paths::TERMINATION_MESSAGE, hide = true)]
    termination_message: PathBuf,
    /// A folder below which all others lie, instead of the root.
    #[arg(long, hide = true)]
    root: Option<PathBuf>,
    /// The container's memory limit in bytes.
    #[arg(long, env = "MEMORY_LIMIT_BYTES", hide = true)]
    memory_limit_bytes: Option<u64>,
    /// The container's cpu limit in whole cores.
    #[arg(long, env = "CPU_LIMIT", hide = true)]
    cpu_limit: Option<usize>,
    /// How many bytes the temporary folder may hold.
    #[arg(long, env = "TEMPORARY_LIMIT_BYTES", hide = true)]
    temporary_limit_bytes: Option<u64>,
}

fn main() {
    let Command::Run(arguments) = Arguments::parse().command;
    run::log_to_standard_error();
    let environment = Environment {
        folders: arguments.root.as_deref().map_or_else(Folders::default, Folders::below),
        memory_limit_bytes: arguments.memory_limit_bytes.unwrap_or_else(memory::surrounding_limit_bytes),
        temporary_limit_bytes: arguments.temporary_limit_bytes,
        cores: arguments
            .cpu_limit
            .or_else(|| std::thread::available_parallelism().ok().map(Into::into))
            .unwrap_or(1)
            .max(1),
    };
    let code = run::run(&arguments.specification, &arguments.termination_message, &environment);
    // Threads that compute without a pause are not waited for.
    process::exit(code);
}
