//! What an administrator says about the database server, checked before anything connects.

use std::str::FromStr as _;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::session::Database;
use super::tls::Connector;
use crate::{StoreError, limits};

/// Bytes of a name in PostgreSQL, less what our own names add to the schema's.
const SCHEMA_BYTES: usize = 48;

/// A database server that a store is opened on.
#[derive(Clone)]
pub struct PostgreSql {
    pub(super) config: Config,
    pub(super) tls: Connector,
    pub(super) schema: String,
}

/// How the way to the server is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Not at all: a Unix socket, loopback, or a network that is protected otherwise.
    Disabled,
    /// TLS; the server's certificate names the host and is issued by one of these authorities (PEM).
    Required {
        /// Certificates of the authorities.
        authorities: Vec<u8>,
    },
}

/// A setting that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} {text}; {remedy}")]
pub struct SettingError {
    /// The key in `[store]`.
    pub key: &'static str,
    /// What is wrong.
    pub text: String,
    /// What to do.
    pub remedy: &'static str,
}

// === impl PostgreSql ===

impl PostgreSql {
    /// Reads the settings. The password never stands in the URL.
    pub fn new(url: &str, password: Option<&[u8]>, tls: &Tls, schema: &str) -> Result<Self, SettingError> {
        let mut config = read_url(url)?;
        if let Some(password) = password {
            config.password(password);
        }
        let tls = Connector::new(tls)?;
        config.ssl_mode(if tls.is_enabled() { SslMode::Require } else { SslMode::Disable });
        config.application_name("schleuse-engine");
        config.connect_timeout(limits::CONNECT);
        config.tcp_user_timeout(limits::UNACKNOWLEDGED);
        check_hosts(&config, tls.is_enabled())?;
        if !is_schema(schema) {
            let text = format!("{schema:?} is no usable name of a schema");
            let remedy = "write up to 48 lower-case letters, digits and underscores, beginning with a letter";
            return Err(SettingError { key: "schema", text, remedy });
        }
        Ok(Self { config, tls, schema: schema.to_owned() })
    }

    /// Connects once, to find out whether the server can be used, and prepares the schema.
    pub(crate) fn open(&self) -> Result<Database, StoreError> {
        Database::open(self.clone())
    }

    /// Removes the schema with everything in it. For tests and demonstrations.
    pub async fn remove(&self) -> Result<(), StoreError> {
        let settings = self.clone();
        tokio::task::spawn_blocking(move || Database::remove(settings))
            .await
            .map_err(|error| StoreError::Panicked(error.to_string()))?
    }

    /// The schema that holds the tables.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// Where the database is, without anything secret.
    pub(super) fn place(&self) -> String {
        let hosts: Vec<String> = self
            .config
            .get_hosts()
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                Host::Unix(path) => path.display().to_string(),
            })
            .collect();
        let ports: Vec<String> = self.config.get_ports().iter().map(ToString::to_string).collect();
        let port = if ports.is_empty() { "5432".to_owned() } else { ports.join(",") };
        format!("{} at {} port {port}", self.config.get_dbname().unwrap_or_default(), hosts.join(","))
    }

    pub(super) fn user(&self) -> &str {
        self.config.get_user().unwrap_or_default()
    }

    /// A number that names a lock of this store in the database, where locks have no other names.
    pub(super) fn lock(&self, purpose: &str, of: &str) -> i64 {
        use sha2::{Digest, Sha256};
        let digest = Sha256::digest(format!("schleuse\n{purpose}\n{}\n{of}", self.schema));
        digest.first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
    }

    /// The channel on which engines tell each other about commits.
    pub(super) fn channel(&self) -> String {
        format!("schleuse_{}", self.schema)
    }
}

impl std::fmt::Debug for PostgreSql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgreSql").field("place", &self.place()).field("schema", &self.schema).finish_non_exhaustive()
    }
}

/// The text can be the name of a schema without quotes, everywhere.
fn is_schema(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && text.len() <= SCHEMA_BYTES
        && !text.starts_with("pg_")
        && text != "public"
        && text != "information_schema"
}

fn read_url(url: &str) -> Result<Config, SettingError> {
    const REMEDY: &str =
        "write postgres://USER@HOST:PORT/DATABASE, or postgres://USER@/DATABASE?host=/run/postgresql for a Unix socket";
    let refuse = |text: String| SettingError { key: "url", text, remedy: REMEDY };
    // The texts of the parser may repeat parts of the URL, so they are not shown before this.
    let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
        if !["host", "hostaddr", "port", "target_session_attrs"].contains(&name) {
            let text = "has a parameter other than host, hostaddr, port and target_session_attrs".to_owned();
            let remedy = "leave it out; the password stands in the file of password-file, TLS is set with tls and tls-authorities";
            return Err(SettingError { key: "url", text, remedy });
        }
    }
    let config = Config::from_str(url).map_err(|_| refuse("is no address of a PostgreSQL database".to_owned()))?;
    if config.get_password().is_some() {
        let text = "holds a password".to_owned();
        let remedy =
            "write the password into a file that only the engine's user can read, and name it with password-file";
        return Err(SettingError { key: "url", text, remedy });
    }
    if config.get_user().unwrap_or_default().is_empty() {
        return Err(refuse("names no user".to_owned()));
    }
    if config.get_dbname().unwrap_or_default().is_empty() {
        return Err(refuse("names no database".to_owned()));
    }
    if config.get_hosts().is_empty() {
        return Err(refuse("names no host".to_owned()));
    }
    Ok(config)
}

/// Data of patients and the password do not cross a network in the clear.
fn check_hosts(config: &Config, tls: bool) -> Result<(), SettingError> {
    for host in config.get_hosts() {
        match host {
            Host::Unix(_) if tls => {
                let text = "asks for TLS over a Unix socket, which has none".to_owned();
                let remedy = "write tls = \"disable\", or name a host";
                return Err(SettingError { key: "tls", text, remedy });
            }
            Host::Tcp(name) if !tls && !is_loopback(name) => {
                let text = format!("is \"disable\" although {name} is another machine");
                let remedy =
                    "write tls = \"require\" and name the authority of the server's certificate with tls-authorities";
                return Err(SettingError { key: "tls", text, remedy });
            }
            Host::Unix(_) | Host::Tcp(_) => {}
        }
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
