//! One audit record as a message of syslog (RFC 5424) and as an entry of the journal.

use audit::Followed;
use serde::Deserialize;

/// "log audit" of RFC 5424.
const FACILITY: u8 = 13;
/// RFC 5424: 32 characters of MSGID.
const EVENT_CHARACTERS: usize = 32;
/// RFC 5424: 255 characters of HOSTNAME.
const HOST_CHARACTERS: usize = 255;

/// Severities of RFC 5424.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    Warning = 4,
    Informational = 6,
}

/// A record with what its envelope says about it.
#[derive(Debug)]
pub(super) struct Message<'r> {
    chain: &'static str,
    host: &'r str,
    record: &'r Followed,
    time: String,
    event: String,
    severity: Severity,
}

/// What the envelope takes from a line.
#[derive(Default, Deserialize)]
struct Line {
    #[serde(default)]
    time: String,
    #[serde(default)]
    record: Record,
}

#[derive(Default, Deserialize)]
struct Record {
    #[serde(default)]
    event: String,
    #[serde(default)]
    code: Option<serde::de::IgnoredAny>,
}

// === impl Message ===

impl<'r> Message<'r> {
    /// A line that is no JSON is sent as it stands: what to make of it is not ours to say.
    pub(super) fn new(chain: &'static str, host: &'r str, record: &'r Followed) -> Self {
        let Line { time, record: Record { event, code } } = serde_json::from_str(&record.line).unwrap_or_default();
        let is_bad = code.is_some()
            || matches!(
                event.as_str(),
                "deny" | "refuse" | "failed" | "reload-failed" | "resumed" | "repaired" | "audit-sink"
            );
        let severity = if is_bad { Severity::Warning } else { Severity::Informational };
        Self { chain, host, record, time, event, severity }
    }

    /// Appends it with the count of its bytes before it (RFC 5425 4.3).
    pub(super) fn frame(&self, out: &mut Vec<u8>) {
        let priority = FACILITY * 8 + self.severity as u8;
        let (time, event) = (printable(&self.time, 32), printable(&self.event, EVENT_CHARACTERS));
        let (host, chain, line) = (printable(self.host, HOST_CHARACTERS), self.chain, &self.record.line);
        let message = format!("<{priority}>1 {time} {host} schleuse-{chain} - {event} - {line}");
        out.extend_from_slice(message.len().to_string().as_bytes());
        out.push(b' ');
        out.extend_from_slice(message.as_bytes());
    }

    /// The datagram of the journal's own protocol. A line holds no line feed, so every field is `NAME=value`.
    pub(super) fn entry(&self) -> Vec<u8> {
        let (priority, chain, event) = (self.severity as u8, self.chain, printable(&self.event, EVENT_CHARACTERS));
        let (sequence, line) = (self.record.mark.sequence, &self.record.line);
        format!(
            "PRIORITY={priority}\nSYSLOG_FACILITY={FACILITY}\nSYSLOG_IDENTIFIER=schleuse-{chain}\n\
             SCHLEUSE_CHAIN={chain}\nSCHLEUSE_SEQUENCE={sequence}\nSCHLEUSE_EVENT={event}\nMESSAGE={line}\n"
        )
        .into_bytes()
    }
}

/// A field of the header: printable ASCII without spaces, `-` for nothing.
fn printable(text: &str, most: usize) -> String {
    let field: String = text.chars().filter(char::is_ascii_graphic).take(most).collect();
    if field.is_empty() { "-".to_owned() } else { field }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(line: &str) -> Followed {
        let mark = serde_json::from_str(r#"{"sequence":7,"hash":"","first":1,"end":0}"#).unwrap();
        Followed { line: line.to_owned(), mark, missing: 0 }
    }

    #[test]
    fn a_record_becomes_a_counted_message_of_rfc_5424_with_the_line_unchanged() {
        let line = r#"{"sequence":7,"time":"2026-11-22T13:00:00.000Z","previous":"00","record":{"event":"deny","code":"GW-POL-001","reason":"ä"},"hash":"11"}"#;
        let record = followed(line);
        let mut out = Vec::new();
        Message::new("gateway", "a.example", &record).frame(&mut out);
        let header = "<108>1 2026-11-22T13:00:00.000Z a.example schleuse-gateway - deny - ";
        assert_eq!(String::from_utf8(out).unwrap(), format!("{} {header}{line}", header.len() + line.len()));
    }

    #[test]
    fn attack_a33_a_record_cannot_change_the_envelope() {
        let record = followed(r#"{"time":"x y\nz","record":{"event":"<1>1 \u001b[2J\nMESSAGE=no"}}"#);
        let message = Message::new("engine", "a.example", &record);
        let mut out = Vec::new();
        message.frame(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("<110>1 xyz a.example schleuse-engine - <1>1[2JMESSAGE=no - {"), "{text}");
        let entry = String::from_utf8(message.entry()).unwrap();
        assert_eq!(entry.lines().count(), 7, "{entry}");
        assert!(entry.contains("SCHLEUSE_SEQUENCE=7\n"), "{entry}");
    }
}
