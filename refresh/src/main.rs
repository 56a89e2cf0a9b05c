//! `schleuse-refresh`: started by `schleuse run` when `[revocation] sources` are named, or by a service manager. SIGHUP reads
//! the settings again; SIGTERM ends.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use daemon::{Arguments, EXIT_CONFIGURATION, EXIT_FAILURE, Reloads};
use node::Directory;
use refresh::Refresher;
use settings::Finding;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    certs::install_provider();
    if let Err(error) = daemon::enter(&arguments) {
        eprintln!("schleuse-refresh: {error}");
        return ExitCode::from(EXIT_CONFIGURATION);
    }
    let refresher = load();
    if arguments.check {
        let findings = refresher.err().unwrap_or_default();
        println!("{}", serde_json::to_string(&findings).unwrap_or_else(|_| "[]".to_owned()));
        return ExitCode::from(if findings.iter().any(Finding::is_error) { EXIT_CONFIGURATION } else { 0 });
    }
    let refresher = match refresher {
        Ok(refresher) => refresher,
        Err(findings) => {
            findings.iter().for_each(|finding| eprintln!("schleuse-refresh: {finding}"));
            return ExitCode::from(EXIT_CONFIGURATION);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("schleuse-refresh: the runtime cannot start: {error}");
            return ExitCode::from(EXIT_FAILURE);
        }
    };
    match runtime.block_on(run(refresher, arguments.supervised)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("schleuse-refresh: signals cannot be handled: {error}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

fn load() -> Result<Refresher, Vec<Finding>> {
    let (settings, _) = node::load(&Directory::new(Path::new(".")))?;
    Refresher::new(&settings)
}

async fn run(mut refresher: Refresher, supervised: bool) -> std::io::Result<()> {
    let mut reloads = Reloads::new()?;
    let stopped = daemon::stopped(supervised);
    tokio::pin!(stopped);
    let _ = daemon::notify("READY=1");
    loop {
        tokio::select! {
            reason = &mut stopped => {
                tracing::info!(reason = reason?, "refresh stops");
                return Ok(());
            }
            () = refresher.round() => {}
            () = reloads.next() => match load() {
                Ok(next) => refresher = next,
                Err(findings) => {
                    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
                    tracing::error!(error = lines.join("; "), "reload failed, the last good settings stay in force");
                }
            },
        }
    }
}
