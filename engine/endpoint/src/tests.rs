//! The endpoint over a real Unix socket, on a real store, with permits as the gateway writes them.
//!
//! Names carry the case of `fhir-api` section 10 that a test covers.

mod access;
mod admission;
mod answers;
mod approvals;
mod bundles;
mod contents;
mod protection;
mod references;
mod resources;
mod searches;
mod snapshots;
mod support;
mod tasks;
mod websockets;
