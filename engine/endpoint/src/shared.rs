//! What all requests share: configuration, store, policies, hooks, and the values derived from the store.

use std::sync::Arc;

use fhir::ResourceType;
use policies::{AllowList, OrganizationIdentifier};
use store::{Store, StoreError, Transaction};
use tokio::sync::{Notify, Semaphore, watch};

use crate::answers::Answers;
use crate::cache::Cache;
use crate::clients::Clients;
use crate::conformance::{self, Conformance};
use crate::content::slots::Slots;
use crate::external::RemoteReferences;
use crate::hooks::{AllowListPublisher, Audit, TaskHandler};
use crate::meters::Meters;
use crate::policy_history::PolicyHistory;
use crate::publication::Publications;
use crate::serve::PeerCheck;
use crate::sources::{ALLOW_LIST_TYPES, Kept};

/// Shared by all requests.
pub(crate) struct Shared {
    pub(crate) base_url: String,
    pub(crate) base_path: String,
    pub(crate) page_count: u32,
    pub(crate) local: OrganizationIdentifier,
    pub(crate) software: Software,
    pub(crate) store: Store,
    pub(crate) policies: Arc<PolicyHistory>,
    pub(crate) peers: PeerCheck,
    pub(crate) tasks: Arc<dyn TaskHandler>,
    pub(crate) audit: Arc<dyn Audit>,
    pub(crate) publisher: Arc<dyn AllowListPublisher>,
    pub(crate) remote: Arc<dyn RemoteReferences>,
    pub(crate) metrics: Arc<dyn Fn() -> String + Send + Sync>,
    pub(crate) meters: Meters,
    pub(crate) allow_list: Arc<Cache<AllowList>>,
    pub(crate) conformance: Arc<Cache<Conformance>>,
    pub(crate) clients: Clients,
    pub(crate) answers: Answers,
    pub(crate) sockets: Arc<Semaphore>,
    /// Writes that are carried through even if their connection ends.
    pub(crate) writes: Arc<Semaphore>,
    pub(crate) bodies: Arc<Semaphore>,
    /// Contents that are being received.
    pub(crate) uploads: Arc<Slots>,
    /// Contents that are being sent.
    pub(crate) downloads: Arc<Slots>,
    /// Told when content was given up.
    pub(crate) released: Arc<Notify>,
    pub(crate) sources: Kept,
    pub(crate) publications: Publications,
    pub(crate) stop: watch::Sender<bool>,
}

/// What the capability statement says about the program.
#[derive(Clone, Debug)]
pub struct Software {
    /// Name.
    pub name: String,
    /// Version with the commit.
    pub version: String,
    /// Date of the release, `yyyy-mm-dd`.
    pub release_date: String,
}

impl Shared {
    /// The allow-list of committed data.
    pub(crate) async fn allow_list(self: &Arc<Self>) -> Result<Arc<AllowList>, StoreError> {
        let generation = self.allow_list.generation();
        if let Some(kept) = self.allow_list.get(generation) {
            return Ok(kept);
        }
        let shared = Arc::clone(self);
        let built: Arc<AllowList> = self
            .store
            .read(move |tx| {
                let sources = shared.sources.kept().changed(tx)?;
                let built = sources.allow_list(&shared.local, &shared.base_url);
                // A snapshot of committed data; what a writing transaction reads may still be rolled back.
                shared.sources.keep(sources);
                Ok::<_, StoreError>(Arc::new(built))
            })
            .await?;
        self.allow_list.fill(generation, &built);
        Ok(built)
    }

    /// The conformance resources of committed data.
    pub(crate) async fn conformance(&self) -> Result<Arc<Conformance>, StoreError> {
        let generation = self.conformance.generation();
        if let Some(kept) = self.conformance.get(generation) {
            return Ok(kept);
        }
        let built: Arc<Conformance> = self.store.read(|tx| Conformance::load(tx).map(Arc::new)).await?;
        self.conformance.fill(generation, &built);
        Ok(built)
    }

    /// The allow-list as a transaction sees it.
    pub(crate) fn build_allow_list(&self, tx: &mut Transaction<'_>) -> Result<Arc<AllowList>, StoreError> {
        let sources = self.sources.kept().changed(tx)?;
        Ok(Arc::new(sources.allow_list(&self.local, &self.base_url)))
    }

    /// Whether the allow-list or the profiles are built from resources of this type.
    pub(crate) fn is_source(resource_type: ResourceType) -> (bool, bool) {
        (ALLOW_LIST_TYPES.contains(&resource_type), conformance::TYPES.contains(&resource_type))
    }
}
