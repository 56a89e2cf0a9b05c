//! The steps from a request head to a verdict, in the order of `access-and-edge.md` 8.4.
//!
//! Everything that can refuse is in [`Gateway::judge`]; each refusal is one [`Answer`] with one audit record. Strangers are
//! refused before anything about this node can be learnt from the answer.

use std::sync::Arc;
use std::time::Instant;

use audit::Position;
use bytes::Bytes;
use fhir::Resource;
use fhir::binary::BinaryReader;
use fhir::outcome::IssueCode;
use http::header;
use pingora::proxy::Session;
use policies::interaction::BodyKind;
use policies::replay::TaskFacts;
use policies::{CanonicalRequest, ChargeLimit, Decision, Denial, Identity, Interaction, RequestError, RuleId};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::head::{Content, EngineHead};
use super::{Gateway, proxy::Context};
use crate::decide::{self, Caller};
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
    caller: Arc<Caller>,
    request: CanonicalRequest,
    /// Decoded content, which nobody needs here.
    content: Vec<u8>,
}

/// A refusal with what its record says.
pub(super) struct Refused {
    answer: Answer,
    reason: String,
    rule: Option<String>,
}

/// Whose request is judged by what: what every record of it says.
#[derive(Clone, Copy)]
struct Matter<'a> {
    basis: &'a Basis,
    connection: &'a Connection,
    correlation_id: &'a str,
}

impl Gateway {
    /// Judges a request; the record of the decision is written when this returns.
    pub(super) async fn judge(
        &self,
        session: &mut Session,
        context: &mut Context,
        connection: &Connection,
        head_refusal: Option<HeadRefusal>,
    ) -> Result<Permitted, Answer> {
        let basis = Arc::clone(&context.basis);
        let correlation = context.correlation.clone();
        let matter = Matter { basis: &basis, connection, correlation_id: correlation.to_str().unwrap_or_default() };
        if let Some(refusal) = head_refusal {
            let answer = Answer::empty(refusal.status(), refusal.code()).closing();
            let caller = self.identify(&basis, connection).ok();
            return Err(self.refuse(matter, caller.as_deref(), None, Refused::new(answer, refusal.to_string())));
        }
        let raw = RawTarget::of(session);
        let caller = match self.identify(&basis, connection) {
            Ok(caller) => caller,
            Err(refused) => {
                connection.refuse_stranger();
                return Err(self.refuse(matter, None, Some(Asked::Raw(&raw)), refused));
            }
        };
        let refuse = |refused: Refused, asked: Asked<'_>| self.refuse(matter, Some(&caller), Some(asked), refused);
        let begun = begin(&basis, &caller).map_err(|refused| refuse(refused, Asked::Raw(&raw)))?;
        context.running = Some(begun);
        let request =
            self.canonical(session, &basis, connection, &raw).map_err(|refused| refuse(refused, Asked::Raw(&raw)))?;
        context.interaction = Some(request.interaction());
        let asked = Asked::Request(&request);
        let socket = wants_socket(session, &request).map_err(|refused| refuse(refused, asked))?;

        // The head alone may decide; a body that would be refused anyway is never read.
        let decider =
            Decider { gateway: self, basis: &basis, identity: &caller.identity, request: &request, connection };
        if request.body() != BodyKind::Absent {
            decider.before_body().map_err(|refused| refuse(refused, asked))?;
        }
        if !self.active.is_link_up() {
            let refused = Refused::new(Answer::unavailable("GW-LINK-001"), "engine is not connected");
            return Err(refuse(refused, asked));
        }
        if self.active.refuses_writes() && super::proxy::may_change(request.interaction()) {
            return Err(refuse(unshipped(), asked));
        }
        let body = request::read_body(session, &request, &basis.limits, &self.memory, &caller.name)
            .await
            .map_err(|refusal| refuse(refused_body(&refusal), asked))?;
        let resource = match &body {
            Body::Judged { resource, .. } => Some(&**resource),
            Body::Absent | Body::Raw { .. } | Body::Passing { .. } => None,
        };
        let size = match &body {
            Body::Absent => None,
            Body::Judged { bytes, .. } => Some(bytes.len() as u64),
            // A length that nobody stated may be any.
            Body::Raw { length, .. } => Some(length.unwrap_or(u64::MAX)),
            Body::Passing { .. } => Some(u64::MAX),
        };
        let facts = record::task_facts(&request, resource);
        let asked = Asked::Judged(&request, facts.as_ref(), size);
        let permitted = decider.decide(resource, size).map_err(|refused| refuse(refused, asked))?;
        self.charge(&permitted).map_err(|refused| refuse(refused, asked))?;
        let rule = permitted.rule().clone();

        let head = self.engine_head(session, connection, &caller, &request, &body, socket, &rule, context);
        let head = head.map_err(|refused| refuse(refused, asked))?;
        let body_sha256 = match &body {
            Body::Judged { bytes, .. } => Some(hex(&Sha256::digest(bytes))),
            Body::Absent | Body::Raw { .. } | Body::Passing { .. } => None,
        };
        let record = matter.record().by(&caller).request(&request, basis.policy.audit().log_query_values);
        let (task, body_bytes) = (facts, size);
        let record = Decided { event: "permit", rule: Some(rule.as_str()), task, body_bytes, body_sha256, ..record };
        let position = self.audit.append(OffsetDateTime::now_utc(), &record).map_err(|error| audit_failed(&error))?;
        let load = match body {
            Body::Absent if socket => Load::Socket,
            Body::Absent => Load::Nothing,
            Body::Judged { bytes, memory, .. } => Load::Judged { bytes, memory },
            Body::Raw { length, .. } => Load::Raw { length },
            Body::Passing { reader, .. } => {
                let request = request.clone();
                Load::Passing(Box::new(Passing { reader, caller, request, content: Vec::new() }))
            }
        };
        Ok(Permitted { head, load, position, request })
    }

    /// Takes the next part of a body that is judged while it passes.
    pub(super) fn judge_part(passing: &mut Passing, part: &Bytes) -> Result<(), Answer> {
        passing.content.clear();
        passing.reader.push(part, &mut passing.content).map_err(|error| refused_body(&BodyRefusal::from(error)).answer)
    }

    /// Judges what passed; only then may its end go on.
    pub(super) fn judge_whole(&self, passing: Passing, connection: &Connection) -> Result<(), Answer> {
        let Passing { reader, caller, request, mut content } = passing;
        content.clear();
        let binary = reader.finish(&mut content).map_err(|error| refused_body(&BodyRefusal::from(error)).answer)?;
        let basis = self.active.basis();
        let decider =
            Decider { gateway: self, basis: &basis, identity: &caller.identity, request: &request, connection };
        decider.decide(Some(&binary.resource), None).map(drop).map_err(|refused| refused.answer)
    }

    fn identify(&self, basis: &Basis, connection: &Connection) -> Result<Arc<Caller>, Refused> {
        let Some(snapshot) = &basis.snapshot else {
            return Err(Refused::new(Answer::unavailable("GW-LINK-002"), "no allow-list yet"));
        };
        self.identities
            .identify(&self.active, basis, snapshot, connection, OffsetDateTime::now_utc())
            .map_err(|stranger| Refused::new(Answer::empty(403, stranger.code()).closing(), stranger.to_string()))
    }

    /// Takes from the rates that restrictions of the policy set; counts are the engine's.
    fn charge(&self, permit: &policies::Permit) -> Result<(), Refused> {
        for charge in permit.charges().iter().chain(permit.entry_charges()) {
            let ChargeLimit::Rate { most, span } = charge.limit else { continue };
            let key = format!("{} {}", charge.rule, charge.caller);
            if !self.rule_rates.take_within(&key, most, span, Instant::now()) {
                let text = format!("more often than rule {} permits", charge.rule);
                let answer = Answer::refusal(429, IssueCode::Throttled, "GW-RATE-003", text.clone());
                let wait = (span.as_secs() / u64::from(most.max(1))).max(1).to_string();
                let answer = answer.with(header::RETRY_AFTER, wait);
                return Err(Refused { answer, reason: text, rule: Some(charge.rule.to_string()) });
            }
        }
        Ok(())
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
        policies::canonicalize(raw.method.as_str(), &raw.target, self.active.base().path())
            .map_err(|error| refused_target(&error))
    }

    #[allow(clippy::too_many_arguments, reason = "everything that a head is made of")]
    fn engine_head(
        &self,
        session: &Session,
        connection: &Connection,
        caller: &Caller,
        request: &CanonicalRequest,
        body: &Body,
        socket: bool,
        rule: &RuleId,
        context: &Context,
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
        let template = caller.permit.as_ref().map_err(|error| internal(error))?;
        let permit = template.encode(
            request.interaction().as_str(),
            rule.as_str(),
            context.correlation_id,
            connection.peer.address,
        );
        EngineHead::build(
            request,
            self.active.base().path(),
            self.active.authority(),
            &session.req_header().headers,
            content,
            permit.map_err(|error| internal(&error))?,
            &context.correlation,
        )
        .map_err(|error| internal(&error))
    }

    /// Records a refusal and gives its answer.
    fn refuse(
        &self,
        matter: Matter<'_>,
        caller: Option<&Caller>,
        asked: Option<Asked<'_>>,
        refused: Refused,
    ) -> Answer {
        let mut record = matter.record();
        if let Some(caller) = caller {
            record = record.by(caller);
        } else {
            let Some(left_out) = self.strangers.admit(matter.connection.peer.address, Instant::now()) else {
                return refused.answer;
            };
            record.left_out = Some(left_out).filter(|count| *count > 0);
        }
        let with_values = matter.basis.policy.audit().log_query_values;
        record = match asked {
            Some(Asked::Raw(raw)) => record.raw(raw.method.as_str(), &raw.target, with_values),
            Some(Asked::Request(request)) => record.request(request, with_values),
            Some(Asked::Judged(request, facts, size)) => {
                record = record.request(request, with_values);
                (record.task, record.body_bytes) = (facts.cloned(), size);
                record
            }
            None => record,
        };
        if refused.rule.is_some() {
            record.event = "deny";
        }
        record.code = Some(refused.answer.code);
        record.reason = Some(record::cut(&refused.reason));
        record.rule = refused.rule.as_deref();
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

impl<'a> Matter<'a> {
    fn record(self) -> Decided<'a> {
        let snapshot_version = self.basis.snapshot.as_ref().map_or(0, |snapshot| snapshot.version());
        Decided::about(self.connection, self.correlation_id, self.basis.policy.version(), snapshot_version)
    }
}

/// Counts the request against the limits of its caller.
fn begin(basis: &Basis, caller: &Caller) -> Result<crate::rate::Running, Refused> {
    let rate = &basis.limits.rate;
    let too_many = |code, text: &'static str| {
        Refused::new(Answer::refusal(429, IssueCode::Throttled, code, text).with(header::RETRY_AFTER, "1"), text)
    };
    if !caller.bucket.take(rate.per_identity, rate.burst, Instant::now()) {
        return Err(too_many("GW-RATE-001", "too many requests per second"));
    }
    caller
        .bucket
        .begin(rate.concurrent_per_identity)
        .ok_or_else(|| too_many("GW-RATE-002", "too many requests at the same time"))
}

/// Nothing is changed while records reach only this machine.
fn unshipped() -> Refused {
    const TEXT: &str = "nothing is changed while the audit log cannot be sent on";
    let answer = Answer::refusal(503, IssueCode::Transient, "GW-AUDIT-002", TEXT);
    Refused::new(answer.with(header::RETRY_AFTER, crate::limits::RETRY_AFTER_SECONDS), TEXT)
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
    /// With what rules look at in the body.
    Judged(&'a CanonicalRequest, Option<&'a TaskFacts>, Option<u64>),
}

struct RawTarget {
    method: http::Method,
    target: String,
}

impl RawTarget {
    fn of(session: &Session) -> Self {
        let head = session.req_header();
        Self { method: head.method.clone(), target: String::from_utf8_lossy(head.raw_path()).into_owned() }
    }
}

/// The decision of the policy crate in terms of answers.
struct Decider<'a> {
    gateway: &'a Gateway,
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

    /// The decision.
    fn decide(&self, body: Option<&Resource>, size: Option<u64>) -> Result<policies::Permit, Refused> {
        let started = Instant::now();
        let decision = decide::decide(self.basis, self.identity, self.request, body, self.connection, size);
        self.gateway.meters.decision(started.elapsed());
        match decision {
            Some(Decision::Permit(permit)) => Ok(permit),
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
