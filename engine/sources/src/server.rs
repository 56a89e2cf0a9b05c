//! Servers of the hospital as data sources, over HTTP.
//!
//! ```text
//! Connection (client, proof of who asks) ─┬▶ FhirServer   searches, and decides about every resource itself
//!                                         ├▶ CqlServer    Measure and Library, then $evaluate-measure
//!                                         └▶ FlareServer  the cohort definition as it is
//! ```
//!
//! Invariants: nothing is sent to any address but the configured one and its authorization server; answers are bounded in
//! bytes, pages and time; an answer that is not understood in full is an error and no count; secrets are read from their
//! files for each use, so a changed one counts at once, and never stand in a message.

mod authentication;
mod connection;
mod cql;
mod fhir;
mod flare;
mod matching;
mod narrowing;
mod records;

use std::sync::Arc;

use ::client::{ClientSettings, SettingsError};

use crate::mapping::Mapping;
use crate::source::Source;

pub use authentication::{Authentication, OAuth};
pub use cql::CqlServer;
pub use fhir::FhirServer;
pub use flare::FlareServer;

use connection::Connection;

/// A server as it is configured.
#[derive(Clone)]
pub struct ServerSettings {
    /// Its name in messages.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Base URL.
    pub url: String,
    /// Who asks.
    pub authentication: Authentication,
    /// The way there: trust, client certificate, proxy, times.
    pub client: ClientSettings,
}

/// What a server is asked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// FHIR R4 search.
    Fhir,
    /// `Measure/$evaluate-measure`.
    Cql,
    /// FLARE's query interface.
    Flare,
}

/// The source; files that the settings name are read.
pub fn open(settings: ServerSettings, mapping: &Arc<Mapping>) -> Result<Arc<dyn Source>, SettingsError> {
    let kind = settings.kind;
    let connection = Connection::open(settings)?;
    Ok(match kind {
        Kind::Fhir => Arc::new(FhirServer::new(connection, Arc::clone(mapping))),
        Kind::Cql => Arc::new(CqlServer::new(connection)),
        Kind::Flare => Arc::new(FlareServer::new(connection)),
    })
}

#[cfg(test)]
mod tests;
