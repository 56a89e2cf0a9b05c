//! Sources on servers, against real HTTP servers in this process.

mod authentication;
mod conformance;
mod cql_server;
mod failures;
mod fhir_server;
mod flare_server;
mod harness;
mod searching;
