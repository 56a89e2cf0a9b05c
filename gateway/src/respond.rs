//! Every answer that the gateway itself gives, in one place.
//!
//! Who is not known gets a status and nothing else. Who is known learns, in an OperationOutcome of the format asked for,
//! the stable code of the refusal; both can name the audit record by its correlation id.

use bytes::Bytes;
use fhir::Format;
use fhir::outcome::{IssueCode, OperationOutcome};
use http::header::{self, HeaderValue};
use link::CORRELATION_HEADER;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;

use crate::limits::{LINGER, LINGER_BYTES, RETRY_AFTER_SECONDS};

/// System of the stable codes in `OperationOutcome.issue.details.coding`.
pub(crate) const CODE_SYSTEM: &str = "http://schleuse.example/fhir/CodeSystem/refusal";

/// Joins an answer with its audit record.
pub(crate) const CORRELATION: header::HeaderName = header::HeaderName::from_static(CORRELATION_HEADER);

/// An answer of the gateway.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The stable code.
    pub(crate) code: &'static str,
    /// What a known client is told; none for strangers.
    pub(crate) outcome: Option<Box<OperationOutcome>>,
    /// Further fields.
    pub(crate) fields: Vec<(header::HeaderName, String)>,
    /// Whether the connection must end: its framing is in doubt or its body was not read.
    pub(crate) close: bool,
}

/// Fields that every response carries, also those of the engine.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// `Strict-Transport-Security`.
    hsts: HeaderValue,
}

// === impl Answer ===

impl Answer {
    /// A status and nothing else.
    #[must_use]
    pub(crate) const fn empty(status: u16, code: &'static str) -> Self {
        Self { status, code, outcome: None, fields: Vec::new(), close: false }
    }

    /// A refusal that is explained.
    #[must_use]
    pub(crate) fn refusal(status: u16, issue: IssueCode, code: &'static str, text: impl Into<String>) -> Self {
        let outcome = OperationOutcome::error(issue, text).with_details(CODE_SYSTEM, code);
        Self { status, code, outcome: Some(Box::new(outcome)), fields: Vec::new(), close: false }
    }

    /// The engine is away.
    #[must_use]
    pub(crate) fn unavailable(code: &'static str) -> Self {
        Self::empty(503, code).with(header::RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    /// Adds a field.
    #[must_use]
    pub(crate) fn with(mut self, name: header::HeaderName, value: impl Into<String>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// Ends the connection after the answer.
    #[must_use]
    pub(crate) const fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// Writes the answer.
    pub(crate) async fn send(
        self,
        session: &mut Session,
        standing: &Standing,
        correlation: &HeaderValue,
    ) -> pingora::Result<()> {
        let format = asked_format(session.req_header());
        let body = self.outcome.map(|outcome| fhir::print(format, &outcome.into_resource(), false));
        let body = Bytes::from(body.unwrap_or_default());
        let mut head = ResponseHeader::build(self.status, Some(8))?;
        for (name, value) in self.fields {
            head.insert_header(name, value)?;
        }
        if !body.is_empty() {
            head.insert_header(header::CONTENT_TYPE, format!("{};charset=UTF-8", format.media_type()))?;
        }
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
        standing.add_to(&mut head, correlation)?;
        let still_sends = !session.as_mut().is_body_done();
        if self.close || still_sends {
            session.set_keepalive(None);
        }
        let no_body = body.is_empty() || session.req_header().method == http::Method::HEAD;
        session.write_response_header(Box::new(head), no_body).await?;
        if !no_body {
            session.write_response_body(Some(body), true).await?;
        }
        if still_sends && !session.is_http2() {
            linger(session).await;
        }
        Ok(())
    }
}

/// Reads what a client still sends, for a moment and up to a size: a connection that is closed with unread bytes is reset,
/// and the client loses the answer that says why (RFC 9112, 9.6).
async fn linger(session: &mut Session) {
    let read = async {
        session.as_mut().finish_body().await?;
        let mut left = LINGER_BYTES;
        while let Some(part) = session.as_mut().read_request_body().await? {
            let Some(rest) = left.checked_sub(part.len()) else { break };
            left = rest;
        }
        pingora::Result::<()>::Ok(())
    };
    // Neither a broken connection nor a client that goes on sending changes what was decided.
    let _ = tokio::time::timeout(LINGER, read).await;
}

impl Standing {
    /// Those that the policy asks for.
    pub(crate) fn from_policy(policy: &policies::Policy) -> Self {
        let hsts = HeaderValue::from_str(&policy.tls().hsts);
        Self { hsts: hsts.unwrap_or_else(|_| HeaderValue::from_static("max-age=63072000")) }
    }

    /// Puts the standing fields on a response.
    pub(crate) fn add_to(&self, head: &mut ResponseHeader, correlation: &HeaderValue) -> pingora::Result<()> {
        head.insert_header(CORRELATION, correlation.clone())?;
        head.insert_header(header::STRICT_TRANSPORT_SECURITY, self.hsts.clone())?;
        head.insert_header(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
    }
}

/// The format of an OperationOutcome: `_format` before `Accept`, JSON only when it is asked for (`fhir-api.md` 1.3).
fn asked_format(head: &RequestHeader) -> Format {
    let query = head.uri.query().unwrap_or_default();
    let by_parameter = query.split('&').find_map(|pair| match pair.split_once('=') {
        Some(("_format", value)) => Some(value.contains("json")),
        _ => None,
    });
    let by_accept = || {
        let accept = head.headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match (accept.find("json"), accept.find("xml")) {
            (Some(_), None) => true,
            (Some(json), Some(xml)) => json < xml,
            (None, _) => false,
        }
    };
    if by_parameter.unwrap_or_else(by_accept) { Format::Json } else { Format::Xml }
}

/// Whether a field of the engine's response goes on to the client: it tells of the request, not of the engine, the link or
/// a connection.
pub(crate) fn is_told(name: &header::HeaderName) -> bool {
    !matches!(
        name.as_str(),
        "server"
            | "date"
            | "x-powered-by"
            | "via"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "connection"
            | "upgrade"
            | "alt-svc"
            | CORRELATION_HEADER
            | link::PERMIT_HEADER
    )
}

/// Removes what the answer to a WebSocket request must not tell or nominate; an established one keeps its handshake.
pub(crate) fn clean(head: &mut ResponseHeader, upgraded: bool) {
    let of_handshake = |name: &header::HeaderName| upgraded && (name == header::CONNECTION || name == header::UPGRADE);
    let passes = |name: &header::HeaderName| is_told(name) || of_handshake(name) || name == header::TRANSFER_ENCODING;
    let removed: Vec<_> = head.headers.keys().filter(|name| !passes(name)).cloned().collect();
    for name in removed {
        head.remove_header(&name);
    }
}
