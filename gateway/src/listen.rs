//! From a socket to a verified client: accept loop, TLS, the byte stream that judges heads.

mod accept;
mod buffered;
mod client_stream;
mod connection;
mod tls;

pub use accept::Listener;
pub(crate) use accept::site;
pub use connection::{Connection, Peer};
pub(crate) use tls::check_server_certificate;
pub use tls::{Profile, TlsError, TlsState};
