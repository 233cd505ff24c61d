//! The tasks of this repository.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "telling the user what happens is what this program is for"
)]

mod bench;
mod buildah;
mod cache;
mod cargo;
mod chart;
mod cluster;
mod demo;
mod gateway_api;
mod generate;
mod go_modules;
mod images;
mod packages;
mod process;
mod schemas;
mod step;
mod target;
mod test;
mod versions;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The tasks of this repository", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, clap::Subcommand)]
enum Task {
    /// Bring up a cluster, install the platform, run the examples and show their results
    Demo(target::Arguments),
    /// Run every check and test; takes the local node down at the end
    Test(test::Options),
    /// Write the generated files
    Generate {
        /// Fail if they were not up to date
        #[arg(long)]
        check: bool,
    },
    /// Build the images and take them to the cluster
    Images(target::Arguments),
    /// The local Kubernetes node
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Run a benchmark
    Bench(bench::Options),
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nError: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Demo(arguments) => demo::demo(&arguments),
        Task::Test(options) => test::test(&options),
        Task::Generate { check } => generate::generate(check),
        Task::Images(arguments) => {
            let target = arguments.prepare(cluster::Options::default())?;
            for image in images::deliver(&target.delivery)? {
                println!(
                    "{}.repository={}\n{}.tag={}",
                    image.value, image.repository, image.value, image.tag
                );
            }
            Ok(())
        }
        Task::Cluster(command) => cluster::run(&command),
        Task::Bench(options) => bench::bench(&options),
    }
}
