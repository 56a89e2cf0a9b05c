//! What the data-sharing processes need from this node: content of partners' Binaries, keys, and the records of the site.
//!
//! Keys are made at the first start and kept beside the data, in files that this user alone reads: `sealing.keys` opens
//! what is sealed to the node (one key a line, the newest first), `project.key` is what pseudonyms and date shifts follow
//! from. A lost `project.key` means other pseudonyms for the same persons.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use client::{Method, Request};
use endpoint::Endpoint;
use fhir::{Object, Resource, ResourceType, Value};
use link::CorrelationId;
use policies::{AllowList, OrganizationIdentifier, Thumbprint};
use processes::WorkError;
use processes::data_sharing::{Contents, SiteRecords, Vault, announcement};
use processes::step::BoxFuture;
use sealing::{Keyring, PrivateKey, Signer};
use secrets::Key;
use sources::Records;
use store::{ReadFilter, Store};

use crate::bootstrap::{BootstrapError, own_identity};
use crate::configuration::Configuration;
use crate::feasibility::{SiteCounts, failed};
use crate::messenger::Outgoing;

/// Keys that open what is sealed to this node.
const SEALING_KEYS: &str = "sealing.keys";
/// The secret of pseudonyms and date shifts.
const PROJECT_KEY: &str = "project.key";

impl Contents for Outgoing {
    fn content<'a>(&'a self, base_url: &'a str, id: &'a str) -> BoxFuture<'a, Result<Vec<u8>, WorkError>> {
        Box::pin(async move {
            let correlation = CorrelationId::random().to_string();
            let path = format!("Binary/{id}");
            let request = Request::new(Method::Get, base_url, &path, &correlation)
                .with_header(hyper::header::ACCEPT, "application/octet-stream");
            let answer = self.client.request(request).await.map_err(|error| failed(&error))?;
            Ok(answer.body.to_vec())
        })
    }
}

impl SiteRecords for SiteCounts {
    fn open(&self) -> Result<Arc<dyn Records>, WorkError> {
        self.records()
    }
}

/// The node's keys, in files.
pub(crate) struct NodeKeys {
    folder: PathBuf,
    certificate: node::KeyPair,
    allow_list: Arc<ArcSwap<AllowList>>,
    /// The keyring that was read last, and when its file was written.
    read: Mutex<Option<(std::time::SystemTime, Arc<Keyring>)>>,
}

impl NodeKeys {
    /// Makes the files that are missing.
    pub(crate) fn open(
        folder: &Path,
        settings: &node::Settings,
        allow_list: &Arc<ArcSwap<AllowList>>,
    ) -> std::io::Result<Self> {
        let folder = folder.to_owned();
        let keys = Self {
            folder,
            certificate: settings.client_certificate.clone(),
            allow_list: Arc::clone(allow_list),
            read: Mutex::default(),
        };
        let random = || Key::random().map_err(std::io::Error::other);
        make(&keys.folder.join(PROJECT_KEY), || Ok(random()?.secret_bytes().to_vec()))?;
        let fresh = || {
            let key = PrivateKey::generate().map_err(std::io::Error::other)?;
            Ok(format!("{}\n", hexadecimal(key.secret_bytes())).into_bytes())
        };
        make(&keys.folder.join(SEALING_KEYS), fresh)?;
        keys.read_keyring()?;
        keys.read_secret()?;
        Ok(keys)
    }

    fn read_secret(&self) -> std::io::Result<Key> {
        let path = self.folder.join(PROJECT_KEY);
        let wrong = |error| std::io::Error::other(format!("{}: {error}", path.display()));
        Key::new(&std::fs::read(&path)?).map_err(wrong)
    }

    /// The keys in the file as they are now: a key that was added is used from the next payload on.
    fn read_keyring(&self) -> std::io::Result<Arc<Keyring>> {
        let path = self.folder.join(SEALING_KEYS);
        let written = std::fs::metadata(&path)?.modified()?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, keyring)) = &*read
            && *then == written
        {
            return Ok(Arc::clone(keyring));
        }
        let wrong = |what: &dyn std::fmt::Display| std::io::Error::other(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(&path)?;
        let mut keys = Vec::new();
        for (place, line) in text.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
            let bytes = from_hexadecimal(line).ok_or_else(|| wrong(&format!("line {} is no key", place + 1)))?;
            keys.push(PrivateKey::new(&bytes).map_err(|error| wrong(&error))?);
        }
        let keyring = Keyring::new(keys).map_err(|error| wrong(&error))?;
        if keyring.current().is_none() {
            return Err(wrong(&"there is no key in it"));
        }
        let keyring = Arc::new(keyring);
        *read = Some((written, Arc::clone(&keyring)));
        Ok(keyring)
    }

    fn read_signer(&self) -> Result<Signer, String> {
        let pair = &self.certificate;
        let credentials = certs::Credentials::load(&pair.certificate, &pair.private_key);
        let credentials = credentials.map_err(|error| error.to_string())?;
        let chain = credentials.chain_der();
        let leaf = chain.first().ok_or_else(|| "the certificate file is empty".to_owned())?;
        Signer::new(&credentials.key_der(), leaf).map_err(|error| error.to_string())
    }
}

/// What a partner hears of a failure of the own files says nothing of them; the log has the whole.
fn unusable(what: &'static str, error: &dyn std::fmt::Display) -> WorkError {
    tracing::error!(%error, what, "data sharing cannot use a file of this node");
    WorkError::retry(format!("{what} of this node cannot be used"))
}

impl Vault for NodeKeys {
    fn keyring(&self) -> Result<Arc<Keyring>, WorkError> {
        self.read_keyring().map_err(|error| unusable("the sealing keys", &error))
    }

    fn signer(&self) -> Result<Signer, WorkError> {
        self.read_signer().map_err(|error| unusable("the certificate", &error))
    }

    fn secret(&self) -> Result<Key, WorkError> {
        self.read_secret().map_err(|error| unusable("the key of projects", &error))
    }

    fn is_certificate_of(&self, organization: &str, certificate: &[u8]) -> bool {
        let Ok(thumbprint) = certs::thumbprint(certificate).parse::<Thumbprint>() else { return false };
        let Ok(organization) = organization.parse::<OrganizationIdentifier>() else { return false };
        let allow_list = self.allow_list.load();
        let known = allow_list.organization(&organization);
        known.is_some_and(|known| known.active && known.thumbprints.contains(&thumbprint))
    }
}

/// Makes the public key known at the own endpoint, unless it stands there already.
pub(crate) async fn announce(
    configuration: &Configuration,
    endpoint: &Endpoint,
    store: &Store,
    keys: &NodeKeys,
) -> Result<(), BootstrapError> {
    let refused = |error: &dyn std::fmt::Display| BootstrapError::Keys(error.to_string());
    let organization = configuration.settings.organization_identifier.as_str();
    let current = keys.read_keyring().map_err(|error| refused(&error))?.current();
    let Some(key) = current else { return Ok(()) };
    let value: String = announcement::IDENTIFIER_VALUE.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let condition = format!("identifier={}%7C{value}", announcement::IDENTIFIER_SYSTEM);
    let query = fhir::search::parse_query(ResourceType::DocumentReference, &condition);
    let found = store.read(move |tx| tx.search(&query, &ReadFilter::everything())).await?;
    let is_known =
        found.matches.iter().any(|stored| announcement::read(&stored.resource, organization, keys) == Some(key));
    if is_known {
        return Ok(());
    }
    let signer = keys.read_signer().map_err(|error| refused(&error))?;
    let now = fhir::date::format_instant(time::OffsetDateTime::now_utc());
    let resource = announcement::build(organization, &key, &signer, &now).map_err(|error| refused(&error))?;
    let url =
        format!("DocumentReference?identifier={}|{}", announcement::IDENTIFIER_SYSTEM, announcement::IDENTIFIER_VALUE);
    let request = Object::new().with("method", "PUT").with("url", url);
    let entry = Object::new()
        .with("fullUrl", format!("urn:uuid:{}", uuid::Uuid::new_v4()))
        .with("resource", resource.into_tree())
        .with("request", request);
    let mut bundle = Resource::new("Bundle");
    bundle.set("type", "transaction");
    bundle.set("entry", vec![Value::from(entry)]);
    let result = endpoint.execute_local(own_identity(configuration), bundle).await;
    result.map(drop).map_err(|source| BootstrapError::Refused { what: "the public key of the node".to_owned(), source })
}

/// Writes the file unless it is there: whole or not at all, for this user alone.
fn make(path: &Path, content: impl FnOnce() -> std::io::Result<Vec<u8>>) -> std::io::Result<()> {
    match std::fs::metadata(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    let new = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&content()?)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let digits: Vec<char> = text.chars().collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).ok()).collect()
}
