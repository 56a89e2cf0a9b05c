//! `schleuse-refresh`: started by `schleuse run` when `[revocation] sources` or audit sinks are named, or by a service
//! manager. SIGHUP reads the settings again; a change of the policy is noticed. What the confinement does not let in needs a
//! new start: the process ends, and whoever keeps it starts it again. SIGTERM ends.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Parser as _;
use daemon::{Arguments, EXIT_CONFIGURATION, EXIT_FAILURE, Reloads};
use node::{Directory, NODE_TOML, Sandbox, Settings};
use refresh::Refresher;
use refresh::confinement::{attempts, profile};
use refresh::sinks::{Plan, Shipping};
use settings::Finding;

/// Between two looks at the policy.
const LOOK: Duration = Duration::from_secs(2);

/// What the files say.
struct Loaded {
    settings: Settings,
    refresher: Refresher,
    plan: Plan,
    /// What keeps a sink from being reached: not a reason not to start, because the lists are needed too.
    findings: Vec<Finding>,
    /// What the policy was read from.
    seen: Stamps,
}

/// What tells a state of the policy, and of the files of `[syslog]`, from the next.
type Stamps = Vec<(PathBuf, Option<SystemTime>)>;

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
            Ok(Loaded { settings, plan, findings, .. }) => {
                let mut all = daemon::confinement_findings(&profile(settings, plan), is_required(settings));
                all.extend(findings.iter().cloned());
                all
            }
            Err(findings) => findings.clone(),
        };
        println!("{}", serde_json::to_string(&findings).unwrap_or_else(|_| "[]".to_owned()));
        return ExitCode::from(if findings.iter().any(Finding::is_error) { EXIT_CONFIGURATION } else { 0 });
    }
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(findings) => {
            findings.iter().for_each(|finding| eprintln!("schleuse-refresh: {finding}"));
            return ExitCode::from(EXIT_CONFIGURATION);
        }
    };
    if arguments.prove_confinement {
        return daemon::prove(&profile(&loaded.settings, &loaded.plan), &attempts(&loaded.settings, &loaded.plan));
    }
    if let Err(error) = begin(&loaded) {
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
    match runtime.block_on(run(loaded, arguments.supervised)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("schleuse-refresh: signals cannot be handled: {error}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

fn load() -> Result<Loaded, Vec<Finding>> {
    let root = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let (settings, _) = node::load(&Directory::new(&root))?;
    let refresher = Refresher::new(&settings)?;
    // Before they are read: a change in between is seen.
    let seen = stamps(&settings);
    let policy = policies::Policy::load(&node::read_policy(&settings)?.files)?;
    let plan = Plan::new(&settings, &policy);
    let remedy = "correct the files of [syslog] in node.toml, and make them readable for the refresher's user";
    let findings = plan.problems().into_iter().map(|text| Finding::in_file(NODE_TOML, text, remedy)).collect();
    Ok(Loaded { settings, refresher, plan, findings, seen })
}

fn is_required(settings: &Settings) -> bool {
    settings.sandbox == Sandbox::Required
}

/// Folders, then the confinement, before the first thread.
fn begin(loaded: &Loaded) -> Result<(), BeginError> {
    let Loaded { settings, plan, .. } = loaded;
    settings.directory.prepare(settings.gateway_user.as_ref())?;
    daemon::confine(&profile(settings, plan), is_required(settings))?;
    Ok(())
}

fn stamps(settings: &Settings) -> Stamps {
    let own = settings.syslog.certificate.iter().flat_map(|pair| [&pair.certificate, &pair.private_key]);
    let mut paths: Vec<PathBuf> = settings.syslog.authorities.iter().chain(own).cloned().collect();
    let directory = &settings.directory;
    for folder in [directory.policies(), directory.signed_policies()] {
        paths.extend(std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()));
    }
    paths.sort();
    let modified = |path: &PathBuf| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    paths.into_iter().map(|path| (modified(&path), path)).map(|(time, path)| (path, time)).collect()
}

/// Resolves when they differ from what they were.
async fn changed(settings: &Settings, seen: &mut Stamps) {
    loop {
        tokio::time::sleep(LOOK).await;
        let now = stamps(settings);
        if now != *seen {
            *seen = now;
            return;
        }
    }
}

async fn run(loaded: Loaded, supervised: bool) -> std::io::Result<ExitCode> {
    let Loaded { mut settings, mut refresher, plan, findings, mut seen } = loaded;
    findings.iter().for_each(|finding| tracing::error!(%finding, "audit sinks"));
    let confined = format!("{:?}", profile(&settings, &plan));
    let mut shipping: Shipping = plan.start();
    let mut reloads = Reloads::new()?;
    let stopped = daemon::stopped(supervised);
    tokio::pin!(stopped);
    let _ = daemon::notify("READY=1");
    // Says that this loop turns, also while a source makes it wait.
    let watchdog = daemon::keep_watchdog(|| async { true });
    tokio::pin!(watchdog);
    loop {
        tokio::select! {
            () = &mut watchdog => continue,
            reason = &mut stopped => {
                tracing::info!(reason = reason?, "refresh stops");
                return Ok(ExitCode::SUCCESS);
            }
            () = refresher.round() => continue,
            () = shipping.ended() => {
                tracing::error!("a shipper of audit records ended unexpectedly, and the refresher ends with it");
                return Ok(ExitCode::from(EXIT_FAILURE));
            }
            () = reloads.next() => {}
            () = changed(&settings, &mut seen) => {}
        }
        match load() {
            Ok(next) if format!("{:?}", profile(&next.settings, &next.plan)) != confined => {
                tracing::info!(
                    "sources or sinks are others than the confinement lets in: the refresher ends, to be started again"
                );
                return Ok(ExitCode::SUCCESS);
            }
            Ok(next) => {
                next.findings.iter().for_each(|finding| tracing::error!(%finding, "audit sinks"));
                // The old ones end first: a mark has one writer.
                drop(shipping);
                shipping = next.plan.start();
                (settings, refresher, seen) = (next.settings, next.refresher, next.seen);
            }
            Err(findings) => {
                let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
                tracing::error!(error = lines.join("; "), "reload failed, the last good settings stay in force");
            }
        }
    }
}
