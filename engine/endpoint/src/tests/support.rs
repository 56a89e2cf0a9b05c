//! A node of one endpoint, seeded like the harness of the reference: three organisations, two endpoints, two
//! affiliations, the shipped resources, a test process.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use fhir::{Format, Limits, Resource};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use link::{CorrelationId, PERMIT_HEADER, Permit};
use policies::{AllowList, Identity, OrganizationIdentity, PersonIdentity, Policy, Thumbprint};
use serde_json::{Value, json};
use store::{IndexContext, Store, StoreOptions, Transaction};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

use crate::{
    AllowListPublisher, Audit, AuditError, AuditEvent, AuditRecord, Boxed, Endpoint, HandlerError, Options,
    PolicyHistory, PublishError, RemoteAnswer, RemoteReferences, Software, TaskHandler,
};

pub(super) const BASE: &str = "https://test.example/fhir";
pub(super) const LOCAL: &str = "Test_Organization";
pub(super) const EXTERNAL: &str = "External_Test_Organization";
const PARENT: &str = "Parent_Organization";
const ROLE: &str = "http://dsf.dev/fhir/CodeSystem/organization-role";
const USER_ROLE: &str = "http://dsf.dev/fhir/CodeSystem/practitioner-role";

/// Who asks: the clients of the reference's tests, and somebody on no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Loc,
    Ext,
    Pra,
    Adm,
    Min,
    Stranger,
}

pub(super) struct Node {
    directory: tempfile::TempDir,
    pub(super) endpoint: Endpoint,
    pub(super) policies: Arc<PolicyHistory>,
    pub(super) hooks: Arc<Hooks>,
    pub(super) store: Store,
    stop: Option<oneshot::Sender<()>>,
}

/// Records what the endpoint tells the rest of the engine.
#[derive(Default)]
pub(super) struct Hooks {
    pub(super) records: Mutex<Vec<(String, String)>>,
    pub(super) audit_fails: std::sync::atomic::AtomicBool,
    pub(super) published: AtomicUsize,
    /// How long a publication takes.
    pub(super) publication_takes: Mutex<std::time::Duration>,
    /// How many publications fail first.
    pub(super) publications_fail: AtomicUsize,
    pub(super) newest_list: Mutex<Option<Arc<AllowList>>>,
    pub(super) committed: AtomicUsize,
    /// Write version 2 in the transaction that accepts a Task.
    pub(super) takes_tasks: std::sync::atomic::AtomicBool,
    pub(super) asked: Mutex<Vec<String>>,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

// === impl Hooks ===

impl TaskHandler for Hooks {
    fn task_created(&self, tx: &mut Transaction<'_>, task: &Resource) -> Result<Option<Resource>, HandlerError> {
        if !self.takes_tasks.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let mut next = task.clone();
        next.set("status", "in-progress");
        let id = task.id().unwrap_or_default().to_owned();
        Ok(Some(tx.update(next, &id, Some(1))?.resource.as_ref().clone()))
    }

    fn committed(&self) {
        self.committed.fetch_add(1, Ordering::SeqCst);
    }
}

impl Audit for Hooks {
    fn record(&self, record: &AuditRecord<'_>) -> Result<(), AuditError> {
        if self.audit_fails.load(Ordering::SeqCst) {
            return Err(AuditError("disk full".to_owned()));
        }
        let event = match record.event {
            AuditEvent::Begun { .. } => "begun".to_owned(),
            AuditEvent::Ended { status, .. } => status.to_string(),
            AuditEvent::Answered { status, .. } => format!("answered {status}"),
        };
        self.records.lock().unwrap().push((record.interaction.to_owned(), event));
        Ok(())
    }

    fn on_disk(&self) -> Boxed<'_, Result<(), AuditError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

impl AllowListPublisher for Hooks {
    fn publish(&self, allow_list: Arc<AllowList>) -> Boxed<'_, Result<u64, PublishError>> {
        Box::pin(async move {
            let takes = *self.publication_takes.lock().unwrap();
            tokio::time::sleep(takes).await;
            if self.publications_fail.load(Ordering::SeqCst) > 0 {
                self.publications_fail.fetch_sub(1, Ordering::SeqCst);
                return Err(PublishError("disk full".to_owned()));
            }
            let mut newest = self.newest_list.lock().unwrap();
            // As the engine's publisher: what is published already is not published again.
            if newest.as_ref() != Some(&allow_list) {
                self.published.fetch_add(1, Ordering::SeqCst);
                *newest = Some(allow_list);
            }
            Ok(7)
        })
    }

    fn acknowledged(&self, _: u64) -> Boxed<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn version(&self) -> u64 {
        7
    }
}

impl RemoteReferences for Hooks {
    fn exists(&self, url: String) -> Boxed<'_, RemoteAnswer> {
        let answer = if url.contains("missing") { RemoteAnswer::Missing } else { RemoteAnswer::Exists };
        self.asked.lock().unwrap().push(url);
        Box::pin(std::future::ready(answer))
    }
}

// === impl Who ===

impl Who {
    fn digit(self) -> char {
        match self {
            Self::Loc => '1',
            Self::Ext => '2',
            Self::Pra => '3',
            Self::Adm => '4',
            Self::Min => '5',
            Self::Stranger => '6',
        }
    }

    pub(super) fn thumbprint(self) -> Thumbprint {
        self.digit().to_string().repeat(128).parse().unwrap()
    }

    pub(super) fn identity(self) -> Identity {
        let organization = |identifier: &str| OrganizationIdentity {
            identifier: identifier.parse().unwrap(),
            endpoint: None,
            thumbprint: self.thumbprint(),
        };
        match self {
            Self::Loc => Identity::Local(organization(LOCAL)),
            Self::Ext => Identity::Remote(organization(EXTERNAL)),
            Self::Stranger => Identity::Remote(organization("Stranger")),
            Self::Pra | Self::Adm | Self::Min => Identity::Person(PersonIdentity {
                organization: LOCAL.parse().unwrap(),
                endpoint: None,
                identifier: format!("{}@test.example", self.digit()).parse().unwrap(),
                thumbprint: self.thumbprint(),
                dsf_roles: Vec::new(),
                practitioner_roles: Vec::new(),
                granted_by: Vec::new(),
            }),
        }
    }
}

// === impl Answer ===

impl Answer {
    /// The body as JSON, whatever format it came in.
    pub(super) fn json(&self) -> Value {
        let media_type = self.header("content-type");
        let format = Format::of_media_type(&media_type).unwrap_or_else(|| panic!("no resource: {media_type:?}"));
        let resource = fhir::parse(format, &self.body, &Limits::default()).unwrap();
        serde_json::from_str(&fhir::json::print(&resource, false)).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> String {
        self.headers.get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    }

    pub(super) fn id(&self) -> String {
        self.json()["id"].as_str().unwrap().to_owned()
    }

    /// Fails with what the endpoint said.
    #[track_caller]
    pub(super) fn expect(self, status: u16) -> Self {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{text}");
        self
    }

    #[track_caller]
    pub(super) fn expect_outcome(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        let outcome = answer.json();
        assert_eq!(outcome["resourceType"], "OperationOutcome", "{outcome}");
        assert_eq!(outcome["issue"][0]["code"], code, "{outcome}");
        answer
    }

    #[track_caller]
    pub(super) fn expect_empty(self, status: u16) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.body, Bytes::new());
        answer
    }
}

// === impl Node ===

impl Node {
    /// How often the allow-list was published. On a shared database at least as often: what it tells of the seed arrives
    /// when it likes, and may come from another engine.
    pub(super) fn assert_published(&self, times: usize) {
        let published = self.hooks.published.load(Ordering::SeqCst);
        assert!(published == times || store_testing::is_postgresql() && published > times, "{published} times");
    }

    /// A node with the seed.
    pub(super) async fn start() -> Self {
        if store_testing::is_postgresql() {
            let node = Self::start_empty().await;
            seed(&node).await;
            // As on a copied store, the seed was never asked for.
            node.hooks.records.lock().unwrap().clear();
            node.hooks.published.store(0, Ordering::SeqCst);
            return node;
        }
        let directory = tempfile::tempdir().unwrap();
        std::fs::copy(template(), directory.path().join("engine.db")).unwrap();
        Self::start_in(directory).await
    }

    /// A node with an empty store.
    pub(super) async fn start_empty() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    async fn start_in(directory: tempfile::TempDir) -> Self {
        let context = IndexContext { base: Some(BASE.to_owned()), ..IndexContext::default() };
        let options = StoreOptions { context, readers: 2, ..StoreOptions::default() };
        let store = store_testing::open(&directory.path().join("engine.db"), options).await.unwrap();
        let hooks = Arc::new(Hooks::default());
        let policies = Arc::new(PolicyHistory::new(Arc::new(policy(""))));
        let endpoint = Endpoint::new(Options {
            base_url: BASE.to_owned(),
            organization: LOCAL.parse().unwrap(),
            page_count: 20,
            software: Software {
                name: "Schleuse".to_owned(),
                version: "0.1.0".to_owned(),
                release_date: "2026-11-22".to_owned(),
            },
            store: store.clone(),
            policies: Arc::clone(&policies),
            peers: crate::peer_uids(vec![rustix::process::getuid().as_raw()]),
            tasks: Arc::<Hooks>::clone(&hooks),
            audit: Arc::<Hooks>::clone(&hooks),
            publisher: Arc::<Hooks>::clone(&hooks),
            remote: Arc::<Hooks>::clone(&hooks),
            metrics: Arc::new(|| "# metrics\n".to_owned()),
        });
        let listener = UnixListener::bind(directory.path().join("engine.sock")).unwrap();
        let (stop, stopped) = oneshot::channel();
        let served = endpoint.clone();
        let workers = Arc::new(daemon::Workers::start("endpoint", 2).unwrap());
        tokio::spawn(async move {
            crate::serve(listener, served, workers, async {
                let _ = stopped.await;
            })
            .await;
        });
        Self { directory, endpoint, policies, hooks, store, stop: Some(stop) }
    }

    pub(super) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.path().join("engine.sock")
    }

    pub(super) fn permit(&self, who: Who, interaction: &str) -> Permit {
        Permit {
            identity: who.identity(),
            interaction: interaction.to_owned(),
            rule: "test".to_owned(),
            correlation_id: CorrelationId::random(),
            policy_version: self.policies.active().version().to_owned(),
            snapshot_version: 7,
            address: [192, 0, 2, 1].into(),
        }
    }

    /// Sends a request as the gateway does after it has permitted it: with the permit for what the target is.
    pub(super) async fn send(
        &self,
        who: Who,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let request = policies::canonicalize(method, &format!("/fhir{path}"), "/fhir").unwrap();
        let permit = self.permit(who, request.interaction().as_str()).encode().unwrap();
        let target = request.target("/fhir");
        let mut all = vec![(PERMIT_HEADER, permit.as_str())];
        all.extend_from_slice(headers);
        self.send_raw(method, &target, &all, body).await
    }

    pub(super) async fn send_raw(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let stream = UnixStream::connect(self.socket()).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(target).header("host", "engine");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    pub(super) async fn get(&self, who: Who, path: &str) -> Answer {
        self.get_with(who, path, &[]).await
    }

    pub(super) async fn get_with(&self, who: Who, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut all = vec![("accept", "application/fhir+json")];
        all.extend_from_slice(headers);
        self.send(who, "GET", path, &all, Bytes::new()).await
    }

    pub(super) async fn post(&self, who: Who, path: &str, body: &Value) -> Answer {
        self.write_with(who, "POST", path, &[], body).await
    }

    pub(super) async fn put(&self, who: Who, path: &str, body: &Value) -> Answer {
        self.write_with(who, "PUT", path, &[], body).await
    }

    pub(super) async fn delete(&self, who: Who, path: &str) -> Answer {
        self.send(who, "DELETE", path, &[("accept", "application/fhir+json")], Bytes::new()).await
    }

    pub(super) async fn write_with(
        &self,
        who: Who,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let mut all = vec![("accept", "application/fhir+json"), ("content-type", "application/fhir+json")];
        all.extend_from_slice(headers);
        self.send(who, method, path, &all, body.to_string()).await
    }

    /// Id of the only hit of a search as the local organisation.
    pub(super) async fn find(&self, query: &str) -> String {
        let bundle = self.get(Who::Loc, query).await.expect(200).json();
        assert_eq!(bundle["total"], 1, "{bundle}");
        bundle["entry"][0]["resource"]["id"].as_str().unwrap().to_owned()
    }

    pub(super) async fn count(&self, who: Who, query: &str) -> u64 {
        self.get(who, query).await.expect(200).json()["total"].as_u64().unwrap()
    }
}

/// The shipped policy with the persons of the tests.
pub(super) fn policy(more: &str) -> Policy {
    let person = |who: Who, roles: &str, practitioner_role: &str| {
        format!(
            "[[identity.person]]\nid = \"person-{}\"\nthumbprint = [\"{}\"]\ndsf-role = [{roles}]\npractitioner-role = [\"{USER_ROLE}|{practitioner_role}\"]\n",
            who.digit(),
            who.thumbprint(),
        )
    };
    let all = r#""CREATE", "READ", "UPDATE", "DELETE", "SEARCH", "HISTORY""#;
    let minimal = r#""CREATE[Task]", "READ[Task,Questionnaire,QuestionnaireResponse]", "SEARCH[Task,Questionnaire,QuestionnaireResponse]", "HISTORY[Task,Questionnaire,QuestionnaireResponse]", "UPDATE[QuestionnaireResponse]""#;
    let persons = format!(
        "schema = 1\n{more}\n{}{}{}",
        person(Who::Pra, all, "DIC_USER"),
        person(Who::Adm, all, "DSF_ADMIN"),
        person(Who::Min, minimal, "DIC_USER"),
    );
    let mut files: Vec<(&str, &str)> = policies::default_files().to_vec();
    files.push(("persons.toml", &persons));
    Policy::load(&files).unwrap_or_else(|findings| panic!("{findings:?}"))
}

// === the seed ===

/// The file of a seeded store, made once per run of the tests.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = TEMPLATE.get_or_init(|| {
        std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async {
                let node = Node::start_empty().await;
                seed(&node).await;
                node.store.close().await;
                let Node { directory, .. } = node;
                let path = directory.path().join("engine.db");
                (directory, path)
            })
        })
        .join()
        .unwrap()
    });
    path
}

async fn seed(node: &Node) {
    let shipped = shipped_resources();
    assert!(shipped.len() > 50, "shipped resources are missing");
    let mut entries: Vec<Value> = shipped
        .into_iter()
        .map(|resource| entry("POST", resource["resourceType"].as_str().unwrap(), &resource))
        .collect();
    entries.push(entry("POST", "StructureDefinition", &task_profile("1.0")));
    execute(node, "transaction", &entries).await;
    execute(node, "transaction", &allow_list()).await;
}

/// Runs a Bundle of the engine itself.
pub(super) async fn execute(node: &Node, kind: &str, entries: &[Value]) -> Value {
    let bundle = json!({ "resourceType": "Bundle", "type": kind, "entry": entries });
    let bundle = fhir::json::parse(bundle.to_string().as_bytes(), &Limits::default()).unwrap();
    let answer =
        node.endpoint.execute_local(Who::Loc.identity(), bundle).await.unwrap_or_else(|error| panic!("{error}"));
    serde_json::from_str(&fhir::json::print(&answer.resource.unwrap(), false)).unwrap()
}

pub(super) fn entry(method: &str, url: &str, resource: &Value) -> Value {
    json!({
        "fullUrl": format!("urn:uuid:{}", uuid::Uuid::new_v4()),
        "resource": resource,
        "request": { "method": method, "url": url },
    })
}

fn shipped_resources() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../processes/resources/dsf-base");
    let mut resources = Vec::new();
    for kind in std::fs::read_dir(folder).unwrap() {
        for file in std::fs::read_dir(kind.unwrap().path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let resource = fhir::parse(Format::Xml, &bytes, &Limits::default()).unwrap();
            resources.push(serde_json::from_str(&fhir::json::print(&resource, false)).unwrap());
        }
    }
    resources
}

fn allow_list() -> Vec<Value> {
    let urn = |name: &str| format!("urn:uuid:{name}");
    let ids = [
        "00000000-0000-4000-8000-000000000001",
        "00000000-0000-4000-8000-000000000002",
        "00000000-0000-4000-8000-000000000003",
        "00000000-0000-4000-8000-000000000004",
        "00000000-0000-4000-8000-000000000005",
    ];
    let [parent, local, external, local_endpoint, external_endpoint] = ids.map(urn);
    let at = |full_url: &str, url: &str, resource: Value| json!({ "fullUrl": full_url, "resource": resource, "request": { "method": "POST", "url": url } });
    let affiliation = |member: &str, endpoint: &str, roles: [&str; 2]| {
        let codings: Vec<Value> = roles.iter().map(|role| json!({ "system": ROLE, "code": role })).collect();
        json!({
            "resourceType": "OrganizationAffiliation",
            "meta": { "tag": [tag_all()] },
            "active": true,
            "organization": { "reference": parent },
            "participatingOrganization": { "reference": member },
            "code": [{ "coding": codings }],
            "endpoint": [{ "reference": endpoint }],
        })
    };
    vec![
        at(
            &parent,
            "Organization",
            json!({
                "resourceType": "Organization",
                "meta": {
                    "profile": ["http://dsf.dev/fhir/StructureDefinition/organization-parent"],
                    "tag": [tag_all()],
                },
                "identifier": [{ "system": "http://dsf.dev/sid/organization-identifier", "value": PARENT }],
                "active": true,
                "name": "Parent",
            }),
        ),
        at(&local, "Organization", organization(LOCAL, Who::Loc, &local_endpoint)),
        at(&external, "Organization", organization(EXTERNAL, Who::Ext, &external_endpoint)),
        at(&local_endpoint, "Endpoint", endpoint("Test_Endpoint", BASE, &json!({ "reference": local }))),
        at(
            &external_endpoint,
            "Endpoint",
            endpoint("External_Test_Endpoint", "https://external.example/fhir", &json!({ "reference": external })),
        ),
        entry("POST", "OrganizationAffiliation", &affiliation(&local, &local_endpoint, ["DIC", "COS"])),
        entry("POST", "OrganizationAffiliation", &affiliation(&external, &external_endpoint, ["TTP", "DTS"])),
    ]
}

pub(super) fn organization(identifier: &str, who: Who, endpoint: &str) -> Value {
    json!({
        "resourceType": "Organization",
        "meta": { "tag": [tag_all()] },
        "extension": [{
            "url": "http://dsf.dev/fhir/StructureDefinition/extension-certificate-thumbprint",
            "valueString": who.thumbprint().to_string(),
        }],
        "identifier": [{ "system": "http://dsf.dev/sid/organization-identifier", "value": identifier }],
        "active": true,
        "name": identifier,
        "endpoint": [{ "reference": endpoint }],
    })
}

pub(super) fn endpoint(identifier: &str, address: &str, managing: &Value) -> Value {
    json!({
        "resourceType": "Endpoint",
        "meta": { "tag": [tag_all()] },
        "identifier": [{ "system": "http://dsf.dev/sid/endpoint-identifier", "value": identifier }],
        "status": "active",
        "connectionType": {
            "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
            "code": "hl7-fhir-rest",
        },
        "managingOrganization": managing,
        "payloadType": [{ "coding": [{ "system": "http://hl7.org/fhir/resource-types", "code": "Task" }] }],
        "payloadMimeType": ["application/fhir+json", "application/fhir+xml"],
        "address": address,
    })
}

// === resources of tests ===

const TAG: &str = "http://dsf.dev/fhir/CodeSystem/read-access-tag";

pub(super) fn tag_all() -> Value {
    json!({ "system": TAG, "code": "ALL" })
}

pub(super) fn tag_local() -> Value {
    json!({ "system": TAG, "code": "LOCAL" })
}

pub(super) fn tag_organization(identifier: &str) -> Value {
    json!({
        "extension": [{
            "url": "http://dsf.dev/fhir/StructureDefinition/extension-read-access-organization",
            "valueIdentifier": { "system": "http://dsf.dev/sid/organization-identifier", "value": identifier },
        }],
        "system": TAG,
        "code": "ORGANIZATION",
    })
}

pub(super) fn tag_role(role: &str) -> Value {
    json!({
        "extension": [{
            "url": "http://dsf.dev/fhir/StructureDefinition/extension-read-access-parent-organization-role",
            "extension": [
                {
                    "url": "parent-organization",
                    "valueIdentifier": { "system": "http://dsf.dev/sid/organization-identifier", "value": PARENT },
                },
                { "url": "organization-role", "valueCoding": { "system": ROLE, "code": role } },
            ],
        }],
        "system": TAG,
        "code": "ROLE",
    })
}

pub(super) fn patient(tags: &[Value]) -> Value {
    json!({ "resourceType": "Patient", "meta": { "tag": tags }, "active": true })
}

pub(super) fn code_system(url: &str, version: &str, tags: &[Value]) -> Value {
    json!({
        "resourceType": "CodeSystem",
        "meta": { "tag": tags },
        "url": url,
        "version": version,
        "name": "Test",
        "status": "active",
        "date": "2026-01-01",
        "content": "complete",
        "concept": [{ "code": "a" }],
    })
}

/// The profile of the test process.
pub(super) fn task_profile(version: &str) -> Value {
    json!({
        "resourceType": "StructureDefinition",
        "meta": { "tag": [tag_all()] },
        "url": "http://dsf.dev/fhir/StructureDefinition/test-task",
        "version": version,
        "name": "TestTask",
        "status": "active",
        "date": "2026-01-01",
        "fhirVersion": "4.0.1",
        "kind": "resource",
        "abstract": false,
        "type": "Task",
        "baseDefinition": "http://dsf.dev/fhir/StructureDefinition/task",
        "derivation": "constraint",
        "differential": { "element": [
            { "id": "Task.input:message-name", "path": "Task.input", "sliceName": "message-name" },
            { "id": "Task.input:message-name.value[x]", "path": "Task.input.value[x]", "fixedString": "test-message" },
        ] },
    })
}

/// A process definition `http://dsf.dev/bpe/Process/test|<version>`.
pub(super) fn activity_definition(version: &str, requesters: &[Value], recipient: &Value) -> Value {
    let mut parts = vec![
        json!({ "url": "message-name", "valueString": "test-message" }),
        json!({ "url": "task-profile", "valueCanonical": "http://dsf.dev/fhir/StructureDefinition/test-task|1.0" }),
    ];
    parts.extend(requesters.iter().map(|party| json!({ "url": "requester", "valueCoding": party })));
    parts.push(json!({ "url": "recipient", "valueCoding": recipient }));
    json!({
        "resourceType": "ActivityDefinition",
        "meta": { "tag": [tag_all()] },
        "extension": [{
            "url": "http://dsf.dev/fhir/StructureDefinition/extension-process-authorization",
            "extension": parts,
        }],
        "url": "http://dsf.dev/bpe/Process/test",
        "version": version,
        "name": "Test",
        "status": "active",
        "date": "2026-01-01",
        "kind": "Task",
    })
}

/// A coding of process authorisation, with its inner extension.
pub(super) fn party(code: &str, inner: Option<(&str, Value)>) -> Value {
    let mut coding = json!({ "system": "http://dsf.dev/fhir/CodeSystem/process-authorization", "code": code });
    if let Some((name, mut extension)) = inner {
        extension["url"] =
            json!(format!("http://dsf.dev/fhir/StructureDefinition/extension-process-authorization-{name}"));
        coding["extension"] = json!([extension]);
    }
    coding
}

pub(super) fn organization_party(identifier: &str) -> Value {
    json!({ "valueIdentifier": { "system": "http://dsf.dev/sid/organization-identifier", "value": identifier } })
}

pub(super) fn parent_role(role: &str) -> Vec<Value> {
    vec![
        json!({
            "url": "parent-organization",
            "valueIdentifier": { "system": "http://dsf.dev/sid/organization-identifier", "value": PARENT },
        }),
        json!({ "url": "organization-role", "valueCoding": { "system": ROLE, "code": role } }),
    ]
}

pub(super) fn user_role(role: &str) -> Value {
    json!({ "system": USER_ROLE, "code": role })
}

/// A Task of the test process from the caller to the local organisation.
pub(super) fn task(who: Who, status: &str, version: &str) -> Value {
    let requester = match who.identity() {
        Identity::Local(organization) | Identity::Remote(organization) => json!({
            "type": "Organization",
            "identifier": {
                "system": "http://dsf.dev/sid/organization-identifier",
                "value": organization.identifier.as_str(),
            },
        }),
        Identity::Person(person) => json!({
            "type": "Practitioner",
            "identifier": {
                "system": "http://dsf.dev/sid/practitioner-identifier",
                "value": person.identifier.as_str(),
            },
        }),
        Identity::Unknown => json!({}),
    };
    json!({
        "resourceType": "Task",
        "meta": { "profile": ["http://dsf.dev/fhir/StructureDefinition/test-task|1.0"] },
        "instantiatesCanonical": format!("http://dsf.dev/bpe/Process/test|{version}"),
        "status": status,
        "intent": "order",
        "authoredOn": "2026-01-01T10:00:00+01:00",
        "requester": requester,
        "restriction": { "recipient": [{
            "type": "Organization",
            "identifier": { "system": "http://dsf.dev/sid/organization-identifier", "value": LOCAL },
        }] },
        "input": [message_input("message-name", "test-message")],
    })
}

pub(super) fn message_input(code: &str, value: &str) -> Value {
    json!({
        "type": { "coding": [{ "system": "http://dsf.dev/fhir/CodeSystem/bpmn-message", "code": code }] },
        "valueString": value,
    })
}

/// An input that the profile of the test process leaves open.
pub(super) fn other_input(reference: &Value) -> Value {
    json!({
        "type": { "coding": [{ "system": "http://test.example/codes", "code": "data" }] },
        "valueReference": reference,
    })
}
