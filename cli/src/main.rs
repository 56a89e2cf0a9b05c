//! `schleuse`, the command line.
//!
//! Every command answers in text for people or, with `--format json`, for programs. Exit codes: 0 done, 1 findings or
//! failure, 2 usage, 69 node not reachable, 78 configuration refused. Commands that concern a running node reach it
//! through the administration socket in its directory; the others work on files.

mod admin;
mod arguments;
mod command;
mod data_set;
mod demo;
mod feasibility;
mod http;
mod local;
mod output;
mod own;
mod record;
mod supervise;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    certs::install_provider();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("SCHLEUSE_LOG").unwrap_or_else(|_| "warn".into()))
        .init();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("schleuse: the runtime could not be started: {error}");
            return ExitCode::from(1);
        }
    };
    ExitCode::from(runtime.block_on(command::run(arguments)))
}
