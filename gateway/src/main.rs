//! The program `schleuse-gateway`: logging, arguments, exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

/// The edge of a Schleuse node: mutual TLS, identity, policy, audit.
///
/// Started by `schleuse run` or by systemd. Reads node.toml, policies/, certificates/ and trust/ of the node, listens for
/// partners and hands permitted requests to the engine over run/engine.sock. SIGHUP reloads certificates, trust stores and
/// policies; SIGTERM finishes running requests and ends.
#[derive(Debug, Parser)]
#[command(name = "schleuse-gateway", version)]
struct Arguments {
    /// The directory of the node.
    #[arg(long)]
    directory: PathBuf,
    /// Logs one JSON object per line.
    #[arg(long)]
    log_json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_logging(arguments.log_json);
    match gateway::run(&arguments.directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!(%failure, "gateway does not run");
            eprintln!("schleuse-gateway: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn start_logging(json: bool) {
    // The proxy library reports each broken client as an error; what matters of that is logged here, once.
    let filter = EnvFilter::try_from_env("SCHLEUSE_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,pingora_core=error,pingora_proxy=error"));
    let _ = tracing_log::LogTracer::init();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    if json {
        let _ = tracing::subscriber::set_global_default(builder.json().finish());
    } else {
        let _ = tracing::subscriber::set_global_default(builder.finish());
    }
}
