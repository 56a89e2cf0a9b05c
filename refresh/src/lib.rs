//! Fetches certificate revocation lists for the gateway, and ships its audit records ([`sinks`]): it has no way out of its
//! own.
//!
//! A process of its own, with its own user under a service manager: what it reads from the network is parsed here and not
//! in the gateway. It connects to the addresses of `[revocation] sources` and nowhere else, through the forward proxy if
//! there is one, within limits of size and time. A list replaces a file in `crl/` only if an authority of the trust store
//! signed it and it is not older than the one in place; the gateway watches that folder and verifies everything again.
//! What went well and what did not stands in `refresh/state.json`.

pub mod confinement;
pub mod sinks;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certs::{Revocation, RevocationList, RevocationMode, TrustStore};
use client::{Client, ClientSettings, Method, OutboundMode, OutboundPolicy, ProxySettings, Request};
use http::header::ACCEPT;
use node::{NODE_TOML, Settings};
use serde::Serialize;
use settings::Finding;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

/// Wait after a round in which a source failed, if the interval is longer.
const RETRY: Duration = Duration::from_secs(300);
/// Time for one answer, between its parts.
const READ_TIME: Duration = Duration::from_secs(30);
/// Characters of a file name that are taken from the address.
const NAME_CHARACTERS: usize = 40;

/// Fetches all sources, again and again.
pub struct Refresher {
    client: Client,
    store: TrustStore,
    sources: Vec<String>,
    interval: Duration,
    folder: PathBuf,
    report: PathBuf,
    /// Until the next round.
    pause: Option<Duration>,
    states: Vec<State>,
}

/// How it went with one source.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct State {
    source: String,
    file: PathBuf,
    #[serde(with = "time::serde::rfc3339::option")]
    last_success: Option<OffsetDateTime>,
    last_error: Option<String>,
}

/// Why a list does not replace the file.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The source gave no list.
    #[error(transparent)]
    Client(#[from] client::ClientError),
    /// It is no list, or nobody whom the node trusts signed it.
    #[error("{}; {}", .0, .0.remedy())]
    List(certs::CertError),
    /// Nobody whom the node trusts signed it.
    #[error("the list is of {0}, which is no authority of the trust store")]
    Stranger(String),
    /// An older list was sent, by mistake or to hide a revocation.
    #[error("the list of {offered} is older than the one in place, of {in_place}")]
    Older {
        /// Time of the list that came.
        offered: OffsetDateTime,
        /// Time of the list in the folder.
        in_place: OffsetDateTime,
    },
    /// It expired already.
    #[error("the list was due to be replaced on {0}")]
    Expired(OffsetDateTime),
    /// The file cannot be written.
    #[error("the file cannot be written: {0}")]
    Write(#[from] std::io::Error),
}

// === impl Refresher ===

impl Refresher {
    /// Reads trust stores and proxy settings.
    pub fn new(settings: &Settings) -> Result<Self, Vec<Finding>> {
        let store = TrustStore::load(&settings.trust_stores.client).map_err(|errors| {
            errors
                .iter()
                .map(|error| Finding::in_file(NODE_TOML, error.to_string(), error.remedy()))
                .collect::<Vec<_>>()
        })?;
        let client = Client::new(client_settings(settings))
            .map_err(|error| vec![Finding::in_file(NODE_TOML, error.to_string(), error.remedy())])?;
        let folder = settings.directory.revocation_lists();
        let states = settings
            .revocation
            .sources
            .iter()
            .map(|source| State {
                source: source.clone(),
                file: folder.join(file_name(source)),
                last_success: None,
                last_error: None,
            })
            .collect();
        Ok(Self {
            client,
            store,
            sources: settings.revocation.sources.clone(),
            interval: settings.revocation.interval,
            folder,
            report: settings.directory.refresh_state(),
            pause: None,
            states,
        })
    }

    /// Waits until it is time, then fetches every source once.
    pub async fn round(&mut self) {
        if let Some(pause) = self.pause {
            tokio::time::sleep(pause).await;
        }
        let mut failed = false;
        for index in 0..self.sources.len() {
            let Some(source) = self.sources.get(index).cloned() else { continue };
            let result = self.fetch(&source).await;
            let Some(state) = self.states.get_mut(index) else { continue };
            match result {
                Ok(list) => {
                    tracing::info!(source, issuer = %list.issuer(), entries = list.len(), "revocation list fetched");
                    state.last_success = Some(OffsetDateTime::now_utc());
                    state.last_error = None;
                }
                Err(error) => {
                    failed = true;
                    tracing::warn!(source, %error, "revocation list not fetched, the one in place stays");
                    state.last_error = Some(error.to_string());
                }
            }
        }
        self.pause = Some(if failed { self.interval.min(RETRY) } else { self.interval });
        self.tell();
    }

    /// Fetches one list and puts it in place.
    pub async fn fetch(&self, source: &str) -> Result<RevocationList, FetchError> {
        let answer = self
            .client
            .request(Request {
                method: Method::Get,
                base_url: source,
                path: "",
                headers: vec![(ACCEPT, "application/pkix-crl, application/octet-stream;q=0.5, */*;q=0.1".to_owned())],
                body: Bytes::new(),
                correlation_id: "refresh",
            })
            .await?;
        let file = self.folder.join(file_name(source));
        let list = self.verified(&answer.body, source, &file)?;
        write(&file, &answer.body)?;
        Ok(list)
    }

    fn verified(&self, bytes: &[u8], source: &str, file: &Path) -> Result<RevocationList, FetchError> {
        let now = OffsetDateTime::now_utc();
        let list = RevocationList::read(bytes, source, Some(now)).map_err(FetchError::List)?;
        let known = self.store.certificates().any(|authority| authority.subject().der() == list.issuer().der());
        if !known {
            return Err(FetchError::Stranger(list.issuer().to_string()));
        }
        // Verifies the signature against every authority of that name.
        Revocation::new(vec![list.clone()], &self.store, RevocationMode::Soft, self.interval).map_err(|errors| {
            errors.into_iter().next().map_or_else(|| FetchError::Stranger(source.to_owned()), FetchError::List)
        })?;
        if let Some(due) = list.next_update().filter(|due| *due < now) {
            return Err(FetchError::Expired(due));
        }
        // A file in place that cannot be read is replaced: it serves nobody.
        if let Ok(in_place) = certs::revocation::read_list(file)
            && in_place.this_update() > list.this_update()
        {
            return Err(FetchError::Older { offered: list.this_update(), in_place: in_place.this_update() });
        }
        Ok(list)
    }

    /// Leaves the states for `schleuse status` and monitoring.
    fn tell(&self) {
        let written = serde_json::to_vec_pretty(&self.states)
            .map_err(std::io::Error::other)
            .and_then(|text| write(&self.report, &text));
        if let Err(error) = written {
            tracing::warn!(%error, path = %self.report.display(), "the state of the lists cannot be written");
        }
    }
}

fn client_settings(settings: &Settings) -> ClientSettings {
    let nobody: client::Endpoints = Arc::new(|_| false);
    let outbound = OutboundPolicy {
        mode: OutboundMode::List,
        endpoints: nobody,
        extra: settings.revocation.sources.clone(),
        deny_private_addresses: true,
        private_hosts: settings.revocation.private_hosts.clone(),
        partner_methods: vec![Method::Get],
    };
    let mut wanted = ClientSettings::new(None, settings.trust_stores.server.clone(), outbound);
    wanted.proxy = settings.outgoing.proxy.as_ref().map(|proxy| ProxySettings {
        url: proxy.url.clone(),
        username: proxy.username.clone(),
        password_file: proxy.password_file.clone(),
        exceptions: proxy.exceptions.clone(),
    });
    wanted.connect_timeout = settings.outgoing.connect_timeout;
    wanted.read_timeout = READ_TIME;
    wanted.answer_bytes = certs::limits::LIST_BYTES;
    wanted
}

/// A name that says where the list is from, and that no other address has.
fn file_name(source: &str) -> String {
    let last = source.rsplit('/').next().unwrap_or_default();
    let legal = |character: &char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
    let stem: String = last.trim_end_matches(".crl").chars().filter(legal).take(NAME_CHARACTERS).collect();
    let digest: String = Sha256::digest(source.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{stem}-{digest}.crl")
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    replace(path, bytes, true)
}

/// Replaces the file at once: a reader sees the old or the new one.
fn replace(path: &Path, bytes: &[u8], durable: bool) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
    let temporary = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&temporary)?;
    file.write_all(bytes)?;
    // Lists are public, and the gateway reads them as another user, whatever the mask of this process.
    file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    if durable {
        file.sync_all()?;
    }
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests;
