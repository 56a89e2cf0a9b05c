//! Development certificates for a node of `schleuse init`: from a new authority, or from that of a demonstration network,
//! whose members then trust the node.

use std::path::{Path, PathBuf};

use certs::development::KeyType;
use node::Directory;

use super::certificates::{CertificateError, DemoAuthority, save};
use super::files;

/// Why development certificates could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    #[error("{path}: {source}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "{0} holds no authority; name the folder with ca.pem and ca.key, for a demonstration network DIR/authority"
    )]
    NoAuthority(PathBuf),
}

/// Issues server and client certificate and writes the trust stores; gives the client certificate's file.
pub(crate) fn development_certificates(
    directory: &Directory,
    organization: &str,
    host: &str,
    authority: Option<&Path>,
) -> Result<PathBuf, JoinError> {
    let folder = match authority {
        Some(folder) if folder.join("ca.pem").is_file() && folder.join("ca.key").is_file() => folder.to_owned(),
        Some(folder) => return Err(JoinError::NoAuthority(folder.to_owned())),
        None => directory.root().join("authority"),
    };
    let authority = DemoAuthority::open(&folder)?;
    let certificates = directory.certificates();
    save(&certificates, "server", &authority.server(organization, host, KeyType::EcdsaP256)?)?;
    save(&certificates, "client", &authority.organization(organization, KeyType::EcdsaP256)?)?;
    for store in ["client-authorities.pem", "server-authorities.pem"] {
        let path = directory.trust().join(store);
        files::write(&path, authority.certificate_pem().as_bytes(), 0o644)
            .map_err(|source| JoinError::File { path, source })?;
    }
    Ok(certificates.join("client.pem"))
}
