//! Certificates as a consortium has them: root, issuing authority, leaf; both sides send the chain of two.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::development::{Authority, Issued, KeyType, Subject, Validity};
use certs::{Certificate, Credentials};
use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;

use crate::error::{During as _, Outcome};

/// Common name of the issuing authority, which all servers check where they can.
pub(crate) const ISSUER: &str = "Benchmark Issuing CA";

/// The certificates of one run.
pub(crate) struct Pki {
    root: Authority,
    issuing: Authority,
    server: Issued,
    client: Issued,
}

/// The same as files.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// Leaf and issuing authority of the server.
    pub(crate) server_chain: PathBuf,
    pub(crate) server_key: PathBuf,
    /// Chain and key in one file, for haproxy.
    pub(crate) server_both: PathBuf,
    /// Root and issuing authority.
    pub(crate) authorities: PathBuf,
}

/// What the load generator shows and trusts.
#[derive(Clone, Debug)]
pub(crate) struct ClientSide {
    pub(crate) trust: Trust,
    pub(crate) key: Arc<CertifiedKey>,
}

/// How the load generator recognises a server.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// By the bytes of its certificate, which costs nothing.
    Certificate(CertificateDer<'static>),
    /// By its authorities.
    Authorities(Arc<RootCertStore>),
}

// === impl Pki ===

impl Pki {
    pub(crate) fn new(key: KeyType) -> Outcome<Self> {
        let validity = Validity::days(time::OffsetDateTime::now_utc(), 30);
        let german = |name: &str| Subject::german("Benchmark", name);
        let root = Authority::root(&german("Benchmark Root CA"), key, validity).during("making certificates")?;
        let issuing = root.issuing(&german(ISSUER), key, validity).during("making certificates")?;
        let server = issuing.issue_server(&german("localhost"), &["localhost"], key, validity);
        let client = issuing.issue_organization(&german("client.example"), &["client.example"], key, validity);
        Ok(Self {
            server: server.during("making certificates")?,
            client: client.during("making certificates")?,
            root,
            issuing,
        })
    }

    /// The certificate of the client.
    pub(crate) const fn client(&self) -> &Certificate {
        self.client.certificate()
    }

    /// Writes what servers read.
    pub(crate) fn write(&self, folder: &Path) -> Outcome<Files> {
        let files = Files {
            server_chain: folder.join("server.pem"),
            server_key: folder.join("server.key"),
            server_both: folder.join("server-both.pem"),
            authorities: folder.join("authorities.pem"),
        };
        let chain = self.server.chain_pem();
        let key = self.server.private_key_pem();
        let authorities = format!("{}{}", self.root.certificate_pem(), self.issuing.certificate_pem());
        for (path, text) in [
            (&files.server_chain, chain.clone()),
            (&files.server_key, key.to_owned()),
            (&files.server_both, format!("{chain}{key}")),
            (&files.authorities, authorities),
        ] {
            write_secret(path, &text)?;
        }
        Ok(files)
    }

    pub(crate) fn client_side(&self) -> Outcome<ClientSide> {
        let trust = Trust::Certificate(self.server.certificate().der().clone().into_owned());
        let (chain, key) = (self.client.chain_pem(), self.client.private_key_pem());
        ClientSide::new(chain.as_bytes(), key.as_bytes(), trust)
    }
}

// === impl ClientSide ===

impl ClientSide {
    fn new(chain: &[u8], key: &[u8], trust: Trust) -> Outcome<Self> {
        let certificates = certs::read_certificates(chain, "client certificate").during("reading certificates")?;
        let key = certs::read_private_key(key, "client key").during("reading a key")?;
        let credentials =
            Credentials::new(certificates, key, "client certificate", "client key").during("reading certificates")?;
        Ok(Self { trust, key: credentials.certified_key().during("a client key")? })
    }

    /// From the PEM texts of chain, key and trusted authorities.
    pub(crate) fn from_pem(chain: &[u8], key: &[u8], authorities: &[u8]) -> Outcome<Self> {
        let mut roots = RootCertStore::empty();
        for authority in certs::read_certificates(authorities, "authorities").during("reading authorities")? {
            roots.add(authority.der().clone()).during("an authority")?;
        }
        Self::new(chain, key, Trust::Authorities(Arc::new(roots)))
    }
}

/// Writes a file that only its owner reads.
pub(crate) fn write_secret(path: &Path, text: &str) -> Outcome<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).during(format!("writing {}", path.display()))
}
