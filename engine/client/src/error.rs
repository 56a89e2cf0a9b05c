//! Why an outgoing call failed, whether trying again can help, and what the administrator can do.
//!
//! `Display` is for logs and for the error output of a Task; it names the destination and the cause, never a secret.
//! [`ClientError::topic`] is the name of the page in DSF's troubleshooting guide, which partners' administrators know.
//!
//! Repetition follows the rule of DSF's client: server errors (5xx), an unknown host, a refused and a timed-out connection
//! can be repeated; read timeouts, TLS failures and all other answers cannot. One case is ours: a connection that ended
//! before the answer is repeatable if the request is (reading, or creating with `If-None-Exist`), and one that ended in
//! the middle of the handshake always, because a partner that restarts at that moment must not fail a process.

use std::net::IpAddr;
use std::time::Duration;

use certs::handshake::{Failure, Reason};

use crate::limits;

/// An outgoing call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The policy does not permit the destination; nothing was sent.
    #[error("{destination} is not permitted as destination: {denial}")]
    NotAllowed { destination: String, denial: Denial },
    /// The request cannot be expressed.
    #[error("the request cannot be sent: {reason}")]
    InvalidRequest { reason: String },
    /// The name has no address.
    #[error("unknown host {host}: {detail}")]
    UnknownHost { host: String, detail: String },
    /// No address of the host accepted the connection.
    #[error("connection to {destination} refused: {detail}")]
    ConnectionRefused { destination: String, detail: String },
    /// No connection within the connect timeout.
    #[error("connection to {destination} timed out after {} s ({phase})", after.as_secs_f32())]
    ConnectTimeout { destination: String, phase: Phase, after: Duration },
    /// The request was sent, no answer within the read timeout.
    #[error("no answer from {destination} within {} s", after.as_secs_f32())]
    ReadTimeout { destination: String, after: Duration },
    /// One side refused the other in the TLS handshake.
    #[error("TLS with {destination} failed: {failure}")]
    Tls { destination: String, failure: Failure },
    /// The connection ended after the request was begun and before the answer was complete.
    #[error("connection to {destination} ended before the answer: {detail}")]
    ConnectionLost { destination: String, repeatable: bool, detail: String },
    /// The partner answered with an error status, or a redirect.
    #[error("{destination} answered {status}: {outcome}")]
    Http { destination: String, status: u16, outcome: String, retry_after: Option<Duration> },
    /// The forward proxy is the problem.
    #[error("forward proxy {proxy}: {problem}")]
    Proxy { proxy: String, problem: ProxyProblem },
    /// The answer is not what the protocol says.
    #[error("invalid answer from {destination}: {reason}")]
    InvalidAnswer { destination: String, reason: String },
}

/// Why a destination is not permitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    #[error("it is no address of an active Endpoint and not in [outbound] extra")]
    NotListed,
    #[error("{host} has the private address {address}")]
    PrivateAddress { host: String, address: IpAddr },
    #[error("{method} is not among the methods for partners")]
    Method { method: String },
    #[error("{reason}")]
    InvalidUrl { reason: &'static str },
    #[error("its server certificate has the SHA-256 {sha256}, which is not pinned")]
    Certificate { sha256: String },
}

/// The part of making a connection that did not finish in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Resolve,
    Connect,
    Tls,
}

/// What is wrong with the forward proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyProblem {
    #[error("unknown host: {detail}")]
    UnknownHost { detail: String },
    #[error("connection refused: {detail}")]
    Refused { detail: String },
    #[error("connection timed out after {} s", after.as_secs_f32())]
    Timeout { after: Duration },
    #[error("it does not accept the user name and password")]
    WrongCredentials,
    #[error("it demands a user name and password")]
    CredentialsMissing,
    #[error("it answered {status} to CONNECT {target}")]
    Status { status: u16, target: String },
    #[error("its answer to CONNECT is not HTTP")]
    InvalidAnswer,
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    Never,
    /// Not before this time has passed.
    After(Duration),
}

/// The settings of the client cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Certificate or key file.
    #[error(transparent)]
    Identity(#[from] certs::CertError),
    /// The trust store of servers: every problem of every file.
    #[error("{}", trust.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Trust { trust: Vec<certs::CertError> },
    /// rustls does not take what was read.
    #[error("certificate and trust store cannot be used for TLS: {reason}")]
    Tls { reason: String },
    /// The proxy's URL.
    #[error("{url} is not a proxy address: {reason}")]
    ProxyUrl { url: String, reason: &'static str },
    /// The proxy's user and password.
    #[error("the proxy password file {file} {reason}")]
    ProxyPassword { file: String, reason: String },
    /// An entry of `[outbound] extra`.
    #[error("{entry} is not a destination: {reason}")]
    Destination { entry: String, reason: &'static str },
}

// === impl ClientError ===

impl ClientError {
    /// Whether, and when, the same request may be sent again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        let later = Retry::After(limits::RETRY_DELAY);
        match self {
            Self::UnknownHost { .. } | Self::ConnectionRefused { .. } | Self::ConnectTimeout { .. } => later,
            Self::Tls { failure, .. } if failure.reason == Reason::Disconnected => later,
            Self::ConnectionLost { repeatable, .. } => {
                if *repeatable {
                    later
                } else {
                    Retry::Never
                }
            }
            Self::Http { status: 500..=599, retry_after, .. } => {
                Retry::After(retry_after.unwrap_or(limits::RETRY_DELAY).min(limits::RETRY_DELAY_MAXIMUM))
            }
            Self::Proxy { problem, .. } => match problem {
                ProxyProblem::UnknownHost { .. }
                | ProxyProblem::Refused { .. }
                | ProxyProblem::Timeout { .. }
                | ProxyProblem::Status { status: 500..=599, .. } => later,
                ProxyProblem::WrongCredentials
                | ProxyProblem::CredentialsMissing
                | ProxyProblem::Status { .. }
                | ProxyProblem::InvalidAnswer => Retry::Never,
            },
            Self::NotAllowed { .. }
            | Self::InvalidRequest { .. }
            | Self::ReadTimeout { .. }
            | Self::Tls { .. }
            | Self::Http { .. }
            | Self::InvalidAnswer { .. } => Retry::Never,
        }
    }

    /// Whether the partner may have acted on the request although no answer arrived.
    #[must_use]
    pub const fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::ReadTimeout { .. } | Self::ConnectionLost { .. } | Self::InvalidAnswer { .. })
    }

    /// The HTTP status, if the partner answered.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Http { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// A few words for tables: what a person looks at first.
    #[must_use]
    pub fn short(&self) -> String {
        match self {
            Self::NotAllowed { .. } => "destination not permitted".to_owned(),
            Self::InvalidRequest { .. } => "invalid request".to_owned(),
            Self::UnknownHost { .. } => "unknown host".to_owned(),
            Self::ConnectionRefused { .. } => "connection refused".to_owned(),
            Self::ConnectTimeout { .. } => "connect timeout".to_owned(),
            Self::ReadTimeout { .. } => "read timeout".to_owned(),
            Self::Tls { failure, .. } => format!("TLS: {}", failure.code()),
            Self::ConnectionLost { .. } => "connection lost".to_owned(),
            Self::Http { status, .. } => format!("HTTP {status}"),
            Self::Proxy { .. } => "forward proxy".to_owned(),
            Self::InvalidAnswer { .. } => "invalid answer".to_owned(),
        }
    }

    /// The page of DSF's troubleshooting guide (`/s/...`), if it has one.
    #[must_use]
    pub const fn topic(&self) -> Option<&'static str> {
        match self {
            Self::UnknownHost { .. } => Some("unknown-host"),
            Self::ConnectionRefused { .. } => Some("connection-refused"),
            Self::ConnectTimeout { .. } => Some("connection-timeout"),
            Self::ReadTimeout { .. } => Some("read-timeout"),
            Self::Tls { .. } => Some("error-ssl"),
            Self::Http { .. } => Some("error-http"),
            Self::Proxy { .. }
            | Self::NotAllowed { .. }
            | Self::InvalidRequest { .. }
            | Self::ConnectionLost { .. }
            | Self::InvalidAnswer { .. } => None,
        }
    }

    /// What the administrator can do; a sentence.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::NotAllowed { denial, .. } => denial.remedy(),
            Self::InvalidRequest { .. } => "this is an error of the process; tell its developer".to_owned(),
            Self::UnknownHost { host, .. } => format!("check the DNS of this machine: getent hosts {host}; in closed networks set the forward proxy"),
            Self::ConnectionRefused { .. } => "the partner's node is stopped or a firewall rejects the connection; ask the partner".to_owned(),
            Self::ConnectTimeout { .. } => "a firewall drops the connection, here or at the partner; have the path opened for this machine's address".to_owned(),
            Self::ReadTimeout { .. } => "the partner's node or a firewall in between does not answer; ask the partner before sending again".to_owned(),
            Self::Tls { failure, .. } => tls_remedy(failure).to_owned(),
            Self::ConnectionLost { .. } => "the partner's node stopped or a firewall cut the connection; look at its state and try again".to_owned(),
            Self::Http { status, .. } => http_remedy(*status).to_owned(),
            Self::Proxy { problem, .. } => problem.remedy().to_owned(),
            Self::InvalidAnswer { .. } => "something between this node and the partner's changes answers, or the address is not a FHIR endpoint".to_owned(),
        }
    }
}

impl Denial {
    fn remedy(&self) -> String {
        match self {
            Self::NotListed => "check the Endpoint of the organisation in the allow-list, or add the address to [outbound] extra of the policy".to_owned(),
            Self::PrivateAddress { host, .. } => {
                format!("if {host} really is in your own network, add it to private-hosts in [outbound] of the policy")
            }
            Self::Method { method } => format!("add {method} to partner-methods in [outbound] of the policy if it is really needed"),
            Self::InvalidUrl { .. } => "correct the address of the Endpoint".to_owned(),
            Self::Certificate { .. } => {
                "ask the partner, by another way, for the fingerprint of its server certificate; if it is this one, add it to pin-server-sha256 in [allow-list] of the policy".to_owned()
            }
        }
    }
}

impl ProxyProblem {
    const fn remedy(&self) -> &'static str {
        match self {
            Self::UnknownHost { .. } | Self::Refused { .. } | Self::Timeout { .. } => {
                "check url in [outgoing] proxy of node.toml, and that the proxy runs"
            }
            Self::WrongCredentials => "correct username and password-file in [outgoing] proxy of node.toml",
            Self::CredentialsMissing => "set username and password-file in [outgoing] proxy of node.toml",
            Self::Status { .. } => {
                "have the destination and its port permitted on the proxy, or add the host to the proxy's exceptions"
            }
            Self::InvalidAnswer => "url in [outgoing] proxy of node.toml does not lead to an HTTP proxy",
        }
    }
}

const fn tls_remedy(failure: &Failure) -> &'static str {
    match (failure.by_peer, failure.reason) {
        (true, Reason::NoCertificate) => {
            "the partner saw no client certificate; check certificate and key in [certificates] of node.toml"
        }
        (true, Reason::UnknownIssuer) => {
            "the partner does not trust the CA of this node's client certificate; send the partner the issuing CA"
        }
        (true, Reason::Expired) => {
            "this node's client certificate has expired; renew it and publish the new thumbprint"
        }
        (true, _) => "ask the partner what its node logged about this certificate",
        (false, Reason::UnknownIssuer) => {
            "add the CA of the partner's server certificate to the server trust store; if a proxy replaces certificates, have this destination excepted"
        }
        (false, Reason::Expired | Reason::NotYetValid) => {
            "the partner's server certificate is not valid now; check the clock here, then ask the partner"
        }
        (false, Reason::WrongName) => "the partner's server certificate is for another name; ask the partner",
        (false, Reason::NotTls) => "the address or its port does not lead to a TLS server",
        (false, _) => "ask the partner about its server certificate and TLS settings",
    }
}

const fn http_remedy(status: u16) -> &'static str {
    match status {
        300..=399 => "redirects are not followed; the Endpoint must name the final address",
        401 | 403 => {
            "the partner does not know this certificate or does not permit the request; compare the allow-lists and installed processes of both sides"
        }
        404 | 410 => "the address does not lead to a FHIR endpoint, or the resource is gone",
        413 => "the partner or a proxy limits the size of requests",
        429 => "the partner limits the rate of requests",
        502 | 504 => "the partner's proxy does not reach its node; ask the partner",
        500..=599 => "the partner's node failed; it is tried again",
        _ => "read the partner's answer",
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Resolve => "name resolution",
            Self::Connect => "TCP connection",
            Self::Tls => "TLS handshake",
        })
    }
}

impl SettingsError {
    /// What the administrator can do; a sentence.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self {
            Self::Identity(error) => error.remedy(),
            Self::Trust { trust } => trust.first().map(certs::CertError::remedy).unwrap_or_default(),
            Self::Tls { .. } => "check certificate, key and trust store with: schleuse cert inspect".to_owned(),
            Self::ProxyUrl { .. } => "write it as http://host:port".to_owned(),
            Self::ProxyPassword { .. } => {
                "put the password into one line of a file that the engine's user can read".to_owned()
            }
            Self::Destination { .. } => {
                "write a base URL such as https://fhir.hospital.example/fhir, with * at most at its end".to_owned()
            }
        }
    }
}
