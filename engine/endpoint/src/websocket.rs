//! Subscriptions over WebSocket (`fhir-api` 5): a client binds Subscriptions and is told about matching resources.
//!
//! Nothing is queued for a client. Every socket reads the store's broadcast of durable changes at its own pace; one that
//! falls behind the broadcast, or does not take a frame in time, is closed and catches up by search, as DSF's client does
//! after every reconnect. A slow client therefore costs a place in the broadcast and nothing else.
//!
//! Invariants: only local identities with the right `WEBSOCKET` get this far; the right to read is judged for every
//! resource at the moment it is sent; what is sent is cleaned like every other answer.

mod criteria;

pub(crate) use criteria::Criteria;

use std::sync::Arc;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use fhir::{Format, ResourceType};
use policies::{DsfOperation, Identity};
use store::{Change, ChangeKind};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use crate::admit::Caller;
use crate::references::clean;
use crate::{Endpoint, limits};

/// A Subscription that the client has bound.
struct Bound {
    id: String,
    criteria: Criteria,
    payload: Option<Format>,
}

/// Why a socket is closed by this side.
struct Close {
    code: u16,
    reason: String,
}

/// Serves one socket until either side closes it.
pub(crate) async fn serve(socket: WebSocket, endpoint: Endpoint, caller: Arc<Caller>) {
    metrics::gauge!("schleuse_endpoint_websockets").increment(1.0);
    let mut session = Session { socket, side: Side { endpoint, caller, bound: Vec::new() } };
    let closed = session.run().await;
    if let Some(Close { code, reason }) = closed {
        tracing::debug!(code, %reason, "websocket closed");
        let frame = CloseFrame { code, reason: Utf8Bytes::from(reason) };
        let close = session.socket.send(Message::Close(Some(frame)));
        if tokio::time::timeout(limits::SOCKET_WRITE, close).await.is_err() {
            tracing::debug!("websocket client did not take the close frame");
        }
    }
    metrics::gauge!("schleuse_endpoint_websockets").decrement(1.0);
}

struct Session {
    socket: WebSocket,
    side: Side,
}

/// This side of a socket: who listens, and to what.
struct Side {
    endpoint: Endpoint,
    caller: Arc<Caller>,
    bound: Vec<Bound>,
}

/// `None`: the client is gone.
type Ended = Option<Close>;

impl Session {
    async fn run(&mut self) -> Ended {
        // Before the first bind, so that nothing committed after `bound` was sent is missed.
        let mut changes = self.side.endpoint.store().subscribe();
        let mut stop = self.side.endpoint.stopping();
        let mut ping = tokio::time::interval(limits::SOCKET_PING);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        ping.tick().await;
        let mut heard = Instant::now();
        loop {
            let step = tokio::select! {
                frame = self.socket.recv() => {
                    heard = Instant::now();
                    match frame {
                        Some(Ok(message)) => self.take(message).await,
                        // Too large a frame, a protocol error, or the connection is gone.
                        Some(Err(error)) => {
                            tracing::debug!(%error, "websocket failed");
                            Err(Some(Close { code: close_code::SIZE, reason: "frame refused".to_owned() }))
                        }
                        None => Err(None),
                    }
                }
                change = changes.recv() => match change {
                    Ok(change) => self.notify(&change).await,
                    Err(RecvError::Lagged(missed)) => {
                        tracing::warn!(missed, "websocket client is too slow and is closed");
                        Err(Some(Close { code: close_code::AGAIN, reason: "Too slow".to_owned() }))
                    }
                    Err(RecvError::Closed) => Err(Some(going_away())),
                },
                _ = ping.tick() => {
                    if heard.elapsed() > limits::SOCKET_SILENCE {
                        Err(None)
                    } else {
                        self.send(Message::Ping(random_bytes().into())).await
                    }
                }
                _ = stop.changed() => Err(Some(going_away())),
            };
            if let Err(ended) = step {
                return ended;
            }
        }
    }

    async fn take(&mut self, message: Message) -> Result<(), Ended> {
        match message {
            Message::Text(text) => match text.as_str().strip_prefix("bind ") {
                Some(id) => self.bind(id).await,
                None => Ok(()),
            },
            Message::Close(_) => Err(None),
            // Pongs and whatever else a client says are not answered.
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) => Ok(()),
        }
    }

    async fn bind(&mut self, id: &str) -> Result<(), Ended> {
        self.side.check_identity().await?;
        let not_found = || Some(Close { code: close_code::UNSUPPORTED, reason: subscription_not_found(id) });
        // Longer texts are no ids, and must not be echoed in a close reason of at most 123 bytes.
        if uuid::Uuid::try_parse(id).is_err() {
            let reason = "Subscription not found".to_owned();
            return Err(Some(Close { code: close_code::UNSUPPORTED, reason }));
        }
        let Some(bound) = self.side.load(id).await? else { return Err(not_found()) };
        if !self.side.bound.iter().any(|other| other.id == id) {
            if self.side.bound.len() >= limits::BINDS_PER_SOCKET {
                return Err(Some(Close { code: close_code::POLICY, reason: "Too many subscriptions".to_owned() }));
            }
            self.side.bound.push(bound);
        }
        self.send(Message::Text(format!("bound {id}").into())).await
    }

    async fn notify(&mut self, change: &Change) -> Result<(), Ended> {
        if change.resource_type == ResourceType::Subscription {
            self.side.refresh(change).await?;
        }
        let is_new_version = matches!(change.kind, ChangeKind::Created | ChangeKind::Updated);
        let Some(resource) = change.resource.as_ref().filter(|_| is_new_version) else { return Ok(()) };
        let matching: Vec<(String, Option<Format>)> = self
            .side
            .bound
            .iter()
            .filter(|bound| bound.criteria.matches(resource))
            .map(|bound| (bound.id.clone(), bound.payload))
            .collect();
        if matching.is_empty() || !self.side.may_see(change).await? {
            return Ok(());
        }
        let shown = self.side.shown(resource).await?;
        for (id, payload) in matching {
            let text = match payload {
                Some(format) => fhir::print(format, &shown, false),
                None => format!("ping {id}"),
            };
            metrics::counter!("schleuse_endpoint_websocket_events_total").increment(1);
            self.send(Message::Text(text.into())).await?;
        }
        Ok(())
    }

    async fn send(&mut self, message: Message) -> Result<(), Ended> {
        match tokio::time::timeout(limits::SOCKET_WRITE, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(None),
            Err(_) => {
                tracing::warn!("websocket client does not take frames and is dropped");
                Err(None)
            }
        }
    }
}

impl Side {
    /// The Subscription, if it is active and a WebSocket one.
    async fn load(&self, id: &str) -> Result<Option<Bound>, Ended> {
        let (resource, context) = self.endpoint.read_subscription(id).await.map_err(|error| {
            tracing::error!(%error, "subscription cannot be read");
            Some(Close { code: close_code::ERROR, reason: "Internal error".to_owned() })
        })?;
        Ok(resource.and_then(|resource| {
            let channel = resource.get("channel")?;
            if resource.str("status") != Some("active") || channel.str("type") != Some("websocket") {
                return None;
            }
            let criteria = Criteria::parse(resource.str("criteria")?, &context).ok()?;
            let payload = match channel.str("payload") {
                None => None,
                Some(payload) => Some(Format::of_media_type(payload)?),
            };
            Some(Bound { id: id.to_owned(), criteria, payload })
        }))
    }

    /// Follows a change of a Subscription that is bound here.
    async fn refresh(&mut self, change: &Change) -> Result<(), Ended> {
        let Some(position) = self.bound.iter().position(|bound| bound.id == change.id) else { return Ok(()) };
        match self.load(&change.id).await? {
            Some(bound) => {
                if let Some(place) = self.bound.get_mut(position) {
                    *place = bound;
                }
                Ok(())
            }
            None => Err(Some(Close { code: close_code::UNSUPPORTED, reason: subscription_not_found(&change.id) })),
        }
    }

    async fn may_see(&self, change: &Change) -> Result<bool, Ended> {
        let identity = self.check_identity().await?;
        if !identity.has_dsf_role(DsfOperation::Websocket, Some(change.resource_type)) {
            return Ok(false);
        }
        self.endpoint.may_read(&self.caller, &identity, change.resource_type, &change.id, change.version).await.map_err(
            |error| {
                tracing::error!(%error, "right to read cannot be judged");
                Some(Close { code: close_code::ERROR, reason: "Internal error".to_owned() })
            },
        )
    }

    /// What is sent: as every other answer, but a StructureDefinition always has its snapshot.
    async fn shown(&self, resource: &Arc<fhir::Resource>) -> Result<fhir::Resource, Ended> {
        self.endpoint.shown_in_event(clean(resource.as_ref().clone())).await.map_err(|error| {
            tracing::error!(%error, "snapshot cannot be read");
            Some(Close { code: close_code::ERROR, reason: "Internal error".to_owned() })
        })
    }

    /// A socket outlives requests: who was removed from the allow-list or lost its role meanwhile hears nothing more.
    async fn check_identity(&self) -> Result<Identity, Ended> {
        match self.endpoint.identity_now(&self.caller).await {
            Ok(Some(identity)) if may_listen(&identity) => Ok(identity),
            Ok(_) => Err(Some(Close { code: close_code::POLICY, reason: "Credentials expired".to_owned() })),
            Err(error) => {
                tracing::error!(%error, "identity cannot be judged");
                Err(Some(Close { code: close_code::ERROR, reason: "Internal error".to_owned() }))
            }
        }
    }
}

/// Whether the identity may have a WebSocket at all.
pub(crate) fn may_listen(identity: &Identity) -> bool {
    identity.is_local() && identity.has_dsf_role(DsfOperation::Websocket, None)
}

fn subscription_not_found(id: &str) -> String {
    format!("Subscription with {id} not found")
}

fn going_away() -> Close {
    Close { code: close_code::AWAY, reason: "Going away".to_owned() }
}

fn random_bytes() -> Vec<u8> {
    let mut bytes = uuid::Uuid::new_v4().as_bytes().to_vec();
    bytes.extend_from_slice(uuid::Uuid::new_v4().as_bytes());
    bytes
}

/// Bounds of a socket, for the upgrade.
pub(crate) fn bounded(upgrade: axum::extract::ws::WebSocketUpgrade) -> axum::extract::ws::WebSocketUpgrade {
    upgrade
        .max_message_size(limits::SOCKET_MESSAGE_BYTES)
        .max_frame_size(limits::SOCKET_MESSAGE_BYTES)
        .max_write_buffer_size(limits::SOCKET_FRAME_BYTES)
}
