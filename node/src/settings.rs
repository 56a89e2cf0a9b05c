//! `node.toml`: typed settings and how they are read.
//!
//! [`load`] reads the file, reports every finding and gives settings only if none of them is an error. It opens no other
//! file; whether certificates and policies are usable is checked by those who use them.

mod data_sharing;
mod feasibility;
mod retention;
mod source;
mod source_server;
mod store;
mod syslog;
mod user;
mod workers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use policies::{EndpointIdentifier, OrganizationIdentifier};
use settings::{Finding, Item, Reader, Section};

use crate::blocks::BLOCKS_TOML;
use crate::{Directory, NODE_TOML};
pub use data_sharing::DataSharing;
pub use feasibility::Feasibility;
pub use retention::Retention;
pub use source::{RecordFolder, Source};
pub use source_server::{ServerAuthentication, ServerKind, SourceServer};
pub use store::{PostgreSqlStore, StoreUrl};
pub use syslog::Syslog;

/// Settings of a node. Paths are absolute or below the node's directory.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory.
    pub directory: Directory,
    /// The organisation that runs the node.
    pub organization_identifier: OrganizationIdentifier,
    /// Address at which partners reach the node.
    pub base_url: Address,
    /// Identifier of the node's endpoint; the host of the base URL unless written.
    pub endpoint_identifier: EndpointIdentifier,
    /// Whether confinement by the kernel is required.
    pub sandbox: Sandbox,
    /// The gateway's user where it is not the engine's.
    pub gateway_user: Option<GatewayUser>,
    /// Where the gateway listens.
    pub listen: SocketAddr,
    /// Server certificate.
    pub server_certificate: KeyPair,
    /// Client certificate: the organisation's identity.
    pub client_certificate: KeyPair,
    /// Trusted authorities.
    pub trust_stores: TrustStores,
    /// Certificate revocation lists.
    pub revocation: Revocation,
    /// `[syslog]`
    pub syslog: Syslog,
    /// The database.
    pub store: StoreUrl,
    /// Outgoing connections.
    pub outgoing: Outgoing,
    /// Health, readiness, metrics.
    pub management: Management,
    /// Threads, and external workers.
    pub workers: Workers,
    /// The process engine.
    pub engine: Engine,
    /// Who signs policies; none if they are not signed.
    pub officers: Option<OfficersSettings>,
    /// The records of the site, if it has any.
    pub source: Option<Source>,
    /// `[retention]`
    pub retention: Retention,
    /// `[data-sharing]`
    pub data_sharing: DataSharing,
    /// How cohorts are asked for and counted.
    pub feasibility: Feasibility,
}

/// Security officers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfficersSettings {
    /// How many of them must sign.
    pub required: usize,
    /// PEM files, one officer each.
    pub certificates: Vec<PathBuf>,
}

/// `https://host[:port]/path` without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    text: String,
    host: Range<usize>,
    port: u16,
    path: usize,
}

/// A certificate chain and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// PEM file: leaf, then its authorities.
    pub certificate: PathBuf,
    /// PEM file of the key.
    pub private_key: PathBuf,
}

/// Files with trusted authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustStores {
    /// For clients that connect.
    pub client: Vec<PathBuf>,
    /// For servers that the node connects to.
    pub server: Vec<PathBuf>,
}

/// Certificate revocation lists: where they are, and from where they are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Files and folders with lists.
    pub lists: Vec<PathBuf>,
    /// Addresses from which `schleuse-refresh` fetches lists into the folder `crl/`; it connects nowhere else.
    pub sources: Vec<String>,
    /// Time between two fetches.
    pub interval: Duration,
    /// Hosts of sources that may have private addresses.
    pub private_hosts: Vec<String>,
}

/// Whether confinement by the kernel is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// Refuse to start without it; the default.
    Required,
    /// Start and report.
    BestEffort,
}

/// The user that the gateway runs as, beside an engine with a user of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayUser {
    /// As written.
    pub name: String,
    /// Its number.
    pub uid: u32,
}

/// Outgoing connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Forward proxy.
    pub proxy: Option<Proxy>,
    /// Time to connect, TLS included.
    pub connect_timeout: Duration,
    /// Time to wait for an answer.
    pub read_timeout: Duration,
}

/// A forward proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// `http://host:port`
    pub url: String,
    /// User, if the proxy asks for one.
    pub username: Option<String>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// Hosts that are reached without the proxy.
    pub exceptions: Vec<String>,
}

/// Health, readiness, metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Management {
    /// Loopback address.
    pub address: SocketAddr,
}

/// Threads of each process, and the workers from outside that do steps of processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers {
    /// Threads of the gateway.
    pub gateway: usize,
    /// Threads of the engine.
    pub engine: usize,
    /// Where workers from outside fetch their tasks; nowhere by default.
    pub external: Option<ExternalWorkers>,
}

/// The listener for external workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalWorkers {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Its certificate.
    pub certificate: KeyPair,
    /// Authorities of the workers' certificates.
    pub client_authorities: Vec<PathBuf>,
    /// Who may fetch what.
    pub credentials: Vec<WorkerCredential>,
}

/// A worker's credential and the topics that it is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerCredential {
    /// Its name, for the audit log.
    pub name: String,
    /// The topics.
    pub topics: Vec<String>,
    /// What proves it.
    pub proof: WorkerProof,
}

/// What proves a worker's credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerProof {
    /// A bearer token in a file.
    TokenFile(PathBuf),
    /// A client certificate with this SHA-512 thumbprint.
    Thumbprint(policies::Thumbprint),
}

/// The process engine, and what it begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Engine {
    /// Which Tasks it runs.
    pub processes: Processes,
    /// A Bundle (XML or JSON) that is carried out at start.
    pub initial_bundle: Option<PathBuf>,
    /// Folder with process plug-ins.
    pub plugins: PathBuf,
    /// What becomes of a step that failed after its retries.
    pub on_failure: OnFailure,
    /// The same for single built-in processes, by process id; plug-ins say it in their manifest.
    pub on_failure_of: BTreeMap<String, OnFailure>,
}

/// What becomes of a step that failed after its retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Its instance and Tasks fail, as in DSF.
    Fail,
    /// It waits for an operator.
    Incident,
}

/// Which Tasks the engine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processes {
    /// Those of installed processes; others fail.
    Installed,
    /// None; Tasks stay `requested` for an attached foreign engine.
    None,
}

// === impl Address ===

impl Address {
    /// Reads `https://host[:port]/path`; no user, query, fragment or trailing slash.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://")?;
        let slash = rest.find('/')?;
        let (authority, path) = rest.split_at_checked(slash)?;
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)?),
            None => (authority, 443),
        };
        let is_host = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
        let is_path = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_');
        let usable = !host.is_empty()
            && host.bytes().all(is_host)
            && path.len() > 1
            && !path.ends_with('/')
            && !path.contains("//")
            && path.bytes().all(is_path);
        let start = "https://".len();
        usable.then(|| Self {
            text: text.to_owned(),
            host: start..start + host.len(),
            port,
            path: start + authority.len(),
        })
    }

    /// The whole text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host name.
    #[must_use]
    pub fn host(&self) -> &str {
        self.text.get(self.host.clone()).unwrap_or_default()
    }

    /// The port, 443 if none is written.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The path, `/fhir`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.get(self.path..).unwrap_or_default()
    }
}

/// Reads `node.toml` of a node.
pub fn load(directory: &Directory) -> Result<(Settings, Vec<Finding>), Vec<Finding>> {
    let path = directory.node_toml();
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let remedy = format!("create the node with `schleuse init {}`", directory.root().display());
        vec![Finding::in_file(NODE_TOML, format!("{} cannot be read: {error}", path.display()), remedy)]
    })?;
    parse(directory, &text)
}

/// Reads the text of a `node.toml`.
pub(crate) fn parse(directory: &Directory, text: &str) -> Result<(Settings, Vec<Finding>), Vec<Finding>> {
    let mut reader = Reader::new(NODE_TOML, text);
    let document = reader.parse();
    let settings = read(&mut reader, directory, document.root());
    // Where earlier versions kept it: a block must not be lost by an update.
    if directory.root().join(BLOCKS_TOML).is_file() {
        let text = format!("{BLOCKS_TOML} stands in the node's directory, where it is not read any more");
        reader.error(&(0..0), BLOCKS_TOML, text, format!("move it to {}", directory.blocks().display()));
    }
    let usable = !reader.has_errors();
    let findings = reader.into_findings();
    match settings {
        Some(settings) if usable => Ok((settings, findings)),
        _ => Err(findings),
    }
}

fn read(reader: &mut Reader<'_>, directory: &Directory, mut root: Section<'_>) -> Option<Settings> {
    let node = read_node(root.section(reader, "node"), reader);
    let listen = read_listen(root.section(reader, "listen"), reader);
    let certificates = read_certificates(root.section(reader, "certificates"), reader, directory);
    let trust_stores = read_trust_stores(root.section(reader, "trust-stores"), reader, directory);
    let revocation = read_revocation(root.section(reader, "revocation"), reader, directory);
    let syslog = syslog::read(root.section(reader, "syslog"), reader, directory, &trust_stores, certificates.as_ref());
    let store = store::read(root.section(reader, "store"), reader, directory);
    let outgoing = read_outgoing(root.section(reader, "outgoing"), reader, directory);
    let management = read_management(root.section(reader, "management"), reader);
    let workers = read_workers(root.section(reader, "workers"), reader, directory);
    let engine = read_engine(root.section(reader, "engine"), reader, directory);
    let officers = read_officers(root.section(reader, "officers"), reader, directory);
    let source = source::read(root.section(reader, "source"), reader, directory);
    let data_sharing = data_sharing::read(root.section(reader, "data-sharing"), reader);
    let feasibility = feasibility::read(root.section(reader, "feasibility"), reader);
    let retention = retention::read(root.section(reader, "retention"), reader);
    root.finish(reader);
    let node = node?;
    let (server_certificate, client_certificate) = certificates?;
    Some(Settings {
        directory: directory.clone(),
        organization_identifier: node.organization_identifier,
        base_url: node.base_url,
        endpoint_identifier: node.endpoint_identifier,
        sandbox: node.sandbox,
        gateway_user: node.gateway_user,
        listen: listen?,
        server_certificate,
        client_certificate,
        trust_stores,
        revocation,
        syslog,
        store: store?,
        outgoing,
        management: management?,
        workers,
        engine,
        officers,
        source,
        data_sharing,
        feasibility,
        retention,
    })
}

/// `[node]`
struct NodeSection {
    organization_identifier: OrganizationIdentifier,
    base_url: Address,
    endpoint_identifier: EndpointIdentifier,
    sandbox: Sandbox,
    gateway_user: Option<GatewayUser>,
}

fn read_node(mut node: Section<'_>, reader: &mut Reader<'_>) -> Option<NodeSection> {
    let remedy = "write the identifier under which the allow-list names your organisation";
    let identifier = node.required_string(reader, "organization-identifier", remedy).and_then(|item| {
        let identifier = item.value.parse::<OrganizationIdentifier>().ok();
        if identifier.is_none() {
            reader.refuse(&item, "is no organisation identifier", remedy);
        }
        identifier
    });
    let remedy = "write https://, the host and port that partners use, and /fhir, without a slash at the end";
    let base_url = node.required_string(reader, "base-url", remedy).and_then(|item| {
        let address = Address::parse(&item.value);
        if address.is_none() {
            reader.refuse(&item, "is no usable address", remedy);
        }
        address
    });
    let endpoint_identifier = match node.string(reader, "endpoint-identifier") {
        None => base_url.as_ref().and_then(|address| address.host().parse().ok()),
        Some(item) => {
            let identifier = item.value.parse::<EndpointIdentifier>().ok();
            if identifier.is_none() {
                reader.refuse(&item, "is no endpoint identifier", "write the domain name of this node");
            }
            identifier
        }
    };
    let choices = [("required", Sandbox::Required), ("best-effort", Sandbox::BestEffort)];
    // Missing means required: whoever does without says so.
    let sandbox = node.choice(reader, "sandbox", &choices).map_or(Sandbox::Required, |item| item.value);
    let gateway_user = node.string(reader, "gateway-user");
    let is_shared = gateway_user.is_some();
    let gateway_user = gateway_user.and_then(|item| {
        let user = GatewayUser::find(&item.value);
        if user.is_none() {
            let remedy =
                "make the user (systemd-sysusers does, from the file that the package brings), or name another";
            reader.refuse(&item, "is no user of this machine", remedy);
        }
        user
    });
    node.finish(reader);
    if is_shared && gateway_user.is_none() {
        return None;
    }
    Some(NodeSection {
        organization_identifier: identifier?,
        base_url: base_url?,
        endpoint_identifier: endpoint_identifier?,
        sandbox,
        gateway_user,
    })
}

fn read_listen(mut listen: Section<'_>, reader: &mut Reader<'_>) -> Option<SocketAddr> {
    let address =
        socket_address(reader, &mut listen, "address", "write an address and a port, such as \"0.0.0.0:443\"");
    listen.finish(reader);
    address.map(|item| item.value)
}

fn read_certificates(
    mut section: Section<'_>,
    reader: &mut Reader<'_>,
    directory: &Directory,
) -> Option<(KeyPair, KeyPair)> {
    let server = read_key_pair(section.section(reader, "server"), reader, directory);
    let client = read_key_pair(section.section(reader, "client"), reader, directory);
    section.finish(reader);
    Some((server?, client?))
}

fn read_key_pair(mut section: Section<'_>, reader: &mut Reader<'_>, directory: &Directory) -> Option<KeyPair> {
    let certificate = section.required_string(reader, "certificate", "name the PEM file of the certificate chain");
    let private_key = section.required_string(reader, "private-key", "name the PEM file of the private key");
    section.finish(reader);
    Some(KeyPair {
        certificate: directory.root().join(certificate?.value),
        private_key: directory.root().join(private_key?.value),
    })
}

fn read_trust_stores(mut section: Section<'_>, reader: &mut Reader<'_>, directory: &Directory) -> TrustStores {
    let mut files = |reader: &mut Reader<'_>, name: &'static str| {
        let files = section.strings(reader, name).unwrap_or_default();
        if files.is_empty() {
            let remedy = "name at least one PEM file with certificates of authorities";
            reader.error(&section.span(), &section.key(name), "names no file", remedy);
        }
        files.into_iter().map(|item| directory.root().join(item.value)).collect()
    };
    let stores = TrustStores { client: files(reader, "client"), server: files(reader, "server") };
    section.finish(reader);
    stores
}

fn read_revocation(mut section: Section<'_>, reader: &mut Reader<'_>, directory: &Directory) -> Revocation {
    let lists = section.strings(reader, "lists").unwrap_or_default();
    let sources = section.strings(reader, "sources").unwrap_or_default();
    for source in &sources {
        if !is_list_source(&source.value) {
            let remedy = "write http:// or https://, the host and the path of the list, as the authority publishes it";
            reader.refuse(source, "is no address of a revocation list", remedy);
        }
    }
    let interval = section.duration(reader, "interval");
    if let Some(item) = interval.as_ref().filter(|item| item.value < Duration::from_secs(60)) {
        reader.refuse(item, "is shorter than a minute", "write a longer interval, such as \"6h\"");
    }
    let private_hosts = hosts(&mut section, reader, "private-hosts");
    section.finish(reader);
    let lists: Vec<PathBuf> = lists.into_iter().map(|item| directory.root().join(item.value)).collect();
    Revocation {
        lists: if lists.is_empty() { vec![directory.revocation_lists()] } else { lists },
        sources: sources.into_iter().map(|item| item.value).collect(),
        interval: interval.map_or(Duration::from_secs(6 * 3600), |item| item.value),
        private_hosts,
    }
}

/// `http://host[:port]/path` or `https://...`; no user, no fragment.
fn is_list_source(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else { return false };
    let Some((authority, _)) = rest.split_once('/') else { return false };
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'[' | b']' | b':');
    let is_text = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'?' | b'@' | b'\\' | b'"');
    !host.is_empty() && authority.bytes().all(is_host) && rest.bytes().all(is_text) && text.len() < 2000
}

fn read_outgoing(mut section: Section<'_>, reader: &mut Reader<'_>, directory: &Directory) -> Outgoing {
    let connect_timeout = section.duration(reader, "connect-timeout");
    let read_timeout = section.duration(reader, "read-timeout");
    let proxy = read_proxy(section.section(reader, "proxy"), reader, directory);
    section.finish(reader);
    let within = |item: Option<Item<Duration>>, default| match item {
        Some(item) => item.value,
        None => Duration::from_secs(default),
    };
    Outgoing {
        proxy,
        // DSF: remote connect PT5S, read PT60S.
        connect_timeout: within(connect_timeout, 5),
        read_timeout: within(read_timeout, 60),
    }
}

fn read_proxy(mut section: Section<'_>, reader: &mut Reader<'_>, directory: &Directory) -> Option<Proxy> {
    if !section.is_present() {
        return None;
    }
    let url = section.required_string(reader, "url", "write \"http://host:port\"");
    let username = section.string(reader, "username");
    let password_file = section.string(reader, "password-file");
    let exceptions = hosts(&mut section, reader, "exceptions");
    if username.is_some() != password_file.is_some() {
        reader.error(
            &section.span(),
            section.path(),
            "has only one of username and password-file",
            "give both or none",
        );
    }
    section.finish(reader);
    Some(Proxy {
        url: url?.value,
        username: username.map(|item| item.value),
        password_file: password_file.map(|item| directory.root().join(item.value)),
        exceptions,
    })
}

fn hosts(section: &mut Section<'_>, reader: &mut Reader<'_>, name: &'static str) -> Vec<String> {
    section.strings(reader, name).unwrap_or_default().into_iter().map(|item| item.value).collect()
}

fn read_management(mut section: Section<'_>, reader: &mut Reader<'_>) -> Option<Management> {
    let address = socket_address(
        reader,
        &mut section,
        "address",
        "write a loopback address and a port, such as \"127.0.0.1:9443\"",
    );
    section.finish(reader);
    let item = address?;
    if !item.value.ip().is_loopback() {
        let remedy = "use 127.0.0.1 or [::1]; reach it from elsewhere through an SSH tunnel or a reverse proxy with authentication";
        reader.refuse(&item, "is not a loopback address, and this listener has no authentication", remedy);
        return None;
    }
    Some(Management { address: item.value })
}

fn read_workers(mut section: Section<'_>, reader: &mut Reader<'_>, directory: &Directory) -> Workers {
    let mut count = |name| section.integer(reader, name, 1..257).and_then(|item| usize::try_from(item.value).ok());
    let (gateway, engine) = (count("gateway").unwrap_or(2), count("engine").unwrap_or(2));
    let external = workers::read(&mut section, reader, directory);
    section.finish(reader);
    Workers { gateway, engine, external }
}

fn read_engine(mut section: Section<'_>, reader: &mut Reader<'_>, directory: &Directory) -> Engine {
    let choices = [("installed", Processes::Installed), ("none", Processes::None)];
    let processes = section.choice(reader, "processes", &choices).map_or(Processes::Installed, |item| item.value);
    let initial_bundle = section.string(reader, "initial-bundle").map(|item| directory.root().join(item.value));
    let plugins = section.string(reader, "plugins").map_or_else(|| "plugins".to_owned(), |item| item.value);
    let choices = [("fail", OnFailure::Fail), ("incident", OnFailure::Incident)];
    let on_failure = section.choice(reader, "on-failure", &choices).map_or(OnFailure::Fail, |item| item.value);
    let mut on_failure_of = BTreeMap::new();
    let single = section.section(reader, "process");
    for name in single.names() {
        let mut process = single.section_named(reader, &name.value);
        match process.choice(reader, "on-failure", &choices) {
            Some(item) => drop(on_failure_of.insert(name.value, item.value)),
            None => reader.refuse(&name, "says nothing", "write on-failure = \"fail\" or \"incident\""),
        }
        process.finish(reader);
    }
    section.finish(reader);
    Engine { processes, initial_bundle, plugins: directory.root().join(plugins), on_failure, on_failure_of }
}

fn read_officers(mut section: Section<'_>, reader: &mut Reader<'_>, directory: &Directory) -> Option<OfficersSettings> {
    let files = section.strings(reader, "certificates").unwrap_or_default();
    let required = section.integer(reader, "required", 1..101);
    let (place, key) = (section.span(), section.key("required"));
    if section.is_present() && files.is_empty() {
        let remedy = "name a PEM file for each officer, or remove the section if policies are not signed";
        reader.error(&place, &section.key("certificates"), "names nobody", remedy);
    }
    section.finish(reader);
    if files.is_empty() {
        return None;
    }
    let Some(required) = required else {
        if !reader.has_errors() {
            reader.error(&place, &key, "is missing", "write how many officers must sign a policy");
        }
        return None;
    };
    let count = usize::try_from(required.value).unwrap_or(usize::MAX);
    if count > files.len() {
        reader.refuse(&required, format!("is more than the {} officers", files.len()), "name more officers");
    }
    let certificates = files.into_iter().map(|item| directory.root().join(item.value)).collect();
    Some(OfficersSettings { required: count, certificates })
}

fn socket_address(
    reader: &mut Reader<'_>,
    section: &mut Section<'_>,
    name: &'static str,
    remedy: &str,
) -> Option<Item<SocketAddr>> {
    let item = section.required_string(reader, name, remedy)?;
    match item.value.parse() {
        Ok(value) => Some(Item { value, key: item.key, span: item.span }),
        Err(_) => {
            reader.refuse(&item, "is no address with a port", remedy);
            None
        }
    }
}

#[cfg(test)]
mod tests;
