//! One request from its head to its answer.
//!
//! What takes long and needs no transaction (parsing, early validation, asking other servers) happens before the writer
//! is entered. A write runs in a task of its own: it is carried through, recorded and published even if the gateway's
//! connection ends while it is under way.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::FromRequestParts as _;
use axum::extract::ws::WebSocketUpgrade;
use bytes::Bytes;
use fhir::{ParseError, Resource, ResourceType};
use http::header::HeaderValue;
use http::request::Parts;
use http::{Response, StatusCode};
use link::CORRELATION_HEADER;
use policies::interaction::Interaction;
use policies::{CanonicalRequest, DsfOperation};
use time::OffsetDateTime;
use tracing::Instrument as _;

use crate::admit::{Admitted, Caller, admit};
use crate::bundle::plan::{Kind, Plan};
use crate::bundle::{TemporaryIds, response, run_batch_entry, run_transaction};
use crate::endpoint::LocalAnswer;
use crate::hooks::{AuditEvent, AuditRecord};
use crate::negotiate::{BadContentType, Negotiated, body_format, wants_raw_binary};
use crate::precondition::{Preconditions, if_match};
use crate::prefer::Prefer;
use crate::refusal::{Code, Refusal};
use crate::reply::{Content, Reply, refuse};
use crate::session::{CreateOptions, Effects, Mode, Noted, Prepared, Session, UpdateOptions};
use crate::shared::Shared;
use crate::{Endpoint, external, limits, metadata, raw_binary, websocket};

/// Bodies above this size are parsed on a thread for blocking work.
const PARSE_INLINE_BYTES: usize = 256 * 1024;

impl Endpoint {
    /// Answers one request.
    pub(crate) async fn answer(&self, mut parts: Parts, body: Bytes) -> Response<Body> {
        let started = Instant::now();
        let shared = self.shared();
        let admitted = admit(&parts, &shared.base_path, &shared.policies, shared.publisher.version());
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => return refused_at_the_door(&parts, &refusal),
        };
        let Admitted { caller, request } = admitted;
        let interaction = request.interaction();
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
            respond(shared, &caller, &request, &parts, body).await.map(Body::from)
        }
        .instrument(span)
        .await;
        if let Ok(id) = HeaderValue::from_str(&caller.correlation_id.to_string()) {
            response.headers_mut().insert(CORRELATION_HEADER, id);
        }
        let status = response.status().as_u16().to_string();
        metrics::counter!("schleuse_endpoint_requests_total", "interaction" => interaction.as_str(), "status" => status)
            .increment(1);
        metrics::histogram!("schleuse_endpoint_request_seconds", "interaction" => interaction.as_str())
            .record(started.elapsed().as_secs_f64());
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
        let recorded = record(shared, caller, "websocket", None, None, AuditEvent::Ended { status: status.as_u16(), code });
        match (result, recorded) {
            (Ok((upgrade, slot)), Ok(())) => {
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
        if !self.is_still_known(caller).await? {
            return Err(Refusal::empty(StatusCode::FORBIDDEN, Code::IdentityUnknown));
        }
        if !caller.identity.is_local() || !caller.identity.has_dsf_role(DsfOperation::Websocket, None) {
            return Err(Refusal::forbidden("websocket", "identity has no such role"));
        }
        let slot = Arc::clone(&shared.sockets).try_acquire_owned().map_err(|_| {
            Refusal::empty(StatusCode::SERVICE_UNAVAILABLE, Code::TooLarge).because("too many websockets")
        })?;
        let upgrade = WebSocketUpgrade::from_request_parts(parts, &()).await.map_err(|rejection| {
            Refusal::bad_request("No WebSocket handshake").because(rejection.to_string())
        })?;
        Ok((upgrade, slot))
    }
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
    request: &CanonicalRequest,
    parts: &Parts,
    body: Bytes,
) -> Response<Bytes> {
    let head = parts.method == http::Method::HEAD;
    let how = Negotiated::of(&parts.headers, request.query());
    let is_raw_read = request.resource_type() == Some(ResourceType::Binary)
        && matches!(request.interaction(), Interaction::Read | Interaction::Vread | Interaction::Head)
        && wants_raw_binary(&parts.headers, request.query());
    // What a Binary's own type cannot be negotiated with, an OperationOutcome still can be printed in.
    let how = match how {
        Ok(how) => how,
        Err(_) if is_raw_read => Negotiated::json(),
        Err(_) => return refuse(&Refusal::media_type(), None, head),
    };
    let job = Job {
        shared: Arc::clone(shared),
        caller: Arc::clone(caller),
        request: request.clone(),
        headers: parts.headers.clone(),
        how,
        is_raw_read,
    };
    // Carried through even if the connection ends.
    let result = tokio::spawn(job.run(body).instrument(tracing::Span::current())).await.unwrap_or_else(|error| {
        Err(Refusal::empty(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal).because(error.to_string()))
    });
    match result {
        Ok(reply) => reply.into_response(&how, &shared.base_url, head),
        Err(refusal) => {
            if refusal.status.is_server_error() {
                tracing::error!(%refusal, "request failed");
            } else {
                tracing::info!(%refusal, "request refused");
            }
            refuse(&refusal, Some(&how), head)
        }
    }
}

/// One request with everything that it needs.
struct Job {
    shared: Arc<Shared>,
    caller: Arc<Caller>,
    request: CanonicalRequest,
    headers: http::HeaderMap,
    how: Negotiated,
    is_raw_read: bool,
}

impl Job {
    /// Records, acts, records.
    async fn run(self, body: Bytes) -> Result<Reply, Refusal> {
        let name = self.request.interaction().as_str();
        let (resource_type, id) = (self.request.resource_type(), self.request.id().map(|id| id.as_str().to_owned()));
        let begun = AuditEvent::Begun { rule: &self.caller.rule, policy_version: self.caller.policy.version() };
        record(&self.shared, &self.caller, name, resource_type, id.as_deref(), begun)?;
        let result = self.act(body).await;
        let (status, code) = match &result {
            Ok(reply) => (reply.status.as_u16(), None),
            Err(refusal) => (refusal.status.as_u16(), Some(refusal.code.as_str())),
        };
        let touched = result.as_ref().ok().and_then(|reply| reply.version.as_ref()).map(|version| version.id.clone());
        let ended = AuditEvent::Ended { status, code };
        record(&self.shared, &self.caller, name, resource_type, touched.or(id).as_deref(), ended)?;
        if self.request.interaction().is_write() || self.request.interaction() == Interaction::Bundle {
            self.shared.audit.on_disk().await.map_err(audit_failed)?;
        }
        result
    }

    async fn act(&self, body: Bytes) -> Result<Reply, Refusal> {
        let prefer = Prefer::of(&self.headers);
        match self.request.interaction() {
            Interaction::Metadata => self.metadata().await,
            Interaction::Read | Interaction::Vread | Interaction::Head => self.read().await,
            Interaction::Search => self.search(prefer).await,
            Interaction::HistoryInstance | Interaction::HistoryType | Interaction::HistorySystem => {
                self.history().await
            }
            Interaction::Create => self.create(body, prefer).await,
            Interaction::Update | Interaction::ConditionalUpdate => self.update(body, prefer).await,
            Interaction::Delete | Interaction::ConditionalDelete | Interaction::PermanentDelete => self.delete().await,
            Interaction::Bundle => {
                let bundle = self.parse(body).await?;
                run_bundle(&self.shared, &self.caller, Some(&self.request), bundle, prefer).await
            }
            // Not offered: profiles are compiled for validation without making snapshots. The route stays unknown.
            Interaction::Snapshot | Interaction::Websocket => Err(Refusal::empty(StatusCode::NOT_FOUND, Code::NotRouted)),
        }
    }

    async fn metadata(&self) -> Result<Reply, Refusal> {
        let conformance = self.shared.conformance().await?;
        let shared = Arc::clone(&self.shared);
        let request = self.request.clone();
        read(&self.shared, &self.caller, move |session| session.authorize(&request, None)).await?;
        Ok(Reply::resource(StatusCode::OK, None, metadata::capability_statement(&shared, &conformance)))
    }

    async fn read(&self) -> Result<Reply, Refusal> {
        let request = self.request.clone();
        let headers = self.headers.clone();
        let is_raw = self.is_raw_read;
        read(&self.shared, &self.caller, move |session| {
            session.authorize(&request, None)?;
            let (resource_type, id) = target(&request)?;
            let version = request.version().map(policies::VersionId::get);
            let reply = session.read(resource_type, &id, version, &Preconditions::of(&headers))?;
            if is_raw { raw_binary::shown(reply, &headers, request.query()) } else { Ok(reply) }
        })
        .await
    }

    async fn search(&self, prefer: Prefer) -> Result<Reply, Refusal> {
        let request = self.request.clone();
        let summary = self.how.summary;
        read(&self.shared, &self.caller, move |session| {
            session.authorize(&request, None)?;
            let Some(resource_type) = request.resource_type() else { return Err(not_routed()) };
            let found = session.search(resource_type, &request.raw_query(), prefer.strict)?;
            let bundle = found.into_bundle(session, summary);
            Ok(Reply::resource(StatusCode::OK, None, bundle))
        })
        .await
    }

    async fn history(&self) -> Result<Reply, Refusal> {
        let request = self.request.clone();
        let summary = self.how.summary;
        read(&self.shared, &self.caller, move |session| {
            session.authorize(&request, None)?;
            session.history(&request, summary)
        })
        .await
    }

    async fn create(&self, body: Bytes, prefer: Prefer) -> Result<Reply, Refusal> {
        let resource = match self.raw_body(&body)? {
            Some(binary) => binary,
            None => self.parse(body).await?,
        };
        let prepared = self.prepare(resource, false).await?;
        let mut conditions = self.headers.get_all("if-none-exist").iter();
        let if_none_exist = match (conditions.next(), conditions.next()) {
            (None, _) => None,
            (Some(condition), None) => {
                let text = condition.to_str().map_err(|_| Refusal::bad_request("If-None-Exist is no text"))?;
                Some(text.to_owned())
            }
            (Some(_), Some(_)) => return Err(Refusal::bad_request("If-None-Exist is repeated")),
        };
        let options = CreateOptions { if_none_exist, returns: prefer.returns, id: None, in_bundle: false };
        let request = self.request.clone();
        write(&self.shared, &self.caller, move |session| {
            session.authorize(&request, Some(&prepared.resource))?;
            session.create(prepared, &options)
        })
        .await
    }

    async fn update(&self, body: Bytes, prefer: Prefer) -> Result<Reply, Refusal> {
        let resource = self.parse(body).await?;
        let prepared = self.prepare(resource, true).await?;
        let options = UpdateOptions {
            if_match: if_match(&self.headers),
            returns: prefer.returns,
            id: None,
            in_bundle: false,
        };
        let request = self.request.clone();
        write(&self.shared, &self.caller, move |session| {
            session.authorize(&request, Some(&prepared.resource))?;
            if request.is_conditional() {
                session.conditional_update(prepared, &request.raw_query(), &options)
            } else {
                let (_, id) = target(&request)?;
                session.update(&prepared, &id, &options)
            }
        })
        .await
    }

    async fn delete(&self) -> Result<Reply, Refusal> {
        let request = self.request.clone();
        write(&self.shared, &self.caller, move |session| {
            session.authorize(&request, None)?;
            if request.is_conditional() {
                let Some(resource_type) = request.resource_type() else { return Err(not_routed()) };
                return session.conditional_delete(resource_type, &request.raw_query(), false);
            }
            let (resource_type, id) = target(&request)?;
            if request.interaction() == Interaction::PermanentDelete {
                session.delete_permanently(resource_type, &id)
            } else {
                session.delete(resource_type, &id)
            }
        })
        .await
    }

    /// The Binary of a raw upload, if the body is one.
    fn raw_body(&self, body: &Bytes) -> Result<Option<Resource>, Refusal> {
        let is_binary = self.request.resource_type() == Some(ResourceType::Binary);
        if !is_binary || !matches!(body_format(&self.headers), Err(BadContentType::Unsupported)) {
            return Ok(None);
        }
        raw_binary::received(&self.headers, body).map(Some)
    }

    async fn parse(&self, body: Bytes) -> Result<Resource, Refusal> {
        let format = body_format(&self.headers).map_err(|bad| match bad {
            BadContentType::Unsupported => Refusal::media_type(),
            BadContentType::Charset => Refusal::hostile("character set is not UTF-8"),
            BadContentType::Repeated => Refusal::bad_request("Content-Type is repeated"),
        })?;
        let parse = move || fhir::parse(format, &body, &fhir::Limits::default());
        let parsed = if self.body_is_large() {
            tokio::task::spawn_blocking(parse)
                .await
                .map_err(|error| Refusal::empty(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal).because(error.to_string()))?
        } else {
            parse()
        };
        let resource = parsed.map_err(|error: ParseError| {
            // Kind and place; the text of an error can quote the body.
            let evidence = format!("at {}", error.position());
            if error.is_hostile() { Refusal::hostile(evidence) } else { Refusal::structure(evidence) }
        })?;
        let expected = match self.request.interaction() {
            Interaction::Bundle => return Ok(resource),
            _ => self.request.resource_type().map(ResourceType::as_str),
        };
        if Some(resource.type_name()) != expected {
            return Err(Refusal::structure("body is of another type than the path"));
        }
        Ok(resource)
    }

    fn body_is_large(&self) -> bool {
        let length = self.headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        length.is_none_or(|length: usize| length > PARSE_INLINE_BYTES)
    }

    async fn prepare(&self, resource: Resource, is_update: bool) -> Result<Prepared, Refusal> {
        let allow_list = self.shared.allow_list().await?;
        let conformance = self.shared.conformance().await?;
        let mut prepared = Prepared::new(resource, &self.shared.base_url).ok_or_else(not_routed)?;
        external::check(&prepared.resource, is_update, &allow_list, &self.shared.remote).await?;
        prepared.validate_early(&conformance);
        Ok(prepared)
    }
}

fn target(request: &CanonicalRequest) -> Result<(ResourceType, String), Refusal> {
    match (request.resource_type(), request.id()) {
        (Some(resource_type), Some(id)) => Ok((resource_type, id.as_str().to_owned())),
        _ => Err(not_routed()),
    }
}

const fn not_routed() -> Refusal {
    Refusal::empty(StatusCode::NOT_FOUND, Code::NotRouted)
}

fn record(
    shared: &Shared,
    caller: &Caller,
    interaction: &str,
    resource_type: Option<ResourceType>,
    id: Option<&str>,
    event: AuditEvent<'_>,
) -> Result<(), Refusal> {
    let record = AuditRecord {
        correlation_id: caller.correlation_id,
        at: OffsetDateTime::now_utc(),
        identity: &caller.identity,
        interaction,
        resource_type,
        id,
        event,
    };
    shared.audit.record(&record).map_err(audit_failed)
}

fn audit_failed(error: crate::AuditError) -> Refusal {
    tracing::error!(%error, "audit record cannot be written");
    Refusal::empty(StatusCode::SERVICE_UNAVAILABLE, Code::Audit).because(error.to_string())
}

/// Runs `work` on a snapshot.
async fn read<R, F>(shared: &Arc<Shared>, caller: &Arc<Caller>, work: F) -> Result<R, Refusal>
where
    F: FnOnce(&mut Session<'_, '_>) -> Result<R, Refusal> + Send + 'static,
    R: Send + 'static,
{
    let noted = note(shared).await?;
    let (inner, caller) = (Arc::clone(shared), Arc::clone(caller));
    shared
        .store
        .read(move |tx| {
            let mut session = Session::open(tx, &inner, &caller, &noted, Mode::Read)?;
            work(&mut session)
        })
        .await
}

/// Runs `work` in a writing transaction, then does what a commit entails.
async fn write<R, F>(shared: &Arc<Shared>, caller: &Arc<Caller>, work: F) -> Result<R, Refusal>
where
    F: FnOnce(&mut Session<'_, '_>) -> Result<R, Refusal> + Send + 'static,
    R: Send + 'static,
{
    let noted = note(shared).await?;
    let (inner, caller) = (Arc::clone(shared), Arc::clone(caller));
    let (result, effects): (R, Effects) = shared
        .store
        .write(move |tx| -> Result<(R, Effects), Refusal> {
            let mut session = Session::open(tx, &inner, &caller, &noted, Mode::Write)?;
            let result = work(&mut session)?;
            Ok((result, session.finish()))
        })
        .await?;
    committed(shared, effects).await;
    Ok(result)
}

async fn note(shared: &Arc<Shared>) -> Result<Noted, Refusal> {
    Ok(Noted { allow_list: shared.allow_list().await?, conformance: shared.conformance().await? })
}

/// After a commit: the process engine is told, and a changed allow-list is published before the answer.
async fn committed(shared: &Arc<Shared>, effects: Effects) {
    let allow_list_changed = effects.allow_list_changed();
    let task_taken = effects.task_taken;
    // From here on the caches may be filled with the new state.
    drop(effects);
    if task_taken {
        shared.tasks.committed();
    }
    if !allow_list_changed {
        return;
    }
    match shared.allow_list().await {
        Ok(allow_list) => {
            let published = shared.publisher.publish(allow_list);
            if tokio::time::timeout(limits::ALLOW_LIST_ACKNOWLEDGEMENT, published).await.is_err() {
                tracing::warn!("a gateway has not acknowledged the changed allow-list in time");
            }
        }
        Err(error) => tracing::error!(%error, "changed allow-list cannot be read and is not published"),
    }
}

/// Processes a Bundle; `request` is absent for the engine's own.
async fn run_bundle(
    shared: &Arc<Shared>,
    caller: &Arc<Caller>,
    request: Option<&CanonicalRequest>,
    bundle: Resource,
    prefer: Prefer,
) -> Result<Reply, Refusal> {
    let allow_list = shared.allow_list().await?;
    let body = request.is_some().then(|| bundle.clone());
    let plan = Plan::of(bundle, &shared.base_url)?;
    let kind = plan.kind;
    if let (Some(request), Some(body)) = (request.cloned(), body) {
        read(shared, caller, move |session| session.authorize(&request, Some(&body))).await?;
    }
    for entry in plan.entries.iter().flatten() {
        if let Some((resource, is_update)) = entry.command.resource() {
            // A batch answers a failing entry in its place; a transaction fails with it either way.
            if kind == Kind::Transaction {
                external::check(resource, is_update, &allow_list, &shared.remote).await?;
            }
        }
    }
    let entries = match plan.kind {
        Kind::Transaction => {
            let entries = plan.entries;
            if entries.iter().flatten().all(|entry| entry.command.is_read()) {
                read(shared, caller, move |session| run_transaction(session, entries, prefer)).await?
            } else {
                write(shared, caller, move |session| run_transaction(session, entries, prefer)).await?
            }
        }
        Kind::Batch => run_batch(shared, caller, plan, &allow_list, prefer).await?,
    };
    Ok(Reply::resource(StatusCode::OK, None, response::bundle(kind.response_type(), entries)))
}

/// Runs the entries one after the other, each in its own transaction.
async fn run_batch(
    shared: &Arc<Shared>,
    caller: &Arc<Caller>,
    plan: Plan,
    allow_list: &policies::AllowList,
    prefer: Prefer,
) -> Result<Vec<fhir::Object>, Refusal> {
    let entries = plan.entries;
    let (temporary, entries) = read(shared, caller, move |session| {
        let temporary = TemporaryIds::assign(session, entries.iter().flatten())?;
        Ok((Arc::new(temporary), entries))
    })
    .await?;
    let mut answers = Vec::with_capacity(entries.len());
    for entry in entries {
        let done = match entry {
            Err(refusal) => Err(refusal),
            Ok(entry) => {
                let checked = match entry.command.resource() {
                    Some((resource, is_update)) => {
                        external::check(resource, is_update, allow_list, &shared.remote).await
                    }
                    None => Ok(()),
                };
                let temporary = Arc::clone(&temporary);
                match checked {
                    Err(refusal) => Err(refusal),
                    Ok(()) if entry.command.is_read() => {
                        read(shared, caller, move |session| run_batch_entry(session, entry, &temporary, prefer)).await
                    }
                    Ok(()) => {
                        write(shared, caller, move |session| run_batch_entry(session, entry, &temporary, prefer)).await
                    }
                }
            }
        };
        answers.push(match done {
            Ok((reply, shown)) => response::done(reply, shown, &shared.base_url),
            Err(refusal) => response::refused(&refusal),
        });
    }
    Ok(answers)
}

/// A resource or Bundle of the engine itself.
pub(crate) async fn execute_local(
    shared: &Arc<Shared>,
    caller: Arc<Caller>,
    resource: Resource,
) -> Result<LocalAnswer, Refusal> {
    let is_request = resource.type_name() == "Bundle" && matches!(resource.str("type"), Some("batch" | "transaction"));
    let name = if is_request { "bundle" } else { "create" };
    let resource_type = resource.resource_type();
    let begun = AuditEvent::Begun { rule: &caller.rule, policy_version: caller.policy.version() };
    record(shared, &caller, name, resource_type, None, begun)?;
    let prefer = Prefer::default();
    let result = if is_request {
        run_bundle(shared, &caller, None, resource, prefer).await
    } else {
        let conformance = shared.conformance().await?;
        let mut prepared = Prepared::new(resource, &shared.base_url).ok_or_else(not_routed)?;
        prepared.validate_early(&conformance);
        write(shared, &caller, move |session| session.create(prepared, &CreateOptions::default())).await
    };
    let (status, code) = match &result {
        Ok(reply) => (reply.status.as_u16(), None),
        Err(refusal) => (refusal.status.as_u16(), Some(refusal.code.as_str())),
    };
    record(shared, &caller, name, resource_type, None, AuditEvent::Ended { status, code })?;
    shared.audit.on_disk().await.map_err(audit_failed)?;
    let reply = result?;
    let resource = match reply.content {
        Content::Resource(resource) => Some(*resource),
        Content::Empty | Content::Raw { .. } => None,
    };
    Ok(LocalAnswer { status: reply.status.as_u16(), resource })
}
