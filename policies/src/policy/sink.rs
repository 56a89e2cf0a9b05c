//! Sinks of the audit log: where the refresher sends the records of both processes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a sink must look like.
pub(super) const EXPECTED: &str =
    "\"journald\", \"journald:/path/of/its/socket\" or \"tls-syslog://host:port\" (records never travel in plain text)";
/// Long enough for a restart of the receiver and its machine, short against a night in which nobody sees the records.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
/// Most sinks: each record is sent to each of them.
pub(super) const SINKS: usize = 4;
/// Where journald listens.
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

/// A place that records are sent to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuditSink {
    /// The journal of the machine, or of a namespace of its own, by its socket.
    Journald {
        /// The socket for journal entries.
        socket: PathBuf,
    },
    /// A receiver of syslog over TLS (RFC 5425).
    TlsSyslog {
        /// Name or address that its certificate must hold.
        host: String,
        /// Its port.
        port: u16,
    },
}

/// What happens while a sink takes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeadSink {
    /// Whatever changes something is refused until the sink takes records again.
    #[default]
    RefuseWrites,
    /// Everything is served; records wait in the audit files.
    Serve,
}

// === impl AuditSink ===

impl AuditSink {
    /// Reads one as it is written in a policy.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "journald" {
            return Some(Self::Journald { socket: PathBuf::from(JOURNAL_SOCKET) });
        }
        if let Some(socket) = text.strip_prefix("journald:") {
            // The name of a Unix socket has at most 107 bytes.
            let usable = socket.starts_with('/') && socket.len() < 108 && !socket.contains(['\0', '\n']);
            return usable.then(|| Self::Journald { socket: PathBuf::from(socket) });
        }
        let (host, port) = text.strip_prefix("tls-syslog://")?.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => address.parse::<std::net::Ipv6Addr>().ok()?.to_string(),
            None => {
                let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
                let usable = !host.is_empty() && host.len() < 254 && host.bytes().all(legal);
                usable.then(|| host.to_ascii_lowercase())?
            }
        };
        Some(Self::TlsSyslog { host, port })
    }
}

impl fmt::Display for AuditSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journald { socket } if socket == Path::new(JOURNAL_SOCKET) => f.write_str("journald"),
            Self::Journald { socket } => write!(f, "journald:{}", socket.display()),
            Self::TlsSyslog { host, port } if host.contains(':') => write!(f, "tls-syslog://[{host}]:{port}"),
            Self::TlsSyslog { host, port } => write!(f, "tls-syslog://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AuditSink;

    #[test]
    fn a_sink_is_read_as_it_is_written_and_nothing_else_is_one() {
        for text in [
            "journald",
            "journald:/run/systemd/journal.edge/socket",
            "tls-syslog://siem.example:6514",
            "tls-syslog://[::1]:1",
        ] {
            assert_eq!(AuditSink::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "journal",
            "journald:",
            "journald:relative",
            "syslog://siem.example:514",
            "tcp-syslog://siem.example:601",
            "tls-syslog://siem.example",
            "tls-syslog://:6514",
            "tls-syslog://siem.example:0",
            "tls-syslog://siem.example:70000",
            "tls-syslog://user@siem.example:6514",
            "tls-syslog://siem.example/x:6514",
            "tls-syslog://[siem]:6514",
        ] {
            assert_eq!(AuditSink::parse(text), None, "{text}");
        }
    }
}
