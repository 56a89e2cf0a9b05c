//! Start, work, stop.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use audit::Log;
use client::Client;
use daemon::{Arguments, EXIT_CONFIGURATION, Reloads};
use endpoint::{Endpoint, LeaveTasks, Options, PolicyHistory, Software, TaskHandler, peer_uids};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use node::{Processes, StoreUrl};
use policies::AllowList;
use processes::{LocalNode, Plugin, ProcessError, Runtime, ping_pong};
use settings::Finding;
use store::{IndexContext, Store, StoreError, StoreOptions};
use tokio::net::UnixListener;
use tokio::sync::watch;

use crate::administration::Administration;
use crate::base_resources::BaseResourceError;
use crate::bootstrap::{self, BootstrapError};
use crate::configuration::{Configuration, ConfigurationError};
use crate::messenger::{Outgoing, client_settings};
use crate::records::Records;
use crate::snapshots::Snapshots;
use crate::tasks::Tasks;

/// Name under which this engine claims jobs; a SQLite store has one engine.
const OWNER: &str = "engine";
/// Size at which the next audit file is begun.
const AUDIT_FILE_BYTES: u64 = 256 << 20;
/// Entries of a page when the client names no number (DSF: 20).
const PAGE_COUNT: u32 = 20;

/// Why the engine ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration is refused.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// The outgoing client cannot be made.
    #[error("outgoing connections cannot be made: {0}; {remedy}", remedy = .0.remedy())]
    Client(#[from] client::SettingsError),
    /// The store cannot be opened.
    #[error("the store cannot be used")]
    Store(#[from] StoreError),
    /// The audit log cannot be opened.
    #[error("the audit log audit/engine.log cannot be used")]
    Audit(#[from] audit::LogError),
    /// The base resources cannot be stored.
    #[error(transparent)]
    BaseResources(#[from] BaseResourceError),
    /// The node cannot begin.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The processes cannot begin.
    #[error(transparent)]
    Process(#[from] ProcessError),
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
            Self::Configuration(_) | Self::Client(_) | Self::Bootstrap(BootstrapError::OtherAddress { .. })
        )
    }
}

/// Loads the configuration and prints its findings as JSON.
#[must_use]
pub fn check() -> ExitCode {
    let (findings, code) = match Configuration::load() {
        Ok(configuration) => (configuration.warnings, 0),
        Err(ConfigurationError(findings)) => (findings, EXIT_CONFIGURATION),
    };
    print_findings(&findings);
    ExitCode::from(code)
}

fn print_findings(findings: &[Finding]) {
    println!("{}", serde_json::to_string(findings).unwrap_or_else(|_| "[]".to_owned()));
}

/// Runs the engine of the node in the working directory until it is told to stop.
pub fn run(arguments: &Arguments) -> Result<(), RunError> {
    let configuration = Configuration::load()?;
    let system = |what| move |source| RunError::System { what, source };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(configuration.settings.workers.engine)
        .enable_all()
        .build()
        .map_err(system("threads"))?;
    runtime.block_on(run_in(configuration, arguments.supervised))
}

async fn run_in(configuration: Configuration, supervised: bool) -> Result<(), RunError> {
    let started = Instant::now();
    for warning in &configuration.warnings {
        tracing::warn!(finding = %warning, "configuration");
    }
    configuration.settings.directory.create().map_err(|source| RunError::System { what: "the folders of the node", source })?;
    let metrics = record_metrics()?;
    let StoreUrl::Sqlite(path) = &configuration.settings.store;
    let context = IndexContext { base: Some(configuration.settings.base_url.as_str().to_owned()), ..IndexContext::default() };
    let store = Store::open_sqlite(path, StoreOptions { context, ..StoreOptions::default() }).await?;
    crate::base_resources::store_missing(&store).await?;

    let audit_file = configuration.settings.directory.audit().join("engine.log");
    let log = Arc::new(Log::open(&audit_file, audit::Options { file_bytes: AUDIT_FILE_BYTES })?);
    let records = Records::new(log);
    let settings = &configuration.settings;
    let empty = AllowList::empty(settings.organization_identifier.clone(), settings.base_url.as_str());
    let allow_list = Arc::new(ArcSwap::from_pointee(empty));
    let client = Client::new(client_settings(settings, &configuration.policy, &allow_list))?;
    let outgoing = Arc::new(Outgoing { client, allow_list: Arc::clone(&allow_list) });
    let plugins = installed(settings.engine.processes);
    let processes = Arc::new(Runtime::start(store.clone(), local_node(&configuration), &plugins, OWNER).await?);
    let snapshots = Snapshots::new(store.clone(), Arc::clone(&allow_list));
    let policies = Arc::new(PolicyHistory::new(Arc::clone(&configuration.policy)));

    let endpoint = Endpoint::new(Options {
        base_url: settings.base_url.as_str().to_owned(),
        organization: settings.organization_identifier.clone(),
        page_count: PAGE_COUNT,
        software: software(),
        store: store.clone(),
        policies: Arc::clone(&policies),
        peers: own_user(),
        tasks: task_handler(settings.engine.processes, &processes),
        audit: Arc::new(records.clone()),
        publisher: Arc::clone(&snapshots) as Arc<dyn endpoint::AllowListPublisher>,
        remote: Arc::clone(&outgoing) as Arc<dyn endpoint::RemoteReferences>,
        metrics: Arc::new(move || metrics.render()),
    });
    bootstrap::own_node(&configuration, &endpoint, &store).await?;
    bootstrap::plugins(&configuration, &endpoint, &plugins).await?;
    use endpoint::AllowListPublisher as _;
    snapshots.publish(endpoint.allow_list().await?).await;

    let (stop, stopping) = watch::channel(false);
    let snapshot_server = tokio::spawn(Arc::clone(&snapshots).serve(listen(link::socket::SNAPSHOT)?, own_user()));
    let administration = Administration::new(&configuration, &endpoint, &store, &processes, &snapshots, &policies, &records);
    let admin_server = tokio::spawn(administration.serve(listen(link::socket::ADMIN)?, stopping.clone()));
    let workers = tokio::spawn(Arc::clone(&processes).work(Arc::clone(&outgoing) as Arc<dyn processes::Messenger>, stopping.clone()));
    let closing = closed(stopping.clone());
    let server = tokio::spawn(endpoint::serve(listen(link::socket::ENGINE)?, endpoint.clone(), closing));
    let reloads = tokio::spawn(reload(Arc::clone(&policies), Arc::clone(&outgoing)));
    daemon::notify_ready().map_err(|source| RunError::System { what: "the word to the service manager", source })?;
    tracing::info!(milliseconds = started.elapsed().as_millis() as u64, organization = %settings.organization_identifier, "engine is ready");

    let reason = daemon::stopped(supervised).await.map_err(|source| RunError::System { what: "signals", source })?;
    tracing::info!(reason, "engine stops");
    stop.send_replace(true);
    reloads.abort();
    snapshot_server.abort();
    for (name, task) in [("endpoint", server), ("workers", workers), ("administration", admin_server)] {
        if tokio::time::timeout(Duration::from_secs(10), task).await.is_err() {
            tracing::warn!(name, "did not stop in time");
        }
    }
    store.close().await;
    Ok(())
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

fn installed(processes: Processes) -> Vec<Plugin> {
    match processes {
        Processes::Installed => vec![ping_pong::plugin()],
        Processes::None => Vec::new(),
    }
}

fn task_handler(processes: Processes, runtime: &Arc<Runtime>) -> Arc<dyn TaskHandler> {
    match processes {
        Processes::Installed => Arc::new(Tasks(Arc::clone(runtime))),
        Processes::None => Arc::new(LeaveTasks),
    }
}

fn local_node(configuration: &Configuration) -> LocalNode {
    let settings = &configuration.settings;
    LocalNode {
        organization_identifier: settings.organization_identifier.to_string(),
        endpoint_identifier: settings.endpoint_identifier.to_string(),
        base_url: settings.base_url.as_str().to_owned(),
    }
}

fn software() -> Software {
    Software {
        name: "Schleuse".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        release_date: "2026-11-22".to_owned(),
    }
}

/// Run as one user, the engine accepts its own user.
fn own_user() -> endpoint::PeerCheck {
    peer_uids(vec![rustix::process::getuid().as_raw()])
}

/// Replaces a socket that an earlier run left. The store's lock makes sure that no other engine listens there.
fn listen(path: &'static str) -> Result<UnixListener, RunError> {
    let fail = |source| RunError::Socket { path, source };
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(fail)?;
    std::fs::set_permissions(Path::new(path), std::fs::Permissions::from_mode(0o600)).map_err(fail)?;
    Ok(listener)
}

async fn closed(mut stopping: watch::Receiver<bool>) {
    while !*stopping.borrow_and_update() {
        if stopping.changed().await.is_err() {
            return;
        }
    }
}

/// Policies and certificates are read again on SIGHUP; what cannot be read leaves everything as it was.
async fn reload(policies: Arc<PolicyHistory>, outgoing: Arc<Outgoing>) {
    let Ok(mut reloads) = Reloads::new() else {
        tracing::error!("SIGHUP cannot be received; reload needs a restart");
        return;
    };
    loop {
        reloads.next().await;
        let result = Configuration::load().map_err(RunError::from).and_then(|configuration| {
            outgoing.client.reload(client_settings(&configuration.settings, &configuration.policy, &outgoing.allow_list))?;
            policies.activate(Arc::clone(&configuration.policy));
            Ok(configuration.policy.version().to_owned())
        });
        match result {
            Ok(policy_version) => {
                metrics::counter!("schleuse_reloads_total", "result" => "done").increment(1);
                tracing::info!(policy_version, "configuration reloaded");
            }
            Err(error) => {
                metrics::counter!("schleuse_reloads_total", "result" => "failed").increment(1);
                tracing::error!(%error, "configuration not reloaded; the one before stays in force");
            }
        }
    }
}
