//! The steps from a request head to a verdict, in the order of `access-and-edge.md` 8.4.
//!
//! Everything that can refuse is in [`Gateway::judge`]; each refusal is one [`Answer`] with one audit record. Strangers are
//! refused before anything about this node can be learnt from the answer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use audit::Position;
use bytes::Bytes;
use fhir::Resource;
use fhir::binary::BinaryReader;
use fhir::outcome::IssueCode;
use http::header;
use link::{CorrelationId, Permit};
use pingora::proxy::Session;
use policies::interaction::BodyKind;
use policies::{CanonicalRequest, Decision, Denial, Identity, Interaction, RequestError};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::head::{Content, EngineHead};
use super::{Gateway, proxy::Context};
use crate::decide;
use crate::listen::Connection;
use crate::memory::Held;
use crate::record::{self, Decided};
use crate::reload::Basis;
use crate::request::{self, Body, BodyRefusal, FieldRefusal, HeadLimits, HeadRefusal};
use crate::respond::Answer;

/// A request that may go on.
pub(super) struct Permitted {
    pub(super) head: EngineHead,
    pub(super) load: Load,
    /// The record of the decision; on disk before a write is answered.
    pub(super) position: Position,
    pub(super) request: CanonicalRequest,
}

/// What goes on with the head.
pub(super) enum Load {
    /// Nothing.
    Nothing,
    /// A judged body.
    Judged { bytes: Bytes, memory: Held },
    /// Content that streams through.
    Raw { length: Option<u64> },
    /// A Binary that streams through and is judged meanwhile.
    Passing(Box<Passing>),
    /// A WebSocket.
    Socket,
}

/// A body that is judged while it passes.
pub(super) struct Passing {
    reader: Box<BinaryReader>,
    identity: Arc<Identity>,
    request: CanonicalRequest,
    /// Decoded content, which nobody needs here.
    content: Vec<u8>,
}

impl Passing {
    /// The body is sent again from its beginning, because a connection to the engine was closed before.
    pub(super) fn restart(&mut self) {
        *self.reader = self.reader.again();
    }
}

/// A refusal with what its record says.
pub(super) struct Refused {
    answer: Answer,
    reason: String,
    rule: Option<String>,
}

impl Gateway {
    /// Judges a request; the record of the decision is written when this returns.
    pub(super) async fn judge(
        &self,
        session: &mut Session,
        context: &mut Context,
        connection: &Arc<Connection>,
        head_refusal: Option<HeadRefusal>,
    ) -> Result<Permitted, Answer> {
        let basis = self.active.basis();
        let snapshot_version = basis.snapshot.as_ref().map_or(0, |snapshot| snapshot.version());
        let correlation_id = context.correlation_id;
        let about = |identity: Option<&Arc<Identity>>| {
            let record =
                Decided::about(connection, correlation_id.to_string(), basis.policy.version(), snapshot_version);
            (record, identity.cloned(), connection.peer.address)
        };
        if let Some(refusal) = head_refusal {
            let answer = Answer::empty(refusal.status(), refusal.code()).closing();
            let identity = self.identify(&basis, connection).ok();
            return Err(self.refuse(about(identity.as_ref()), None, Refused::new(answer, refusal.to_string())));
        }
        let raw = RawTarget::of(session);
        let identity = match self.identify(&basis, connection) {
            Ok(identity) => identity,
            Err(refused) => {
                connection.refuse_stranger();
                return Err(self.refuse(about(None), Some(Asked::Raw(&raw)), refused));
            }
        };
        let refuse = |refused: Refused, asked: Asked<'_>| self.refuse(about(Some(&identity)), Some(asked), refused);
        let begun = self.begin(&basis, &identity).map_err(|refused| refuse(refused, Asked::Raw(&raw)))?;
        context.running = Some(begun);
        let request =
            self.canonical(session, &basis, connection, &raw).map_err(|refused| refuse(refused, Asked::Raw(&raw)))?;
        context.interaction = request.interaction().as_str();
        let asked = Asked::Request(&request);
        let socket = wants_socket(session, &request).map_err(|refused| refuse(refused, asked))?;

        // The head alone may decide; a body that would be refused anyway is never read.
        let decider = Decider { basis: &basis, identity: &identity, request: &request, connection };
        if request.body() != BodyKind::Absent {
            decider.before_body().map_err(|refused| refuse(refused, asked))?;
        }
        if !self.active.is_link_up() {
            let refused = Refused::new(Answer::unavailable("GW-LINK-001"), "engine is not connected");
            return Err(refuse(refused, asked));
        }
        let body = request::read_body(session, &request, &basis.limits, &self.memory, &identity.name())
            .await
            .map_err(|refusal| refuse(refused_body(&refusal), asked))?;
        let resource = match &body {
            Body::Judged { resource, .. } => Some(&**resource),
            Body::Absent | Body::Raw { .. } | Body::Passing { .. } => None,
        };
        let rule = decider.decide(resource).map_err(|refused| refuse(refused, asked))?;

        let permit = Permit {
            identity: Identity::clone(&identity),
            interaction: request.interaction().as_str().to_owned(),
            rule: rule.clone(),
            correlation_id,
            policy_version: basis.policy.version().to_owned(),
            snapshot_version,
        };
        let head = self.engine_head(session, &request, &body, socket, &permit, correlation_id);
        let head = head.map_err(|refused| refuse(refused, asked))?;
        let (mut record, ..) = about(None);
        record = record.by(&identity).request(&request, basis.policy.audit().log_query_values);
        record.event = "permit";
        record.rule = Some(rule);
        record.body_sha256 = match &body {
            Body::Judged { bytes, .. } => Some(hex(&Sha256::digest(bytes))),
            Body::Absent | Body::Raw { .. } | Body::Passing { .. } => None,
        };
        let position = self.audit.append(OffsetDateTime::now_utc(), &record).map_err(|error| audit_failed(&error))?;
        let load = match body {
            Body::Absent if socket => Load::Socket,
            Body::Absent => Load::Nothing,
            Body::Judged { bytes, memory, .. } => Load::Judged { bytes, memory },
            Body::Raw { length, .. } => Load::Raw { length },
            Body::Passing { reader, .. } => {
                let request = request.clone();
                Load::Passing(Box::new(Passing { reader, identity, request, content: Vec::new() }))
            }
        };
        Ok(Permitted { head, load, position, request })
    }

    /// Takes the next part of a body that is judged while it passes; the last part passes only if all of it is permitted.
    pub(super) fn judge_passing(
        &self,
        passing: &mut Passing,
        part: Option<&Bytes>,
        is_last: bool,
        connection: &Connection,
    ) -> Result<(), Answer> {
        let unreadable = |error| refused_body(&BodyRefusal::from(error)).answer.closing();
        passing.content.clear();
        if let Some(part) = part {
            passing.reader.push(part, &mut passing.content).map_err(unreadable)?;
        }
        if !is_last {
            return Ok(());
        }
        let next = passing.reader.again();
        let reader = std::mem::replace(&mut *passing.reader, next);
        let binary = reader.finish(&mut passing.content).map_err(unreadable)?.resource;
        let basis = self.active.basis();
        let decider = Decider { basis: &basis, identity: &passing.identity, request: &passing.request, connection };
        decider.decide(Some(&binary)).map(drop).map_err(|refused| refused.answer.closing())
    }

    fn identify(&self, basis: &Basis, connection: &Connection) -> Result<Arc<Identity>, Refused> {
        let Some(snapshot) = &basis.snapshot else {
            return Err(Refused::new(Answer::unavailable("GW-LINK-002"), "no allow-list yet"));
        };
        self.identities
            .identify(&self.active, basis, snapshot, connection, OffsetDateTime::now_utc())
            .map_err(|stranger| Refused::new(Answer::empty(403, stranger.code()).closing(), stranger.to_string()))
    }

    fn begin(&self, basis: &Basis, identity: &Identity) -> Result<crate::rate::Running, Refused> {
        let rate = &basis.limits.rate;
        let key = identity.name();
        let now = Instant::now();
        let too_many = |code, text: &'static str| {
            Refused::new(Answer::refusal(429, IssueCode::Throttled, code, text).with(header::RETRY_AFTER, "1"), text)
        };
        if !self.rates.take(&key, rate.per_identity, rate.burst, now) {
            return Err(too_many("GW-RATE-001", "too many requests per second"));
        }
        self.rates
            .begin(&key, rate.concurrent_per_identity, now)
            .ok_or_else(|| too_many("GW-RATE-002", "too many requests at the same time"))
    }

    fn canonical(
        &self,
        session: &Session,
        basis: &Basis,
        connection: &Connection,
        raw: &RawTarget,
    ) -> Result<CanonicalRequest, Refused> {
        let limits = HeadLimits { bytes: basis.limits.head_bytes, fields: basis.limits.head_fields };
        request::check_fields(session.req_header(), self.active.authorities(), limits).map_err(refused_field)?;
        if !connection.sni_matches {
            return Err(refused_field(FieldRefusal::Misdirected));
        }
        if raw.target.len() > basis.limits.target_bytes {
            return Err(refused_target(&RequestError::TargetTooLong { bytes: raw.target.len() }));
        }
        policies::canonicalize(&raw.method, &raw.target, self.active.base().path())
            .map_err(|error| refused_target(&error))
    }

    fn engine_head(
        &self,
        session: &Session,
        request: &CanonicalRequest,
        body: &Body,
        socket: bool,
        permit: &Permit,
        correlation_id: CorrelationId,
    ) -> Result<EngineHead, Refused> {
        let internal =
            |error: &dyn std::fmt::Display| Refused::new(Answer::empty(500, "GW-FWD-001"), error.to_string());
        let content = match body {
            Body::Absent if socket => Content::Upgrade,
            Body::Absent => Content::None,
            Body::Judged { media_type, .. } | Body::Raw { media_type, .. } | Body::Passing { media_type, .. } => {
                Content::Body(media_type)
            }
        };
        let authority = self.active.authorities().first().map(String::as_str).unwrap_or_default();
        let permit = permit.encode().map_err(|error| internal(&error))?;
        EngineHead::build(
            request,
            self.active.base().path(),
            authority,
            &session.req_header().headers,
            content,
            &permit,
            &correlation_id.to_string(),
        )
        .map_err(|error| internal(&error))
    }

    /// Records a refusal and gives its answer.
    fn refuse(
        &self,
        (mut record, identity, address): (Decided<'_>, Option<Arc<Identity>>, IpAddr),
        asked: Option<Asked<'_>>,
        refused: Refused,
    ) -> Answer {
        // The borrow of the identity ends with the record, both inside this call.
        let identity = identity.as_deref();
        if let Some(identity) = identity {
            record.identity = identity.kind();
            record.name = Some(identity.name());
        } else {
            let Some(left_out) = self.strangers.admit(address, Instant::now()) else { return refused.answer };
            record.left_out = Some(left_out).filter(|count| *count > 0);
        }
        let with_values = self.active.basis().policy.audit().log_query_values;
        let mut record = match asked {
            Some(Asked::Raw(raw)) => record.raw(&raw.method, &raw.target, with_values),
            Some(Asked::Request(request)) => record.request(request, with_values),
            None => record,
        };
        if refused.rule.is_some() {
            record.event = "deny";
        }
        record.code = Some(refused.answer.code);
        record.reason = Some(record::cut(&refused.reason));
        record.rule.clone_from(&refused.rule);
        record.status = Some(refused.answer.status);
        tracing::info!(
            correlation_id = record.correlation_id,
            org = record.name,
            thumbprint = record.thumbprint.get(..8),
            code = refused.answer.code,
            rule = record.rule,
            status = refused.answer.status,
            "request refused"
        );
        match self.audit.append(OffsetDateTime::now_utc(), &record) {
            Ok(_) => refused.answer,
            Err(error) => audit_failed(&error),
        }
    }
}

/// Without a record nothing is answered but this.
pub(super) fn audit_failed(error: &audit::LogError) -> Answer {
    tracing::error!(%error, "audit log cannot be written: requests are refused");
    metrics::counter!("schleuse_audit_failures_total").increment(1);
    Answer::unavailable("GW-AUDIT-001").closing()
}

/// What was asked, as far as it is known.
#[derive(Clone, Copy)]
enum Asked<'a> {
    Raw(&'a RawTarget),
    Request(&'a CanonicalRequest),
}

struct RawTarget {
    method: String,
    target: String,
}

impl RawTarget {
    fn of(session: &Session) -> Self {
        let head = session.req_header();
        Self { method: head.method.as_str().to_owned(), target: String::from_utf8_lossy(head.raw_path()).into_owned() }
    }
}

/// The decision of the policy crate in terms of answers.
struct Decider<'a> {
    basis: &'a Basis,
    identity: &'a Identity,
    request: &'a CanonicalRequest,
    connection: &'a Connection,
}

impl Decider<'_> {
    /// What the head alone decides.
    fn before_body(&self) -> Result<(), Refused> {
        match decide::deny_by_head(self.basis, self.identity, self.request, self.connection) {
            None => Ok(()),
            Some(denial) => Err(denied(denial)),
        }
    }

    /// The decision; gives the id of the rule that permits.
    fn decide(&self, body: Option<&Resource>) -> Result<String, Refused> {
        let started = Instant::now();
        let decision = decide::decide(self.basis, self.identity, self.request, body, self.connection);
        metrics::histogram!("schleuse_decision_seconds").record(started.elapsed());
        match decision {
            Some(Decision::Permit(permit)) => Ok(permit.rule().to_string()),
            Some(Decision::Deny(denial)) => Err(denied(denial)),
            None => Err(Refused::new(Answer::unavailable("GW-LINK-002"), "no allow-list yet")),
        }
    }
}

fn denied(denial: Denial) -> Refused {
    let Denial { rule, code, text } = denial;
    let issue = match code.status() {
        403 => IssueCode::Forbidden,
        413 => IssueCode::TooCostly,
        _ => IssueCode::Invalid,
    };
    let answer = Answer::refusal(code.status(), issue, code.as_str(), text.clone());
    Refused { answer, reason: text, rule: Some(rule.map_or_else(|| "none".to_owned(), |rule| rule.to_string())) }
}

/// A WebSocket where one is, none where none is.
fn wants_socket(session: &Session, request: &CanonicalRequest) -> Result<bool, Refused> {
    let head = session.req_header();
    let wanted = request::wants_websocket(&head.headers, session.is_http2()).map_err(refused_field)?;
    if wanted == (request.interaction() == Interaction::Websocket) {
        return Ok(wanted);
    }
    Err(refused_field(FieldRefusal::Upgrade))
}

fn refused_field(refusal: FieldRefusal) -> Refused {
    let answer = match refusal {
        FieldRefusal::TooMany | FieldRefusal::Malformed | FieldRefusal::Repeated | FieldRefusal::Host => {
            Answer::empty(refusal.status(), refusal.code()).closing()
        }
        FieldRefusal::Misdirected => Answer::empty(refusal.status(), refusal.code()),
        FieldRefusal::Expectation | FieldRefusal::ContentEncoding | FieldRefusal::Upgrade | FieldRefusal::Ranges => {
            Answer::refusal(refusal.status(), IssueCode::NotSupported, refusal.code(), refusal.to_string())
        }
    };
    Refused::new(answer, refusal.to_string())
}

fn refused_target(error: &RequestError) -> Refused {
    let (status, code) = (error.status(), error.code());
    let answer = match error {
        // Nothing below another path exists here, not even as an explanation.
        RequestError::OutsideBase => Answer::empty(status, code),
        RequestError::NotFound | RequestError::UnknownType => {
            Answer::refusal(status, IssueCode::NotFound, code, error.to_string())
        }
        RequestError::MethodNotAllowed { allow } => {
            let allow: Vec<&str> = allow.iter().map(|method| method.as_str()).collect();
            Answer::refusal(status, IssueCode::NotSupported, code, error.to_string())
                .with(header::ALLOW, allow.join(", "))
                .with(header::CACHE_CONTROL, "no-store, no-transform")
        }
        RequestError::MethodNotImplemented => Answer::refusal(status, IssueCode::NotSupported, code, error.to_string()),
        _ => Answer::refusal(status, IssueCode::Invalid, code, error.to_string()),
    };
    Refused::new(answer, error.to_string())
}

fn refused_body(refusal: &BodyRefusal) -> Refused {
    let issue = match refusal {
        BodyRefusal::TooLarge(_) => IssueCode::TooLong,
        BodyRefusal::MediaType => IssueCode::NotSupported,
        BodyRefusal::Unexpected | BodyRefusal::Hostile(_) => IssueCode::Invalid,
        BodyRefusal::TimedOut | BodyRefusal::Disconnected => IssueCode::Timeout,
        BodyRefusal::Busy => IssueCode::Throttled,
        BodyRefusal::Structure(_) | BodyRefusal::Missing => IssueCode::Structure,
    };
    let text = match refusal {
        // The words of the reference (`fhir-api.md` 1.3).
        BodyRefusal::Structure(_) | BodyRefusal::Missing => "Unable to parse resource".to_owned(),
        other => other.to_string(),
    };
    let mut answer = Answer::refusal(refusal.status(), issue, refusal.code(), text);
    if matches!(refusal, BodyRefusal::Busy) {
        answer = answer.with(header::RETRY_AFTER, crate::limits::RETRY_AFTER_SECONDS);
    }
    Refused::new(answer, refusal.to_string())
}

impl Refused {
    fn new(answer: Answer, reason: impl Into<String>) -> Self {
        Self { answer, reason: reason.into(), rule: None }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
