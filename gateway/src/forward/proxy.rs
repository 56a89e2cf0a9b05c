//! The callbacks of the proxy, in the order in which they run.
//!
//! `request_filter` judges; a judged body is exchanged with the engine right there, everything else is left to the proxy
//! with the head that [`super::judge`] built. Responses of both ways pass [`Gateway::finish_head`].

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use audit::Position;
use bytes::Bytes;
use http::header;
use http_body_util::BodyExt as _;
use link::CorrelationId;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::prelude::HttpPeer;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::{Error, ErrorSource, ErrorType};
use time::OffsetDateTime;

use super::engine::EngineError;
use super::head::EngineHead;
use super::judge::{Load, Passing, Permitted};
use super::{Gateway, websocket};
use crate::listen::Connection;
use crate::rate::Running;
use crate::record::Ended;
use crate::respond::{self, Answer, Standing};

/// One request.
pub struct Context {
    pub(super) correlation_id: CorrelationId,
    pub(super) interaction: &'static str,
    pub(super) running: Option<Running>,
    started: Instant,
    connection: Option<Arc<Connection>>,
    forwarded: Option<Forwarded>,
    status: u16,
    failure: Option<String>,
    /// The answer to a body that was refused while it passed.
    refused: Option<Answer>,
    watch: Option<websocket::Watch>,
}

/// What is on its way to the engine.
struct Forwarded {
    head: EngineHead,
    position: Position,
    is_write: bool,
    /// Bytes of streamed content that may still come.
    raw_left: Option<u64>,
    raw_length: Option<u64>,
    /// What is judged while it passes.
    passing: Option<Box<Passing>>,
    socket: Option<policies::CanonicalRequest>,
}

// === impl Gateway ===

impl Gateway {
    fn standing(&self) -> Standing {
        let hsts = header::HeaderValue::from_str(&self.active.basis().policy.tls().hsts);
        Standing { hsts: hsts.unwrap_or_else(|_| header::HeaderValue::from_static("max-age=63072000")) }
    }

    async fn answer(&self, session: &mut Session, context: &mut Context, answer: Answer) -> pingora::Result<()> {
        context.status = answer.status;
        if answer.status == 0 {
            session.set_keepalive(None);
            return Ok(());
        }
        answer.send(session, &self.standing(), context.correlation_id).await
    }

    /// A write is answered only when the record of its decision is on disk.
    async fn wait_for_record(&self, forwarded: &Forwarded) -> Result<(), Answer> {
        if !forwarded.is_write {
            return Ok(());
        }
        self.audit.durable(forwarded.position).await.map_err(|error| super::judge::audit_failed(&error))
    }

    /// The head of the engine's response as the client gets it.
    fn finish_head(&self, head: &mut ResponseHeader, context: &mut Context) -> pingora::Result<()> {
        context.status = head.status.as_u16();
        respond::clean(head, head.status == http::StatusCode::SWITCHING_PROTOCOLS);
        self.standing().add_to(head, context.correlation_id)
    }

    /// Sends a judged body to the engine and its response to the client.
    async fn exchange(&self, session: &mut Session, context: &mut Context, body: Bytes) -> pingora::Result<()> {
        let Some(forwarded) = &context.forwarded else {
            return Err(Error::new(ErrorType::InternalError));
        };
        let patience = self.active.basis().limits.upstream;
        let answer = self.engine.send(forwarded.head.clone(), body, patience).await;
        let response = match answer {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(correlation_id = %context.correlation_id, %error, "engine did not take the request");
                let answer = match &error {
                    EngineError::Connect(_) => Answer::unavailable("GW-LINK-003"),
                    EngineError::TimedOut => Answer::empty(504, "GW-LINK-004"),
                    EngineError::Connection(_) => Answer::empty(502, "GW-LINK-005"),
                    EngineError::Head(_) => Answer::empty(500, "GW-FWD-001"),
                };
                context.failure = Some(error.to_string());
                return self.answer(session, context, answer).await;
            }
        };
        if let Err(answer) = self.wait_for_record(forwarded).await {
            return self.answer(session, context, answer).await;
        }
        let (parts, mut content) = response.into_parts();
        let mut head = ResponseHeader::build(parts.status, Some(parts.headers.len()))?;
        for (name, value) in &parts.headers {
            // The framing of the link is not the framing of the client's connection.
            if name != header::TRANSFER_ENCODING {
                head.append_header(name.clone(), value.clone())?;
            }
        }
        self.finish_head(&mut head, context)?;
        let empty = hyper::body::Body::is_end_stream(&content);
        if !empty && !parts.headers.contains_key(header::CONTENT_LENGTH) && !session.is_http2() {
            head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        }
        session.write_response_header(Box::new(head), empty).await?;
        while let Some(frame) = tokio::time::timeout(patience, content.frame()).await.unwrap_or(None) {
            let frame = frame.map_err(|error| Error::because(ErrorType::ReadError, "response of the engine", error))?;
            if let Ok(data) = frame.into_data() {
                session.write_response_body(Some(data), false).await?;
            }
        }
        if !hyper::body::Body::is_end_stream(&content) {
            return Err(Error::explain(ErrorType::ReadTimedout, "response of the engine"));
        }
        if !empty {
            session.write_response_body(None, true).await?;
        }
        Ok(())
    }

    fn configure(&self, session: &mut Session, http2: bool) {
        let basis = self.active.basis();
        if !http2 {
            // The stream itself closes a silent connection first.
            session.set_keepalive(Some(basis.limits.keep_alive.as_secs().saturating_add(5)));
            session.set_min_send_rate(Some(crate::limits::SLOWEST_READER));
        }
        session.set_read_timeout(Some(basis.limits.body_idle));
        session.set_write_timeout(Some(basis.limits.body_idle));
        session.set_total_drain_timeout(Some(basis.limits.header));
    }

    fn count(&self, context: &Context) {
        let decision = if context.forwarded.is_some() { "permit" } else { "refuse" };
        let class = match context.status {
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            500..=599 => "5xx",
            _ => "none",
        };
        let labels = [("interaction", context.interaction), ("decision", decision), ("status", class)];
        metrics::counter!("schleuse_gateway_requests_total", &labels).increment(1);
        metrics::histogram!("schleuse_gateway_request_seconds", "interaction" => context.interaction)
            .record(context.started.elapsed());
    }
}

fn connection_of(session: &Session) -> Option<Arc<Connection>> {
    let digest = session.digest()?.proxy_digest.as_ref()?;
    digest.user_data.as_ref()?.downcast_ref::<Arc<Connection>>().map(Arc::clone)
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context {
            correlation_id: CorrelationId::random(),
            interaction: "none",
            running: None,
            started: Instant::now(),
            connection: None,
            forwarded: None,
            status: 0,
            failure: None,
            refused: None,
            watch: None,
        }
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {
        // Nothing is compressed: secrets and chosen text would share a stream.
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> pingora::Result<bool> {
        let Some(connection) = connection_of(session) else {
            return Err(Error::explain(ErrorType::InternalError, "connection without its description"));
        };
        let head_refusal = connection.begin_request();
        context.connection = Some(Arc::clone(&connection));
        let http2 = session.is_http2();
        self.configure(session, http2);
        let permitted = match self.judge(session, context, &connection, head_refusal).await {
            Ok(permitted) => permitted,
            Err(answer) => {
                self.answer(session, context, answer).await?;
                return Ok(true);
            }
        };
        let Permitted { head, load, position, request } = permitted;
        let is_write = request.interaction().is_write() || request.interaction() == policies::Interaction::Bundle;
        let mut forwarded =
            Forwarded { head, position, is_write, raw_left: None, raw_length: None, passing: None, socket: None };
        match load {
            Load::Nothing => {}
            Load::Raw { length } => {
                forwarded.raw_left = Some(self.active.basis().limits.body.of(Some(fhir::ResourceType::Binary)));
                forwarded.raw_length = length;
            }
            Load::Passing(passing) => {
                forwarded.raw_left = Some(self.active.basis().limits.body.of(Some(fhir::ResourceType::Binary)));
                // Without a length the engine sees the end only when it is sent, that is when all was judged.
                forwarded.passing = Some(passing);
            }
            Load::Socket => forwarded.socket = Some(request),
            Load::Judged { bytes, memory } => {
                context.forwarded = Some(forwarded);
                let done = self.exchange(session, context, bytes).await;
                drop(memory);
                done?;
                return Ok(true);
            }
        }
        context.forwarded = Some(forwarded);
        Ok(false)
    }

    async fn upstream_peer(&self, _session: &mut Session, context: &mut Context) -> pingora::Result<Box<HttpPeer>> {
        let limits = &self.active.basis().limits;
        let mut peer = self.peer.clone();
        let socket = context.forwarded.as_ref().is_some_and(|forwarded| forwarded.socket.is_some());
        peer.options.read_timeout = Some(if socket { limits.websocket_idle } else { limits.upstream });
        peer.options.write_timeout = Some(limits.upstream);
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream: &mut RequestHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        // No permit, no request: the head is ours or there is none.
        let Some(forwarded) = &mut context.forwarded else {
            return Err(Error::explain(ErrorType::InternalError, "request without permit"));
        };
        if let Some(passing) = &mut forwarded.passing {
            passing.restart();
        }
        let head = &forwarded.head;
        let mut fresh = RequestHeader::build(head.method, head.target.as_bytes(), Some(head.fields.len() + 1))?;
        for (name, value) in &head.fields {
            fresh.append_header(name.clone(), value.clone())?;
        }
        if let Some(length) = forwarded.raw_length {
            fresh.insert_header(header::CONTENT_LENGTH, length)?;
        }
        *upstream = fresh;
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        context: &mut Context,
    ) -> pingora::Result<()> {
        let Some(forwarded) = context.forwarded.as_mut() else { return Ok(()) };
        if let (Some(left), Some(chunk)) = (forwarded.raw_left.as_mut(), body.as_ref()) {
            let rest = left.checked_sub(chunk.len() as u64);
            *left = rest.ok_or_else(|| Error::explain(ErrorType::HTTPStatus(413), "content is larger than allowed"))?;
        }
        let (Some(passing), Some(connection)) = (forwarded.passing.as_mut(), &context.connection) else {
            return Ok(());
        };
        self.judge_passing(passing, body.as_ref(), end_of_stream, connection).map_err(|answer| {
            let error = Error::explain(ErrorType::HTTPStatus(answer.status), "body is refused");
            context.refused = Some(answer);
            error
        })
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        let Some(forwarded) = &context.forwarded else {
            return Err(Error::explain(ErrorType::InternalError, "response without request"));
        };
        if head.status.is_informational() && head.status != http::StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        self.wait_for_record(forwarded)
            .await
            .map_err(|answer| Error::explain(ErrorType::HTTPStatus(answer.status), "audit log"))?;
        let upgraded = head.status == http::StatusCode::SWITCHING_PROTOCOLS;
        let (Some(connection), Some(request), true) = (&context.connection, &forwarded.socket, upgraded) else {
            if upgraded {
                return Err(Error::explain(ErrorType::InvalidHTTPHeader, "engine upgraded what is no websocket"));
            }
            return self.finish_head(head, context);
        };
        connection.upgrade();
        session.set_read_timeout(Some(self.active.basis().limits.websocket_idle));
        session.set_min_send_rate(None);
        let watch = websocket::watch(&self.active, Arc::clone(connection), request.clone(), self.stop.clone());
        context.watch = Some(watch);
        self.finish_head(head, context)
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, context: &mut Context) -> FailToProxy {
        context.failure = Some(describe(error));
        let code = match (error.etype(), error.esource()) {
            (ErrorType::HTTPStatus(status), _) => Answer::empty(*status, "GW-FWD-002"),
            (ErrorType::WriteError | ErrorType::ReadError | ErrorType::ConnectionClosed, ErrorSource::Downstream) => {
                Answer::empty(0, "GW-FWD-003")
            }
            (ErrorType::ReadTimedout, ErrorSource::Downstream) => Answer::empty(408, "GW-FWD-003"),
            (_, ErrorSource::Downstream) => Answer::empty(400, "GW-FWD-004"),
            (ErrorType::ReadTimedout, _) => Answer::empty(504, "GW-LINK-004"),
            (
                ErrorType::ConnectTimedout
                | ErrorType::ConnectRefused
                | ErrorType::ConnectNoRoute
                | ErrorType::ConnectError
                | ErrorType::SocketError,
                _,
            ) => Answer::unavailable("GW-LINK-003"),
            (_, ErrorSource::Upstream) => Answer::empty(502, "GW-LINK-005"),
            (_, ErrorSource::Internal | ErrorSource::Unset) => Answer::empty(500, "GW-FWD-001"),
        };
        let code = context.refused.take().unwrap_or(code);
        let status = code.status;
        if session.response_written().is_none() {
            let _ = self.answer(session, context, code.closing()).await;
        }
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, context: &mut Context) {
        context.watch = None;
        let Some(connection) = context.connection.take() else { return };
        // What was not read of a body must not be taken for the next head.
        if !session.as_mut().is_body_done() {
            session.set_keepalive(None);
        }
        connection.end_request();
        self.count(context);
        let Some(forwarded) = &context.forwarded else { return };
        let failure = context.failure.take().or_else(|| error.map(describe));
        // A client that leaves without closing TLS properly is the ordinary end of a WebSocket.
        let failure = failure.filter(|_| !connection.is_upgraded());
        tracing::debug!(
            correlation_id = %context.correlation_id,
            interaction = context.interaction,
            status = context.status,
            failure,
            "request ended"
        );
        if !forwarded.is_write && failure.is_none() && context.status < 500 {
            return;
        }
        let correlation_id = context.correlation_id.to_string();
        let record = Ended {
            event: if failure.is_some() { "failed" } else { "answered" },
            correlation_id: &correlation_id,
            status: context.status,
            milliseconds: u64::try_from(context.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            error: failure,
        };
        if let Err(error) = self.audit.append(OffsetDateTime::now_utc(), &record) {
            let _ = super::judge::audit_failed(&error);
        }
    }

    fn suppress_error_log(&self, _session: &Session, _context: &Context, _error: &Error) -> bool {
        // `logging` tells it once, with the correlation id.
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _context: &Context,
        _error: &Error,
        _kind: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}

/// Kind and place of an error, without addresses.
fn describe(error: &Error) -> String {
    format!("{} {}", error.esource().as_str(), error.etype().as_str())
}
