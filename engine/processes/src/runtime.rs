//! The runtime: what accepts Tasks and moves instances. Workers and endpoint share one behind an `Arc`.

mod accept;
mod environment;
mod settle;
mod unit;

use std::sync::Arc;

use fhir::Resource;
use store::{Store, StoreError, Transaction};
use time::OffsetDateTime;

use crate::definition::{Definition, DefinitionError, Definitions};
use crate::plugin::{Implementations, Plugin, PluginError};
use crate::{jobs, limits, outbox};
pub(crate) use settle::fail as fail_task;
pub(crate) use unit::{UNABLE_TO_CORRELATE, Unit};

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
    pub(crate) node: LocalNode,
    pub(crate) definitions: Definitions,
    pub(crate) implementations: Implementations,
    /// Name under which this engine claims jobs and messages.
    pub(crate) owner: String,
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
    /// A stored model cannot be read any more.
    #[error("stored definition {digest}: {source}")]
    Definition {
        /// Digest.
        digest: String,
        /// Cause.
        #[source]
        source: DefinitionError,
    },
    /// A stored instance cannot be read.
    #[error("instance {id} cannot be read: {reason}")]
    Instance {
        /// Id.
        id: String,
        /// What is wrong.
        reason: String,
    },
    /// The instance did not take a command.
    #[error("instance {id}: {source}")]
    Step {
        /// Id.
        id: String,
        /// Cause.
        #[source]
        source: bpmn::StepError,
    },
    /// Too many commands in one transaction.
    #[error("instance {id} ran {limit} commands without waiting", limit = limits::COMMANDS_PER_TRANSACTION)]
    Endless {
        /// Id.
        id: String,
    },
}

// === impl Runtime ===

impl Runtime {
    /// Loads the plug-ins, stores their definitions and takes over what an earlier run of this engine had claimed.
    pub async fn start(store: Store, node: LocalNode, plugins: &[Plugin], owner: &str) -> Result<Self, ProcessError> {
        let mut definitions = Definitions::default();
        let mut implementations = Implementations::default();
        for plugin in plugins {
            for definition in plugin.definitions()? {
                definitions.install(Arc::new(definition));
            }
            implementations.extend(&plugin.implementations);
        }
        let installed: Vec<Arc<Definition>> = definitions.all_installed().map(Arc::clone).collect();
        let own = owner.to_owned();
        let stored = store
            .write(move |tx| {
                for definition in &installed {
                    tx.insert_definition(&definition.digest, &definition.key, &definition.version, &definition.xml)?;
                }
                tx.release_locks(&own)?;
                tx.definitions()
            })
            .await?;
        for row in stored {
            if definitions.by_digest(&row.digest).is_some() {
                continue;
            }
            let definition = Definition::parse(&row.xml)
                .map_err(|source| ProcessError::Definition { digest: row.digest.clone(), source })?;
            definitions.keep(Arc::new(definition));
        }
        Ok(Self { store, node, definitions, implementations, owner: owner.to_owned() })
    }

    /// Takes over a Task that this transaction created with status `requested`; gives its newest version.
    pub fn accept(&self, tx: &mut Transaction<'_>, task: &Resource) -> Result<Option<Resource>, ProcessError> {
        accept::accept(self, tx, task)
    }

    /// Installed processes.
    pub fn installed(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.definitions.all_installed()
    }

    /// Runs the workers until `stop` resolves; work that has begun is finished.
    pub async fn work(
        self: Arc<Self>,
        messenger: Arc<dyn outbox::Messenger>,
        stop: tokio::sync::watch::Receiver<bool>,
    ) {
        let jobs = tokio::spawn(jobs::work(Arc::clone(&self), stop.clone()));
        let outbox = tokio::spawn(outbox::work(self, messenger, stop));
        for (name, worker) in [("jobs", jobs), ("outbox", outbox)] {
            if let Err(error) = worker.await {
                tracing::error!(worker = name, %error, "worker ended");
            }
        }
    }

    pub(crate) fn now() -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}
