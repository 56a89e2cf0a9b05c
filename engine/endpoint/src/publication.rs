//! Publication of the allow-list after a change: one list after the other, the newest last, none left out.
//!
//! A change asks for a publication after its commit and waits, for a bounded time, until one that began later is
//! acknowledged. The work itself is done by one task, so that two changes can never publish their lists in the wrong
//! order, a waiter that gives up cuts nothing short, and many changes at once are published together.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;

use crate::limits;
use crate::shared::Shared;

/// Pause before a failed publication is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Requests for publication and how far they are fulfilled.
#[derive(Debug)]
pub(crate) struct Publications {
    /// Number of requests.
    wanted: watch::Sender<u64>,
    /// The requests that are fulfilled, and the version that did it.
    done: watch::Sender<(u64, u64)>,
}

/// A request that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Requested(u64);

// === impl Publications ===

impl Publications {
    pub(crate) fn new() -> Self {
        Self { wanted: watch::channel(0).0, done: watch::channel((0, 0)).0 }
    }

    /// Asks for the publication of what is committed now.
    pub(crate) fn request(&self) -> Requested {
        let mut number = 0;
        self.wanted.send_modify(|wanted| {
            *wanted += 1;
            number = *wanted;
        });
        Requested(number)
    }
}

/// Publishes for as long as the endpoint lives.
pub(crate) fn start(shared: &Arc<Shared>) {
    let mut wanted = shared.publications.wanted.subscribe();
    let shared = Arc::downgrade(shared);
    tokio::spawn(async move {
        while wanted.changed().await.is_ok() {
            let number = *wanted.borrow_and_update();
            while !publish(&shared, number).await {
                tokio::time::sleep(RETRY).await;
            }
        }
    });
}

/// False if it has to be tried again.
async fn publish(shared: &Weak<Shared>, number: u64) -> bool {
    let Some(shared) = shared.upgrade() else { return true };
    let allow_list = match shared.allow_list().await {
        Ok(allow_list) => allow_list,
        Err(store::StoreError::Closed) => return true,
        Err(error) => {
            tracing::error!(%error, "changed allow-list cannot be read; gateways keep the one before");
            return false;
        }
    };
    match shared.publisher.publish(allow_list).await {
        Ok(version) => {
            shared.publications.done.send_replace((number, version));
            true
        }
        Err(error) => {
            tracing::error!(%error, "allow-list could not be published; gateways keep the one before");
            false
        }
    }
}

/// Waits until the request is fulfilled; gives the version that did it.
pub(crate) async fn published(shared: &Shared, Requested(number): Requested) -> Option<u64> {
    let mut done = shared.publications.done.subscribe();
    let done = done.wait_for(|(fulfilled, _)| *fulfilled >= number).await;
    done.ok().map(|done| done.1)
}

/// Waits until the request is fulfilled and every gateway has acknowledged it, for no longer than
/// [`limits::ALLOW_LIST_ACKNOWLEDGEMENT`].
pub(crate) async fn acknowledged(shared: &Shared, requested: Requested) {
    let acknowledged = async {
        if let Some(version) = published(shared, requested).await {
            shared.publisher.acknowledged(version).await;
        }
    };
    if tokio::time::timeout(limits::ALLOW_LIST_ACKNOWLEDGEMENT, acknowledged).await.is_err() {
        tracing::warn!("a gateway has not acknowledged the changed allow-list in time");
    }
}
