//! `[workers]`: the listener for external workers, and who may fetch what.

use settings::{Reader, Section};

use super::{ExternalWorkers, KeyPair, WorkerCredential, WorkerProof, socket_address};
use crate::Directory;

/// Longest name of a credential or topic.
const NAME_BYTES: usize = 200;

/// The listener, if one is asked for. Everything else of it is refused without an address, as it would do nothing.
pub(super) fn read(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    directory: &Directory,
) -> Option<ExternalWorkers> {
    let names = section.names();
    let is_there = |name: &str| names.iter().any(|item| item.value == name);
    let below = |text: String| directory.root().join(text);
    if !is_there("listen") {
        if let Some(item) = names.iter().find(|item| !matches!(item.value.as_str(), "gateway" | "engine")) {
            let remedy = "add listen = \"ADDRESS:PORT\", or remove the key";
            reader.refuse(item, "does nothing without an address for external workers", remedy);
        }
        return None;
    }
    let remedy = "write an address of the hospital's network and a port, such as \"10.0.0.5:8443\"";
    let listen = socket_address(reader, section, "listen", remedy);
    let certificate = section.required_string(reader, "certificate", "name the PEM file of the listener's certificate");
    let private_key = section.required_string(reader, "private-key", "name the PEM file of its private key");
    let client_authorities: Vec<_> = section
        .strings(reader, "client-authorities")
        .unwrap_or_default()
        .into_iter()
        .map(|item| below(item.value))
        .collect();
    let mut credentials: Vec<WorkerCredential> = Vec::new();
    for table in section.sections(reader, "credential") {
        if let Some(credential) = read_credential(table, reader, directory) {
            credentials.push(credential);
        }
    }
    let span = section.span();
    if credentials.is_empty() {
        reader.error(
            &span,
            section.path(),
            "has no credential, so no worker could fetch anything",
            "add [[workers.credential]] with name, topics and token-file or thumbprint",
        );
    }
    let needs_authority = credentials.iter().any(|credential| matches!(credential.proof, WorkerProof::Thumbprint(_)));
    if needs_authority && client_authorities.is_empty() {
        reader.error(
            &span,
            section.path(),
            "has a credential with thumbprint, but no client-authorities",
            "name the PEM files of the authorities of the workers' certificates",
        );
    }
    let names: std::collections::BTreeSet<&str> =
        credentials.iter().map(|credential| credential.name.as_str()).collect();
    if names.len() != credentials.len() {
        reader.error(&span, section.path(), "has two credentials of the same name", "give each a name of its own");
    }
    Some(ExternalWorkers {
        listen: listen?.value,
        certificate: KeyPair { certificate: below(certificate?.value), private_key: below(private_key?.value) },
        client_authorities,
        credentials,
    })
}

fn read_credential(
    mut section: Section<'_>,
    reader: &mut Reader<'_>,
    directory: &Directory,
) -> Option<WorkerCredential> {
    let name = section.required_string(reader, "name", "name the worker; the audit log shows it");
    let topics = section.strings(reader, "topics").unwrap_or_default();
    let token_file = section.string(reader, "token-file");
    let thumbprint = section.string(reader, "thumbprint");
    if topics.is_empty() {
        reader.error(&section.span(), section.path(), "names no topics", "list the topics that the worker may fetch");
    }
    for topic in &topics {
        if topic.value.is_empty() || topic.value.len() > NAME_BYTES {
            reader.refuse(topic, "is no usable topic", "write the topic of the model, 1 to 200 bytes");
        }
    }
    let proof = match (token_file, thumbprint) {
        (Some(file), None) => Some(WorkerProof::TokenFile(directory.root().join(file.value))),
        (None, Some(item)) => match item.value.parse() {
            Ok(thumbprint) => Some(WorkerProof::Thumbprint(thumbprint)),
            Err(_) => {
                reader.refuse(
                    &item,
                    "is no thumbprint",
                    "write 128 hexadecimal digits; `schleuse cert thumbprint FILE` prints them",
                );
                None
            }
        },
        _ => {
            reader.error(&section.span(), section.path(), "needs either token-file or thumbprint", "give one of them");
            None
        }
    };
    section.finish(reader);
    let name = name?;
    if name.value.is_empty() || name.value.len() > NAME_BYTES {
        reader.refuse(&name, "is no usable name", "write 1 to 200 bytes");
        return None;
    }
    Some(WorkerCredential {
        name: name.value,
        topics: topics.into_iter().map(|item| item.value).collect(),
        proof: proof?,
    })
}
