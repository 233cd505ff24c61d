//! The program in an analysis pod.

use std::io::Write as _;
use std::path::PathBuf;
use std::process;

use analysis_base::environment::{ENGINE_STACK_BYTES, Environment, Folders};
use analysis_base::run::Input;
use analysis_base::{memory, run, serve};
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
    /// Serve data sets and analyses over HTTP.
    Serve(serve::Arguments),
    /// Print the document that describes the API of the service.
    Openapi,
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
    /// How many bytes a file may have.
    #[arg(long, env = "FILE_LIMIT_BYTES", hide = true)]
    file_limit_bytes: Option<u64>,
    /// How many bytes the stack of each thread of the engine has.
    #[arg(long, env = "ENGINE_STACK_BYTES", hide = true, default_value_t = ENGINE_STACK_BYTES)]
    engine_stack_bytes: usize,
    /// Stop, as on SIGTERM, when standard input ends: whoever started this
    /// process holds it open, and is gone then.
    #[arg(long, env = "END_WITH_INPUT", hide = true)]
    end_with_input: bool,
    /// Read web servers only at addresses of the public internet.
    #[arg(long, env = "PUBLIC_ADDRESSES_ONLY", hide = true)]
    public_addresses_only: bool,
}

fn main() {
    let code = match Arguments::parse().command {
        Command::Run(arguments) => run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Openapi => print_document(),
    };
    // Threads that compute without a pause are not waited for.
    process::exit(code);
}

fn print_document() -> i32 {
    let printed = serde_json::to_string_pretty(&serve::document())
        .map_err(std::io::Error::from)
        .and_then(|document| writeln!(std::io::stdout(), "{document}"));
    i32::from(printed.is_err())
}

fn run(arguments: &RunArguments) -> i32 {
    run::log_to_standard_error();
    let environment = Environment {
        folders: arguments.root.as_deref().map_or_else(Folders::default, Folders::below),
        memory_limit_bytes: arguments.memory_limit_bytes.unwrap_or_else(memory::surrounding_limit_bytes),
        temporary_limit_bytes: arguments.temporary_limit_bytes,
        file_limit_bytes: arguments.file_limit_bytes,
        engine_stack_bytes: arguments.engine_stack_bytes,
        cores: arguments
            .cpu_limit
            .or_else(|| std::thread::available_parallelism().ok().map(Into::into))
            .unwrap_or(1)
            .max(1),
        public_addresses_only: arguments.public_addresses_only,
    };
    let input = if arguments.end_with_input { Input::EndsTheRun } else { Input::IsNotRead };
    run::run(&arguments.specification, &arguments.termination_message, &environment, input)
}
