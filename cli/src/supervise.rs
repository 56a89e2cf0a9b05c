//! Keeps the processes of a node running: starts `schleuse-engine` and `schleuse-gateway` from the folder of this
//! program, restarts whichever dies, passes SIGHUP on, and ends both in order (gateway first, so that nothing is accepted
//! that the engine no longer takes).
//!
//! The children hold the read end of a pipe as their standard input and leave when it closes; if this process is killed
//! with SIGKILL, they end as well and the node's directory is free for the next start.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

/// Pause before a restart, doubled for each death in a row, so that a node which cannot start does not spin.
const FIRST_RESTART_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause before a restart.
const LONGEST_RESTART_PAUSE: Duration = Duration::from_secs(5);
/// A process that lived this long starts again without a pause.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// Time to drain after SIGTERM before SIGKILL; longer than the drain time of the gateway itself.
const STOP_TIME: Duration = Duration::from_secs(15);
/// Between two looks at whether a node without a refresher wants one.
const POLICY_LOOK: Duration = Duration::from_secs(2);
/// Exit code of a program that refuses its configuration (`EX_CONFIG`); starting it again would change nothing.
pub(crate) const EXIT_CONFIGURATION: i32 = 78;

/// One of the two programs of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// `schleuse-engine`
    Engine,
    /// `schleuse-gateway`
    Gateway,
    /// `schleuse-refresh`, only if there is something to fetch or to ship
    Refresh,
}

/// Process ids of a running node; `None` while a process is being restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pids {
    /// Of the engine.
    pub(crate) engine: Option<u32>,
    /// Of the gateway.
    pub(crate) gateway: Option<u32>,
}

/// Why a node cannot be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SuperviseError {
    /// The program is not beside this one.
    #[error("{program} was not found at {path}; install all three programs of one release in the same folder")]
    Missing {
        /// File name.
        program: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It could not be started.
    #[error("{program} could not be started")]
    Start {
        /// File name.
        program: &'static str,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// It refused its configuration; its own message says why.
    #[error(
        "{program} refused the configuration of {directory}; see its message above, or run `schleuse check {directory}`"
    )]
    Configuration {
        /// File name.
        program: &'static str,
        /// Node directory.
        directory: PathBuf,
    },
}

/// What the supervisor is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Keep running.
    Run,
    /// Reload configuration; the number tells one reload from the next.
    Reload(u64),
    /// End both processes.
    Stop,
}

// === impl Program ===

impl Program {
    /// File name.
    pub(crate) const fn file_name(self) -> &'static str {
        match self {
            Self::Engine => "schleuse-engine",
            Self::Gateway => "schleuse-gateway",
            Self::Refresh => "schleuse-refresh",
        }
    }

    pub(crate) fn path(self) -> Result<PathBuf, SuperviseError> {
        let path = std::env::current_exe()
            .ok()
            .and_then(|own| Some(own.parent()?.join(self.file_name())))
            .unwrap_or_else(|| PathBuf::from(self.file_name()));
        if path.is_file() { Ok(path) } else { Err(SuperviseError::Missing { program: self.file_name(), path }) }
    }

    fn spawn(self, directory: &Path, log: Option<&Path>) -> Result<State, SuperviseError> {
        let start = |source| SuperviseError::Start { program: self.file_name(), source };
        let mut command = Command::new(self.path()?);
        command.arg("--directory").arg(directory).arg("--build").arg(link::BUILD).arg("--supervised");
        command.stdin(Stdio::piped()).kill_on_drop(true);
        if let Some(log) = log {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(log).map_err(start)?;
            command.stdout(file.try_clone().map_err(start)?).stderr(file);
        }
        let mut child = command.spawn().map_err(start)?;
        // Taken out, because waiting for a child closes the standard input that it still owns.
        let lifeline = child.stdin.take();
        Ok(State::Running { child: Box::new(child), since: Instant::now(), _lifeline: lifeline })
    }
}

/// Runs a node until it is told to stop. `log_directory` receives `engine.log` and `gateway.log`; without it both write
/// to the standard error of this process.
pub(crate) async fn run_node(
    directory: PathBuf,
    log_directory: Option<PathBuf>,
    mut orders: watch::Receiver<Order>,
    pids: watch::Sender<Pids>,
) -> Result<(), SuperviseError> {
    let log = |program: Program| {
        let name = match program {
            Program::Engine => "engine.log",
            Program::Gateway => "gateway.log",
            Program::Refresh => "refresh.log",
        };
        log_directory.as_ref().map(|folder| folder.join(name))
    };
    let mut engine = Keeper::start(Program::Engine, &directory, log(Program::Engine))?;
    let mut gateway = Keeper::start(Program::Gateway, &directory, log(Program::Gateway))?;
    let mut refresh = None;
    follow_sources(&mut refresh, &directory, log(Program::Refresh)).await?;
    let mut looks = tokio::time::interval(POLICY_LOOK);
    loop {
        pids.send_replace(Pids { engine: engine.pid(), gateway: gateway.pid() });
        tokio::select! {
            result = engine.next_change() => result?,
            result = gateway.next_change() => result?,
            result = next_of(&mut refresh) => result?,
            // A policy comes into force without this process; one with the first sink wants a refresher.
            _ = looks.tick() => {
                if refresh.is_none() {
                    follow_sources(&mut refresh, &directory, log(Program::Refresh)).await?;
                }
            }
            changed = orders.changed() => {
                let order = *orders.borrow_and_update();
                match order {
                    Order::Run if changed.is_ok() => {}
                    // The engine first: it must know a policy before the gateway sends permits of it.
                    Order::Reload(_) if changed.is_ok() => {
                        engine.signal(Signal::HUP);
                        gateway.signal(Signal::HUP);
                        follow_sources(&mut refresh, &directory, log(Program::Refresh)).await?;
                    }
                    _ => {
                        if let Some(refresh) = &mut refresh {
                            refresh.stop().await;
                        }
                        gateway.stop().await;
                        engine.stop().await;
                        pids.send_replace(Pids::default());
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Whether the policy names sinks of the audit log.
fn has_sinks(settings: &node::Settings) -> bool {
    let policy = node::read_policy(settings).and_then(|policy| policies::Policy::load(&policy.files));
    policy.is_ok_and(|policy| !policy.audit().sink.is_empty())
}

/// A node that fetches and ships nothing has no third process; whether it does may change with a reload. Settings that cannot be read
/// change nothing.
async fn follow_sources(
    refresh: &mut Option<Keeper>,
    directory: &Path,
    log: Option<PathBuf>,
) -> Result<(), SuperviseError> {
    let Ok((settings, _)) = node::load(&node::Directory::new(directory)) else { return Ok(()) };
    let is_needed = !settings.revocation.sources.is_empty() || has_sinks(&settings);
    match refresh {
        // Its confinement is made for its sources: others need a new start, which the keeper gives it.
        Some(running) if is_needed => running.stop().await,
        Some(running) => {
            running.stop().await;
            *refresh = None;
        }
        None if is_needed => *refresh = Some(Keeper::start(Program::Refresh, directory, log)?),
        None => {}
    }
    Ok(())
}

/// The next change of a process that may not be there.
async fn next_of(keeper: &mut Option<Keeper>) -> Result<(), SuperviseError> {
    match keeper {
        Some(keeper) => keeper.next_change().await,
        None => std::future::pending().await,
    }
}

/// One process and its restarts.
struct Keeper {
    program: Program,
    directory: PathBuf,
    log: Option<PathBuf>,
    state: State,
    pause: Duration,
}

enum State {
    Running { child: Box<Child>, since: Instant, _lifeline: Option<ChildStdin> },
    Pausing { until: tokio::time::Instant },
}

impl Keeper {
    fn start(program: Program, directory: &Path, log: Option<PathBuf>) -> Result<Self, SuperviseError> {
        let state = program.spawn(directory, log.as_deref())?;
        Ok(Self { program, directory: directory.to_owned(), log, state, pause: FIRST_RESTART_PAUSE })
    }

    fn pid(&self) -> Option<u32> {
        match &self.state {
            State::Running { child, .. } => child.id(),
            State::Pausing { .. } => None,
        }
    }

    /// Waits for a death or for the end of a pause, and moves on. Cancel-safe: the state changes after the last await.
    async fn next_change(&mut self) -> Result<(), SuperviseError> {
        match &mut self.state {
            State::Running { child, since, .. } => {
                let status = child.wait().await;
                let code = status.as_ref().ok().and_then(std::process::ExitStatus::code);
                // Without the refresher the node serves with the lists that it has; the log says what is wrong.
                if code == Some(EXIT_CONFIGURATION) && self.program != Program::Refresh {
                    let directory = self.directory.clone();
                    return Err(SuperviseError::Configuration { program: self.program.file_name(), directory });
                }
                if since.elapsed() >= STABLE_AFTER {
                    self.pause = FIRST_RESTART_PAUSE;
                }
                let ended = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                tracing::warn!(program = self.program.file_name(), directory = %self.directory.display(), ended, "process ended and is started again");
                self.state = State::Pausing { until: tokio::time::Instant::now() + self.pause };
                self.pause = (self.pause * 2).min(LONGEST_RESTART_PAUSE);
            }
            State::Pausing { until } => {
                tokio::time::sleep_until(*until).await;
                self.state = self.program.spawn(&self.directory, self.log.as_deref())?;
            }
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // The process may have ended a moment ago; then there is nobody to tell.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    async fn stop(&mut self) {
        self.signal(Signal::TERM);
        if let State::Running { child, .. } = &mut self.state
            && tokio::time::timeout(STOP_TIME, child.wait()).await.is_err()
        {
            tracing::warn!(program = self.program.file_name(), "process did not drain in time and is killed");
            let _ = child.kill().await;
        }
    }
}
