//! The gateway's audit records.
//!
//! One record of the decision before a request goes on, one of the outcome when something was changed or went wrong. They
//! hold identifiers and codes, never content; texts of the client are cut and, being JSON strings, cannot break a line.

use std::borrow::Cow;

use policies::CanonicalRequest;
use policies::replay::TaskFacts;
use serde::Serialize;

use crate::decide::Caller;
use crate::limits::RECORDED_TEXT;
use crate::listen::Connection;

/// A decision.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Decided<'a> {
    /// `permit`, `deny` or `refuse` (not judged by a rule).
    pub(crate) event: &'static str,
    /// Joins the records of a request.
    pub(crate) correlation_id: &'a str,
    /// Address of the client.
    pub(crate) address: &'a str,
    /// TLS version and suite.
    pub(crate) tls: &'a str,
    /// The certificate.
    pub(crate) thumbprint: &'a str,
    /// Its subject.
    pub(crate) subject: &'a str,
    /// Kind of identity.
    pub(crate) identity: &'a str,
    /// Organisation, or organisation and person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<&'a str>,
    /// The method, as far as it is known.
    pub(crate) method: Cow<'a, str>,
    /// The canonical path with the names of query parameters; for what has no canonical form the cut text.
    pub(crate) target: Cow<'a, str>,
    /// The interaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) interaction: Option<&'a str>,
    /// The resource type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource_type: Option<&'a str>,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<&'a str>,
    /// The stable code of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'a str>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<Cow<'a, str>>,
    /// Records about strangers that were left out before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) left_out: Option<u64>,
    /// Status of the answer if the gateway gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// What rules look at in the Task that was sent, so that the decision can be replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<TaskFacts>,
    /// Bytes of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body_bytes: Option<u64>,
    /// SHA-256 of the judged body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body_sha256: Option<String>,
    /// Digest of the policy.
    pub(crate) policy_version: &'a str,
    /// Version of the allow-list; 0 when there is none.
    pub(crate) snapshot_version: u64,
}

/// How a forwarded request ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Ended<'a> {
    /// `answered` or `failed`.
    pub(crate) event: &'static str,
    /// Joins the records of a request.
    pub(crate) correlation_id: &'a str,
    /// Status that the client got; 0 when it got none.
    pub(crate) status: u16,
    /// Time from head to end.
    pub(crate) milliseconds: u64,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// A moment in the life of the gateway.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Happened<'a> {
    /// `started`, `reloaded`, `reload-failed`, `stopped`, `allow-list`.
    pub(crate) event: &'static str,
    /// Digest of the policy in force.
    pub(crate) policy_version: &'a str,
    /// What else is to be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

// === impl Decided ===

impl<'a> Decided<'a> {
    /// A record about the client of a connection, without decision.
    pub(crate) fn about(
        connection: &'a Connection,
        correlation_id: &'a str,
        policy_version: &'a str,
        snapshot_version: u64,
    ) -> Self {
        Self {
            event: "refuse",
            correlation_id,
            address: &connection.address,
            tls: &connection.protocol,
            thumbprint: connection.peer.certificate.thumbprint(),
            subject: &connection.subject,
            identity: "unknown",
            name: None,
            method: Cow::Borrowed(""),
            target: Cow::Borrowed(""),
            interaction: None,
            resource_type: None,
            rule: None,
            code: None,
            reason: None,
            left_out: None,
            status: None,
            task: None,
            body_bytes: None,
            body_sha256: None,
            policy_version,
            snapshot_version,
        }
    }

    /// Adds who asked.
    #[must_use]
    pub(crate) fn by(mut self, caller: &'a Caller) -> Self {
        self.identity = caller.identity.kind();
        self.name = Some(&caller.name);
        self
    }

    /// Adds what was asked, as the client wrote it; without the values of the query unless they are wanted.
    #[must_use]
    pub(crate) fn raw(mut self, method: &'a str, target: &'a str, with_values: bool) -> Self {
        self.method = cut(method);
        self.target = if with_values { cut(target) } else { Cow::Owned(cut(&without_values(target)).into_owned()) };
        self
    }

    /// Adds what was asked.
    #[must_use]
    pub(crate) fn request(mut self, request: &'a CanonicalRequest, with_values: bool) -> Self {
        self.method = Cow::Borrowed(request.method().as_str());
        let text = if with_values {
            format!("/{}", request.relative_target())
        } else {
            let mut text = request.to_string();
            // Behind the method.
            text.drain(..text.find(' ').map_or(0, |at| at + 1));
            text
        };
        self.target = match cut(&text) {
            Cow::Borrowed(_) => Cow::Owned(text),
            Cow::Owned(short) => Cow::Owned(short),
        };
        self.interaction = Some(request.interaction().as_str());
        self.resource_type = request.resource_type().map(fhir::ResourceType::as_str);
        self
    }
}

/// The facts of a Task.
pub(crate) fn task_facts(request: &CanonicalRequest, body: Option<&fhir::Resource>) -> Option<TaskFacts> {
    let is_task = request.resource_type() == Some(fhir::ResourceType::Task);
    body.filter(|_| is_task).map(|task| TaskFacts::of(task.tree()))
}

/// A target with the names of its query parameters; values may be personal.
fn without_values(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let names: Vec<&str> = query.split('&').map(|pair| pair.split('=').next().unwrap_or_default()).collect();
    format!("{path}?{}", names.join("&"))
}

/// At most [`RECORDED_TEXT`] characters, without those that a terminal obeys: control and bidirectional characters.
pub(crate) fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= RECORDED_TEXT && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Cow::Borrowed(text);
    }
    let mut short: String = text.chars().filter(|character| !steers(*character)).take(RECORDED_TEXT).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    Cow::Owned(short)
}

fn steers(character: char) -> bool {
    let invisible = matches!(
        character,
        '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{061C}'
    );
    invisible || character.is_control()
}

#[cfg(test)]
mod tests {
    use super::{cut, without_values};

    #[test]
    fn attack_a33_texts_of_clients_cannot_steer_a_terminal() {
        assert_eq!(cut("a\r\n\u{1b}[2Jb\u{202E}c\u{200B}d"), "a[2Jbcd…");
        assert_eq!(cut(&"x".repeat(1000)).chars().count(), 257);
    }

    #[test]
    fn values_of_a_query_are_left_out() {
        for (target, expected) in [
            ("/fhir/Patient?family=Meyer&given=A=B&x", "/fhir/Patient?family&given&x"),
            ("/fhir/Patient?Meyer?a=b", "/fhir/Patient?Meyer?a"),
            ("/fhir/Patient", "/fhir/Patient"),
        ] {
            assert_eq!(without_values(target), expected);
        }
    }
}
