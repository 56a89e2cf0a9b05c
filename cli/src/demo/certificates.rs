//! The certificates of the demonstration network: one authority, and for every node a server, an organisation and three
//! persons; one stranger whom no allow-list knows. The data management site has RSA keys and all others ECDSA, so that
//! every run proves both kinds with each other.

use std::path::{Path, PathBuf};

use certs::development::{Authority, DevelopmentError, Issued, KeyType, Subject, Validity};
use time::OffsetDateTime;

use super::files;
use super::network::{Network, Site};

const AUTHORITY_DAYS: i64 = 3650;
const LEAF_DAYS: i64 = 365;

/// Persons of a node, by the file names of their certificates.
pub(crate) const PERSONS: [&str; 3] = ["administrator", "practitioner", "limited"];

/// Why certificates could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error(transparent)]
    Issue(#[from] DevelopmentError),
    #[error("{path}: {source}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// The network's authority with its files.
pub(crate) struct DemoAuthority {
    authority: Authority,
    certificate_pem: String,
}

impl DemoAuthority {
    /// Opens the authority in `folder` (`ca.pem`, `ca.key`) or makes it.
    pub(crate) fn open(folder: &Path) -> Result<Self, CertificateError> {
        let (certificate, key) = (folder.join("ca.pem"), folder.join("ca.key"));
        if certificate.is_file() && key.is_file() {
            let certificate_pem = read(&certificate)?;
            let authority = Authority::from_pem(&certificate_pem, &read(&key)?, &certificate.display().to_string())?;
            return Ok(Self { authority, certificate_pem });
        }
        let subject = Subject::german("Schleuse demonstration", "Demonstration Authority");
        let validity = Validity::days(OffsetDateTime::now_utc(), AUTHORITY_DAYS);
        let authority = Authority::root(&subject, KeyType::EcdsaP256, validity)?;
        let certificate_pem = authority.certificate_pem();
        create_folder(folder)?;
        // The key first: an authority without its certificate file is made anew.
        write(&key, authority.private_key_pem().as_bytes(), 0o600)?;
        write(&certificate, certificate_pem.as_bytes(), 0o644)?;
        Ok(Self { authority, certificate_pem })
    }

    /// The authority's certificate.
    pub(crate) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A server certificate for localhost and `host`.
    pub(crate) fn server(&self, organization: &str, host: &str, key: KeyType) -> Result<Issued, CertificateError> {
        let hosts = if host == "localhost" {
            vec!["localhost", "127.0.0.1", "::1"]
        } else {
            vec![host, "localhost", "127.0.0.1", "::1"]
        };
        Ok(self.authority.issue_server(&Subject::german(organization, host), &hosts, key, validity())?)
    }

    /// An organisation's client certificate.
    pub(crate) fn organization(&self, organization: &str, key: KeyType) -> Result<Issued, CertificateError> {
        Ok(self.authority.issue_organization(&Subject::german(organization, organization), &[], key, validity())?)
    }

    /// A person's client certificate.
    pub(crate) fn person(&self, organization: &str, name: &str, key: KeyType) -> Result<Issued, CertificateError> {
        let subject = Subject::german(organization, name).with_email(&format!("{name}@{organization}"));
        Ok(self.authority.issue_person(&subject, key, validity())?)
    }
}

/// Makes every certificate of the network that is not there yet.
pub(crate) fn issue_all(root: &Path, network: &Network) -> Result<DemoAuthority, CertificateError> {
    let authority = DemoAuthority::open(&root.join("authority"))?;
    for site in &network.sites {
        issue_site(&authority, root, site)?;
    }
    let stranger = root.join("stranger");
    if !stranger.join("stranger.pem").is_file() {
        create_folder(&stranger)?;
        save(&stranger, "stranger", &authority.organization("stranger.example", KeyType::EcdsaP256)?)?;
    }
    Ok(authority)
}

fn issue_site(authority: &DemoAuthority, root: &Path, site: &Site) -> Result<(), CertificateError> {
    let directory = site.directory(root);
    directory.create().map_err(|source| CertificateError::File { path: directory.root().to_owned(), source })?;
    let folder = directory.certificates();
    let organization = site.organization_identifier();
    let key = if site.role == "DMS" { KeyType::Rsa3072 } else { KeyType::EcdsaP256 };
    let missing = |name: &str| !folder.join(format!("{name}.pem")).is_file();
    if missing("server") {
        save(&folder, "server", &authority.server(&organization, "localhost", key)?)?;
    }
    if missing("client") {
        save(&folder, "client", &authority.organization(&organization, key)?)?;
    }
    for person in PERSONS {
        if missing(person) {
            save(&folder, person, &authority.person(&organization, person, KeyType::EcdsaP256)?)?;
        }
    }
    for store in ["client-authorities.pem", "server-authorities.pem"] {
        write(&directory.trust().join(store), authority.certificate_pem().as_bytes(), 0o644)?;
    }
    Ok(())
}

/// Writes `NAME.key` and then `NAME.pem`, so that a certificate without its key is never taken for complete.
pub(crate) fn save(folder: &Path, name: &str, issued: &Issued) -> Result<(), CertificateError> {
    write(&folder.join(format!("{name}.key")), issued.private_key_pem().as_bytes(), 0o600)?;
    write(&folder.join(format!("{name}.pem")), issued.chain_pem().as_bytes(), 0o644)
}

fn validity() -> Validity {
    Validity::days(OffsetDateTime::now_utc(), LEAF_DAYS)
}

fn read(path: &Path) -> Result<String, CertificateError> {
    std::fs::read_to_string(path).map_err(|source| CertificateError::File { path: path.to_owned(), source })
}

fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), CertificateError> {
    files::write(path, content, mode).map_err(|source| CertificateError::File { path: path.to_owned(), source })
}

fn create_folder(path: &Path) -> Result<(), CertificateError> {
    std::fs::create_dir_all(path).map_err(|source| CertificateError::File { path: path.to_owned(), source })
}
