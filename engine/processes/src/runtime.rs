//! The runtime: what accepts Tasks and moves instances. Workers and endpoint share one behind an `Arc`.

mod accept;
mod answers;
mod condemn;
mod environment;
mod operate;
mod settle;
mod takeover;
pub(crate) mod timer_start;
mod unit;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use fhir::Resource;
use store::{Store, StoreError, Transaction};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::catalogue::Catalogue;
use crate::definition::Definition;
use crate::outbox::Sending;
use crate::plugin::package::{Found, OnFailure};
use crate::plugin::{Plugin, PluginError};
use crate::retention::Retention;
use crate::work::Working;
use crate::{jobs, outbox, retention, state, work};
pub use answers::AnswerError;
pub(crate) use condemn::fail_instance;
pub use operate::OperateError;
pub(crate) use settle::fail as fail_task;
#[cfg(test)]
pub(crate) use takeover::take_over;
pub(crate) use unit::rows::read as read_instance;
pub(crate) use unit::{NO_PLUGIN, UNABLE_TO_CORRELATE, Unit};

/// The worker that ends when it is done.
const TAKEOVER: &str = "takeover";

/// The node that runs the processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNode {
    /// Identifier of its organisation.
    pub organization_identifier: String,
    /// Identifier of its endpoint.
    pub endpoint_identifier: String,
    /// Its base URL.
    pub base_url: String,
}

/// Runs processes.
pub struct Runtime {
    pub(crate) store: Store,
    pub(crate) node: Arc<LocalNode>,
    /// What is installed; replaced as a whole.
    catalogue: ArcSwap<Catalogue>,
    /// The built-in part of it.
    built_in: Catalogue,
    /// Whether a step that failed waits for an operator instead of failing its instance (`on-failure = "incident"`),
    /// unless its package says otherwise.
    keeps_incidents: bool,
    /// How long what has ended is kept.
    pub(crate) retention: Retention,
    /// The same for single built-in processes.
    keeps_incidents_of: BTreeMap<String, bool>,
    /// Name under which this engine claims jobs and messages.
    pub(crate) owner: String,
    /// Messages on their way.
    pub(crate) sending: Sending,
    /// Long steps that this engine works on.
    pub(crate) working: Arc<Working>,
}

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A plug-in cannot be loaded.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// An instance cannot be written.
    #[error("instance {id} cannot be written: {reason}")]
    Instance {
        /// Id.
        id: String,
        /// What is wrong.
        reason: String,
    },
}

// === impl ProcessError ===

impl ProcessError {
    /// Whether the same work would fail in the same way again. Then it must not be tried again, but end what caused it:
    /// a Task, a job or a message. Everything else is a state of database or disk that passes or is repaired.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Plugin(_) | Self::Instance { .. } => true,
            Self::Store(error) => is_final(error),
        }
    }
}

/// [`ProcessError::is_final`] of an error of the store.
pub(crate) const fn is_final(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Duplicate { .. }
            | StoreError::Missing { .. }
            | StoreError::Deleted { .. }
            | StoreError::NotDeleted { .. }
            | StoreError::VersionConflict { .. }
            | StoreError::Exists { .. }
            | StoreError::NoRecord { .. }
            | StoreError::TooLarge { .. }
            | StoreError::UnservedType(_)
            | StoreError::Unsearchable(_)
            | StoreError::Database(_)
            | StoreError::BadRow(_)
            | StoreError::Panicked(_)
    )
}

// === impl Runtime ===

impl Runtime {
    /// Loads the plug-ins, stores their definitions and takes over what an earlier run of this engine had claimed.
    pub async fn start(store: Store, node: LocalNode, plugins: &[Plugin], owner: &str) -> Result<Self, ProcessError> {
        Self::start_with(store, node, plugins, &Found::default(), owner).await
    }

    /// As [`Self::start`], with the packages of a folder: what of them cannot run is left out and reported.
    pub async fn start_with(
        store: Store,
        node: LocalNode,
        plugins: &[Plugin],
        found: &Found,
        owner: &str,
    ) -> Result<Self, ProcessError> {
        let built_in = Catalogue::built_in(plugins, &node)?;
        let runtime = Self {
            store,
            node: Arc::new(node),
            catalogue: ArcSwap::from_pointee(built_in.clone()),
            built_in,
            keeps_incidents: false,
            retention: Retention::default(),
            keeps_incidents_of: BTreeMap::new(),
            owner: owner.to_owned(),
            sending: Sending::default(),
            working: Arc::default(),
        };
        let own = owner.to_owned();
        runtime.store.write(move |tx| tx.release_locks(&own)).await?;
        runtime.install(runtime.judge(found)).await?;
        Ok(runtime)
    }

    /// What would be installed with these packages.
    #[must_use]
    pub fn judge(&self, found: &Found) -> Catalogue {
        self.built_in.with(found, &self.node)
    }

    /// Puts a catalogue in force: Tasks that come from now on meet it. Instances keep the definitions that they run.
    pub async fn install(&self, mut catalogue: Catalogue) -> Result<(), ProcessError> {
        for refused in catalogue.refused() {
            tracing::error!(refused = %refused, whole = refused.whole, "a plug-in, or a process of one, is left out");
        }
        let installed: Vec<Arc<Definition>> = catalogue.definitions.all_installed().map(Arc::clone).collect();
        let newest: Vec<Arc<Definition>> = catalogue.definitions.all_newest().map(Arc::clone).collect();
        let stored = self
            .store
            .write(move |tx| {
                for definition in &installed {
                    tx.insert_definition(&definition.digest, &definition.key, &definition.version, &definition.xml)?;
                }
                timer_start::schedule(tx, &newest)?;
                Ok::<_, ProcessError>(tx.definitions()?)
            })
            .await?;
        catalogue.definitions.keep_all(&self.catalogue().definitions);
        for row in stored {
            if catalogue.definitions.by_digest(&row.digest).is_some() {
                continue;
            }
            // A model of an earlier version that is not understood any more fails its instances, not the node.
            match Definition::parse(&row.xml) {
                Ok(definition) => catalogue.definitions.keep(Arc::new(definition)),
                Err(error) => {
                    let (process, version, digest) = (row.process_key, row.version_tag, row.digest);
                    tracing::error!(process, version, digest, %error, "a stored process definition cannot be read; instances of it will fail");
                }
            }
        }
        self.catalogue.store(Arc::new(catalogue));
        Ok(())
    }

    /// What is installed now.
    #[must_use]
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.load_full()
    }

    /// Whether a step of the process that failed waits for an operator: as its package says, else as the node does.
    pub(crate) fn keeps_incidents(&self, catalogue: &Catalogue, definition: &Definition) -> bool {
        let origin = catalogue.origin(&definition.key, &definition.version);
        let of_package = origin.and_then(|origin| origin.on_failure).map(|said| said == OnFailure::Incident);
        let own = || self.keeps_incidents_of.get(&definition.key).copied();
        of_package.or_else(own).unwrap_or(self.keeps_incidents)
    }

    /// Takes over a Task that this transaction created with status `requested`; gives its newest version.
    pub fn accept(&self, tx: &mut Transaction<'_>, task: &Resource) -> Result<Option<Resource>, ProcessError> {
        accept::accept(self, tx, task)
    }

    /// Begins an instance at the none start event of an installed process, without a Task: for programs that embed the engine.
    /// False if no such process is in use.
    pub fn begin(&self, tx: &mut Transaction<'_>, key: &str, version: &str) -> Result<bool, ProcessError> {
        let catalogue = self.catalogue();
        let definition = catalogue.definitions.installed(key, version);
        let start = definition.and_then(|definition| definition.process()?.none_start().cloned());
        let (Some(definition), Some(start)) = (definition, start) else { return Ok(false) };
        if !state::may_start(tx, key, version)? {
            return Ok(false);
        }
        let mut unit = Unit::new(self, tx);
        unit.start_alone(definition, start, Vec::new());
        unit.run().map(|()| true)
    }

    /// Takes in a QuestionnaireResponse that this transaction has updated: an answer moves the instance that waits for it.
    pub fn answered(&self, tx: &mut Transaction<'_>, response: &Resource) -> Result<(), AnswerError> {
        answers::answered(self, tx, response)
    }

    /// Installed processes.
    #[must_use]
    pub fn installed(&self) -> Vec<Arc<Definition>> {
        self.catalogue().installed()
    }

    /// Has steps that failed wait for an operator, who retries, resolves or cancels.
    #[must_use]
    pub const fn keeping_incidents(mut self, keeps: bool) -> Self {
        self.keeps_incidents = keeps;
        self
    }

    /// Removes what has ended or was replaced after these times.
    #[must_use]
    pub const fn keeping(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// The same for single built-in processes, by process id; an error names one that is none.
    pub fn with_incidents_of(mut self, of: BTreeMap<String, bool>) -> Result<Self, String> {
        let built_in = self.built_in.installed();
        if let Some(unknown) = of.keys().find(|key| !built_in.iter().any(|definition| definition.key == **key)) {
            return Err(unknown.clone());
        }
        self.keeps_incidents_of = of;
        Ok(self)
    }

    /// Runs the workers until `stop` turns true; work that has begun is finished. Returns earlier only if one of them has
    /// ended by itself, whichever it is: without it Tasks would stay where they are.
    ///
    /// What an earlier time left is taken over first, beside the running work: Tasks that nobody took (see
    /// `runtime/takeover.rs`).
    pub async fn work(self: Arc<Self>, messenger: Arc<dyn outbox::Messenger>, stop: watch::Receiver<bool>) {
        let mut workers = JoinSet::new();
        let mut start = |name: &'static str, worker: Pin<Box<dyn Future<Output = ()> + Send>>| {
            workers.spawn(async move {
                worker.await;
                name
            });
        };
        start(TAKEOVER, Box::pin(takeover::work(Arc::clone(&self), stop.clone())));
        start("jobs", Box::pin(jobs::work(Arc::clone(&self), stop.clone())));
        start("work", Box::pin(work::work(Arc::clone(&self), stop.clone())));
        start("retention", Box::pin(retention::work(Arc::clone(&self), stop.clone())));
        start("outbox", Box::pin(outbox::work(self, messenger, stop.clone())));
        while let Some(ended) = workers.join_next().await {
            match ended {
                Ok(TAKEOVER) => {}
                Ok(_) if *stop.borrow() => {}
                Ok(worker) => return tracing::error!(worker, "a worker ended by itself"),
                Err(error) => return tracing::error!(%error, "a worker ended abnormally"),
            }
        }
    }
}

/// Sleeps, but not beyond the stop of the workers.
pub(crate) async fn pause(stop: &mut watch::Receiver<bool>, time: std::time::Duration) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}
