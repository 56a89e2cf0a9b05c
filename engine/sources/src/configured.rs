//! The sources that `[source]` of `node.toml` names.
//!
//! A server is reached at its configured address alone, by a client of its own; nothing that a partner sends leads there.
//! Where the policy lists every destination (`[outbound] mode = "list"`), the address must be in the list too. That it is
//! named makes its host one of the hospital's own, so it may have a private address.

use std::path::PathBuf;
use std::sync::Arc;

use client::{ClientSettings, Identity, OutboundMode, OutboundPolicy, ProxySettings, SettingsError};
use node::{ServerAuthentication, ServerKind, Settings, SourceServer};
use url::Url;

use crate::error::SourceError;
use crate::folder::FolderSource;
use crate::mapping::{self, Mapping, MappingError};
use crate::records::Records;
use crate::server::{self, Authentication, Kind, OAuth, ServerSettings};
use crate::source::Source;

/// Why a source cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// Code tree or mapping.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// Files or addresses of a server.
    #[error("source {name}: {error}")]
    Server {
        /// Name of the server.
        name: String,
        /// What is wrong.
        error: SettingsError,
    },
    /// The officer's list of destinations does not have it.
    #[error("source {name}: {url} is no destination that [outbound] of the policy permits")]
    NotPermitted {
        /// Name of the server.
        name: String,
        /// Its address.
        url: String,
    },
}

/// The sources of a node, with how criteria are understood.
#[derive(Clone)]
pub struct Sources {
    /// The mapping of folder and FHIR servers.
    pub mapping: Arc<Mapping>,
    /// The folder, if there is one; it is among `all` too.
    pub folder: Option<FolderSource>,
    /// Every source.
    pub all: Vec<Arc<dyn Source>>,
}

// === impl ConfigurationError ===

impl ConfigurationError {
    /// What the administrator can do.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Mapping(_) => "use a tree of the public mapping archive".to_owned(),
            Self::Server { error, .. } => error.remedy(),
            Self::NotPermitted { url, .. } => format!("have \"{url}\" added to extra in [outbound] of the policy"),
        }
    }
}

// === impl Sources ===

impl Sources {
    /// Opens them; files that the settings name are read.
    pub fn open(
        settings: &Settings,
        source: &node::Source,
        outbound: &policies::policy::Outbound,
    ) -> Result<Self, ConfigurationError> {
        let mapping = Arc::new(mapping::load(source.code_tree.as_deref())?);
        let folder =
            source.records.as_ref().map(|records| FolderSource::new(records.index.clone(), Arc::clone(&mapping)));
        let mut all: Vec<Arc<dyn Source>> = Vec::new();
        all.extend(folder.clone().map(|folder| Arc::new(folder) as Arc<dyn Source>));
        for server in &source.servers {
            all.push(open_server(settings, server, outbound, &mapping)?);
        }
        Ok(Self { mapping, folder, all })
    }
}

impl Sources {
    /// The records from which data sets are extracted: the folder's, else those of the one server that has any. Ids of
    /// several sources are not put together, because equal ones are other persons.
    pub fn records(&self) -> Result<Arc<dyn Records>, SourceError> {
        if let Some(folder) = &self.folder {
            return folder.records();
        }
        let mut found: Option<(&str, Arc<dyn Records>)> = None;
        let mut counting: Vec<&str> = Vec::new();
        for source in &self.all {
            match (source.records(), &found) {
                (Err(SourceError::CountsOnly { .. }), _) => counting.push(source.name()),
                (Err(error), _) => return Err(error),
                (Ok(_), Some((first, _))) => {
                    return Err(SourceError::Several { names: format!("{first}, {}", source.name()) });
                }
                (Ok(records), None) => found = Some((source.name(), records)),
            }
        }
        match found {
            Some((_, records)) => Ok(records),
            None if counting.is_empty() => Err(SourceError::NoSource),
            None => Err(SourceError::CountsOnly { name: counting.join(", ") }),
        }
    }
}

fn open_server(
    settings: &Settings,
    server: &SourceServer,
    outbound: &policies::policy::Outbound,
    mapping: &Arc<Mapping>,
) -> Result<Arc<dyn Source>, ConfigurationError> {
    let wrong = |error| ConfigurationError::Server { name: server.name.clone(), error };
    let mut addresses = vec![server.url.clone()];
    if let ServerAuthentication::OAuth { issuer, .. } = &server.authentication {
        addresses.push(issuer.clone());
    }
    if matches!(outbound.mode, policies::policy::OutboundMode::List) {
        for address in &addresses {
            if !client::destination::is_listed(&outbound.extra, address).map_err(wrong)? {
                return Err(ConfigurationError::NotPermitted { name: server.name.clone(), url: address.clone() });
            }
        }
    }
    let client = client_settings(settings, server, &addresses);
    let authentication = match &server.authentication {
        ServerAuthentication::None => Authentication::None,
        ServerAuthentication::Basic { user, password_file } => {
            Authentication::Basic { user: user.clone(), password_file: password_file.clone() }
        }
        ServerAuthentication::Bearer { token_file } => Authentication::Bearer { token_file: token_file.clone() },
        ServerAuthentication::OAuth { issuer, client, secret_file } => Authentication::OAuth(OAuth {
            issuer: issuer.clone(),
            client: client.clone(),
            secret_file: secret_file.clone(),
        }),
    };
    let kind = match server.kind {
        ServerKind::Fhir => Kind::Fhir,
        ServerKind::Cql => Kind::Cql,
        ServerKind::Flare => Kind::Flare,
    };
    let settings = ServerSettings { name: server.name.clone(), kind, url: server.url.clone(), authentication, client };
    server::open(settings, mapping).map_err(wrong)
}

/// The way to these addresses and no others.
fn client_settings(settings: &Settings, server: &SourceServer, addresses: &[String]) -> ClientSettings {
    let host = |address: &String| Url::parse(address).ok()?.host_str().map(str::to_owned);
    // Of an authorization server any path of its origin: the token endpoint is where its description says.
    let issuer = addresses.get(1).and_then(|issuer| Url::parse(issuer).ok());
    let issuer = issuer.map(|issuer| format!("{}/*", issuer.origin().ascii_serialization()));
    let outbound = OutboundPolicy {
        mode: OutboundMode::List,
        endpoints: Arc::new(|_| false),
        extra: addresses.first().cloned().into_iter().chain(issuer).collect(),
        deny_private_addresses: true,
        private_hosts: addresses.iter().filter_map(host).collect(),
        partner_methods: Vec::new(),
    };
    let trust: Vec<PathBuf> = match server.trust.as_slice() {
        [] => settings.trust_stores.server.clone(),
        own => own.to_vec(),
    };
    let identity = server
        .certificate
        .as_ref()
        .map(|pair| Identity { certificate: pair.certificate.clone(), private_key: pair.private_key.clone() });
    let mut client = ClientSettings::new(identity, trust, outbound);
    client.proxy = server.proxy.as_ref().map(|proxy| ProxySettings {
        url: proxy.url.clone(),
        username: proxy.username.clone(),
        password_file: proxy.password_file.clone(),
        exceptions: proxy.exceptions.clone(),
    });
    client.connect_timeout = settings.outgoing.connect_timeout;
    client.read_timeout = server.timeout;
    client
}
