//! The contract between the two processes of a node: what the gateway may say to the engine and the engine to the gateway.
//!
//! Gateway to engine: every forwarded request carries exactly one [`Permit`] in the header [`PERMIT_HEADER`]; the engine
//! takes the identity from it and from nothing else. Engine to gateway: the [`Snapshot`] of the allow-list, pushed in
//! [`frame`]s over a second socket and acknowledged, so that the engine can answer a change of the allow-list only after
//! the gateway decides by it. Both ends come from the same build; [`BUILD`] is compared in the first frame.

pub mod frame;
pub mod limits;
mod permit;
mod snapshot;

pub use permit::{
    CorrelationId, PERMIT_HEADER, Permit, PermitError, PermitParts, PermitTemplate, PermittedClient, PermittedRequest,
};
pub use snapshot::{Snapshot, SnapshotError};

/// Header that joins the records of both processes, in the answer to the client too.
pub const CORRELATION_HEADER: &str = "x-correlation-id";

/// What both ends must have in common: the version and the shape of the messages of this crate.
pub const BUILD: &str = concat!(env!("CARGO_PKG_VERSION"), "+link2");

/// Sockets in the node's directory; both processes run with that directory as their working directory, so the paths are
/// short enough for `sockaddr_un` wherever the node lives.
pub mod socket {
    /// HTTP with permits, gateway to engine.
    pub const ENGINE: &str = "run/engine.sock";
    /// Snapshot frames, engine to gateway.
    pub const SNAPSHOT: &str = "run/snapshot.sock";
    /// Administration by the command line.
    pub const ADMIN: &str = "run/admin.sock";
}
