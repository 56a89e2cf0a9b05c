//! The right to a WebSocket, watched while it is open.
//!
//! A WebSocket outlives the request that opened it, so the decision is taken again whenever policy, trust or allow-list
//! change, and when the certificate ends. Without the right the connection is cut; at stop it is cut too, because clients
//! of the subscription reconnect by themselves.

use std::sync::Arc;
use std::time::Duration;

use policies::CanonicalRequest;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::decide;
use crate::listen::Connection;
use crate::reload::Active;

/// Ends with the request.
pub(super) struct Watch(AbortHandle);

/// Longest time between two looks at the clock, which may be set while we wait.
const CLOCK: Duration = Duration::from_secs(60);

/// Watches until the returned value is dropped.
pub(super) fn watch(
    active: &Arc<Active>,
    connection: Arc<Connection>,
    request: CanonicalRequest,
    mut stop: watch::Receiver<bool>,
) -> Watch {
    let active = Arc::clone(active);
    let mut changes = active.changes();
    let task = tokio::spawn(async move {
        while may_stay(&active, &connection, &request) {
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { break },
                _ = stop.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep(CLOCK.min(until_expiry(&connection))) => {}
            }
        }
        tracing::info!(thumbprint = connection.peer.thumbprint.short(), "websocket cut");
        connection.cut();
    });
    Watch(task.abort_handle())
}

fn may_stay(active: &Active, connection: &Connection, request: &CanonicalRequest) -> bool {
    let basis = active.basis();
    let Some(snapshot) = &basis.snapshot else { return false };
    let identity = decide::identify_anew(active, &basis, snapshot, connection, OffsetDateTime::now_utc());
    identity.is_ok_and(|identity| {
        decide::decide(&basis, &identity, request, None, connection, None).is_some_and(|decision| decision.is_permit())
    })
}

fn until_expiry(connection: &Connection) -> Duration {
    let left = connection.peer.certificate.not_after() - OffsetDateTime::now_utc();
    Duration::try_from(left).unwrap_or(Duration::ZERO).saturating_add(Duration::from_secs(1))
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}
