//! Removes content that nobody has any more, gives its space back, and erases what was removed from the store's log.
//!
//! A task of its own, in short transactions between those of the requests. It is woken when something was deleted for
//! good, and looks by itself every [`limits::KEEPER_PAUSE`].

use std::sync::{Arc, Weak};

use store::{Store, StoreError};
use time::OffsetDateTime;
use tokio::sync::Notify;

use crate::limits;
use crate::shared::Shared;

/// Starts the task; it ends with the store.
pub(crate) fn start(shared: &Arc<Shared>) {
    let released = Arc::clone(&shared.released);
    tokio::spawn(run(Arc::downgrade(shared), released));
}

async fn run(shared: Weak<Shared>, released: Arc<Notify>) {
    let mut is_start = true;
    loop {
        let Some(store) = shared.upgrade().map(|shared| shared.store.clone()) else { return };
        match keep(&store, is_start).await {
            Ok(()) => is_start = false,
            Err(StoreError::Closed) => return,
            Err(error) => tracing::warn!(%error, "content that nobody has cannot be removed now"),
        }
        drop(store);
        let _ = tokio::time::timeout(limits::KEEPER_PAUSE, released.notified()).await;
    }
}

async fn keep(store: &Store, is_start: bool) -> Result<(), StoreError> {
    let old = OffsetDateTime::now_utc() - limits::UPLOAD_AGE;
    let abandoned = store
        .write(move |tx| if is_start { tx.abandon_uploads_at_start(old) } else { tx.abandon_uploads_before(old) })
        .await?;
    if abandoned > 0 {
        tracing::warn!(abandoned, "uploads that nobody goes on with are given up");
    }
    while store.write(|tx| tx.sweep_uploads()).await? {}
    while store.write(|tx| tx.shrink()).await? {}
    // Also without anything of the above: Tasks and instances are removed too, and their last copies are in the log.
    if !store.erase_log().await? {
        tracing::debug!("the log of the store is in use and is erased later");
    }
    Ok(())
}
