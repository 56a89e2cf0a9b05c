//! The interactions of a single request: what is done before, in and after its transaction.

use std::sync::Arc;

use bytes::Bytes;
use fhir::binary::BinaryReader;
use fhir::{Resource, ResourceType};
use http::StatusCode;
use hyper::body::Incoming;
use policies::CanonicalRequest;
use policies::interaction::Interaction;

use super::RequestBody;
use super::bundles::run_bundle;
use super::transact::{audit_failed, look, not_routed, read, record, write};
use crate::admit::Caller;
use crate::content::upload::{self, Brought, Form, Received};
use crate::hooks::AuditEvent;
use crate::negotiate::{BadContentType, Negotiated, body_format};
use crate::precondition::{Preconditions, if_match};
use crate::prefer::Prefer;
use crate::refusal::{Code, Refusal};
use crate::reply::Reply;
use crate::session::{CreateOptions, Prepared, UpdateOptions};
use crate::shared::Shared;
use crate::{answers, external, limits, metadata, raw_binary};

/// Bodies above this size are parsed on a thread for blocking work.
const PARSE_INLINE_BYTES: usize = 256 * 1024;

/// One request with everything that it needs.
pub(super) struct Job {
    pub(super) shared: Arc<Shared>,
    pub(super) caller: Arc<Caller>,
    pub(super) request: Arc<CanonicalRequest>,
    pub(super) headers: http::HeaderMap,
    pub(super) how: Negotiated,
    /// The content of a Binary is asked for instead of the resource.
    pub(super) is_raw_read: bool,
}

impl Job {
    /// Whether anything is written to the store, on its own or in a Bundle.
    pub(super) fn may_write(&self) -> bool {
        let interaction = self.request.interaction();
        interaction.is_write() || interaction == Interaction::Bundle
    }

    /// Acts and records. The record that a write begins is in the log before anything is done, and goes to disk while the
    /// write goes to the store; the write is answered when both are there. That it ended is synced later. What only reads
    /// leaves one record, which is in the log before the answer is given.
    pub(super) async fn run(self, body: RequestBody) -> Result<Reply, Refusal> {
        if self.may_write() { self.run_write(body).await } else { self.run_read(body).await }
    }

    async fn run_write(self, body: RequestBody) -> Result<Reply, Refusal> {
        self.record(None, AuditEvent::Begun { rule: &self.caller.rule, policy_version: self.caller.policy.version() })?;
        let (result, on_disk) = tokio::join!(self.act(body), self.shared.audit.on_disk());
        let (status, code) = match &on_disk {
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE.as_u16(), Some(Code::Audit.as_str())),
            Ok(()) => outcome_of(&result),
        };
        let touched = result.as_ref().ok().and_then(|reply| reply.version.as_ref()).map(|version| version.id.as_str());
        self.record(touched, AuditEvent::Ended { status, code })?;
        on_disk.map_err(|error| audit_failed(&error))?;
        result
    }

    async fn run_read(self, body: RequestBody) -> Result<Reply, Refusal> {
        let result = self.act(body).await;
        let (status, code) = outcome_of(&result);
        let (rule, policy_version) = (self.caller.rule.as_str(), self.caller.policy.version());
        self.record(None, AuditEvent::Answered { rule, policy_version, status, code })?;
        result
    }

    /// Records what happened to the resource that was touched, or that the path names.
    fn record(&self, touched: Option<&str>, event: AuditEvent<'_>) -> Result<(), Refusal> {
        let id = touched.or_else(|| self.request.id().map(policies::ResourceId::as_str));
        let name = self.request.interaction().as_str();
        record(&self.shared, &self.caller, name, self.request.resource_type(), id, event)
    }

    async fn act(&self, body: RequestBody) -> Result<Reply, Refusal> {
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
                let RequestBody::Whole(body) = body else { return Err(not_routed()) };
                let bundle = self.parse(body).await?;
                run_bundle(&self.shared, &self.caller, Some(&self.request), bundle, prefer).await
            }
            Interaction::Snapshot => self.snapshot(body).await,
            Interaction::Websocket => Err(Refusal::empty(StatusCode::NOT_FOUND, Code::NotRouted)),
        }
    }

    async fn metadata(&self) -> Result<Reply, Refusal> {
        let conformance = self.shared.conformance().await?;
        let shared = Arc::clone(&self.shared);
        let request = Arc::clone(&self.request);
        read(&self.shared, &self.caller, move |session| session.authorize(&request, None)).await?;
        Ok(Reply::resource(StatusCode::OK, None, metadata::capability_statement(&shared, &conformance)))
    }

    async fn read(&self) -> Result<Reply, Refusal> {
        let preconditions = Preconditions::of(&self.headers);
        if self.request.resource_type() != Some(ResourceType::Binary) {
            let request = Arc::clone(&self.request);
            let preconditions = preconditions.clone();
            // Before the snapshot begins.
            let keep = answers::note(&self.shared, &self.request, &self.how);
            let small = look(&self.shared, &self.caller, move |session| {
                session.authorize(&request, None)?;
                let (resource_type, id, version) = target_version(&request)?;
                session.read_small(resource_type, id, version, &preconditions, keep)
            });
            if let Some(reply) = small.await? {
                return Ok(reply);
            }
        }
        let request = Arc::clone(&self.request);
        let raw_headers = self.is_raw_read.then(|| self.headers.clone());
        read(&self.shared, &self.caller, move |session| {
            session.authorize(&request, None)?;
            let (resource_type, id, version) = target_version(&request)?;
            let reply = session.read(resource_type, id, version, &preconditions)?;
            match raw_headers {
                Some(headers) => raw_binary::shown(session, reply, &headers, request.query()),
                None => Ok(reply),
            }
        })
        .await
    }

    async fn snapshot(&self, body: RequestBody) -> Result<Reply, Refusal> {
        let RequestBody::Whole(body) = body else { return Err(not_routed()) };
        let parameters = if body.is_empty() { None } else { Some(self.parse(body).await?) };
        let request = Arc::clone(&self.request);
        read(&self.shared, &self.caller, move |session| {
            session.authorize(&request, parameters.as_ref())?;
            session.snapshot(&request, parameters.as_ref())
        })
        .await
    }

    async fn search(&self, prefer: Prefer) -> Result<Reply, Refusal> {
        let request = Arc::clone(&self.request);
        let summary = self.how.summary;
        read(&self.shared, &self.caller, move |session| {
            session.authorize(&request, None)?;
            let Some(resource_type) = request.resource_type() else { return Err(not_routed()) };
            let found = session.search(resource_type, &request.raw_query(), prefer.strict)?;
            let bundle = found.into_bundle(session, summary)?;
            Ok(Reply::resource(StatusCode::OK, None, bundle))
        })
        .await
    }

    async fn history(&self) -> Result<Reply, Refusal> {
        let request = Arc::clone(&self.request);
        let summary = self.how.summary;
        read(&self.shared, &self.caller, move |session| {
            session.authorize(&request, None)?;
            session.history(&request, summary)
        })
        .await
    }

    async fn create(&self, body: RequestBody, prefer: Prefer) -> Result<Reply, Refusal> {
        let prepared = self.received(body, false).await?;
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
        let request = Arc::clone(&self.request);
        write(&self.shared, &self.caller, move |session| {
            session.authorize(&request, Some(&prepared.resource))?;
            session.create(prepared, &options)
        })
        .await
    }

    async fn update(&self, body: RequestBody, prefer: Prefer) -> Result<Reply, Refusal> {
        let prepared = self.received(body, true).await?;
        let options =
            UpdateOptions { if_match: if_match(&self.headers), returns: prefer.returns, id: None, in_bundle: false };
        let request = Arc::clone(&self.request);
        write(&self.shared, &self.caller, move |session| {
            session.authorize(&request, Some(&prepared.resource))?;
            if request.is_conditional() {
                session.conditional_update(prepared, &request.raw_query(), &options)
            } else {
                let (_, id) = target(&request)?;
                session.update(&prepared, id, &options)
            }
        })
        .await
    }

    async fn delete(&self) -> Result<Reply, Refusal> {
        let request = Arc::clone(&self.request);
        let reply = write(&self.shared, &self.caller, move |session| {
            session.authorize(&request, None)?;
            if request.is_conditional() {
                let Some(resource_type) = request.resource_type() else { return Err(not_routed()) };
                return session.conditional_delete(resource_type, &request.raw_query(), false);
            }
            let (resource_type, id) = target(&request)?;
            if request.interaction() == Interaction::PermanentDelete {
                session.delete_permanently(resource_type, id)
            } else {
                session.delete(resource_type, id)
            }
        })
        .await?;
        if self.request.interaction() == Interaction::PermanentDelete {
            self.shared.released.notify_one();
        }
        Ok(reply)
    }

    /// The resource of the body, made ready; content of a Binary is in the store by then.
    async fn received(&self, body: RequestBody, is_update: bool) -> Result<Prepared, Refusal> {
        match body {
            RequestBody::Whole(body) => {
                let resource = self.parse(body).await?;
                self.prepare(resource, Brought::Nothing, is_update).await
            }
            RequestBody::Coming(body) if matches!(body_format(&self.headers), Err(BadContentType::Unsupported)) => {
                self.received_raw(body, is_update).await
            }
            RequestBody::Coming(body) => {
                let format = body_format(&self.headers).map_err(refuse_content_type)?;
                let limits = fhir::Limits { bytes: limits::BINARY_BYTES, ..fhir::Limits::default() };
                self.may_send(is_update).await?;
                let form = Form::Resource(Box::new(BinaryReader::new(format, limits)));
                let Received { resource, content } = self.receive(body, form).await?;
                let resource = resource.ok_or_else(|| Refusal::structure("no resource"))?;
                self.check_type(&resource)?;
                self.prepare(resource, content, is_update).await
            }
        }
    }

    /// A raw upload. All but its content is known from the head, so what will be refused is refused before the content
    /// is sent.
    async fn received_raw(&self, body: Incoming, is_update: bool) -> Result<Prepared, Refusal> {
        let mut binary = raw_binary::announced(&self.headers)?;
        if let Some(id) = self.request.id() {
            binary.set("id", id.as_str());
        }
        self.may_send(is_update).await?;
        // Validated as a Binary that has content, whatever it will be.
        let prepared = self.prepare(binary, Brought::Whole(Bytes::new()), is_update).await?;
        let prepared = self.permitted(prepared, is_update).await?;
        let mut prepared = read(&self.shared, &self.caller, move |session| {
            session.check_references(&prepared.resource, None)?;
            Ok(prepared)
        })
        .await?;
        if let Some(refusal) = prepared.early_refusal() {
            return Err(refusal.clone());
        }
        prepared.content = self.receive(body, Form::Raw).await?.content;
        Ok(prepared)
    }

    async fn receive(&self, body: Incoming, form: Form) -> Result<Received, Refusal> {
        let limit = self.caller.policy.limits().body.of(Some(ResourceType::Binary));
        let slot = self.shared.uploads.take(&self.caller.identity.name()).await?;
        upload::receive(&self.shared.store, body, form, limit, slot).await
    }

    /// Refuses a caller who may send no Binary at all.
    async fn may_send(&self, is_update: bool) -> Result<(), Refusal> {
        let request = Arc::clone(&self.request);
        read(&self.shared, &self.caller, move |session| {
            session.authorize(&request, None)?;
            session.check_may_send(ResourceType::Binary, is_update)
        })
        .await
    }

    async fn parse(&self, body: Bytes) -> Result<Resource, Refusal> {
        let format = body_format(&self.headers).map_err(refuse_content_type)?;
        let parse = move || fhir::parse(format, &body, &fhir::Limits::default());
        let parsed = if self.body_is_large() {
            tokio::task::spawn_blocking(parse).await.map_err(|error| {
                Refusal::empty(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal).because(error.to_string())
            })?
        } else {
            parse()
        };
        let resource = parsed.map_err(|error| upload::unreadable(&error))?;
        self.check_type(&resource)?;
        Ok(resource)
    }

    fn check_type(&self, resource: &Resource) -> Result<(), Refusal> {
        let expected = match self.request.interaction() {
            Interaction::Bundle => return Ok(()),
            Interaction::Snapshot => Some("Parameters"),
            _ => self.request.resource_type().map(ResourceType::as_str),
        };
        if Some(resource.type_name()) == expected {
            Ok(())
        } else {
            Err(Refusal::structure("body is of another type than the path"))
        }
    }

    fn body_is_large(&self) -> bool {
        // Of a Binary only its head is in memory.
        if self.request.resource_type() == Some(ResourceType::Binary) {
            return false;
        }
        let length = self.headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        length.is_none_or(|length: usize| length > PARSE_INLINE_BYTES)
    }

    /// Does before the transaction what takes long: asks other servers, validates.
    async fn prepare(&self, resource: Resource, content: Brought, is_update: bool) -> Result<Prepared, Refusal> {
        let allow_list = self.shared.allow_list().await?;
        let conformance = self.shared.conformance().await?;
        let mut prepared = Prepared::new(resource, &self.shared.base_url).ok_or_else(not_routed)?;
        if !content.is_nothing() {
            prepared.content = content;
        }
        let mut targets = Vec::new();
        external::targets(&prepared.resource, is_update, &allow_list, &mut targets)?;
        if !targets.is_empty() {
            // Only for those whose request may succeed are others asked.
            prepared = self.permitted(prepared, is_update).await?;
            external::ask(targets, &self.shared.remote).await?;
        }
        if self.body_is_large() {
            tokio::task::spawn_blocking(move || {
                prepared.validate_early(&conformance);
                prepared
            })
            .await
            .map_err(|error| {
                Refusal::empty(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal).because(error.to_string())
            })
        } else {
            prepared.validate_early(&conformance);
            Ok(prepared)
        }
    }

    /// Judges a request by what is stored now; it is judged again in its own transaction.
    async fn permitted(&self, prepared: Prepared, is_update: bool) -> Result<Prepared, Refusal> {
        let request = Arc::clone(&self.request);
        read(&self.shared, &self.caller, move |session| {
            session.authorize(&request, Some(&prepared.resource))?;
            if !is_update {
                session.check_create(&prepared.resource, prepared.resource_type)?;
            }
            Ok(prepared)
        })
        .await
    }
}

fn target(request: &CanonicalRequest) -> Result<(ResourceType, &str), Refusal> {
    match (request.resource_type(), request.id()) {
        (Some(resource_type), Some(id)) => Ok((resource_type, id.as_str())),
        _ => Err(not_routed()),
    }
}

fn target_version(request: &CanonicalRequest) -> Result<(ResourceType, &str, Option<u64>), Refusal> {
    let (resource_type, id) = target(request)?;
    Ok((resource_type, id, request.version().map(policies::VersionId::get)))
}

/// Status and stable code of what an interaction came to.
fn outcome_of(result: &Result<Reply, Refusal>) -> (u16, Option<&'static str>) {
    match result {
        Ok(reply) => (reply.status.as_u16(), None),
        Err(refusal) => (refusal.status.as_u16(), Some(refusal.code.as_str())),
    }
}

fn refuse_content_type(bad: BadContentType) -> Refusal {
    match bad {
        BadContentType::Unsupported => Refusal::media_type(),
        BadContentType::Charset => Refusal::hostile("character set is not UTF-8"),
        BadContentType::Repeated => Refusal::bad_request("Content-Type is repeated"),
    }
}
