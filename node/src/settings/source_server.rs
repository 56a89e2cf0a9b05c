//! `[[source.server]]`: a server of the hospital that counts, the way there, and the proof of who asks.

use std::path::PathBuf;
use std::time::Duration;

use settings::{Item, Reader, Section};

use super::{KeyPair, Proxy, read_proxy};
use crate::Directory;

/// How long one request may take (the reference's default).
const TIMEOUT: Duration = Duration::from_secs(300);
/// Longest name.
const NAME_BYTES: usize = 64;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceServer {
    /// Its name in messages.
    pub name: String,
    /// What it is.
    pub kind: ServerKind,
    /// Base URL.
    pub url: String,
    /// CA certificates of the server; empty: those of `trust-stores.server`.
    pub trust: Vec<PathBuf>,
    /// The client certificate that is shown there.
    pub certificate: Option<KeyPair>,
    /// Proof beside the certificate.
    pub authentication: ServerAuthentication,
    /// The forward proxy on the way there.
    pub proxy: Option<Proxy>,
    /// How long one request may take.
    pub timeout: Duration,
}

/// What a server is asked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// FHIR R4 search.
    Fhir,
    /// `Measure/$evaluate-measure`.
    Cql,
    /// FLARE.
    Flare,
}

/// Proof of who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAuthentication {
    /// None, or the certificate alone.
    None,
    /// HTTP Basic.
    Basic {
        /// User name.
        user: String,
        /// File with the password.
        password_file: PathBuf,
    },
    /// A fixed bearer token.
    Bearer {
        /// File with the token.
        token_file: PathBuf,
    },
    /// OAuth 2.0 client credentials.
    OAuth {
        /// URL of the issuer.
        issuer: String,
        /// Name of the client.
        client: String,
        /// File with its secret.
        secret_file: PathBuf,
    },
}

// === impl ServerAuthentication ===

impl ServerAuthentication {
    /// The file with the secret.
    #[must_use]
    pub const fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::None => None,
            Self::Basic { password_file: file, .. }
            | Self::Bearer { token_file: file }
            | Self::OAuth { secret_file: file, .. } => Some(file),
        }
    }
}

pub(super) fn read_servers(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    directory: &Directory,
) -> Vec<SourceServer> {
    let tables = section.sections(reader, "server");
    let mut servers: Vec<SourceServer> = Vec::new();
    for table in tables {
        let (span, path) = (table.span(), table.path().to_owned());
        let Some(server) = read_server(table, reader, directory) else { continue };
        if server.name == "folder" || servers.iter().any(|known| known.name == server.name) {
            reader.error(&span, &path, "has the name of another source", "give each server a name of its own");
        }
        servers.push(server);
    }
    servers
}

fn read_server(mut section: Section<'_>, reader: &mut Reader<'_>, directory: &Directory) -> Option<SourceServer> {
    let below = |item: Item<String>| directory.root().join(item.value);
    let name = section.required_string(reader, "name", "name the server; messages and log show it");
    let kinds = [("fhir", ServerKind::Fhir), ("cql", ServerKind::Cql), ("flare", ServerKind::Flare)];
    let kind = section.choice(reader, "kind", &kinds);
    if kind.is_none() {
        reader.error(&section.span(), section.path(), "has no kind", "write \"fhir\", \"cql\" or \"flare\"");
    }
    let url =
        section.required_string(reader, "url", "write the base URL, such as \"https://fhir.hospital.example/fhir\"");
    let trust = section.strings(reader, "trust").unwrap_or_default().into_iter().map(below).collect();
    let certificate = section.string(reader, "certificate");
    let private_key = section.string(reader, "private-key");
    if certificate.is_some() != private_key.is_some() {
        let text = "has only one of certificate and private-key";
        reader.error(&section.span(), section.path(), text, "give both or none");
    }
    let authentication = read_authentication(&mut section, reader, directory);
    let proxy = read_proxy(section.section(reader, "proxy"), reader, directory);
    let timeout = section.duration(reader, "timeout").map_or(TIMEOUT, |item| item.value);
    let (span, path) = (section.span(), section.path().to_owned());
    section.finish(reader);
    let (name, url) = (name?, url?);
    if name.value.is_empty() || name.value.len() > NAME_BYTES || name.value.chars().any(char::is_control) {
        reader.refuse(&name, "is no usable name", "write 1 to 64 bytes");
    }
    if timeout.is_zero() {
        reader.error(&span, &path, "has no time for an answer", "write a timeout such as \"5m\"");
    }
    let shows_secret = authentication.file().is_some();
    check_url(reader, &url, shows_secret);
    Some(SourceServer {
        name: name.value,
        kind: kind?.value,
        url: url.value,
        trust,
        certificate: certificate
            .zip(private_key)
            .map(|(certificate, key)| KeyPair { certificate: below(certificate), private_key: below(key) }),
        authentication,
        proxy,
        timeout,
    })
}

/// At most one form of proof, each complete.
fn read_authentication(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    directory: &Directory,
) -> ServerAuthentication {
    let below = |item: Item<String>| directory.root().join(item.value);
    let user = section.string(reader, "user");
    let password_file = section.string(reader, "password-file");
    let token_file = section.string(reader, "token-file");
    let issuer = section.string(reader, "issuer");
    let client = section.string(reader, "client");
    let secret_file = section.string(reader, "secret-file");
    match (user, password_file, token_file, issuer, client, secret_file) {
        (None, None, None, None, None, None) => ServerAuthentication::None,
        (Some(user), Some(file), None, None, None, None) => {
            if user.value.is_empty() || user.value.contains(':') {
                reader.refuse(&user, "is no user name", "HTTP Basic needs a name without a colon");
            }
            ServerAuthentication::Basic { user: user.value, password_file: below(file) }
        }
        (None, None, Some(file), None, None, None) => ServerAuthentication::Bearer { token_file: below(file) },
        (None, None, None, Some(issuer), Some(client), Some(file)) => {
            check_url(reader, &issuer, true);
            ServerAuthentication::OAuth { issuer: issuer.value, client: client.value, secret_file: below(file) }
        }
        _ => {
            let remedy = "give user and password-file, or token-file, or issuer, client and secret-file";
            reader.error(&section.span(), section.path(), "does not prove who asks in one complete form", remedy);
            ServerAuthentication::None
        }
    }
}

/// Plain HTTP shows everybody on the way what is sent: never a secret, and patients' data only with a warning.
fn check_url(reader: &mut Reader<'_>, url: &Item<String>, shows_secret: bool) {
    if url.value.starts_with("https://") {
        return;
    }
    let Some(rest) = url.value.strip_prefix("http://") else {
        reader.refuse(url, "is no URL of a server", "write it with https:// in front");
        return;
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let is_local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    if is_local {
        return;
    }
    if shows_secret {
        reader.refuse(url, "would show a secret to everybody on the way", "use https://");
    } else {
        reader.warn(&url.span, &url.key, "is not encrypted on the way", "use https://");
    }
}
