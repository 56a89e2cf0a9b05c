//! Publication of the allow-list to the gateways (`run/snapshot.sock`, frames of the crate `link`).
//!
//! Versions are kept in the store, so that they grow over restarts. A change waits for the acknowledgement of every
//! connected gateway, no longer than a second; the engine itself decides by the stored allow-list at once. A gateway that
//! stops reading or acknowledging is disconnected: it is not ready then, and begins with the newest list when it is back.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
    /// Counts the reloads that gateways are asked for.
    reloads: watch::Sender<u64>,
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
            reloads: watch::channel(0).0,
        })
    }

    /// Number of connected gateways.
    pub(crate) fn gateways(&self) -> usize {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Asks every connected gateway to read its files again.
    pub(crate) fn reload_gateways(&self) {
        self.reloads.send_modify(|count| *count += 1);
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
                    tokio::time::sleep(Duration::from_millis(100)).await;
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
        match in_time("hello", frame::read::<FromGateway>(stream)).await? {
            Some(FromGateway::Hello { build }) if build == BUILD => {}
            _ => {
                return in_time("refusal", frame::write(stream, &FromEngine::Refused { build: BUILD.to_owned() }))
                    .await;
            }
        }
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(id, 0);
        let mut newest = self.newest.subscribe();
        newest.mark_changed();
        let mut changed = self.changed.subscribe();
        let mut reloads = self.reloads.subscribe();
        let (mut reader, mut writer) = stream.split();
        let send = async {
            loop {
                let next = tokio::select! {
                    next = newest.changed() => next,
                    asked = reloads.changed() => {
                        if asked.is_err() {
                            break;
                        }
                        in_time("reload", frame::write(&mut writer, &FromEngine::Reload)).await?;
                        continue;
                    }
                };
                if next.is_err() {
                    break;
                }
                let snapshot = newest.borrow_and_update().clone();
                let Some(snapshot) = snapshot else { continue };
                let version = snapshot.version();
                let message = FromEngine::Snapshot(Box::new((*snapshot).clone()));
                drop(snapshot);
                in_time("snapshot", frame::write(&mut writer, &message)).await?;
                in_time("acknowledgement", async {
                    while !self.has(id, version) && changed.changed().await.is_ok() {}
                    Ok(())
                })
                .await?;
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

    fn has(&self, id: u64, version: u64) -> bool {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).get(&id).is_some_and(|known| *known >= version)
    }

    fn all_have(&self, version: u64) -> bool {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).values().all(|known| *known >= version)
    }

    async fn publish_now(&self, allow_list: Arc<AllowList>) -> Result<u64, PublishError> {
        let _one_at_a_time = self.publishing.lock().await;
        if self.newest.borrow().as_ref().is_some_and(|newest| *newest.allow_list() == *allow_list) {
            return Ok(self.version.load(Ordering::Acquire));
        }
        self.next(allow_list).await
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

/// What a gateway owes the engine it gives within this time, or it is disconnected.
const PATIENCE: Duration = Duration::from_secs(10);

async fn in_time<T>(
    what: &'static str,
    work: impl Future<Output = Result<T, frame::FrameError>>,
) -> Result<T, frame::FrameError> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| {
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, format!("{what} took longer than {PATIENCE:?}")).into())
    })
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
    fn publish(&self, allow_list: Arc<AllowList>) -> Boxed<'_, Result<u64, endpoint::PublishError>> {
        Box::pin(async move {
            self.publish_now(allow_list).await.map_err(|error| endpoint::PublishError(error.to_string()))
        })
    }

    fn acknowledged(&self, version: u64) -> Boxed<'_, ()> {
        Box::pin(async move {
            let mut changed = self.changed.subscribe();
            while !self.all_have(version) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        })
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests;
