//! `[syslog]`: whom the refresher trusts as a receiver of audit records, and what it shows of itself.
//!
//! Where records go stands in the policy (`[audit] sink`); here are only files. The certificate is one of its own, because
//! the refresher must reach neither key of the node.

use std::path::PathBuf;

use settings::{Reader, Section};

use super::{KeyPair, TrustStores};
use crate::Directory;

/// Files for connections to receivers of syslog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// Authorities of the receivers.
    pub authorities: Vec<PathBuf>,
    /// What the refresher shows of itself; nothing by default.
    pub certificate: Option<KeyPair>,
}

pub(super) fn read(
    mut section: Section<'_>,
    reader: &mut Reader<'_>,
    directory: &Directory,
    stores: &TrustStores,
    others: Option<&(KeyPair, KeyPair)>,
) -> Syslog {
    let authorities = section.strings(reader, "authorities").unwrap_or_default();
    let certificate = section.string(reader, "certificate");
    let private_key = section.string(reader, "private-key");
    if certificate.is_some() != private_key.is_some() {
        let text = "has only one of certificate and private-key";
        reader.error(&section.span(), section.path(), text, "give both or none");
    }
    let key = private_key.map(|item| (directory.root().join(&item.value), item));
    if let (Some((path, item)), Some((server, client))) = (&key, others)
        && [&server.private_key, &client.private_key].contains(&path)
    {
        let remedy = "give the refresher a certificate of its own; it must not reach the keys of the node";
        reader.refuse(item, "is a key of the node itself", remedy);
    }
    section.finish(reader);
    let authorities: Vec<PathBuf> = authorities.into_iter().map(|item| directory.root().join(item.value)).collect();
    Syslog {
        authorities: if authorities.is_empty() { stores.server.clone() } else { authorities },
        certificate: certificate.zip(key).map(|(certificate, (private_key, _))| KeyPair {
            certificate: directory.root().join(certificate.value),
            private_key,
        }),
    }
}
