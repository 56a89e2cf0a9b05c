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

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use fhir::Resource;
use store::{Store, StoreError, Transaction};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::definition::{Definition, Definitions};
use crate::outbox::Sending;
use crate::plugin::package::Package;
use crate::plugin::{Implementations, Plugin, PluginError};
use crate::work::Working;
use crate::{jobs, outbox, retention, work};
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
    pub(crate) definitions: Definitions,
    pub(crate) implementations: Implementations,
    /// Models of packages that are left out, and why.
    refused: Vec<String>,
    /// Whether a step that failed waits for an operator instead of failing its instance (`on-failure = "incident"`).
    pub(crate) keeps_incidents: bool,
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
        Self::start_with(store, node, plugins, &[], owner).await
    }

    /// As [`Self::start`], with the packages of the node: what of them cannot run is left out and reported.
    pub async fn start_with(
        store: Store,
        node: LocalNode,
        plugins: &[Plugin],
        packages: &[Package],
        owner: &str,
    ) -> Result<Self, ProcessError> {
        let mut definitions = Definitions::default();
        let mut implementations = Implementations::standard();
        plugins.iter().for_each(|plugin| implementations.extend(&plugin.implementations));
        // What a package binds is for classes that nobody here implements; it cannot take over those of others.
        packages.iter().for_each(|package| implementations.bind_missing(&package.plugin.implementations));
        for plugin in plugins {
            for definition in plugin.definitions_with(&implementations)? {
                if definitions.installed(&definition.key, &definition.version).is_some() {
                    let (key, version) = (definition.key, definition.version);
                    return Err(PluginError::Twice { plugin: plugin.name, key, version }.into());
                }
                definitions.install(Arc::new(definition));
            }
        }
        let refused = install_packages(&mut definitions, &implementations, packages);
        let installed: Vec<Arc<Definition>> = definitions.all_installed().map(Arc::clone).collect();
        let newest: Vec<Arc<Definition>> = definitions.all_newest().map(Arc::clone).collect();
        let own = owner.to_owned();
        let stored = store
            .write(move |tx| {
                for definition in &installed {
                    tx.insert_definition(&definition.digest, &definition.key, &definition.version, &definition.xml)?;
                }
                tx.release_locks(&own)?;
                timer_start::schedule(tx, &newest)?;
                Ok::<_, ProcessError>(tx.definitions()?)
            })
            .await?;
        for row in stored {
            if definitions.by_digest(&row.digest).is_some() {
                continue;
            }
            // A model of an earlier version that is not understood any more fails its instances, not the node.
            match Definition::parse(&row.xml) {
                Ok(definition) => definitions.keep(Arc::new(definition)),
                Err(error) => {
                    let (process, version, digest) = (row.process_key, row.version_tag, row.digest);
                    tracing::error!(process, version, digest, %error, "a stored process definition cannot be read; instances of it will fail");
                }
            }
        }
        Ok(Self {
            store,
            node: Arc::new(node),
            definitions,
            implementations,
            refused,
            keeps_incidents: false,
            owner: owner.to_owned(),
            sending: Sending::default(),
            working: Arc::default(),
        })
    }

    /// Takes over a Task that this transaction created with status `requested`; gives its newest version.
    pub fn accept(&self, tx: &mut Transaction<'_>, task: &Resource) -> Result<Option<Resource>, ProcessError> {
        accept::accept(self, tx, task)
    }

    /// Takes in a QuestionnaireResponse that this transaction has updated: an answer moves the instance that waits for it.
    pub fn answered(&self, tx: &mut Transaction<'_>, response: &Resource) -> Result<(), AnswerError> {
        answers::answered(self, tx, response)
    }

    /// Installed processes.
    pub fn installed(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.definitions.all_installed()
    }

    /// Has steps that failed wait for an operator, who retries, resolves or cancels.
    #[must_use]
    pub const fn keeping_incidents(mut self, keeps: bool) -> Self {
        self.keeps_incidents = keeps;
        self
    }

    /// Models of packages that were left out at the start, and why.
    #[must_use]
    pub fn refused(&self) -> &[String] {
        &self.refused
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

/// Installs the models of packages. A process that two of them bring is taken from neither, as in the reference.
fn install_packages(
    definitions: &mut Definitions,
    implementations: &Implementations,
    packages: &[Package],
) -> Vec<String> {
    let (mut refused, mut found) = (Vec::new(), Vec::new());
    for package in packages {
        for model in &package.plugin.models {
            match package.plugin.definition(model, implementations) {
                Ok(definition) => found.push((package, Arc::new(definition))),
                Err(error) => refused.push(format!("{}: {error}", package.source.display())),
            }
        }
    }
    let mut usable = Vec::new();
    for (package, definition) in &found {
        let (key, version) = (&definition.key, &definition.version);
        let same = found.iter().filter(|(_, other)| other.key == *key && other.version == *version);
        if definitions.installed(key, version).is_some() || same.count() > 1 {
            refused.push(format!("{}: process {key}|{version} is there more than once", package.source.display()));
        } else {
            usable.push(Arc::clone(definition));
        }
    }
    usable.into_iter().for_each(|definition| definitions.install(definition));
    for reason in &refused {
        tracing::warn!(reason, "a process of a package is left out");
    }
    refused
}
