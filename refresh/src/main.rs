//! `schleuse-refresh`: started by `schleuse run` when `[revocation] sources` are named, or by a service manager. SIGHUP reads
//! the settings again; SIGTERM ends.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use daemon::{Arguments, EXIT_CONFIGURATION, EXIT_FAILURE, Reloads};
use node::{Directory, Sandbox, Settings};
use refresh::Refresher;
use refresh::confinement::{attempts, ports, profile};
use settings::Finding;

/// Why the refresher does not begin.
#[derive(Debug, thiserror::Error)]
enum BeginError {
    #[error("folders of the node cannot be made: {0}; make the directory writable for the refresher's user")]
    Folders(#[from] std::io::Error),
    #[error("node.sandbox: {0}; {remedy}", remedy = .0.remedy())]
    Confinement(#[from] confine::ConfineError),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    certs::install_provider();
    if let Err(error) = daemon::enter(&arguments) {
        eprintln!("schleuse-refresh: {error}");
        return ExitCode::from(EXIT_CONFIGURATION);
    }
    let loaded = load();
    if arguments.check {
        let findings = match &loaded {
            Ok((settings, _)) => daemon::confinement_findings(&profile(settings), is_required(settings)),
            Err(findings) => findings.clone(),
        };
        println!("{}", serde_json::to_string(&findings).unwrap_or_else(|_| "[]".to_owned()));
        return ExitCode::from(if findings.iter().any(Finding::is_error) { EXIT_CONFIGURATION } else { 0 });
    }
    let (settings, refresher) = match loaded {
        Ok(loaded) => loaded,
        Err(findings) => {
            findings.iter().for_each(|finding| eprintln!("schleuse-refresh: {finding}"));
            return ExitCode::from(EXIT_CONFIGURATION);
        }
    };
    if arguments.prove_confinement {
        return daemon::prove(&profile(&settings), &attempts(&settings));
    }
    if let Err(error) = begin(&settings) {
        eprintln!("schleuse-refresh: {error}");
        return ExitCode::from(EXIT_CONFIGURATION);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("schleuse-refresh: the runtime cannot start: {error}");
            return ExitCode::from(EXIT_FAILURE);
        }
    };
    match runtime.block_on(run(settings, refresher, arguments.supervised)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("schleuse-refresh: signals cannot be handled: {error}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

fn load() -> Result<(Settings, Refresher), Vec<Finding>> {
    let root = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let (settings, _) = node::load(&Directory::new(&root))?;
    let refresher = Refresher::new(&settings)?;
    Ok((settings, refresher))
}

fn is_required(settings: &Settings) -> bool {
    settings.sandbox == Sandbox::Required
}

/// Folders, then the confinement, before the first thread.
fn begin(settings: &Settings) -> Result<(), BeginError> {
    settings.directory.prepare(settings.gateway_user.as_ref())?;
    daemon::confine(&profile(settings), is_required(settings))?;
    Ok(())
}

async fn run(settings: Settings, mut refresher: Refresher, supervised: bool) -> std::io::Result<()> {
    let mut reloads = Reloads::new()?;
    let stopped = daemon::stopped(supervised);
    tokio::pin!(stopped);
    let _ = daemon::notify("READY=1");
    // Says that this loop turns, also while a source makes it wait.
    let watchdog = daemon::keep_watchdog(|| async { true });
    tokio::pin!(watchdog);
    loop {
        tokio::select! {
            () = &mut watchdog => {}
            reason = &mut stopped => {
                tracing::info!(reason = reason?, "refresh stops");
                return Ok(());
            }
            () = refresher.round() => {}
            () = reloads.next() => match load() {
                Ok((next, _)) if ports(&next) != ports(&settings) => {
                    tracing::error!("sources have other ports, to which the confinement does not let: restart the refresher");
                }
                Ok((_, next)) => refresher = next,
                Err(findings) => {
                    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
                    tracing::error!(error = lines.join("; "), "reload failed, the last good settings stay in force");
                }
            },
        }
    }
}
