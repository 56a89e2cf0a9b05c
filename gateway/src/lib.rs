//! The gateway: everything of a Schleuse node that touches the partner network.
//!
//! A request flows through the folders in this order: [`listen`] verifies the client, [`request`] brings what it sent into
//! one form, [`decide`] asks policy and allow-list, `record` writes the audit record, [`forward`] hands over to the
//! engine. [`reload`] holds what is in force, [`allow_list`] gets it from the engine, [`admin`] tells how it goes.
//!
//! Three invariants hold everywhere: no request reaches the engine without a permit; what was judged is what is forwarded;
//! a failed load leaves the last good state in force. Nothing here can reach data or another network: the gateway holds the
//! server key, its sockets and the last allow-list.

pub mod admin;
pub mod allow_list;
mod confinement;
mod correlation;
mod deadline;
pub mod decide;
mod expiry;
pub mod forward;
pub mod fuzz;
pub mod limits;
pub mod listen;
mod memory;
mod meters;
mod rate;
mod record;
pub mod reload;
pub mod request;
mod respond;
mod run;
mod sinks;
mod strangers;
mod withdrawn;

/// The audit log and its verifier.
pub use audit;
pub use run::{Failure, check, prove_confinement, run};
