//! One request from its head to its answer.
//!
//! What takes long and needs no transaction (parsing, early validation, asking other servers) happens before the writer
//! is entered. A write runs in a task of its own: it is carried through, recorded and published even if the gateway's
//! connection ends while it is under way.

mod bundles;
mod job;
mod transact;

pub(crate) use bundles::execute_local;
pub(crate) use transact::approve_pending;

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::FromRequestParts as _;
use axum::extract::ws::WebSocketUpgrade;
use bytes::Bytes;
use fhir::ResourceType;
use http::header::HeaderValue;
use http::request::Parts;
use http::{Response, StatusCode};
use hyper::body::Incoming;
use link::CORRELATION_HEADER;
use policies::CanonicalRequest;
use policies::interaction::Interaction;
use tracing::Instrument as _;

use crate::admit::{Admitted, Caller, admit};
use crate::content::download;
use crate::hooks::AuditEvent;
use crate::negotiate::{Negotiated, wants_raw_binary};
use crate::refusal::{Code, Refusal};
use crate::reply::{Printed, Reply, refuse};
use crate::shared::Shared;
use crate::{Endpoint, answers, limits, websocket};
use job::Job;
use transact::record;

/// The body of a request.
pub(crate) enum RequestBody {
    /// In memory.
    Whole(Bytes),
    /// Still to come.
    Coming(Incoming),
}

impl Endpoint {
    /// Whether the body of a request may be content, which is not held in memory.
    pub(crate) fn brings_content(&self, parts: &Parts) -> bool {
        let path = parts.uri.path().strip_prefix(self.shared().base_path.as_str()).unwrap_or_default();
        let mut segments = path.trim_matches('/').split('/');
        matches!(parts.method, http::Method::POST | http::Method::PUT)
            && segments.next() == Some(ResourceType::Binary.as_str())
            && segments.nth(1).is_none()
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, mut parts: Parts, body: RequestBody) -> Response<Body> {
        let started = Instant::now();
        let shared = self.shared();
        let admitted = match admit_in_time(shared, &parts).await {
            Ok(admitted) => admitted,
            Err(refusal) => return refused_at_the_door(&parts, &refusal),
        };
        let Admitted { caller, request } = admitted;
        let interaction = request.interaction();
        if let Some(response) = given_again(shared, &caller, &request, &parts) {
            shared.meters.answered(interaction, response.status().as_u16(), started.elapsed());
            return response;
        }
        let span = tracing::info_span!(
            "endpoint",
            correlation_id = %caller.correlation_id,
            org = caller.identity.organization().map(tracing::field::display),
            thumbprint = caller.identity.thumbprint().map(policies::Thumbprint::short),
            interaction = interaction.as_str(),
            resource = request.resource_type().map(ResourceType::as_str),
        );
        let mut response = async {
            if interaction == Interaction::Websocket {
                return self.upgrade(&mut parts, &caller).await;
            }
            respond(shared, &caller, request, parts, body).await
        }
        .instrument(span)
        .await;
        correlate(&mut response, &caller);
        shared.meters.answered(interaction, response.status().as_u16(), started.elapsed());
        response
    }

    /// The upgrade to a WebSocket: refused before the 101 if the caller has no right to it.
    async fn upgrade(&self, parts: &mut Parts, caller: &Arc<Caller>) -> Response<Body> {
        let shared = self.shared();
        let result = self.admit_socket(parts, caller).await;
        let (status, code) = match &result {
            Ok(_) => (StatusCode::SWITCHING_PROTOCOLS, None),
            Err(refusal) => (refusal.status, Some(refusal.code.as_str())),
        };
        let recorded =
            record(shared, caller, "websocket", None, None, AuditEvent::Ended { status: status.as_u16(), code });
        match (result, recorded) {
            (Ok((upgrade, slot)), Ok(())) => {
                tokio::time::sleep(limits::SOCKET_OPENING).await;
                let (endpoint, caller) = (self.clone(), Arc::clone(caller));
                websocket::bounded(upgrade).on_upgrade(move |socket| async move {
                    websocket::serve(socket, endpoint, caller).await;
                    drop(slot);
                })
            }
            (Err(refusal), _) | (Ok(_), Err(refusal)) => {
                tracing::info!(%refusal, "websocket refused");
                let how = Negotiated::of(&parts.headers, &[]).ok();
                refuse(&refusal, how.as_ref(), false).map(Body::from)
            }
        }
    }

    async fn admit_socket(
        &self,
        parts: &mut Parts,
        caller: &Arc<Caller>,
    ) -> Result<(WebSocketUpgrade, tokio::sync::OwnedSemaphorePermit), Refusal> {
        let shared = self.shared();
        let begun = AuditEvent::Begun { rule: &caller.rule, policy_version: caller.policy.version() };
        record(shared, caller, "websocket", None, None, begun)?;
        let Some(identity) = self.identity_now(caller).await? else {
            return Err(Refusal::empty(StatusCode::FORBIDDEN, Code::IdentityUnknown));
        };
        if !websocket::may_listen(&identity) {
            return Err(Refusal::forbidden("websocket", "identity has no such role"));
        }
        let slot = Arc::clone(&shared.sockets).try_acquire_owned().map_err(|_| {
            Refusal::empty(StatusCode::SERVICE_UNAVAILABLE, Code::TooLarge).because("too many websockets")
        })?;
        let upgrade = WebSocketUpgrade::from_request_parts(parts, &())
            .await
            .map_err(|rejection| Refusal::bad_request("No WebSocket handshake").because(rejection.to_string()))?;
        Ok((upgrade, slot))
    }
}

/// The kept answer to a read, recorded as any other; what is not simply permitted goes the ordinary way.
fn given_again(shared: &Shared, caller: &Caller, request: &CanonicalRequest, parts: &Parts) -> Option<Response<Body>> {
    if !matches!(request.interaction(), Interaction::Read | Interaction::Head) {
        return None;
    }
    let how = Negotiated::of(&parts.headers, request.query()).ok()?;
    let answer = answers::kept(shared, caller, request, &parts.headers, &how)?;
    let event = AuditEvent::Answered {
        rule: &caller.rule,
        policy_version: caller.policy.version(),
        status: StatusCode::OK.as_u16(),
        code: None,
    };
    let id = request.id().map(policies::ResourceId::as_str);
    record(shared, caller, request.interaction().as_str(), request.resource_type(), id, event).ok()?;
    let (headers, body) = answer.parts();
    let is_head = parts.method == http::Method::HEAD;
    let mut response = Response::new(if is_head { Body::empty() } else { Body::from(body) });
    *response.headers_mut() = headers;
    correlate(&mut response, caller);
    Some(response)
}

fn correlate(response: &mut Response<Body>, caller: &Caller) {
    if let Ok(id) = HeaderValue::from_str(&caller.correlation_id.to_string()) {
        response.headers_mut().insert(CORRELATION_HEADER, id);
    }
}

/// Admits a request; one of a policy that is not known yet waits until it is.
async fn admit_in_time(shared: &Shared, parts: &Parts) -> Result<Admitted, Refusal> {
    let admit = || admit(parts, &shared.base_path, &shared.clients, &shared.policies, shared.publisher.version());
    let is_unknown =
        |admitted: &Result<_, Refusal>| matches!(admitted, Err(refusal) if refusal.code == Code::PolicyUnknown);
    let admitted = admit();
    if !is_unknown(&admitted) {
        return admitted;
    }
    // It may have become known before the wait began.
    let next = shared.policies.next();
    let admitted = admit();
    if !is_unknown(&admitted) {
        return admitted;
    }
    next.await;
    admit()
}

/// A request that is not what the gateway permitted, or whose permit is not accepted.
fn refused_at_the_door(parts: &Parts, refusal: &Refusal) -> Response<Body> {
    metrics::counter!("schleuse_endpoint_refused_at_the_door_total", "code" => refusal.code.as_str()).increment(1);
    if refusal.code == Code::PolicyUnknown || refusal.code == Code::NotRouted {
        tracing::warn!(%refusal, "request is not admitted");
    } else {
        tracing::error!(%refusal, "request is not admitted");
    }
    let how = Negotiated::of(&parts.headers, &[]).ok();
    refuse(refusal, how.as_ref(), false).map(Body::from)
}

async fn respond(
    shared: &Arc<Shared>,
    caller: &Arc<Caller>,
    request: CanonicalRequest,
    parts: Parts,
    body: RequestBody,
) -> Response<Body> {
    let head = parts.method == http::Method::HEAD;
    let how = Negotiated::of(&parts.headers, request.query());
    let is_raw_read = request.resource_type() == Some(ResourceType::Binary)
        && matches!(request.interaction(), Interaction::Read | Interaction::Vread | Interaction::Head)
        && wants_raw_binary(&parts.headers, request.query());
    // What a Binary's own type cannot be negotiated with, an OperationOutcome still can be printed in.
    let how = match how {
        Ok(how) => how,
        Err(_) if is_raw_read => Negotiated::json(),
        Err(_) => return refuse(&Refusal::media_type(), None, head).map(Body::from),
    };
    let job = Job {
        shared: Arc::clone(shared),
        caller: Arc::clone(caller),
        request: Arc::new(request),
        headers: parts.headers,
        how,
        is_raw_read,
    };
    let result = if job.may_write() { carried_through(job, body).await } else { job.run(body).await };
    let answered = match result {
        Ok(mut reply) => {
            let keep = reply.keep.take();
            let printed = reply.print(&how, &shared.base_url, &caller.contents);
            if let Some(keep) = keep {
                shared.answers.keep(*keep, &printed);
            }
            body_of(shared, caller, printed, head).await
        }
        Err(refusal) => Err(refusal),
    };
    match answered {
        Ok(response) => response,
        Err(refusal) => {
            if refusal.status.is_server_error() {
                tracing::error!(%refusal, "request failed");
            } else {
                tracing::info!(%refusal, "request refused");
            }
            refuse(&refusal, Some(&how), head).map(Body::from)
        }
    }
}

/// Runs a write in a task of its own, so that it is carried through even if the connection ends.
async fn carried_through(job: Job, body: RequestBody) -> Result<Reply, Refusal> {
    let internal = |text: String| Refusal::empty(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal).because(text);
    let writes = Arc::clone(&job.shared.writes);
    let held = writes.acquire_owned().await.map_err(|error| internal(error.to_string()))?;
    let run = async move {
        let result = job.run(body).await;
        drop(held);
        result
    };
    tokio::spawn(run.instrument(tracing::Span::current()))
        .await
        .unwrap_or_else(|error| Err(internal(error.to_string())))
}

/// The response with its body; what is read from the store takes a slot.
async fn body_of(
    shared: &Arc<Shared>,
    caller: &Caller,
    printed: Printed,
    head: bool,
) -> Result<Response<Body>, Refusal> {
    if head || !printed.has_content() {
        return Ok(printed.into_response(head, |_| Body::empty()));
    }
    let slot = shared.downloads.take(&caller.identity.name()).await?;
    Ok(printed.into_response(head, |pieces| download::body(&shared.store, pieces, slot)))
}
