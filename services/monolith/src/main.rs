//! The program of the front door.

use std::io::Write as _;

use clap::{Parser, Subcommand};
use monolith::serve::{ServeArguments, serve};

/// Memory that is freed goes back to the system soon, which glibc's allocator
/// does not do with many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The front door of a platform.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until told to stop.
    Serve(ServeArguments),
    /// Print the document that describes the gateway's own API.
    Openapi,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Serve(arguments) => serve(arguments).await,
        Command::Openapi => {
            let document = serde_json::to_string_pretty(&monolith::api::document()?)?;
            Ok(writeln!(std::io::stdout(), "{document}")?)
        }
    }
}
