//! Start, work, stop.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use audit::Log;
use client::Client;
use daemon::{Arguments, EXIT_CONFIGURATION, Parts, Reloads};
use endpoint::{Endpoint, PolicyHistory, peer_uids};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use node::Settings;
use processes::ProcessError;
use settings::Finding;
use store::{Store, StoreError};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};

use crate::administration::Administration;
use crate::allow_lists::PartnerLists;
use crate::base_resources::BaseResourceError;
use crate::bootstrap::{self, BootstrapError};
use crate::configuration::{Configuration, ConfigurationError, PROCESS};
use crate::confinement;
use crate::data_sharing as keys;
use crate::database;
use crate::initial_bundle::{self, InitialBundleError};
use crate::inside::Inside;
use crate::messenger::{Outgoing, client_settings, list_client_settings};
use crate::records::Records;
use crate::snapshots::Snapshots;
use crate::trial;
use crate::workers::{self, Workers, WorkersError};

/// Size at which the next audit file is begun.
pub(crate) const AUDIT_FILE_BYTES: u64 = 256 << 20;
/// What the kernel says of users without a number (`/proc/sys/kernel/overflowuid`, which is never changed in practice and
/// which a confined process cannot read).
pub(crate) const UNMAPPED_USER: u32 = 65_534;

/// Why the engine ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is refused.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// The kernel does not confine the engine as the node requires.
    #[error("node.sandbox: {0}; {remedy}", remedy = .0.remedy())]
    Confinement(#[from] confine::ConfineError),
    /// The outgoing client cannot be made.
    #[error("outgoing connections cannot be made: {0}; {remedy}", remedy = .0.remedy())]
    Client(#[from] client::SettingsError),
    /// The store cannot be opened.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// The settings of the database server cannot be used.
    #[error("the store cannot be used: {0}")]
    Database(String),
    /// Another engine runs in the directory.
    #[error("the lock {path} cannot be taken; stop the other engine of this directory, or give this one its own")]
    Directory {
        /// Path.
        path: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The audit log cannot be opened.
    #[error("the audit log audit/engine.log cannot be used")]
    Audit(#[from] audit::LogError),
    /// The base resources cannot be stored.
    #[error(transparent)]
    BaseResources(#[from] BaseResourceError),
    /// The node cannot begin.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The initial Bundle cannot be carried out.
    #[error(transparent)]
    InitialBundle(#[from] InitialBundleError),
    /// The processes cannot begin.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The node says something of a process that is not its own.
    #[error(
        "[engine.process.{0}] of node.toml names no built-in process; `schleuse process list` shows them, and a plug-in says it in its plugin.toml"
    )]
    UnknownProcess(String),
    /// Workers cannot be served.
    #[error(transparent)]
    Workers(#[from] WorkersError),
    /// A socket cannot be made.
    #[error("the socket {path} cannot be made; make the folder run/ writable for the engine's user")]
    Socket {
        /// Path.
        path: &'static str,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The operating system refused something.
    #[error("the operating system refused {what}")]
    System {
        /// What.
        what: &'static str,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// A part of the engine ended by itself.
    #[error("{part} ended unexpectedly; the reason is in the log above, starting again continues where it stopped")]
    Part {
        /// Which.
        part: &'static str,
    },
    /// A changed key that a reload cannot put in force.
    #[error("{key} was changed, which takes effect at the next start; restart the node or restore the value")]
    NeedsRestart {
        /// Which.
        key: &'static str,
    },
    /// The metrics recorder was set twice.
    #[error("metrics cannot be recorded")]
    Metrics,
}

impl RunError {
    /// Whether starting again without a change of files is useless.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Configuration(_)
                | Self::Confinement(_)
                | Self::Client(_)
                | Self::Database(_)
                | Self::Workers(_)
                | Self::Bootstrap(BootstrapError::OtherAddress { .. } | BootstrapError::Packages(_))
                | Self::InitialBundle(InitialBundleError::File { .. } | InitialBundleError::Refused { .. })
        )
    }
}

/// Loads the configuration and prints its findings as JSON.
#[must_use]
pub fn check() -> ExitCode {
    let (findings, code) = match Configuration::load(None) {
        Ok(mut configuration) => {
            configuration.warnings.extend(trial::findings(&configuration));
            let is_wrong = configuration.warnings.iter().any(Finding::is_error);
            (configuration.warnings, if is_wrong { EXIT_CONFIGURATION } else { 0 })
        }
        Err(ConfigurationError(findings)) => (findings, EXIT_CONFIGURATION),
    };
    print_findings(&findings);
    ExitCode::from(code)
}

/// Tries what the confinement forbids and prints what came of it.
#[must_use]
pub fn prove_confinement() -> ExitCode {
    let root = std::env::current_dir().unwrap_or_else(|_| std::path::PathBuf::from("."));
    match node::load(&node::Directory::new(&root)) {
        Ok((settings, _)) => daemon::prove(&confinement::profile(&settings), &confinement::attempts(&settings)),
        Err(findings) => {
            findings.iter().for_each(|finding| eprintln!("schleuse-engine: {finding}"));
            ExitCode::from(EXIT_CONFIGURATION)
        }
    }
}

fn print_findings(findings: &[Finding]) {
    println!("{}", serde_json::to_string(findings).unwrap_or_else(|_| "[]".to_owned()));
}

/// Runs the engine of the node in the working directory until it is told to stop.
pub fn run(arguments: &Arguments) -> Result<(), RunError> {
    let configuration = Configuration::load(None)?;
    let system = |what| move |source| RunError::System { what, source };
    let settings = &configuration.settings;
    settings.directory.prepare(settings.gateway_user.as_ref()).map_err(system("the folders of the node"))?;
    // What the confined process can no longer read.
    let gateway = gateway_uid(settings);
    let worker_port = settings.workers.external.as_ref().map(workers::bind).transpose()?;
    confinement::enter(settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(configuration.settings.workers.engine)
        .enable_all()
        .build()
        .map_err(system("threads"))?;
    runtime.block_on(run_in(configuration, gateway, worker_port, arguments.supervised))
}

async fn run_in(
    configuration: Configuration,
    gateway: u32,
    worker_port: Option<std::net::TcpListener>,
    supervised: bool,
) -> Result<(), RunError> {
    let started = Instant::now();
    // First of all: until it is taken over, the signal ends the process.
    let reloads = Reloads::new().map_err(|source| RunError::System { what: "SIGHUP", source })?;
    for warning in &configuration.warnings {
        tracing::warn!(finding = %warning, "configuration");
    }
    let metrics = record_metrics()?;
    let _lock = database::lock(&configuration.settings)?;
    configuration.remember()?;
    let store = database::open(&configuration.settings).await?;
    crate::base_resources::store_missing(&store).await?;

    let audit_file = configuration.settings.directory.audit().join("engine.log");
    let log = Arc::new(Log::open(&audit_file, audit::Options { file_bytes: AUDIT_FILE_BYTES })?);
    let records = Records::new(Arc::clone(&log));
    let key = Arc::new(node::ProcessKey::new(configuration.settings.client_certificate.clone()));
    let keys_folder = configuration.settings.directory.data();
    let inside =
        Inside::open(&configuration, &keys_folder, gateway, &store, &records, Arc::new(move || metrics.render()))
            .await?;
    let Inside { outgoing, lists, node_keys, processes, snapshots, policies, endpoint, plug_ins } = inside;
    let settings = &configuration.settings;
    initial_bundle::apply(&configuration, &endpoint, &store).await?;
    endpoint.publish_allow_list().await;
    if settings.engine.processes == node::Processes::Installed {
        keys::announce(&configuration, &endpoint, &store, &node_keys).await?;
    }

    let (stop, stopping) = watch::channel(false);
    let (ask_reload, reload_asked) = mpsc::channel(1);
    let certificate = Arc::new(ArcSwap::from_pointee(configuration.credentials.certificate().clone()));
    let officers = Arc::new(ArcSwapOption::from_pointee(configuration.officers.clone()));
    let administration = Administration::new(
        &configuration,
        &endpoint,
        &store,
        &processes,
        &snapshots,
        &policies,
        &plug_ins,
        &records,
        &certificate,
        &officers,
        ask_reload,
    );
    let messenger = Arc::clone(&outgoing) as Arc<dyn processes::Messenger>;
    let organization = settings.organization_identifier.clone();
    let mode = link_mode(settings);
    let reload = Reload {
        settings: configuration.settings,
        policies,
        outgoing,
        lists,
        endpoint: endpoint.clone(),
        store: store.clone(),
        certificate,
        officers,
        snapshots: Arc::clone(&snapshots),
    };

    let threads = reload.settings.workers.engine;
    let workers = worker_port
        .zip(reload.settings.workers.external.as_ref())
        .map(|(port, external)| Workers::new(port, external, &processes, &store, &records, stopping.clone()));
    let workers = workers.transpose()?;
    let mut parts = Parts::default();
    if let Some(workers) = workers {
        parts.start("external workers", workers.serve(stopping.clone()));
    }
    parts.start(
        "publication of the allow-list",
        snapshots.serve(listen(link::socket::SNAPSHOT, mode)?, peer_uids(vec![gateway])),
    );
    parts.start("administration", administration.serve(listen(link::socket::ADMIN, 0o600)?, stopping.clone()));
    parts.start("processes", processes.work(messenger, stopping.clone()));
    let connections =
        daemon::Workers::start("endpoint", threads).map_err(|source| RunError::System { what: "threads", source })?;
    let connections = Arc::new(connections);
    let served = Arc::clone(&connections);
    parts.start("endpoint", endpoint::serve(listen(link::socket::ENGINE, mode)?, endpoint, served, closed(stopping)));
    parts.start("audit", records.keep_on_disk());
    if let Some(kept) = reload.settings.retention.audit {
        let in_force = Arc::clone(&reload.policies);
        let sinks = move || in_force.active().audit().sink.clone();
        let receivers = Arc::new(node::TakenBySinks::new(reload.settings.directory.clone(), sinks));
        let signer = Arc::clone(&key) as Arc<dyn audit::checkpoint::Signer>;
        let retention = audit::retention::Retention { chain: PROCESS, kept, signer, receivers };
        parts.start("retention of the audit log", retention.keep(Arc::clone(&log)));
    }
    parts.start("checkpoints", audit::checkpoint::keep(log, PROCESS, key));
    parts.start("reload", reload.serve(reloads, reload_asked));
    parts.start("levels for the metrics", crate::gauges::keep(store.clone()));
    parts.start("plug-ins of other engines", Arc::clone(&plug_ins).follow_others());
    let watched = store.clone();
    // A pass through the store's reader and every thread: what hangs or fails there serves nobody.
    parts.start("watchdog", async move {
        let is_well = || async {
            connections.turn().await;
            watched.read(|tx| tx.count_outbox()).await.is_ok()
        };
        daemon::keep_watchdog(is_well).await;
    });
    daemon::notify_ready().map_err(|source| RunError::System { what: "the word to the service manager", source })?;
    tracing::info!(milliseconds = started.elapsed().as_millis() as u64, %organization, "engine is ready");

    // A part that ends by itself has failed: limping on would lose work silently, a new start does not.
    let result = tokio::select! {
        reason = daemon::stopped(supervised) => {
            let reason = reason.map_err(|source| RunError::System { what: "signals", source });
            reason.map(|reason| tracing::info!(reason, "engine stops"))
        }
        part = parts.first_ended() => Err(RunError::Part { part }),
    };
    stop.send_replace(true);
    parts
        .finish(&[
            "publication of the allow-list",
            "audit",
            "checkpoints",
            "retention of the audit log",
            "reload",
            "levels for the metrics",
            "plug-ins of other engines",
            "watchdog",
        ])
        .await;
    store.close().await;
    result
}

fn record_metrics() -> Result<PrometheusHandle, RunError> {
    let handle = PrometheusBuilder::new().install_recorder().map_err(|_| RunError::Metrics)?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            upkeep.run_upkeep();
        }
    });
    Ok(handle)
}

/// The one user that is believed to be the gateway: its own, or where both run as one user, the engine's. In a user
/// namespace of its own (`PrivateUsers=`) the engine sees the gateway's user without a number; there it believes those whom
/// the modes of socket and folder let through, which [`listen`] demands to be the group alone.
fn gateway_uid(settings: &Settings) -> u32 {
    let own = || rustix::process::getuid().as_raw();
    let uid = settings.gateway_user.as_ref().map_or_else(own, |user| user.uid);
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if is_mapped(uid, &map) { uid } else { UNMAPPED_USER }
}

/// Whether a user of the machine has a number in this process's user namespace.
fn is_mapped(uid: u32, map: &str) -> bool {
    map.is_empty()
        || map.lines().any(|line| {
            let numbers: Vec<u64> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
            matches!(numbers.as_slice(), [_, outside, count] if (*outside..outside.saturating_add(*count)).contains(&u64::from(uid)))
        })
}

/// A gateway of another user reaches the sockets through the group of the folder; who it is, its credentials tell.
fn link_mode(settings: &Settings) -> u32 {
    if settings.gateway_user.is_some() { 0o660 } else { 0o600 }
}

/// Replaces a socket that an earlier run left. The lock of the store or of the directory makes
/// sure that no other engine listens there.
fn listen(path: &'static str, mode: u32) -> Result<UnixListener, RunError> {
    let fail = |source| RunError::Socket { path, source };
    let folder = Path::new(path).parent().unwrap_or_else(|| Path::new("."));
    let reachable = std::fs::metadata(folder).map_err(fail)?.permissions().mode() & 0o007;
    if reachable != 0 {
        let text = format!("the folder {} is open to other users; chmod o-rwx {}", folder.display(), folder.display());
        return Err(fail(std::io::Error::new(std::io::ErrorKind::PermissionDenied, text)));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(fail)?;
    std::fs::set_permissions(Path::new(path), std::fs::Permissions::from_mode(mode)).map_err(fail)?;
    Ok(listener)
}

async fn closed(mut stopping: watch::Receiver<bool>) {
    while !*stopping.borrow_and_update() {
        if stopping.changed().await.is_err() {
            return;
        }
    }
}

/// What SIGHUP reads again: policies, certificates, the way out. What cannot be read leaves everything as it was.
struct Reload {
    /// As they were at start.
    settings: Settings,
    policies: Arc<PolicyHistory>,
    outgoing: Arc<Outgoing>,
    lists: Arc<PartnerLists>,
    endpoint: Endpoint,
    store: Store,
    certificate: Arc<ArcSwap<certs::Certificate>>,
    /// Who is in office.
    officers: Arc<ArcSwapOption<node::Officers>>,
    snapshots: Arc<Snapshots>,
}

/// What an administrator's reload is answered with: the version of the policy in force, or why it is the one before.
pub(crate) type ReloadAnswer = oneshot::Sender<Result<String, String>>;

impl Reload {
    /// A signal concerns each process for itself; a command is passed on to the gateways when the engine is done.
    async fn serve(self, mut reloads: Reloads, mut asked: mpsc::Receiver<ReloadAnswer>) {
        loop {
            let answer = tokio::select! {
                () = reloads.next() => None,
                Some(answer) = asked.recv() => Some(answer),
            };
            let result = match self.reload().await {
                Ok(policy_version) => {
                    metrics::gauge!("schleuse_reload_last_success").set(unix_seconds());
                    tracing::info!(policy_version, "configuration reloaded");
                    Ok(policy_version)
                }
                Err(error) => {
                    metrics::counter!("schleuse_reload_failures_total").increment(1);
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, cause, "configuration not reloaded; the one before stays in force");
                    Err(error.to_string())
                }
            };
            if let Some(answer) = answer {
                if result.is_ok() {
                    self.snapshots.reload_gateways();
                }
                // Who has asked may be gone.
                let _ = answer.send(result);
            }
        }
    }

    async fn reload(&self) -> Result<String, RunError> {
        let officers = self.officers.load_full();
        let configuration = Configuration::load(officers.as_deref())?;
        let settings = &configuration.settings;
        if let Some(key) = needs_restart(&self.settings, settings) {
            return Err(RunError::NeedsRestart { key });
        }
        for warning in &configuration.warnings {
            tracing::warn!(finding = %warning, "configuration");
        }
        let outgoing = client_settings(settings, &configuration.policy, &self.outgoing.allow_list);
        let lists = list_client_settings(settings, &configuration.policy, &self.outgoing.allow_list);
        // A renewed certificate is on the own allow-list before it is shown to anybody.
        Client::new(outgoing.clone())?;
        bootstrap::own_node(&configuration, &self.endpoint, &self.store).await?;
        configuration.remember()?;
        self.outgoing.client.reload(outgoing)?;
        self.lists.client.reload(lists)?;
        self.certificate.store(Arc::new(configuration.credentials.certificate().clone()));
        let version = configuration.policy.version().to_owned();
        self.officers.store(configuration.officers.map(Arc::new));
        self.policies.activate(configuration.policy);
        Ok(version)
    }
}

/// The first key that was changed although it takes effect only at start.
fn needs_restart(before: &Settings, now: &Settings) -> Option<&'static str> {
    let changed = [
        ("node.organization-identifier", before.organization_identifier != now.organization_identifier),
        ("node.base-url", before.base_url != now.base_url),
        ("node.sandbox", before.sandbox != now.sandbox),
        ("node.gateway-user", before.gateway_user != now.gateway_user),
        ("node.endpoint-identifier", before.endpoint_identifier != now.endpoint_identifier),
        ("store", before.store != now.store),
        ("workers.engine", before.workers.engine != now.workers.engine),
        ("workers", before.workers.external != now.workers.external),
        ("engine.on-failure", before.engine.on_failure != now.engine.on_failure),
        ("engine.process", before.engine.on_failure_of != now.engine.on_failure_of),
        ("engine.plugins", before.engine.plugins != now.engine.plugins),
        ("engine.processes", before.engine.processes != now.engine.processes),
        ("source", before.source != now.source),
        ("data-sharing", before.data_sharing != now.data_sharing),
        ("feasibility", before.feasibility != now.feasibility),
        ("retention", before.retention != now.retention),
    ];
    changed.iter().find(|(_, is_changed)| *is_changed).map(|(key, _)| *key)
}

fn unix_seconds() -> f64 {
    (time::OffsetDateTime::now_utc() - time::OffsetDateTime::UNIX_EPOCH).as_seconds_f64()
}

#[cfg(test)]
mod tests;
