//! `schleuse-gateway`: started by `schleuse run` or by a service manager. SIGHUP reloads certificates, trust stores and
//! policies; SIGTERM finishes running requests and ends.

use std::process::ExitCode;

use clap::Parser as _;
use daemon::{Arguments, EXIT_CONFIGURATION};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    certs::install_provider();
    if let Err(error) = daemon::enter(&arguments) {
        eprintln!("schleuse-gateway: {error}");
        return ExitCode::from(EXIT_CONFIGURATION);
    }
    if arguments.check {
        return gateway::check();
    }
    if arguments.prove_confinement {
        return gateway::prove_confinement();
    }
    match gateway::run(arguments.supervised) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Once, for whoever reads it: a person, or what collects the log.
            if arguments.log_json {
                tracing::error!(%failure, "gateway does not run");
            } else {
                eprintln!("schleuse-gateway: {failure}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}
