//! The engine: the inside of a node.
//!
//! This crate decides nothing; it opens what the node consists of and connects it:
//!
//! ```text
//! configuration ─▶ store ─▶ processes::Runtime ─▶ endpoint (run/engine.sock) ─▶ bootstrap (own and shipped resources)
//!                                    │                       │
//!                              messenger ─▶ client     snapshots (run/snapshot.sock) ─▶ gateways
//!                                    │                  administration (run/admin.sock) ─▶ schleuse
//!                              workers (TLS, /engine-rest) ◀─ external workers
//! ```
//!
//! Nothing is served before the bootstrap is complete, and the service manager hears "ready" last. A failed load of
//! certificates or policies at start ends the process; at reload it leaves what was in force.

mod administration;
mod allow_lists;
mod base_resources;
mod bootstrap;
mod configuration;
mod confinement;
mod data_sharing;
mod database;
mod feasibility;
mod gauges;
mod initial_bundle;
mod inside;
mod messenger;
mod plug_ins;
mod records;
mod run;
mod snapshots;
mod tasks;
mod transfer;
mod trial;
mod workers;

pub use configuration::{Configuration, ConfigurationError};
pub use run::{RunError, check, prove_confinement, run};
