//! Outgoing HTTPS: to the FHIR endpoints of other organisations and to FHIR servers of the hospital.
//!
//! Everything that leaves the node goes through [`Client`]. A call passes three gates in this order: the destination
//! list of the security officer ([`destination`]), the guard against private addresses (on the addresses that are then
//! connected to, so a name cannot change its meaning in between), and TLS with the organisation's certificate and a
//! verified server name (`connect`). Connections are kept and shared; certificates, lists and proxy are replaced as a
//! whole while calls run ([`Client::reload`]).
//!
//! What goes wrong is a [`ClientError`] that says which part failed, whether trying again can help ([`Retry`]) and what
//! the administrator can do. The client itself never repeats a request and never follows a redirect: the outbox decides
//! about repetition, and a redirect would leave the destination list.

mod address;
mod answer;
mod client;
mod connect;
pub mod destination;
mod error;
pub mod limits;
mod operations;
mod proxy;
mod settings;

#[cfg(test)]
mod tests;

pub use address::is_private;
pub use answer::{Answer, Location};
pub use client::{Client, Method, Request};
pub use destination::{Endpoints, OutboundMode, OutboundPolicy};
pub use error::{ClientError, Denial, Phase, ProxyProblem, Retry, SettingsError};
pub use operations::{Created, Found, Search, escape};
pub use proxy::ProxySettings;
pub use settings::{ClientSettings, Identity, client_tls};
