//! The endpoint as the engine makes it and holds it.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use fhir::{Resource, ResourceType};
use http::{Response, StatusCode};
use link::CorrelationId;
use policies::{AllowList, Identity, OrganizationIdentifier};
use store::{IndexContext, Store, StoreError};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{Notify, Semaphore, watch};

use crate::access::{identify_again, read_filter, shown_filter};
use crate::admit::Caller;
use crate::answers::Answers;
use crate::approval::{self, ApplyError, Judgement, ListChanges, PendingChange};
use crate::cache::{Cache, Change};
use crate::clients::Clients;
use crate::conformance::View;
use crate::content::slots::Slots;
use crate::content::{Contents, keeper};
use crate::external::RemoteReferences;
use crate::hooks::{AllowListPublisher, Audit, TaskHandler};
use crate::limits;
use crate::meters::Meters;
use crate::policy_history::PolicyHistory;
use crate::publication::{self, Publications};
use crate::refusal::Refusal;
use crate::serve::PeerCheck;
use crate::session::for_event;
use crate::shared::{Shared, Software};

/// What an endpoint is made of.
pub struct Options {
    /// Base URL of the node as partners know it, ending in the base path, without trailing slash.
    pub base_url: String,
    /// Identifier of the organisation that runs the node.
    pub organization: OrganizationIdentifier,
    /// Entries of a page if the client names no number.
    pub page_count: u32,
    /// What the capability statement says about the program.
    pub software: Software,
    /// The store.
    pub store: Store,
    /// The policies by which permits are accepted.
    pub policies: Arc<PolicyHistory>,
    /// Who may speak on the socket.
    pub peers: PeerCheck,
    /// Takes over accepted Tasks.
    pub tasks: Arc<dyn TaskHandler>,
    /// Keeps records.
    pub audit: Arc<dyn Audit>,
    /// Tells the gateways about a changed allow-list.
    pub publisher: Arc<dyn AllowListPublisher>,
    /// Asks other servers of the network whether resources exist.
    pub remote: Arc<dyn RemoteReferences>,
    /// The metrics of this process in the text format of Prometheus.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// The endpoint of a node; clones are the same endpoint.
#[derive(Clone)]
pub struct Endpoint {
    shared: Arc<Shared>,
}

/// The answer to a request of the engine itself.
#[derive(Clone, Debug)]
pub struct LocalAnswer {
    /// HTTP status.
    pub status: u16,
    /// The resource or response Bundle.
    pub resource: Option<Resource>,
}

/// A request of the engine itself was refused.
#[derive(Clone, Debug, thiserror::Error)]
#[error("refused with status {status}, {code}: {diagnostics}")]
pub struct LocalError {
    /// HTTP status.
    pub status: u16,
    /// Stable code.
    pub code: &'static str,
    /// Texts of the issues, for the log and for `schleuse check`.
    pub diagnostics: String,
    /// The OperationOutcome.
    pub outcome: Option<Resource>,
    /// The entry of a transaction that it is about, if it is one.
    pub entry: Option<u16>,
}

// === impl Endpoint ===

impl Endpoint {
    /// Makes an endpoint; must be called within a Tokio runtime.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let base_url = options.base_url.trim_end_matches('/').to_owned();
        let base_path = base_path(&base_url).to_owned();
        let shared = Arc::new(Shared {
            base_url,
            base_path,
            page_count: options.page_count.clamp(1, limits::PAGE_ENTRIES),
            local: options.organization,
            software: options.software,
            store: options.store,
            policies: options.policies,
            peers: options.peers,
            tasks: options.tasks,
            audit: options.audit,
            publisher: options.publisher,
            remote: options.remote,
            metrics: options.metrics,
            meters: Meters::default(),
            allow_list: Arc::new(Cache::new()),
            conformance: Arc::new(Cache::new()),
            clients: Clients::default(),
            answers: Answers::new(),
            sockets: Arc::new(Semaphore::new(limits::SOCKETS)),
            writes: Arc::new(Semaphore::new(limits::WRITES)),
            bodies: Arc::new(Semaphore::new(limits::BODIES_BYTES / crate::serve::SPACE_UNIT)),
            uploads: Slots::new(),
            downloads: Slots::new(),
            released: Arc::new(Notify::new()),
            sources: crate::sources::Kept::default(),
            publications: Publications::new(),
            stop: watch::channel(false).0,
        });
        follow_changes(&shared);
        keeper::start(&shared);
        publication::start(&shared);
        Self { shared }
    }

    /// The allow-list as it is stored.
    pub async fn allow_list(&self) -> Result<Arc<AllowList>, StoreError> {
        self.shared.allow_list().await
    }

    /// Publishes the allow-list as it is stored; resolves when it is the newest snapshot.
    pub async fn publish_allow_list(&self) {
        publication::published(&self.shared, self.shared.publications.request()).await;
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn peers(&self) -> &PeerCheck {
        &self.shared.peers
    }

    /// The space that request bodies take.
    pub(crate) fn body_space(&self) -> Arc<Semaphore> {
        Arc::clone(&self.shared.bodies)
    }

    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Resolves when the service stops.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        let mut stop = self.shared.stop.subscribe();
        // Who begins too late to see the change is told all the same.
        if *stop.borrow() {
            stop.mark_changed();
        }
        stop
    }

    /// Resolves when no WebSocket is open and no write is under way.
    pub(crate) async fn drained(&self) {
        let all = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        // An error is a closed semaphore, of which nobody holds a permit.
        drop(self.shared.sockets.acquire_many(all(limits::SOCKETS)).await);
        drop(self.shared.writes.acquire_many(all(limits::WRITES)).await);
    }

    pub(crate) fn close_sockets(&self) {
        self.shared.stop.send_replace(true);
    }

    /// 200 if the store answers.
    pub(crate) async fn health(&self) -> Response<Bytes> {
        let read: Result<(), StoreError> = self.shared.store.read(|tx| tx.setting("health").map(drop)).await;
        let mut response = Response::new(Bytes::new());
        if let Err(error) = read {
            tracing::error!(%error, "store does not answer");
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    }

    /// The metrics of this process.
    pub(crate) fn metrics(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from((self.shared.metrics)()));
        let media_type = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(http::header::CONTENT_TYPE, media_type);
        response
    }

    /// The current state of a Subscription, and what its criteria are to be read with.
    pub(crate) async fn read_subscription(
        &self,
        id: &str,
    ) -> Result<(Option<Arc<Resource>>, IndexContext), StoreError> {
        let id = id.to_owned();
        self.shared
            .store
            .read(move |tx| {
                let found = tx.read(ResourceType::Subscription, &id)?.current().map(|stored| stored.resource);
                Ok((found, tx.context().clone()))
            })
            .await
    }

    /// Who a caller who was admitted earlier is by the allow-list and the policy of now.
    pub(crate) async fn identity_now(&self, caller: &Caller) -> Result<Option<Identity>, StoreError> {
        let allow_list = self.shared.allow_list().await?;
        Ok(identify_again(&caller.identity, &allow_list, &self.shared.policies.active()))
    }

    /// Whether the caller, who is this identity now, may read a version.
    pub(crate) async fn may_read(
        &self,
        caller: &Caller,
        identity: &Identity,
        resource_type: ResourceType,
        id: &str,
        version: u64,
    ) -> Result<bool, StoreError> {
        if !identity.has_dsf_role(policies::DsfOperation::Read, Some(resource_type)) {
            return Ok(false);
        }
        let allow_list = self.shared.allow_list().await?;
        let policy = self.shared.policies.active();
        let filter = read_filter(identity, &allow_list);
        let now = time::OffsetDateTime::now_utc();
        let context = policies::Context { now, origin: caller.origin, body_bytes: None };
        let filter = shown_filter(&filter, identity, &allow_list, &policy, &context);
        let id = id.to_owned();
        self.shared.store.read(move |tx| tx.is_readable(resource_type, &id, version, &filter)).await
    }

    /// The resource as change events carry it: a StructureDefinition with its snapshot.
    pub(crate) async fn shown_in_event(&self, resource: Resource) -> Result<Resource, StoreError> {
        if resource.resource_type() != Some(ResourceType::StructureDefinition) {
            return Ok(resource);
        }
        let profiles = View::new(self.shared.conformance().await?);
        self.shared.store.read(move |tx| for_event(tx, resource, profiles.registry())).await
    }

    /// Carries out a resource or Bundle of the engine itself (own Organization and Endpoint, built-in and plug-in
    /// resources, the allow-list of a file) as the local organisation, through the same rules and validation as a
    /// request. A batch or transaction Bundle is processed; any other resource is created.
    ///
    /// `identity` must be local; a Bundle's entries may do what the DSF role of the identity allows.
    pub async fn execute_local(&self, identity: Identity, resource: Resource) -> Result<LocalAnswer, LocalError> {
        let caller = self.internal(identity, ListChanges::Governed);
        self.execute(caller, resource).await
    }

    /// The same for resources that come with the program: their snapshots are made when somebody asks for them, which
    /// saves most of the time of a first start.
    pub async fn execute_shipped(&self, identity: Identity, resource: Resource) -> Result<LocalAnswer, LocalError> {
        let caller = Caller { is_shipped: true, ..self.internal(identity, ListChanges::Governed) };
        self.execute(caller, resource).await
    }

    /// The same for the node's own Organization and Endpoint, which need no approval; nothing else of the allow-list may
    /// be in it.
    pub async fn execute_own_node(&self, identity: Identity, resource: Resource) -> Result<LocalAnswer, LocalError> {
        let caller = self.internal(identity, ListChanges::OwnNode);
        self.execute(caller, resource).await
    }

    /// The same for a change of the allow-list that must be approved whatever the policy says, because of its size. It is
    /// never carried out: it is refused, and waits.
    pub async fn execute_for_approval(
        &self,
        identity: Identity,
        resource: Resource,
    ) -> Result<LocalAnswer, LocalError> {
        let caller = self.internal(identity, ListChanges::Held);
        self.execute(caller, resource).await
    }

    async fn execute(&self, caller: Caller, resource: Resource) -> Result<LocalAnswer, LocalError> {
        if !caller.identity.is_local() {
            return Err(LocalError::from(&Refusal::forbidden("local", "identity is not local")));
        }
        crate::service::execute_local(&self.shared, Arc::new(caller), resource).await.map_err(|refusal| {
            tracing::warn!(%refusal, "request of the engine itself is refused");
            LocalError::from(&refusal)
        })
    }

    fn internal(&self, identity: Identity, list_changes: ListChanges) -> Caller {
        Caller {
            client: None,
            identity: Arc::new(identity),
            correlation_id: CorrelationId::random(),
            rule: "engine".to_owned(),
            policy: self.shared.policies.active(),
            origin: policies::Origin::Engine,
            is_internal: true,
            is_shipped: false,
            list_changes,
            contents: Arc::new(Contents::new()),
        }
    }

    /// Changes of the allow-list that wait for approval, oldest first.
    pub async fn pending_changes(&self) -> Result<Vec<PendingChange>, StoreError> {
        self.shared.store.read(approval::all).await
    }

    /// Drops a change that waits; whether it was there.
    pub async fn drop_pending(&self, digest: &str) -> Result<bool, StoreError> {
        let digest = digest.to_owned();
        self.shared.store.write(move |tx| approval::replace(tx, &digest, None)).await
    }

    /// Lets `judge` decide about a change that waits, and keeps its approvals or carries it out, all in one transaction.
    pub async fn approve_pending<E>(
        &self,
        identity: Identity,
        digest: &str,
        judge: impl FnOnce(&PendingChange) -> Result<Judgement, E> + Send + 'static,
    ) -> Result<Judgement, E>
    where
        E: From<ApplyError> + From<StoreError> + Send + 'static,
    {
        let caller = self.internal(identity, ListChanges::Approved);
        crate::service::approve_pending(&self.shared, Arc::new(caller), digest.to_owned(), judge).await
    }
}

// === impl LocalError ===

impl LocalError {
    /// Digest under which a change of the allow-list waits for approval, if that is why: the last word of what is said.
    #[must_use]
    pub fn pending(&self) -> Option<&str> {
        let digest = self.diagnostics.rsplit(' ').next()?;
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        (self.code == crate::Code::Approval.as_str() && is_digest).then_some(digest)
    }
}

impl From<&Refusal> for LocalError {
    fn from(refusal: &Refusal) -> Self {
        let texts: Vec<String> = refusal
            .issues
            .iter()
            .map(|issue| match &issue.expression {
                Some(expression) => format!("{expression}: {}", issue.diagnostics),
                None => issue.diagnostics.clone(),
            })
            .collect();
        Self {
            status: refusal.status.as_u16(),
            code: refusal.code.as_str(),
            diagnostics: texts.join("; "),
            outcome: refusal.outcome(),
            entry: refusal.entry.and_then(|entry| u16::try_from(entry).ok()),
        }
    }
}

/// The path of an absolute URL.
fn base_path(base_url: &str) -> &str {
    let after_scheme = base_url.split_once("://").map_or(base_url, |(_, rest)| rest);
    after_scheme.find('/').and_then(|start| after_scheme.get(start..)).unwrap_or_default()
}

/// Other writers of the same store (processes, another engine on the same database) change sources of the caches too.
fn follow_changes(shared: &Arc<Shared>) {
    let mut changes = shared.store.subscribe();
    let shared = Arc::downgrade(shared);
    // A transaction of this engine must not decide by what another engine has changed before it.
    let observing = Weak::clone(&shared);
    let store = observing.upgrade().map(|shared| shared.store.clone());
    if let Some(store) = store {
        store.observe_others(move |resource_type| {
            let Some(shared) = observing.upgrade() else { return };
            let (is_allow_list, is_conformance) = Shared::is_source(resource_type);
            if is_allow_list {
                drop(Change::begin(&shared.allow_list));
            }
            if is_conformance {
                drop(Change::begin(&shared.conformance));
            }
        });
    }
    tokio::spawn(async move {
        loop {
            let first = changes.recv().await;
            let Some(shared) = shared.upgrade() else { return };
            let (mut is_allow_list, mut is_conformance) = match first {
                Ok(change) => Shared::is_source(change.resource_type),
                Err(RecvError::Lagged(_)) => (true, true),
                Err(RecvError::Closed) => return,
            };
            // Those of one commit come together and need one look.
            loop {
                match changes.try_recv() {
                    Ok(change) => {
                        let (allow_list, conformance) = Shared::is_source(change.resource_type);
                        is_allow_list |= allow_list;
                        is_conformance |= conformance;
                    }
                    Err(TryRecvError::Lagged(_)) => (is_allow_list, is_conformance) = (true, true),
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            if is_conformance {
                drop(Change::begin(&shared.conformance));
            }
            if is_allow_list {
                drop(Change::begin(&shared.allow_list));
                shared.publications.request();
            }
        }
    });
}
