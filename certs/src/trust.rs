//! Trust stores and the verifiers that TLS uses with them.
//!
//! A trust store is a file or a folder of CA certificates, roots **and** issuing CAs: Apache httpd looks for missing
//! intermediates in its CA folder, rustls does not, and partners' clients often send only their own certificate. So every
//! certificate of the store is an anchor that may end a path.
//!
//! webpki does not look at the validity of an anchor. The verifiers here do: an expired CA stops being an anchor at the
//! moment of its expiry, without a restart. They delegate everything else to rustls' own verifiers.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use time::OffsetDateTime;

use crate::certificate::Certificate;
use crate::error::{CertError, Problem};
use crate::revocation::{LiveRevocation, Revocation, RevocationRefusal};
use crate::{limits, pem};

/// CA certificates, each of which ends a path.
#[derive(Clone, Debug, Default)]
pub struct TrustStore {
    anchors: Vec<Anchor>,
}

#[derive(Clone, Debug)]
struct Anchor {
    certificate: Certificate,
    anchor: TrustAnchor<'static>,
}

/// Verifies client certificates against a [`TrustStore`]; what the gateway listens with.
pub struct ClientVerifier {
    timed: Timed<dyn ClientCertVerifier>,
    depth: Option<Depth>,
    revocation: Option<Arc<LiveRevocation>>,
    hints: Vec<DistinguishedName>,
    mandatory: bool,
}

/// Verifies server certificates and names against a [`TrustStore`]; what the outgoing client uses.
pub struct ServerVerifier {
    timed: Timed<dyn ServerCertVerifier>,
}

/// How far a client may stand below the top of its chain.
#[derive(Clone, Debug)]
struct Depth {
    /// Most CA certificates above the client's, the top one included (`SSLVerifyDepth`).
    most: usize,
    /// All known CAs: an anchor need not be the top of its chain.
    known: TrustStore,
    /// The longest chain among them.
    tallest: usize,
    /// Whether the client's issuer itself must be an anchor.
    direct: bool,
}

/// A verified path: the leaf and the intermediates above it, and the authority of the store that ends it.
struct VerifiedPath {
    below: Vec<Certificate>,
    anchor: Certificate,
}

fn moment(now: UnixTime) -> Result<OffsetDateTime, rustls::Error> {
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| rustls::Error::FailedToGetCurrentTime)
}

type Build<V> = fn(Arc<RootCertStore>, Arc<CryptoProvider>) -> Result<Arc<V>, VerifierBuilderError>;

/// A verifier over those anchors of a store that are valid now, made anew when that set changes.
struct Timed<V: ?Sized> {
    store: TrustStore,
    provider: Arc<CryptoProvider>,
    build: Build<V>,
    current: Mutex<(Vec<bool>, Arc<V>)>,
}

// === impl TrustStore ===

impl TrustStore {
    /// Reads files and folders (their `.pem`, `.crt`, `.cer` and `.der` files). Every problem of every file is reported.
    pub fn load<P: AsRef<Path>>(paths: &[P]) -> Result<Self, Vec<CertError>> {
        let mut store = Self::default();
        let mut problems = Vec::new();
        let mut names = Vec::new();
        for path in paths {
            match files(path.as_ref()) {
                Ok(found) => names.extend(found),
                Err(problem) => problems.push(problem),
            }
        }
        for path in names {
            let name = path.display().to_string();
            match pem::read_file(&path).and_then(|bytes| pem::read_certificates(&bytes, &name)) {
                Ok(certificates) => problems.extend(store.add_all(certificates, &name)),
                Err(problem) => problems.push(problem),
            }
        }
        if store.anchors.is_empty() && problems.is_empty() {
            let name = paths.first().map(|path| path.as_ref().display().to_string()).unwrap_or_default();
            problems.push(CertError::new(&name, Problem::NoTrustAnchor));
        }
        if problems.is_empty() { Ok(store) } else { Err(problems) }
    }

    /// A store of certificates that are already read.
    pub fn from_certificates(certificates: Vec<Certificate>, file_name: &str) -> Result<Self, Vec<CertError>> {
        let mut store = Self::default();
        let mut problems = store.add_all(certificates, file_name);
        if store.anchors.is_empty() && problems.is_empty() {
            problems.push(CertError::new(file_name, Problem::NoTrustAnchor));
        }
        if problems.is_empty() { Ok(store) } else { Err(problems) }
    }

    fn add_all(&mut self, certificates: Vec<Certificate>, file: &str) -> Vec<CertError> {
        certificates.into_iter().filter_map(|certificate| self.add(certificate, file).err()).collect()
    }

    fn add(&mut self, certificate: Certificate, file: &str) -> Result<(), CertError> {
        let subject = certificate.subject().to_string();
        if !certificate.is_authority() {
            return Err(CertError::new(file, Problem::NotAnAuthority { subject }));
        }
        if self.certificates().any(|known| *known == certificate) {
            return Ok(());
        }
        let anchor = webpki::anchor_from_trusted_cert(certificate.der())
            .map_err(|error| CertError::new(file, Problem::UnusableAnchor { subject, reason: error.to_string() }))?
            .to_owned();
        self.anchors.push(Anchor { certificate, anchor });
        Ok(())
    }

    /// All CA certificates, in the order of the files.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.anchors.iter().map(|anchor| &anchor.certificate)
    }

    /// The CAs that issue to partners: those that are not self-signed, or all if every one is a root.
    pub fn issuing_authorities(&self) -> impl Iterator<Item = &Certificate> {
        let only_roots = self.certificates().all(Certificate::is_self_issued);
        self.certificates().filter(move |certificate| only_roots || !certificate.is_self_issued())
    }

    #[must_use]
    pub const fn len(&self) -> usize {
        self.anchors.len()
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// The anchors whose certificates are valid at `now`.
    pub(crate) fn anchors_at(&self, now: OffsetDateTime) -> impl Iterator<Item = TrustAnchor<'static>> + '_ {
        self.anchors
            .iter()
            .filter(move |anchor| anchor.certificate.is_valid_at(now))
            .map(|anchor| anchor.anchor.clone())
    }

    pub(crate) fn subject_of(&self, anchor: &TrustAnchor<'_>) -> Option<String> {
        self.certificate_of(anchor).map(|certificate| certificate.subject().to_string())
    }

    /// The certificate of the store from which the anchor was made.
    pub(crate) fn certificate_of(&self, anchor: &TrustAnchor<'_>) -> Option<&Certificate> {
        let holds = |known: &&Anchor| {
            known.anchor.subject == anchor.subject
                && known.anchor.subject_public_key_info == anchor.subject_public_key_info
        };
        self.anchors.iter().find(holds).map(|known| &known.certificate)
    }

    fn tallest(&self) -> usize {
        self.certificates().map(|certificate| self.height_of(certificate)).max().unwrap_or(1)
    }

    /// Certificates from this one up to the top of its chain, both included; by names, as far as the store reaches.
    fn height_of(&self, certificate: &Certificate) -> usize {
        let mut current = certificate;
        let mut height = 1;
        while !current.is_self_issued() && height <= self.anchors.len() {
            let above = self.certificates().find(|known| known.subject().der() == current.issuer().der());
            let Some(above) = above else { break };
            current = above;
            height += 1;
        }
        height
    }

    fn validity(&self, now: OffsetDateTime) -> Vec<bool> {
        self.anchors.iter().map(|anchor| anchor.certificate.is_valid_at(now)).collect()
    }
}

/// The certificate files that a path stands for.
fn files(path: &Path) -> Result<Vec<PathBuf>, CertError> {
    files_with(path, &["pem", "crt", "cer", "der"])
}

/// The files that a path stands for: itself, or those of a folder that end in one of `extensions`.
pub(crate) fn files_with(path: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, CertError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let name = path.display().to_string();
    let unreadable = |error: std::io::Error| CertError::new(&name, Problem::Unreadable { reason: error.to_string() });
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?.path();
        let extension =
            entry.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase();
        let hidden = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && extensions.contains(&extension.as_str()) {
            found.push(entry);
        }
    }
    if found.len() > limits::TRUST_FILES {
        return Err(CertError::new(&name, Problem::TooManyBlocks { limit: limits::TRUST_FILES }));
    }
    found.sort();
    Ok(found)
}

// === verifiers ===

/// A verifier that demands a client certificate of a CA in the store and tells clients the names of the issuing CAs.
pub fn client_verifier(
    store: &TrustStore,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    Ok(Arc::new(ClientVerifier::new(store, provider)?))
}

/// A verifier for the servers that this node calls.
pub fn server_verifier(
    store: &TrustStore,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, VerifierBuilderError> {
    Ok(Arc::new(ServerVerifier::new(store, provider)?))
}

impl ClientVerifier {
    /// Demands a certificate; the names of the store's issuing CAs are the hints for the client.
    pub fn new(store: &TrustStore, provider: Arc<CryptoProvider>) -> Result<Self, VerifierBuilderError> {
        let build = |roots, provider| WebPkiClientVerifier::builder_with_provider(roots, provider).build();
        let hints = store
            .issuing_authorities()
            .map(|authority| DistinguishedName::from(authority.subject().der().to_vec()))
            .collect();
        Ok(Self { timed: Timed::new(store, provider, build)?, depth: None, revocation: None, hints, mandatory: true })
    }

    /// Takes other CAs as hints, the effect of `SSLCADNRequestFile`.
    #[must_use]
    pub fn with_hints(mut self, authorities: &[Certificate]) -> Self {
        self.hints =
            authorities.iter().map(|authority| DistinguishedName::from(authority.subject().der().to_vec())).collect();
        self
    }

    /// Refuses clients with more than `most` CA certificates above theirs, counted as `SSLVerifyDepth` does: up to the root
    /// as far as `known` has it, although any certificate of the store may end a path.
    #[must_use]
    pub fn with_depth(mut self, most: usize, known: &TrustStore) -> Self {
        let direct = self.depth.is_some_and(|depth| depth.direct);
        self.depth = Some(Depth { most, tallest: known.tallest(), known: known.clone(), direct });
        self
    }

    /// Demands that an authority of the store itself issued the client's certificate, and no authority below it.
    #[must_use]
    pub fn with_direct_issuers(mut self) -> Self {
        let store = &self.timed.store;
        let depth = self.depth.take().unwrap_or_else(|| Depth {
            most: usize::MAX,
            tallest: 1,
            known: store.clone(),
            direct: true,
        });
        self.depth = Some(Depth { direct: true, ..depth });
        self
    }

    fn check_depth(
        &self,
        depth: &Depth,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let between_at_most = if depth.direct { 0 } else { depth.most.saturating_sub(1) };
        let longest = intermediates.len().saturating_add(depth.tallest);
        if between_at_most >= intermediates.len() && longest <= depth.most {
            // No path through what the client sent can be too long: the usual case, and no second search for one.
            return Ok(());
        }
        let refused = || rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let path = self.path(end_entity, intermediates, now)?;
        let between = path.below.len().saturating_sub(1);
        let above = between.saturating_add(depth.known.height_of(&path.anchor));
        if between <= between_at_most && above <= depth.most { Ok(()) } else { Err(refused()) }
    }

    /// Asks these lists about every link of a path.
    #[must_use]
    pub fn with_revocation(mut self, revocation: Arc<LiveRevocation>) -> Self {
        self.revocation = Some(revocation);
        self
    }

    fn check_revocation(
        &self,
        revocation: &Revocation,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let moment = moment(now)?;
        let path = self.path(end_entity, intermediates, now)?;
        match revocation.check(&path.below, &path.anchor, moment) {
            Ok(_) => Ok(()),
            Err(refusal) => Err(rustls::Error::InvalidCertificate(match refusal {
                RevocationRefusal::Revoked(_) => CertificateError::Revoked,
                RevocationRefusal::Unknown { .. } => CertificateError::UnknownRevocationStatus,
                RevocationRefusal::Stale { .. } => CertificateError::ExpiredRevocationList,
            })),
        }
    }

    /// The path that webpki finds; the search is repeated because rustls does not hand it out.
    fn path(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<VerifiedPath, rustls::Error> {
        let refused = || rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        let anchors: Vec<TrustAnchor<'_>> = self.timed.store.anchors_at(moment(now)?).collect();
        let algorithms = self.timed.provider.signature_verification_algorithms.all;
        let usage = webpki::KeyUsage::client_auth();
        let leaf = webpki::EndEntityCert::try_from(end_entity).map_err(|_| refused())?;
        let path = leaf
            .verify_for_usage(algorithms, &anchors, intermediates, now, usage, None, None)
            .map_err(|_| refused())?;
        let mut below = vec![Certificate::from_der(end_entity).map_err(|_| refused())?];
        for intermediate in path.intermediate_certificates() {
            below.push(Certificate::from_der(&intermediate.der()).map_err(|_| refused())?);
        }
        let anchor = self.timed.store.certificate_of(path.anchor()).ok_or_else(refused)?.clone();
        Ok(VerifiedPath { below, anchor })
    }

    /// Lets clients without a certificate in; they have no identity and the policy answers them.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.mandatory = false;
        self
    }
}

impl ServerVerifier {
    pub fn new(store: &TrustStore, provider: Arc<CryptoProvider>) -> Result<Self, VerifierBuilderError> {
        let build = |roots, provider| {
            let built: Arc<dyn ServerCertVerifier> =
                WebPkiServerVerifier::builder_with_provider(roots, provider).build()?;
            Ok(built)
        };
        Ok(Self { timed: Timed::new(store, provider, build)? })
    }
}

impl<V: ?Sized> Timed<V> {
    fn new(store: &TrustStore, provider: Arc<CryptoProvider>, build: Build<V>) -> Result<Self, VerifierBuilderError> {
        let all = vec![true; store.len()];
        let first = build(Arc::new(roots(store, &all)), Arc::clone(&provider))?;
        Ok(Self { store: store.clone(), provider, build, current: Mutex::new((all, first)) })
    }

    fn at(&self, now: UnixTime) -> Result<Arc<V>, rustls::Error> {
        let now = moment(now)?;
        let valid = self.store.validity(now);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 != valid {
            let built = (self.build)(Arc::new(roots(&self.store, &valid)), Arc::clone(&self.provider));
            // Without any valid anchor there is nothing to build: nobody's issuer is known.
            let built = built.map_err(|_| rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
            *current = (valid, built);
        }
        Ok(Arc::clone(&current.1))
    }
}

fn roots(store: &TrustStore, valid: &[bool]) -> RootCertStore {
    let anchors = store.anchors.iter().zip(valid).filter(|(_, valid)| **valid).map(|(anchor, _)| anchor.anchor.clone());
    RootCertStore { roots: anchors.collect() }
}

/// A longer list only makes us check signatures.
fn bound_presented(intermediates: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
    if intermediates.len() >= limits::PRESENTED_CERTIFICATES {
        return Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
    }
    Ok(())
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        bound_presented(intermediates)?;
        let verified = self.timed.at(now)?.verify_client_cert(end_entity, intermediates, now)?;
        if let Some(depth) = &self.depth {
            self.check_depth(depth, end_entity, intermediates, now)?;
        }
        if let Some(revocation) = &self.revocation {
            self.check_revocation(&revocation.current(), end_entity, intermediates, now)?;
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.timed.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.timed.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.timed.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        bound_presented(intermediates)?;
        self.timed.at(now)?.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.timed.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.timed.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.timed.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientVerifier")
            .field("anchors", &self.timed.store.len())
            .field("mandatory", &self.mandatory)
            .finish()
    }
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerVerifier").field("anchors", &self.timed.store.len()).finish()
    }
}

#[cfg(test)]
mod tests;
