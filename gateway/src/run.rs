//! From an empty process to a serving gateway and back.
//!
//! Everything that can be wrong is found before the sockets are opened, and said with its remedy; then signals drive the
//! rest: SIGHUP reloads, SIGTERM and SIGINT drain and end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use audit::retention::Retention;
use audit::{Log, Options, checkpoint};
use confine::Confinement;
use daemon::{Parts, Reloads};
use listenfd::ListenFd;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use node::{Directory, Sandbox, Settings};
use pingora::apps::ServerApp as _;
use policies::Finding;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

use crate::admin::{Management, SettingsFile};
use crate::limits::{self, FIRST_LINK, METRICS_UPKEEP};
use crate::listen::Listener;
use crate::record::Happened;
use crate::reload::{self, Active, LoadError};
use crate::sinks::Sinks;
use crate::withdrawn::{self, Withdrawn};
use crate::{allow_list, confinement, expiry, forward};

/// Name of this process in files of the node.
pub(crate) const PROCESS: &str = "gateway";

/// Why the gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Settings, certificates, trust or policy cannot be used.
    #[error("{0}")]
    Configuration(String),
    /// The machine does not give what is needed.
    #[error("{text}\n  remedy: {remedy}")]
    Environment {
        /// What happened.
        text: String,
        /// What to do.
        remedy: &'static str,
    },
}

/// The sockets that partners and monitoring connect to.
struct Sockets {
    partners: std::net::TcpListener,
    management: std::net::TcpListener,
}

// === impl Failure ===

impl Failure {
    /// 78 (EX_CONFIG) when the configuration is refused, else 1.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) => 78,
            Self::Environment { .. } => 1,
        }
    }

    fn environment(text: impl Into<String>, remedy: &'static str) -> Self {
        Self::Environment { text: text.into(), remedy }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Self::Configuration(error.to_string())
    }
}

/// Runs the gateway of the node in the working directory until it is told to stop.
pub fn run(supervised: bool) -> Result<(), Failure> {
    // Before anything of TLS: the HTTP library would install another provider.
    certs::install_provider();
    let root = std::env::current_dir()
        .map_err(|error| Failure::Configuration(format!("the working directory cannot be used: {error}")))?;
    // Before it is read: a change in between is seen.
    let file = SettingsFile::seen(root.join(node::NODE_TOML));
    let (settings, warnings) = node::load(&Directory::new(&root)).map_err(|findings| {
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        Failure::Configuration(lines.join("\n"))
    })?;
    for warning in &warnings {
        tracing::warn!(finding = %warning, "node.toml");
    }
    let metrics = install_metrics()?;
    let loaded = reload::load(&settings, None, OffsetDateTime::now_utc())?;
    prepare_folders(&settings)?;
    // All sockets of the network are opened here; the confinement that follows lets no further one be made.
    let sockets = Sockets::open(&settings)?;
    let confinement = confine(&settings)?;
    // Accepts and looks after the rest; the workers serve.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| no_threads(&error))?;
    runtime.block_on(serve(settings, file, loaded, sockets, confinement, metrics, supervised))
}

fn prepare_folders(settings: &Settings) -> Result<(), Failure> {
    let directory = &settings.directory;
    directory.prepare(settings.gateway_user.as_ref()).map_err(|error| {
        let text = format!("folders of {} cannot be made: {error}", directory.root().display());
        Failure::environment(text, "make the directory writable for the gateway's user")
    })
}

fn confine(settings: &Settings) -> Result<Confinement, Failure> {
    let is_required = settings.sandbox == Sandbox::Required;
    daemon::confine(&confinement::profile(settings), is_required)
        .map_err(|error| Failure::Configuration(format!("node.sandbox: {error}\n  remedy: {}", error.remedy())))
}

/// Tries what the confinement forbids and prints what came of it.
#[must_use]
pub fn prove_confinement() -> ExitCode {
    let root = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    match node::load(&Directory::new(&root)) {
        Ok((settings, _)) => daemon::prove(&confinement::profile(&settings), &confinement::attempts(&settings)),
        Err(findings) => {
            findings.iter().for_each(|finding| eprintln!("schleuse-gateway: {finding}"));
            ExitCode::from(daemon::EXIT_CONFIGURATION)
        }
    }
}

/// Loads everything that a start loads and prints all findings as JSON; exit code 78 if one is an error.
#[must_use]
pub fn check() -> ExitCode {
    let directory = Directory::new(Path::new("."));
    let findings = match node::load(&directory) {
        Ok((settings, mut findings)) => {
            let is_required = settings.sandbox == Sandbox::Required;
            findings.extend(daemon::confinement_findings(&confinement::profile(&settings), is_required));
            match reload::load(&settings, None, OffsetDateTime::now_utc()) {
                Ok(loaded) => {
                    findings.extend(loaded.policy.warnings().iter().cloned());
                    findings.extend(expiry::findings(&loaded, OffsetDateTime::now_utc()));
                    findings.extend(withdrawn::findings(&settings, &loaded, OffsetDateTime::now_utc()));
                }
                Err(error) => findings.extend(error.into_findings()),
            }
            findings
        }
        // The files that node.toml names are not known, but the policy has its place.
        Err(mut findings) => {
            findings.extend(reload::policy_findings(&directory));
            findings
        }
    };
    println!("{}", serde_json::to_string(&findings).unwrap_or_else(|_| "[]".to_owned()));
    ExitCode::from(if findings.iter().any(Finding::is_error) { daemon::EXIT_CONFIGURATION } else { 0 })
}

async fn serve(
    settings: Settings,
    file: SettingsFile,
    loaded: reload::Loaded,
    sockets: Sockets,
    confinement: Confinement,
    metrics: PrometheusHandle,
    supervised: bool,
) -> Result<(), Failure> {
    let mut reloads = Reloads::new().map_err(|error| no_signals(&error))?;
    let directory = settings.directory.clone();
    remember(&settings, &loaded).map_err(|finding| Failure::Configuration(finding.to_string()))?;
    let audit = open_audit(&directory.audit().join("gateway.log"))?;
    let copy = directory.snapshot_copy();
    let active = Active::new(settings.base_url.clone(), loaded, allow_list::last_good(&copy));
    let withdrawn = Withdrawn::load(&settings, &active).map_err(|findings| {
        Failure::Configuration(findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    let (stop, stopped) = watch::channel(false);
    let engine_socket = PathBuf::from(link::socket::ENGINE);
    let proxy = forward::build(
        Arc::clone(&active),
        Arc::clone(&audit),
        &engine_socket,
        &settings.server_certificate.certificate,
        settings.workers.gateway,
        stopped.clone(),
    )
    .map_err(|error| Failure::environment(error.to_string(), "start the gateway in the node's directory"))?;

    happened(&audit, &active, "started", active.basis().signed.as_ref().map(ToString::to_string));
    let reload_wanted = Arc::new(Notify::new());
    let mut parts = Parts::default();
    let link = allow_list::Link {
        active: Arc::clone(&active),
        audit: Arc::clone(&audit),
        socket: PathBuf::from(link::socket::SNAPSHOT),
        copy,
        reload: Arc::clone(&reload_wanted),
    };
    parts.start("link to the engine", link.follow(stopped.clone()));
    parts.start("expiry of certificates", expiry::watch(Arc::clone(&active), stopped.clone()));
    parts.start("metrics", keep_up(metrics.clone()));
    parts.start(
        "blocks and revocation lists",
        withdrawn.watch(Arc::clone(&active), Arc::clone(&audit), stopped.clone()),
    );
    let sinks = Sinks::new(directory.clone());
    parts.start("audit sinks", sinks.watch(Arc::clone(&active), Arc::clone(&audit), stopped.clone()));
    let key = Arc::new(node::ProcessKey::new(settings.server_certificate.clone()));
    if let Some(kept) = settings.retention.audit {
        let in_force = Arc::clone(&active);
        let sinks = move || in_force.basis().policy.audit().sink.clone();
        let receivers = Arc::new(node::TakenBySinks::new(directory, sinks));
        let signer = Arc::clone(&key) as Arc<dyn checkpoint::Signer>;
        let retention = Retention { chain: PROCESS, kept, signer, receivers };
        parts.start("retention of the audit log", retention.keep(Arc::clone(&audit)));
    }
    parts.start("checkpoints of the audit log", checkpoint::keep(Arc::clone(&audit), PROCESS, key));
    let management = Management::new(
        Arc::clone(&active),
        Arc::clone(&audit),
        metrics,
        engine_socket,
        confinement,
        file.clone(),
        stopped.clone(),
    );
    parts.start("management", management.run(serving(sockets.management)?));
    let workers = daemon::Workers::start("gateway", settings.workers.gateway).map_err(|error| no_threads(&error))?;
    let listener = Listener::new(Arc::clone(&proxy), Arc::clone(&active), Arc::clone(&audit), workers, stopped);
    let partners = Arc::clone(&listener).run(serving(sockets.partners)?);
    let (linked, told) = (Arc::clone(&active), stop.subscribe());
    parts.start("listener", async move {
        first_link(&linked, told).await;
        partners.await;
    });
    let watched = Arc::clone(&listener);
    parts.start("watchdog", async move {
        daemon::keep_watchdog(|| async { watched.workers_turn().await }).await;
    });
    tracing::info!(address = %settings.listen, management = %settings.management.address, "gateway serves");
    notify("READY=1");

    let reloader = Reloader { settings: &settings, file: &file, active: &active, audit: &audit };
    follow_signals(&mut reloads, &reload_wanted, supervised, &reloader, &mut parts).await?;

    notify("STOPPING=1");
    let _ = stop.send(true);
    // Who was let in may still send what they came for, and is told to come back elsewhere; then those that idle are ended.
    listener.drained(limits::LAST_REQUESTS).await;
    proxy.cleanup().await;
    let left = listener.drained(limits::DRAIN).await;
    if left > 0 {
        tracing::warn!(connections = left, "connections ended by force");
    }
    parts
        .finish(&[
            "metrics",
            "management",
            "listener",
            "watchdog",
            "checkpoints of the audit log",
            "retention of the audit log",
        ])
        .await;
    happened(&audit, &active, "stopped", None);
    let key = node::ProcessKey::new(settings.server_certificate);
    if let Err(error) = checkpoint::write(&audit, PROCESS, &key, OffsetDateTime::now_utc()) {
        tracing::error!(%error, "no checkpoint of the audit log");
    }
    if let Err(error) = audit.durable(audit.newest()).await {
        tracing::error!(%error, "audit log is not on disk");
    }
    Ok(())
}

/// Reloads on SIGHUP and when the engine asks for it; returns when the process shall end. A part that has ended by itself
/// ends the gateway at once, without draining: what it watched over is not watched any more.
async fn follow_signals(
    reloads: &mut Reloads,
    reload_wanted: &Notify,
    supervised: bool,
    reloader: &Reloader<'_>,
    parts: &mut Parts,
) -> Result<(), Failure> {
    let stopped = daemon::stopped(supervised);
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            reason = &mut stopped => {
                tracing::info!(reason = reason.map_err(|error| no_signals(&error))?, "gateway stops");
                return Ok(());
            }
            part = parts.first_ended() => {
                tracing::error!(part, "ended unexpectedly, and the gateway ends with it");
                return Err(Failure::environment(
                    format!("{part} ended unexpectedly"),
                    "start the gateway again, and report this with the log above",
                ));
            }
            () = reloads.next() => reloader.reload().await,
            () = reload_wanted.notified() => reloader.reload().await,
        }
    }
}

/// Waits for the engine, not for long.
async fn first_link(active: &Active, mut stop: watch::Receiver<bool>) {
    const LOOK: Duration = Duration::from_millis(5);
    let linked = async {
        while !(active.is_link_up() && active.basis().snapshot.is_some()) {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(FIRST_LINK, linked) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// Samples of histograms pile up until somebody sums them: monitoring that asks, or this.
async fn keep_up(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(METRICS_UPKEEP).await;
        metrics.run_upkeep();
    }
}

fn no_threads(error: &std::io::Error) -> Failure {
    Failure::environment(format!("threads cannot start: {error}"), "raise the limit of threads")
}

fn no_signals(error: &std::io::Error) -> Failure {
    Failure::environment(format!("signals cannot be handled: {error}"), "report this")
}

/// Reads the files again.
struct Reloader<'r> {
    settings: &'r Settings,
    file: &'r SettingsFile,
    active: &'r Active,
    audit: &'r Log,
}

impl Reloader<'_> {
    /// Replaces what is in force, or keeps it.
    async fn reload(&self) {
        notify("RELOADING=1");
        if self.file.is_changed() {
            tracing::warn!(
                "node.toml was changed: what it says to the gateway takes effect when the gateway is started again; [officers] with the next signed policy"
            );
        }
        match self.replace().await {
            Ok(()) => {
                let basis = self.active.basis();
                tracing::info!(policy = basis.policy.version(), "reloaded");
                metrics::gauge!("schleuse_reload_last_success").set(unix_seconds());
                happened(self.audit, self.active, "reloaded", basis.signed.as_ref().map(ToString::to_string));
            }
            Err(error) => {
                tracing::error!(error, "reload failed, the last good state stays in force");
                metrics::counter!("schleuse_reload_failures_total").increment(1);
                happened(self.audit, self.active, "reload-failed", Some(error));
            }
        }
        notify("READY=1");
    }

    async fn replace(&self) -> Result<(), String> {
        // As they were at the start: the confined process cannot read node.toml again.
        let (settings, officers) = (self.settings.clone(), self.active.basis().officers.clone());
        let load = move || reload::load(&settings, officers.as_deref(), OffsetDateTime::now_utc());
        let loaded = tokio::task::spawn_blocking(load);
        let loaded = loaded.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        if let Some(lost) = withdrawn::regression(&self.active.tls(), &loaded.tls) {
            return Err(lost);
        }
        remember(self.settings, &loaded).map_err(|finding| finding.to_string())?;
        self.active.replace(loaded);
        Ok(())
    }
}

/// From here on no older signed policy is accepted.
fn remember(settings: &Settings, loaded: &reload::Loaded) -> Result<(), Finding> {
    node::PolicyMemory::of(&settings.directory, PROCESS).remember(loaded.signed.as_ref())
}

fn unix_seconds() -> f64 {
    (OffsetDateTime::now_utc() - OffsetDateTime::UNIX_EPOCH).as_seconds_f64()
}

// === Parts ===

impl Sockets {
    /// Takes the sockets that systemd passed, by their names `partners` and `management` (without names in this order), or
    /// opens them.
    fn open(settings: &Settings) -> Result<Self, Failure> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut inherited = ListenFd::from_env();
        let partners = position(&names, "partners").unwrap_or(0);
        let management = position(&names, "management").unwrap_or(1);
        let partners = listen(&mut inherited, partners, settings.listen, "listen")?;
        let management = listen(&mut inherited, management, settings.management.address, "management")?;
        on_this_machine(&management)?;
        Ok(Self { partners, management })
    }
}

/// Who asks at the management listener is not identified, so nobody else may reach it: the settings take care of their own
/// address, a unit of systemd may name another.
fn on_this_machine(management: &std::net::TcpListener) -> Result<(), Failure> {
    let (place, is_loopback) = match management.local_addr() {
        Ok(address) => (address.to_string(), address.ip().is_loopback()),
        Err(error) => (error.to_string(), false),
    };
    if is_loopback {
        return Ok(());
    }
    let remedy = "give the socket unit of the management listener an address of 127.0.0.0/8 or ::1, and look whether its sockets have the names partners and management";
    Err(Failure::environment(format!("the management socket is reachable from outside ({place})"), remedy))
}

/// Where a socket stands among the inherited ones; units of two sockets come in no order that one could rely on.
fn position(names: &str, name: &str) -> Option<usize> {
    names.split(':').position(|known| known == name)
}

fn serving(socket: std::net::TcpListener) -> Result<TcpListener, Failure> {
    TcpListener::from_std(socket)
        .map_err(|error| Failure::environment(format!("a socket cannot be served: {error}"), "report this"))
}

fn listen(
    inherited: &mut ListenFd,
    index: usize,
    address: SocketAddr,
    key: &str,
) -> Result<std::net::TcpListener, Failure> {
    const REMEDY: &str = "stop the program that uses the address, or choose another in node.toml";
    let unusable = |error: std::io::Error| {
        Failure::environment(format!("[{key}] address {address} cannot be opened: {error}"), REMEDY)
    };
    let socket = match inherited.take_tcp_listener(index).map_err(unusable)? {
        Some(socket) => socket,
        None => std::net::TcpListener::bind(address).map_err(unusable)?,
    };
    socket.set_nonblocking(true).map_err(unusable)?;
    Ok(socket)
}

fn open_audit(path: &Path) -> Result<Arc<Log>, Failure> {
    Log::open(path, Options::default()).map(Arc::new).map_err(|error| {
        Failure::environment(
            error.to_string(),
            "make the folder audit/ writable for the gateway's user, and see that only one gateway of the node runs",
        )
    })
}

fn install_metrics() -> Result<PrometheusHandle, Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::environment(format!("metrics cannot be kept: {error}"), "report this");
    let seconds = [0.000_001, 0.000_01, 0.000_1, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &seconds)
        .map_err(|error| failed(&error))?
        .install_recorder()
        .map_err(|error| failed(&error))?;
    metrics::gauge!("schleuse_reload_last_success").set(unix_seconds());
    metrics::counter!("schleuse_reload_failures_total").absolute(0);
    Ok(handle)
}

fn happened(audit: &Log, active: &Active, event: &'static str, detail: Option<String>) {
    let basis = active.basis();
    let record = Happened { event, policy_version: basis.policy.version(), detail };
    if let Err(error) = audit.append(OffsetDateTime::now_utc(), &record) {
        tracing::error!(%error, event, "audit log cannot be written");
    }
}

/// Tells the service manager, if one listens.
fn notify(state: &str) {
    if let Err(error) = daemon::notify(state) {
        tracing::warn!(%error, "service manager cannot be told");
    }
}
