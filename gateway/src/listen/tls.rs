//! The TLS side of the listener: profile, server certificate, client verifier, tickets.
//!
//! A [`TlsState`] is built whole and swapped whole. Each one has its own ticket keys, so that a session of an older
//! certificate, trust store or profile cannot be resumed; what a resumed session skips (the verifier) is made up for by
//! the first request of the connection, see [`crate::decide`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use certs::{Certificate, ClientTrust, Credentials};
use moka::sync::Cache;
use policies::Thumbprint;
use rustls::crypto::aws_lc_rs::{cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::CertifiedKey;
use rustls::ticketer::TicketRotator;
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version};

use crate::limits::{IDENTITY_CACHE, TRUST_MEMORY};

/// Protocol versions, suites and groups that are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// What DSF's Apache offers, without its dates: TLS 1.2 and 1.3, all AEAD suites with forward secrecy.
    DsfCompat,
    /// BSI TR-02102-2: no ChaCha20, no X25519.
    Bsi,
    /// TLS 1.3 only.
    Tls13Only,
}

/// Everything that a handshake needs.
#[derive(Debug)]
pub struct TlsState {
    /// For the handshake.
    pub config: Arc<ServerConfig>,
    /// To verify again what a resumed session or an older trust store let in.
    pub verifier: Arc<dyn ClientCertVerifier>,
    /// Grows with each state; a connection remembers by which it was verified.
    pub generation: u64,
    /// The certificate that is shown, for metrics and logs.
    pub server_certificate: Certificate,
    /// Clients whose chain this verifier accepted a moment ago. A ticket is only good for the state that wrote it, so a
    /// resumed session is one of these, unless it comes late.
    verified: Cache<Thumbprint, ()>,
    /// What the verifier is made of.
    pub trust: ClientTrust,
}

/// Why no TLS state can be built.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The library refuses the combination.
    #[error("tls configuration is refused")]
    Rustls(#[from] rustls::Error),
    /// The trust store gives no verifier.
    #[error("client verifier cannot be built")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// The server certificate is for another host.
    #[error("server certificate ({subject}) does not name the host {host} of the base-url")]
    HostMissing {
        /// Its subject.
        subject: String,
        /// Host of the base URL.
        host: String,
    },
    /// The server certificate has expired.
    #[error("server certificate ({subject}) expired on {not_after}")]
    Expired {
        /// Its subject.
        subject: String,
        /// End of validity.
        not_after: time::OffsetDateTime,
    },
}

/// Shows the same certificate to everybody; the host is checked per request.
#[derive(Debug)]
struct OneCertificate(Arc<CertifiedKey>);

/// A ticketer that can be owned by a rotator.
#[derive(Debug)]
struct Shared(Arc<dyn ProducesTickets>);

// === impl TlsState ===

impl TlsState {
    /// Builds the state. `ticket_seconds` bounds the life of a session; 0 turns resumption off.
    pub fn build(
        profile: Profile,
        credentials: &Credentials,
        trust: ClientTrust,
        host: &str,
        ticket_seconds: u32,
        now: time::OffsetDateTime,
    ) -> Result<Self, TlsError> {
        let server_certificate = credentials.certificate().clone();
        check_server_certificate(&server_certificate, host, now)?;
        let provider = Arc::new(profile.provider());
        let verifier = trust.verifier(Arc::clone(&provider))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(profile.versions())?
            .with_client_cert_verifier(Arc::clone(&verifier))
            .with_cert_resolver(Arc::new(OneCertificate(credentials.certified_key()?)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ignore_client_order = true;
        config.max_early_data_size = 0;
        // Sessions live in tickets only: nothing about a client is kept here.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if ticket_seconds > 0 {
            config.ticketer = Arc::new(TicketRotator::new(ticket_seconds, new_ticketer)?);
            config.send_tls13_tickets = 1;
        } else {
            config.send_tls13_tickets = 0;
        }
        let (generation, verified) = (next_generation(), nobody_verified());
        Ok(Self { config: Arc::new(config), verifier, generation, server_certificate, verified, trust })
    }

    /// The same state as another generation: every open connection is verified again by its next request.
    #[must_use]
    pub fn renewed(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
            verifier: Arc::clone(&self.verifier),
            generation: next_generation(),
            server_certificate: self.server_certificate.clone(),
            verified: nobody_verified(),
            trust: self.trust.clone(),
        }
    }

    /// Takes note of a client whose chain the verifier accepted just now.
    pub(crate) fn note_verified(&self, thumbprint: &Thumbprint) {
        self.verified.insert(thumbprint.clone(), ());
    }

    /// Whether the verifier accepted the chain of the client within [`TRUST_MEMORY`].
    pub(crate) fn was_verified(&self, thumbprint: &Thumbprint) -> bool {
        self.verified.contains_key(thumbprint)
    }

    /// The server certificate and the trusted authorities.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.server_certificate).chain(self.trust.store.certificates())
    }
}

fn next_generation() -> u64 {
    static GENERATION: AtomicU64 = AtomicU64::new(0);
    GENERATION.fetch_add(1, Ordering::Relaxed) + 1
}

fn nobody_verified() -> Cache<Thumbprint, ()> {
    Cache::builder().max_capacity(IDENTITY_CACHE).time_to_live(TRUST_MEMORY).build()
}

/// Whether the certificate is one for the host, and has not expired.
pub(crate) fn check_server_certificate(
    certificate: &Certificate,
    host: &str,
    now: time::OffsetDateTime,
) -> Result<(), TlsError> {
    let subject = || certificate.subject().to_string();
    if certificate.not_after() < now {
        return Err(TlsError::Expired { subject: subject(), not_after: certificate.not_after() });
    }
    let name = rustls_pki_types::ServerName::try_from(host.to_owned());
    let parsed = webpki::EndEntityCert::try_from(certificate.der());
    match (name, parsed) {
        (Ok(name), Ok(parsed)) if parsed.verify_is_valid_for_subject_name(&name).is_ok() => Ok(()),
        _ => Err(TlsError::HostMissing { subject: subject(), host: host.to_owned() }),
    }
}

fn new_ticketer() -> Result<Box<dyn ProducesTickets>, rustls::crypto::GetRandomFailed> {
    let ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|_| rustls::crypto::GetRandomFailed)?;
    Ok(Box::new(Shared(ticketer)))
}

impl ProducesTickets for Shared {
    fn enabled(&self) -> bool {
        self.0.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.0.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.0.decrypt(cipher)
    }
}

impl rustls::server::ResolvesServerCert for OneCertificate {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

// === impl Profile ===

impl Profile {
    /// The cryptography of the profile.
    #[must_use]
    pub fn provider(self) -> CryptoProvider {
        CryptoProvider {
            cipher_suites: self.suites(),
            kx_groups: self.groups(),
            ..rustls::crypto::aws_lc_rs::default_provider()
        }
    }

    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
        static ONLY_13: [&SupportedProtocolVersion; 1] = [&version::TLS13];
        match self {
            Self::DsfCompat | Self::Bsi => &BOTH,
            Self::Tls13Only => &ONLY_13,
        }
    }

    fn suites(self) -> Vec<SupportedCipherSuite> {
        use cipher_suite as suite;
        let mut suites = vec![suite::TLS13_AES_256_GCM_SHA384];
        if self != Self::Bsi {
            suites.push(suite::TLS13_CHACHA20_POLY1305_SHA256);
        }
        suites.push(suite::TLS13_AES_128_GCM_SHA256);
        if self == Self::Tls13Only {
            return suites;
        }
        suites.push(suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384);
        suites.push(suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384);
        if self == Self::DsfCompat {
            suites.push(suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256);
            suites.push(suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256);
        }
        suites.push(suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256);
        suites.push(suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256);
        suites
    }

    fn groups(self) -> Vec<&'static dyn SupportedKxGroup> {
        match self {
            Self::DsfCompat | Self::Tls13Only => {
                vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1]
            }
            Self::Bsi => vec![kx_group::SECP256R1MLKEM768, kx_group::SECP256R1, kx_group::SECP384R1],
        }
    }
}
