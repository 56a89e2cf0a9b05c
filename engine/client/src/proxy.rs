//! The hospital's forward proxy: HTTP CONNECT with Basic credentials, and the hosts that are reached without it.
//!
//! Every connection through the proxy is a tunnel, for plain `http` too, so the proxy sees host and port and nothing
//! else. Names are resolved by the proxy then; the guard against private addresses only sees addresses in URLs.

use std::io::Read as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

use crate::error::{ProxyProblem, SettingsError};
use crate::limits;

/// `[outgoing] proxy` of `node.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// `http://host:port`
    pub url: String,
    /// User name, if the proxy asks for one.
    pub username: Option<String>,
    /// File with the password in its only line.
    pub password_file: Option<PathBuf>,
    /// Hosts that are reached without the proxy: `host` or `host:port`, also for one level of sub-domains as in DSF.
    pub exceptions: Vec<String>,
}

/// A proxy that can be used. Does not print its credentials.
pub(crate) struct Proxy {
    pub(crate) name: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    authorization: Option<String>,
    exceptions: Vec<(String, Option<u16>)>,
}

// === impl Proxy ===

impl Proxy {
    pub(crate) fn new(settings: &ProxySettings) -> Result<Self, SettingsError> {
        let wrong = |reason| SettingsError::ProxyUrl { url: without_user(&settings.url), reason };
        let url = Url::parse(&settings.url).map_err(|_| wrong("it is not a URL"))?;
        if url.scheme() != "http" {
            return Err(wrong("the scheme must be http"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("user name and password have settings of their own"));
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it has no host"))?;
        let port = url.port_or_known_default().unwrap_or(80);
        let authorization = match &settings.username {
            Some(user) => Some(basic(user, &read_password(settings)?)),
            None => None,
        };
        let exceptions = settings.exceptions.iter().map(|entry| exception(entry)).collect();
        let name = format!("{host}:{port}");
        Ok(Self { name, host: host.trim_matches(['[', ']']).to_owned(), port, authorization, exceptions })
    }

    /// Whether the host is reached through the proxy.
    pub(crate) fn serves(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        !self.exceptions.iter().any(|(entry, entry_port)| {
            let below = host.strip_suffix(entry.as_str()).and_then(|rest| rest.strip_suffix('.'));
            let matches_host = host == *entry || below.is_some_and(|label| !label.is_empty() && !label.contains('.'));
            matches_host && entry_port.is_none_or(|entry_port| entry_port == port)
        })
    }

    /// Asks for a tunnel to `target` (`host:port`) over an open connection to the proxy.
    pub(crate) async fn tunnel(&self, stream: &mut TcpStream, target: &str) -> Result<(), ProxyProblem> {
        let mut head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(authorization) = &self.authorization {
            head.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
        }
        head.push_str("\r\n");
        let lost = |error: std::io::Error| ProxyProblem::Refused { detail: error.to_string() };
        stream.write_all(head.as_bytes()).await.map_err(lost)?;
        let answer = read_head(stream).await?;
        match read_status(&answer).ok_or(ProxyProblem::InvalidAnswer)? {
            200..=299 if answer.ends_with(b"\r\n\r\n") => Ok(()),
            // Bytes behind the head: nobody speaks before our ClientHello.
            200..=299 => Err(ProxyProblem::InvalidAnswer),
            407 if self.authorization.is_some() => Err(ProxyProblem::WrongCredentials),
            407 => Err(ProxyProblem::CredentialsMissing),
            status => Err(ProxyProblem::Status { status, target: target.to_owned() }),
        }
    }
}

async fn read_head(stream: &mut TcpStream) -> Result<Vec<u8>, ProxyProblem> {
    let mut answer = Vec::new();
    let mut buffer = [0_u8; 1024];
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        let count =
            stream.read(&mut buffer).await.map_err(|error| ProxyProblem::Refused { detail: error.to_string() })?;
        if count == 0 || answer.len() > limits::PROXY_HEAD_BYTES {
            return Err(ProxyProblem::InvalidAnswer);
        }
        answer.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
    Ok(answer)
}

fn read_status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    if !matches!(words.next()?, "HTTP/1.1" | "HTTP/1.0") {
        return None;
    }
    words.next()?.parse().ok().filter(|status| (100..600).contains(status))
}

fn read_password(settings: &ProxySettings) -> Result<String, SettingsError> {
    let Some(path) = &settings.password_file else { return Ok(String::new()) };
    let file = path.display().to_string();
    let problem = |reason: String| SettingsError::ProxyPassword { file: file.clone(), reason };
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(limits::PASSWORD_BYTES).read_to_string(&mut text))
        .map_err(|error| problem(format!("cannot be read: {error}")))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(problem("is empty".to_owned()));
    }
    if password.chars().any(char::is_control) {
        return Err(problem("has more than one line".to_owned()));
    }
    Ok(password.to_owned())
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// `host`, `host:port`, `.host` and `*.host`, lower case.
fn exception(entry: &str) -> (String, Option<u16>) {
    let entry = entry.trim().to_ascii_lowercase();
    let entry = entry.strip_prefix('*').unwrap_or(&entry);
    let entry = entry.strip_prefix('.').unwrap_or(entry);
    // A bare IPv6 address has several colons and no port.
    let parts = entry.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
    match parts.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => (host.trim_matches(['[', ']']).to_owned(), Some(port)),
        None => (entry.trim_matches(['[', ']']).to_owned(), None),
    }
}

/// The URL for a message, should somebody have put a password into it.
fn without_user(url: &str) -> String {
    url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, rest)| format!("http://...@{rest}"))
}

#[cfg(test)]
mod tests;
