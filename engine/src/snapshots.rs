//! Publication of the allow-list to the gateways (`run/snapshot.sock`, frames of the crate `link`).
//!
//! Versions are kept in the store, so that they grow over restarts. [`AllowListPublisher::publish`] resolves when every
//! connected gateway has acknowledged the version; a gateway that does not is waited for by the endpoint no longer than
//! a second, and its requests are refused by their old snapshot version only if the engine's rules say so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use endpoint::{AllowListPublisher, Boxed, PeerCheck};
use link::frame::{self, FromEngine, FromGateway};
use link::{BUILD, Snapshot};
use policies::AllowList;
use store::{Store, StoreError};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// Name of the stored version.
const SETTING: &str = "snapshot-version";

/// The newest snapshot and who has it.
pub(crate) struct Snapshots {
    store: Store,
    /// What the outgoing client asks for active endpoints.
    allow_list: Arc<ArcSwap<AllowList>>,
    newest: watch::Sender<Option<Arc<Snapshot>>>,
    version: AtomicU64,
    /// Acknowledged version by connection.
    acknowledged: Mutex<HashMap<u64, u64>>,
    changed: watch::Sender<u64>,
    connections: AtomicU64,
    publishing: tokio::sync::Mutex<()>,
}

impl Snapshots {
    pub(crate) fn new(store: Store, allow_list: Arc<ArcSwap<AllowList>>) -> Arc<Self> {
        Arc::new(Self {
            store,
            allow_list,
            newest: watch::channel(None).0,
            version: AtomicU64::new(0),
            acknowledged: Mutex::default(),
            changed: watch::channel(0).0,
            connections: AtomicU64::new(0),
            publishing: tokio::sync::Mutex::new(()),
        })
    }

    /// Number of connected gateways.
    pub(crate) fn gateways(&self) -> usize {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Accepts gateways until the task is dropped.
    pub(crate) async fn serve(self: Arc<Self>, listener: UnixListener, peers: PeerCheck) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let admitted = stream.peer_cred().is_ok_and(|credentials| peers(&credentials));
                    if admitted {
                        tokio::spawn(Arc::clone(&self).connection(stream));
                    } else {
                        tracing::warn!("a process of another user asked for the allow-list and was refused");
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "connection of a gateway cannot be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, mut stream: UnixStream) {
        let id = self.connections.fetch_add(1, Ordering::Relaxed);
        let result = self.speak(&mut stream, id).await;
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.tell_change();
        match result {
            Ok(()) => tracing::info!("gateway disconnected"),
            Err(error) => tracing::warn!(%error, "connection with a gateway failed"),
        }
    }

    async fn speak(&self, stream: &mut UnixStream, id: u64) -> Result<(), frame::FrameError> {
        match frame::read::<FromGateway>(stream).await? {
            Some(FromGateway::Hello { build }) if build == BUILD => {}
            _ => return frame::write(stream, &FromEngine::Refused { build: BUILD.to_owned() }).await,
        }
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(id, 0);
        let mut newest = self.newest.subscribe();
        newest.mark_changed();
        let (mut reader, mut writer) = stream.split();
        let send = async {
            while newest.changed().await.is_ok() {
                let snapshot = newest.borrow_and_update().clone();
                if let Some(snapshot) = snapshot {
                    frame::write(&mut writer, &FromEngine::Snapshot(Box::new((*snapshot).clone()))).await?;
                }
            }
            Ok(())
        };
        let receive = async {
            while let Some(message) = frame::read::<FromGateway>(&mut reader).await? {
                if let FromGateway::Acknowledged { version } = message {
                    self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(id, version);
                    self.tell_change();
                }
            }
            Ok(())
        };
        tokio::select! { result = send => result, result = receive => result }
    }

    fn tell_change(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    fn all_have(&self, version: u64) -> bool {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).values().all(|known| *known >= version)
    }

    async fn publish_now(&self, allow_list: Arc<AllowList>) -> Result<(), PublishError> {
        let version = {
            let _one_at_a_time = self.publishing.lock().await;
            if self.newest.borrow().as_ref().is_some_and(|newest| *newest.allow_list() == *allow_list) {
                self.version.load(Ordering::Acquire)
            } else {
                self.next(allow_list).await?
            }
        };
        let mut changed = self.changed.subscribe();
        while !self.all_have(version) {
            if changed.changed().await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Stores the next version and hands the snapshot to the connections.
    async fn next(&self, allow_list: Arc<AllowList>) -> Result<u64, PublishError> {
        let version = self.store.write(next_version).await?;
        let snapshot = Snapshot::new(version, (*allow_list).clone())?;
        self.allow_list.store(allow_list);
        // The endpoint must know a version before any gateway can send a permit of it.
        self.version.store(version, Ordering::Release);
        self.newest.send_replace(Some(Arc::new(snapshot)));
        metrics::gauge!("schleuse_allow_list_version").set(version as f64);
        Ok(version)
    }
}

#[derive(Debug, thiserror::Error)]
enum PublishError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Snapshot(#[from] link::SnapshotError),
}

fn next_version(tx: &mut store::Transaction<'_>) -> Result<u64, StoreError> {
    let stored = tx.setting(SETTING)?;
    let stored = stored.and_then(|bytes| String::from_utf8(bytes).ok()).and_then(|text| text.parse::<u64>().ok());
    let version = stored.unwrap_or(0) + 1;
    tx.set_setting(SETTING, version.to_string().as_bytes())?;
    Ok(version)
}

impl AllowListPublisher for Snapshots {
    fn publish(&self, allow_list: Arc<AllowList>) -> Boxed<'_, ()> {
        Box::pin(async move {
            if let Err(error) = self.publish_now(allow_list).await {
                tracing::error!(%error, "allow-list could not be published; gateways keep the one before");
            }
        })
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}
