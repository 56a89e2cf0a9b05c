//! The callbacks of the proxy, in the order in which they run.
//!
//! `request_filter` judges and exchanges the request with the engine right there ([`super::exchange`]). A WebSocket is left
//! to the proxy with the head that [`super::judge`] built. Responses of both ways pass [`Gateway::finish_head`].

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use audit::Position;
use bytes::Bytes;
use http::HeaderValue;
use link::CorrelationId;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::prelude::HttpPeer;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::{Error, ErrorSource, ErrorType};
use policies::{CanonicalRequest, Interaction};
use time::OffsetDateTime;

use super::exchange::Content;
use super::head::EngineHead;
use super::judge::{Load, Permitted};
use super::{Gateway, websocket};
use crate::correlation;
use crate::listen::Connection;
use crate::rate::Running;
use crate::record::Ended;
use crate::reload::Basis;
use crate::respond::{self, Answer};

/// One request.
pub struct Context {
    pub(super) correlation_id: CorrelationId,
    /// Its text.
    pub(super) correlation: HeaderValue,
    /// By what the request is judged and answered.
    pub(super) basis: Arc<Basis>,
    pub(super) interaction: Option<Interaction>,
    pub(super) running: Option<Running>,
    pub(super) failure: Option<String>,
    started: Instant,
    connection: Option<Arc<Connection>>,
    forwarded: Option<Forwarded>,
    status: u16,
    watch: Option<websocket::Watch>,
}

/// What is on its way to the engine.
struct Forwarded {
    head: EngineHead,
    position: Position,
    is_write: bool,
    socket: Option<CanonicalRequest>,
}

// === impl Context ===

impl Context {
    /// No permit, no request: the head is ours or there is none.
    pub(super) fn head(&self) -> pingora::Result<&EngineHead> {
        let forwarded = self.forwarded.as_ref();
        let head = forwarded.map(|forwarded| &forwarded.head);
        head.ok_or_else(|| Error::explain(ErrorType::InternalError, "request without permit"))
    }
}

// === impl Gateway ===

impl Gateway {
    pub(super) async fn answer(
        &self,
        session: &mut Session,
        context: &mut Context,
        answer: Answer,
    ) -> pingora::Result<()> {
        context.status = answer.status;
        if answer.status == 0 {
            session.set_keepalive(None);
            return Ok(());
        }
        answer.send(session, &context.basis.standing, &context.correlation).await
    }

    /// A write is answered only when the record of its decision is on disk.
    pub(super) async fn wait_for_record(&self, context: &Context) -> Result<(), Answer> {
        match &context.forwarded {
            Some(forwarded) if forwarded.is_write => {
                self.audit.durable(forwarded.position).await.map_err(|error| super::judge::audit_failed(&error))
            }
            _ => Ok(()),
        }
    }

    /// The head of the engine's response as the client gets it.
    pub(super) fn finish_head(head: &mut ResponseHeader, context: &mut Context) -> pingora::Result<()> {
        context.status = head.status.as_u16();
        context.basis.standing.add_to(head, &context.correlation)
    }

    fn configure(session: &mut Session, basis: &Basis) {
        if !session.is_http2() {
            // The stream itself closes a silent connection first.
            session.set_keepalive(Some(basis.limits.keep_alive.as_secs().saturating_add(5)));
            session.set_min_send_rate(Some(crate::limits::SLOWEST_READER));
        }
        session.set_read_timeout(Some(basis.limits.body_idle));
        session.set_write_timeout(Some(basis.limits.body_idle));
        session.set_total_drain_timeout(Some(basis.limits.header));
    }
}

/// Whether something may be changed; a Bundle may hold anything.
pub(super) fn may_change(interaction: Interaction) -> bool {
    interaction.is_write() || interaction == Interaction::Bundle
}

fn connection_of(session: &Session) -> Option<Arc<Connection>> {
    let digest = session.digest()?.proxy_digest.as_ref()?;
    digest.user_data.as_ref()?.downcast_ref::<Arc<Connection>>().map(Arc::clone)
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        let correlation_id = correlation::next();
        // Hyphens and hexadecimal digits always are a header value.
        let text = HeaderValue::try_from(correlation_id.to_string());
        let mut correlation = text.unwrap_or_else(|_| HeaderValue::from_static("none"));
        // It never comes again, so the tables of HTTP/2 should not keep it.
        correlation.set_sensitive(true);
        Context {
            correlation_id,
            correlation,
            basis: self.active.basis(),
            interaction: None,
            running: None,
            started: Instant::now(),
            connection: None,
            forwarded: None,
            status: 0,
            failure: None,
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
        Self::configure(session, &context.basis);
        let permitted = match self.judge(session, context, &connection, head_refusal).await {
            Ok(permitted) => permitted,
            Err(answer) => {
                self.answer(session, context, answer).await?;
                return Ok(true);
            }
        };
        let Permitted { head, load, position, request } = permitted;
        let is_write = may_change(request.interaction());
        let socket = matches!(load, Load::Socket).then_some(request);
        context.forwarded = Some(Forwarded { head, position, is_write, socket });
        match load {
            Load::Nothing => self.exchange(session, context, &Bytes::new()).await?,
            Load::Judged { bytes, memory } => {
                let done = self.exchange(session, context, &bytes).await;
                drop((bytes, memory));
                done?;
            }
            Load::Raw { length } => self.stream(session, context, &connection, Content::Raw { length }).await?,
            Load::Passing(passing) => {
                self.stream(session, context, &connection, Content::Passing(passing)).await?;
            }
            Load::Socket => return Ok(false),
        }
        Ok(true)
    }

    async fn upstream_peer(&self, _session: &mut Session, context: &mut Context) -> pingora::Result<Box<HttpPeer>> {
        let limits = &context.basis.limits;
        let mut peer = self.peer.clone();
        peer.options.read_timeout = Some(limits.websocket_idle);
        peer.options.write_timeout = Some(limits.upstream);
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream: &mut RequestHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        let head = context.head()?;
        let mut fresh = RequestHeader::build(head.method, head.target.as_bytes(), Some(head.fields.len()))?;
        for (name, value) in &head.fields {
            fresh.append_header(name.clone(), value.clone())?;
        }
        *upstream = fresh;
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        if head.status.is_informational() && head.status != http::StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        let upgraded = head.status == http::StatusCode::SWITCHING_PROTOCOLS;
        let request = context.forwarded.as_ref().and_then(|forwarded| forwarded.socket.as_ref());
        let (Some(connection), Some(request)) = (&context.connection, request) else {
            return Err(Error::explain(ErrorType::InternalError, "response without request"));
        };
        if upgraded {
            connection.upgrade();
            session.set_read_timeout(Some(context.basis.limits.websocket_idle));
            session.set_min_send_rate(None);
            let watch = websocket::watch(&self.active, Arc::clone(connection), request.clone(), self.stop.clone());
            context.watch = Some(watch);
        }
        respond::clean(head, upgraded);
        Self::finish_head(head, context)
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
        self.meters.request(
            context.interaction,
            context.forwarded.is_some(),
            context.status,
            context.started.elapsed(),
        );
        let Some(forwarded) = &context.forwarded else { return };
        let failure = context.failure.take().or_else(|| error.map(describe));
        // A client that leaves without closing TLS properly is the ordinary end of a WebSocket.
        let failure = failure.filter(|_| !connection.is_upgraded());
        tracing::debug!(
            correlation_id = %context.correlation_id,
            interaction = context.interaction.map(Interaction::as_str),
            status = context.status,
            failure,
            "request ended"
        );
        if !forwarded.is_write && failure.is_none() && context.status < 500 {
            return;
        }
        let record = Ended {
            event: if failure.is_some() { "failed" } else { "answered" },
            correlation_id: context.correlation.to_str().unwrap_or_default(),
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
