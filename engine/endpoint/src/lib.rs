//! The FHIR REST and WebSocket interface that the engine offers on its Unix socket.
//!
//! ```text
//! socket ─▶ serve   peer credentials, bounds
//!        ─▶ admit   one permit, known policy and snapshot, the same canonical request
//!        ─▶ answers what was answered before, if nothing has changed and this caller may have it
//!        ─▶ service negotiation, body, audit
//!        ─▶ session second, authoritative decision on the stored resources; the interactions
//!        ─▶ store   one transaction; Tasks are offered to the process engine inside it
//!        ─▶ reply   headers and body of the answer
//! ```
//!
//! Invariants:
//! - The identity comes from the permit and is checked against the stored allow-list; no header names anybody.
//! - What the gateway permitted is decided again, by the same crate `policies`, on what is stored.
//! - All resource types go through one path; the engine's own resources go through it too ([`Endpoint::execute_local`]).
//! - Nothing is done that was not recorded before ([`Audit`]), and no write is answered before its record is on disk.
//!
//! Not here: TLS and everything about partners' connections (crate `gateway`), processes (crate `processes`).

mod access;
mod admit;
mod answers;
mod approval;
mod bundle;
mod cache;
mod clients;
mod conformance;
mod content;
mod endpoint;
mod external;
mod hooks;
mod http_date;
pub mod limits;
mod metadata;
mod meters;
mod negotiate;
mod policy_history;
mod precondition;
mod prefer;
mod profile;
mod publication;
mod raw_binary;
mod references;
mod refusal;
mod reply;
mod serve;
mod service;
mod session;
mod shared;
mod sources;
mod terms;
mod websocket;

pub use approval::{ApplyError, Judgement, PendingChange, Step, StepKind};
pub use endpoint::{Endpoint, LocalAnswer, LocalError, Options};
pub use external::{NoRemoteReferences, RemoteAnswer, RemoteReferences};
pub use hooks::{
    AllowListPublisher, Audit, AuditError, AuditEvent, AuditRecord, Boxed, HandlerError, LeaveTasks, PublishError,
    TaskHandler,
};
pub use policy_history::PolicyHistory;
pub use refusal::{CODE_SYSTEM, Code};
pub use serve::{PeerCheck, peer_uids, serve};
pub use shared::Software;

#[cfg(test)]
mod tests;
