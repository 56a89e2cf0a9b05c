//! `schleuse-engine`: started by `schleuse run` or by a service manager.

use std::process::ExitCode;

use clap::Parser as _;
use daemon::{Arguments, EXIT_CONFIGURATION, EXIT_FAILURE};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    certs::install_provider();
    if let Err(error) = daemon::enter(&arguments) {
        eprintln!("schleuse-engine: {error}");
        return ExitCode::from(EXIT_CONFIGURATION);
    }
    if arguments.check {
        return engine::check();
    }
    if arguments.prove_confinement {
        return engine::prove_confinement();
    }
    match engine::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("schleuse-engine: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(source) = cause {
                eprintln!("  because: {source}");
                cause = source.source();
            }
            ExitCode::from(if error.is_configuration() { EXIT_CONFIGURATION } else { EXIT_FAILURE })
        }
    }
}
