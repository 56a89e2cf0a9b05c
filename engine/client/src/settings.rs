//! What a [`Client`](crate::Client) is made of, and the reading of its files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use certs::{Credentials, TrustStore};

use crate::destination::{Destinations, OutboundPolicy};
use crate::error::SettingsError;
use crate::limits;
use crate::proxy::{Proxy, ProxySettings};

/// Settings of outgoing calls, from `node.toml` and the policy.
#[derive(Clone)]
pub struct ClientSettings {
    /// The organisation's client certificate; `None` for servers that ask for none.
    pub identity: Option<Identity>,
    /// Files and folders with the CA certificates of the servers.
    pub trust: Vec<PathBuf>,
    /// The forward proxy.
    pub proxy: Option<ProxySettings>,
    /// The destination list.
    pub outbound: OutboundPolicy,
    /// For name resolution and TCP together, and again for the TLS handshake.
    pub connect_timeout: Duration,
    /// From the sent request to the answer's head, and between parts of its body.
    pub read_timeout: Duration,
    /// The largest answer.
    pub answer_bytes: usize,
    /// SHA-256 fingerprints (lower-case hexadecimal) of the server certificates that are accepted besides the trust; empty:
    /// every one that is trusted.
    pub server_pins: Vec<String>,
}

/// The files of the organisation's client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate with its issuing CAs.
    pub certificate: PathBuf,
    /// The private key.
    pub private_key: PathBuf,
}

/// Settings whose files are read and checked.
pub(crate) struct Prepared {
    pub(crate) tls: Arc<rustls::ClientConfig>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) destinations: Arc<Destinations>,
    pub(crate) connect_timeout: Duration,
    pub(crate) read_timeout: Duration,
    pub(crate) answer_bytes: usize,
    pub(crate) server_pins: Vec<String>,
}

// === impl ClientSettings ===

impl ClientSettings {
    /// DSF's timeouts (connect 5 s, read 60 s), no proxy.
    #[must_use]
    pub fn new(identity: Option<Identity>, trust: Vec<PathBuf>, outbound: OutboundPolicy) -> Self {
        Self {
            identity,
            trust,
            proxy: None,
            outbound,
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(60),
            answer_bytes: limits::ANSWER_BYTES,
            server_pins: Vec::new(),
        }
    }

    pub(crate) fn prepare(self) -> Result<Prepared, SettingsError> {
        let store = TrustStore::load(&self.trust).map_err(|trust| SettingsError::Trust { trust })?;
        let credentials = match &self.identity {
            Some(identity) => Some(Credentials::load(&identity.certificate, &identity.private_key)?),
            None => None,
        };
        Ok(Prepared {
            tls: Arc::new(tls(&store, credentials.as_ref())?),
            proxy: self.proxy.as_ref().map(Proxy::new).transpose()?,
            destinations: Arc::new(Destinations::new(self.outbound)?),
            connect_timeout: self.connect_timeout,
            read_timeout: self.read_timeout,
            answer_bytes: self.answer_bytes,
            server_pins: self.server_pins,
        })
    }
}

/// TLS of a client that trusts this store alone, without a protocol on top.
pub fn client_tls(
    store: &TrustStore,
    credentials: Option<&Credentials>,
) -> Result<rustls::ClientConfig, SettingsError> {
    let unusable = |error: rustls::Error| SettingsError::Tls { reason: error.to_string() };
    let verifier = certs::server_verifier(store, certs::provider())
        .map_err(|error| SettingsError::Tls { reason: error.to_string() })?;
    let builder = rustls::ClientConfig::builder_with_provider(certs::provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(unusable)?
        // The verifier checks chain and name as rustls' own does, and the validity of the CA besides.
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(match credentials {
        Some(own) => builder.with_client_auth_cert(own.chain_der(), own.key_der()).map_err(unusable)?,
        None => builder.with_no_client_auth(),
    })
}

fn tls(store: &TrustStore, credentials: Option<&Credentials>) -> Result<rustls::ClientConfig, SettingsError> {
    let mut config = client_tls(store, credentials)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
