//! The plug-ins of the node: read from their folder, published, put in force; at the start, and whenever an operator says so.
//!
//! ```text
//! folder ─▶ package::load_all ─▶ Runtime::judge ─▶ resources, one transaction a plug-in ─▶ Runtime::install
//!              refused ───────────────┴─ refused ───────┴─ refused ──▶ log, metric, `schleuse process list`, `check`
//! ```
//!
//! Engines of one database each have a folder of their own. What an operator tells one of them the others notice, and read
//! their folders too.
//!
//! Invariants: a package is published and installed as a whole or left out with a reason that names its file; the others
//! and the node do not wait for its repair. A resource that is published stays as it is while its process is in use, since
//! partners keep it by URL and version (`process-engine.md` 0.7); only those of drafts are replaced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use endpoint::Endpoint;
use fhir::{Object, Resource, Value};
use policies::Identity;
use processes::{Catalogue, Found, ProcessError, ProcessState, Publication, Published, Runtime, package, state};
use store::{ReadFilter, Store, StoreError, StoredResource};
use tokio::sync::Mutex;

use crate::bootstrap::{BootstrapError, transaction};

/// Which resources were published for packages, by their conditional URL: those of a package that is taken away are
/// removed.
const PUBLISHED: &str = "published-plug-in-resources";

/// Which load that an operator ordered was the last, for the other engines of the database.
const LOADED: &str = "plug-ins-loaded";

/// How often an engine looks whether another one of its database was told to load.
const LOOK: Duration = Duration::from_secs(2);

/// The same after a load that failed.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Why plug-ins are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The engine starts.
    Start,
    /// An operator of this engine has changed its folder.
    Ordered,
    /// An operator of this engine orders the state of a process.
    State,
    /// An operator has said so to another engine of the database.
    OrderedElsewhere,
}

/// Key and version of a process.
type Name = (String, String);

/// The plug-ins.
pub(crate) struct PlugIns {
    /// None if the node runs no processes.
    folder: Option<PathBuf>,
    identity: Identity,
    runtime: Arc<Runtime>,
    endpoint: Endpoint,
    store: Store,
    /// One load at a time. Holds the last of those of the database that this engine has followed.
    loading: Mutex<Option<Vec<u8>>>,
}

/// Why a state cannot be ordered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("process {0}|{1} is not installed; `schleuse process list` shows those that are")]
    Unknown(String, String),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Load(#[from] BootstrapError),
}

/// A resource that the endpoint did not take.
struct NotPublished {
    file: Option<String>,
    source: endpoint::LocalError,
}

impl PlugIns {
    pub(crate) fn new(
        folder: Option<&Path>,
        identity: Identity,
        runtime: &Arc<Runtime>,
        endpoint: &Endpoint,
        store: &Store,
    ) -> Arc<Self> {
        Arc::new(Self {
            folder: folder.map(Path::to_owned),
            identity,
            runtime: Arc::clone(runtime),
            endpoint: endpoint.clone(),
            store: store.clone(),
            loading: Mutex::default(),
        })
    }

    /// Loads when another engine of the database was told to. Never ends.
    pub(crate) async fn follow_others(self: Arc<Self>) {
        if !self.store.is_shared() {
            return std::future::pending().await;
        }
        let mut pause = LOOK;
        loop {
            tokio::time::sleep(pause).await;
            pause = match self.look().await {
                Ok(()) => LOOK,
                Err(error) => {
                    tracing::error!(%error, "plug-ins could not be loaded as another engine has loaded them");
                    LOOK_AGAIN
                }
            };
        }
    }

    async fn look(&self) -> Result<(), BootstrapError> {
        let last = self.store.read(|tx| tx.setting(LOADED)).await?;
        if last == *self.loading.lock().await {
            return Ok(());
        }
        tracing::info!("another engine of the database has loaded its plug-ins; this one reads its folder too");
        self.load(Why::OrderedElsewhere).await
    }

    /// Reads the folder and puts in force what can be.
    pub(crate) async fn load(&self, why: Why) -> Result<(), BootstrapError> {
        let mut followed = self.loading.lock().await;
        // Before the folder: what is ordered from now on is followed once more.
        let last = self.store.read(|tx| tx.setting(LOADED)).await?;
        let found = match self.folder.clone() {
            None => Found::default(),
            // A thread may panic; then nothing is known of the folder.
            Some(folder) => tokio::task::spawn_blocking(move || package::load_all(&folder))
                .await
                .map_err(|error| BootstrapError::Packages(error.to_string()))?
                .map_err(|error| BootstrapError::Packages(error.to_string()))?,
        };
        let mut catalogue = self.runtime.judge(&found);
        let ordered = self.ordered(&catalogue).await?;
        let mut published = BTreeMap::new();
        for publication in catalogue.publications(&ordered) {
            match (self.publish(&publication).await?, &publication.package) {
                (Ok(()), None) => {}
                (Ok(()), Some(_)) => published.extend(publication.resources.iter().filter_map(conditional_url)),
                (Err(refused), Some(source)) => {
                    catalogue.refuse(source, refused.file, &refused.source.to_string());
                }
                (Err(NotPublished { file, source }), None) => {
                    let file = file.unwrap_or_else(|| "one of the resources".to_owned());
                    let what = format!("{file} of the built-in plug-in {}", publication.plugin);
                    return Err(BootstrapError::Refused { what, source });
                }
            }
        }
        metrics::gauge!("schleuse_plug_ins_refused").set(catalogue.refused().len() as f64);
        let is_complete = !catalogue.refused().iter().any(|refused| refused.whole);
        self.runtime.install(catalogue).await.map_err(BootstrapError::from)?;
        // What is not in this folder may be in that of another engine: only an operator can mean that it is gone.
        let may_remove = why == Why::Ordered || !self.store.is_shared();
        self.remember(published, is_complete && may_remove).await?;
        *followed = match why {
            Why::Ordered => {
                let own = uuid::Uuid::new_v4().as_bytes().to_vec();
                let order = own.clone();
                self.store.write(move |tx| tx.set_setting(LOADED, &order)).await?;
                Some(own)
            }
            Why::Start | Why::State | Why::OrderedElsewhere => last,
        };
        Ok(())
    }

    /// Orders the state of a process, and publishes its resources accordingly.
    pub(crate) async fn order(&self, name: &Name, wanted: ProcessState) -> Result<(), OrderError> {
        if self.runtime.catalogue().origin(&name.0, &name.1).is_none() {
            return Err(OrderError::Unknown(name.0.clone(), name.1.clone()));
        }
        let (key, version) = name.clone();
        self.store.write(move |tx| state::order(tx, &key, &version, wanted)).await?;
        Ok(self.load(Why::State).await?)
    }

    /// What operators have ordered of the processes of a catalogue.
    pub(crate) async fn ordered(&self, catalogue: &Catalogue) -> Result<BTreeMap<Name, ProcessState>, StoreError> {
        let names: Vec<Name> = catalogue.installed().iter().map(|definition| definition.name()).collect();
        self.store
            .read(move |tx| {
                let mut ordered = BTreeMap::new();
                for name in names {
                    if let Some(state) = state::ordered(tx, &name.0, &name.1)? {
                        ordered.insert(name, state);
                    }
                }
                Ok(ordered)
            })
            .await
    }

    /// Stores the resources of a plug-in, all or none.
    async fn publish(&self, publication: &Publication) -> Result<Result<(), NotPublished>, StoreError> {
        let wanted = publication.resources.clone();
        let stored = self
            .store
            .read(move |tx| {
                let find = |published: &Published| match query(&published.resource) {
                    Some(query) => Ok(tx.search(&query, &ReadFilter::everything())?.matches.into_iter().next()),
                    None => Ok(None),
                };
                wanted.iter().map(find).collect::<Result<Vec<Option<StoredResource>>, StoreError>>()
            })
            .await?;
        let pairs = publication.resources.iter().zip(&stored);
        let changes: Vec<(&str, Value)> = pairs
            .filter_map(|(published, stored)| Some((published.file.as_str(), entry(published, stored.as_ref())?)))
            .collect();
        if changes.is_empty() {
            return Ok(Ok(()));
        }
        let (files, entries): (Vec<&str>, Vec<Value>) = changes.into_iter().unzip();
        let (identity, changes) = (self.identity.clone(), transaction(entries));
        let result = match publication.package {
            Some(_) => self.endpoint.execute_local(identity, changes).await,
            None => self.endpoint.execute_shipped(identity, changes).await,
        };
        Ok(result.map(drop).map_err(|source| {
            let file = source.entry.and_then(|entry| files.get(usize::from(entry))).map(|file| (*file).to_owned());
            NotPublished { file, source }
        }))
    }

    /// Keeps what is published, and removes what was published for packages that are not there any more. While a package
    /// is left out nothing is removed: it may be one of its own.
    async fn remember(&self, published: BTreeMap<String, String>, may_remove: bool) -> Result<(), BootstrapError> {
        let before = self.store.read(|tx| tx.setting(PUBLISHED)).await?;
        let mut known: BTreeMap<String, String> =
            before.as_deref().and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default();
        let gone: Vec<String> = match may_remove {
            true => known.keys().filter(|url| !published.contains_key(*url)).cloned().collect(),
            false => Vec::new(),
        };
        if !gone.is_empty() {
            let request = |url: &String| Object::new().with("method", "DELETE").with("url", url.as_str());
            let entries = gone.iter().map(|url| Object::new().with("request", request(url)).into()).collect();
            let result = self.endpoint.execute_local(self.identity.clone(), transaction(entries)).await;
            result.map_err(|source| BootstrapError::Refused {
                what: "the removal of resources of a plug-in that was taken away".to_owned(),
                source,
            })?;
        }
        let old = known.clone();
        known.retain(|url, _| !gone.contains(url));
        known.extend(published);
        if known != old {
            let bytes = serde_json::to_vec(&known).unwrap_or_default();
            self.store.write(move |tx| tx.set_setting(PUBLISHED, &bytes)).await?;
        }
        Ok(())
    }
}

/// What is to be done with a resource, if anything (`process-engine.md` 1.8).
fn entry(published: &Published, stored: Option<&StoredResource>) -> Option<Value> {
    let resource = &published.resource;
    let kind = resource.type_name();
    let at = format!("{kind}?{}", condition(resource));
    let with_content = |request: Object| {
        let full_url = format!("urn:uuid:{}", uuid::Uuid::new_v4());
        let entry = Object::new().with("fullUrl", full_url).with("resource", resource.tree().clone());
        Some(entry.with("request", request).into())
    };
    match (published.state, stored) {
        (ProcessState::Excluded, None) => None,
        (ProcessState::Excluded, Some(_)) => {
            Some(Object::new().with("request", Object::new().with("method", "DELETE").with("url", at)).into())
        }
        (_, None) => {
            let request = Object::new().with("method", "POST").with("url", kind);
            with_content(request.with("ifNoneExist", condition(resource)))
        }
        (state, Some(stored)) => {
            let is_other = match state {
                ProcessState::Draft => content(&stored.resource) != content(resource),
                // A draft Task keeps its status, whatever its process is.
                _ => stored.resource.str("status") != resource.str("status"),
            };
            match is_other {
                true => with_content(Object::new().with("method", "PUT").with("url", at)),
                false => None,
            }
        }
    }
}

/// A resource without what the store adds to it.
fn content(resource: &Resource) -> Object {
    let mut tree = resource.tree().clone();
    tree.remove("id");
    if let Some(meta) = tree.get_mut("meta").and_then(Value::as_object_mut) {
        meta.remove("versionId");
        meta.remove("lastUpdated");
    }
    tree
}

/// How a resource of a plug-in is known: a draft Task by its identifier, a naming system by its name, others by URL and
/// version.
fn condition(resource: &Resource) -> String {
    match (resource.type_name(), resource.list("identifier").first()) {
        ("Task", Some(identifier)) => format!(
            "identifier={}|{}&status=draft",
            identifier.str("system").unwrap_or_default(),
            identifier.str("value").unwrap_or_default()
        ),
        ("NamingSystem", _) => format!("name={}", resource.str("name").unwrap_or_default()),
        _ => format!(
            "url={}&version={}",
            resource.str("url").unwrap_or_default(),
            resource.str("version").unwrap_or_default()
        ),
    }
}

fn query(resource: &Resource) -> Option<fhir::search::Query> {
    let query = fhir::search::parse_query(resource.resource_type()?, &condition(resource));
    query.errors.is_empty().then_some(query)
}

fn conditional_url(published: &Published) -> Option<(String, String)> {
    let resource = &published.resource;
    (published.state != ProcessState::Excluded)
        .then(|| (format!("{}?{}", resource.type_name(), condition(resource)), published.file.clone()))
}

impl From<ProcessError> for BootstrapError {
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::Store(error) => Self::Store(error),
            ProcessError::Plugin(error) => Self::Plugin(error),
            other @ ProcessError::Instance { .. } => Self::Packages(other.to_string()),
        }
    }
}
