//! Nodes with a real store and the shipped plug-in, a messenger that carries Tasks between them, and a clock that stands.
//!
//! Nothing runs by itself: a test takes the steps of the workers one by one, so that it can stop between any two.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use fhir::{Format, Limits, Object, Resource, ResourceType, Value};
use store::processes::InstanceList;
use store::{ReadFilter, Store, StoreOptions, Transaction};
use time::{Duration, OffsetDateTime};

use crate::outbox::{self, Delivery, DeliveryFailure, FailureKind, Messenger};
use crate::plugin::Plugin;
use crate::runtime::{LocalNode, ProcessError, Runtime};
use crate::{jobs, ping_pong, task, terms, work};

/// A clock that the test moves; at zero it is the clock of the machine.
#[derive(Clone, Debug)]
pub(super) struct Clock(Arc<AtomicI64>);

/// What happens to the next deliveries to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// 403.
    Forbidden,
    /// Nothing listens, for good.
    Unreachable,
    /// Nothing listens at the moment.
    Restarting,
    /// It arrives, the answer is lost.
    AnswerLost,
    /// It arrives twice.
    Twice,
    /// It is answered and forgotten, as if the partner never reacted.
    Swallowed,
}

/// Lets the store of a node die: its writer ends when it would begin the transaction after this many.
#[derive(Debug, Default)]
pub(super) struct Fuse {
    /// Transactions until then; below zero it never happens.
    left: AtomicI64,
    /// Transactions since it was set.
    begun: AtomicI64,
    burnt: AtomicBool,
}

/// Makes the plug-ins of a node beside ping-pong, at every start.
type Extra = dyn Fn() -> Vec<Plugin> + Send + Sync;

/// A running node, for the messenger.
type Door = Arc<Mutex<Option<(Store, Arc<Runtime>)>>>;

/// Carries Tasks between the nodes of one test.
#[derive(Default)]
pub(super) struct Post {
    doors: Mutex<BTreeMap<String, Door>>,
    faults: Mutex<BTreeMap<String, Vec<Fault>>>,
    /// Every attempt: receiver and Task.
    pub(super) sent: Mutex<Vec<(String, Resource)>>,
}

pub(super) struct Node {
    pub(super) name: &'static str,
    path: PathBuf,
    clock: Clock,
    extra: Arc<Extra>,
    door: Door,
    post: Arc<Post>,
    pub(super) fuse: Arc<Fuse>,
    /// Set when its engine has died on a database server, which gives back a moment later what that engine had claimed.
    died: AtomicBool,
}

/// Looks, 20 ms apart, for work that a database server gives back.
const LOOKS_AFTER_A_DEATH: u32 = 50;

pub(super) struct Network {
    pub(super) nodes: Vec<Node>,
    pub(super) post: Arc<Post>,
    pub(super) clock: Clock,
    directory: Option<tempfile::TempDir>,
}

// === impl Clock ===

impl Clock {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_700_000_000_000)))
    }

    /// A clock that stands at this time.
    pub(super) fn at(milliseconds: i64) -> Self {
        Self(Arc::new(AtomicI64::new(milliseconds)))
    }

    pub(super) fn of_the_machine() -> Self {
        Self(Arc::new(AtomicI64::new(0)))
    }

    pub(super) fn now(&self) -> OffsetDateTime {
        match self.0.load(Ordering::SeqCst) {
            0 => OffsetDateTime::now_utc(),
            milliseconds => OffsetDateTime::UNIX_EPOCH + Duration::milliseconds(milliseconds),
        }
    }

    pub(super) fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.whole_milliseconds()).unwrap(), Ordering::SeqCst);
    }
}

// === impl Fuse ===

impl Fuse {
    /// Dies at the transaction after this many; with none it only counts.
    pub(super) fn set(&self, transactions: Option<u32>) {
        self.left.store(transactions.map_or(-1, i64::from), Ordering::SeqCst);
        self.begun.store(0, Ordering::SeqCst);
        self.burnt.store(false, Ordering::SeqCst);
    }

    pub(super) fn is_burnt(&self) -> bool {
        self.burnt.load(Ordering::SeqCst)
    }

    /// Transactions since it was set.
    pub(super) fn begun(&self) -> u32 {
        u32::try_from(self.begun.load(Ordering::SeqCst)).unwrap()
    }

    /// The store asks for the time: its writer once for each transaction, before anything of it has happened.
    fn burn(&self) {
        if std::thread::current().name() != Some("store-writer") {
            return;
        }
        if self.begun.fetch_add(1, Ordering::SeqCst) == self.left.load(Ordering::SeqCst) {
            self.burnt.store(true, Ordering::SeqCst);
            // The thread ends as a process that is killed: nothing is committed, nobody is answered.
            std::panic::resume_unwind(Box::new("the store dies"));
        }
    }
}

// === impl Post ===

impl Post {
    pub(super) fn plan(&self, node: &str, faults: &[Fault]) {
        self.faults.lock().unwrap().entry(base_url(node)).or_default().extend(faults);
    }

    fn next_fault(&self, url: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let planned = faults.get_mut(url)?;
        if planned.is_empty() { None } else { Some(planned.remove(0)) }
    }

    /// The Tasks with this message name that were sent to the node.
    pub(super) fn sent_to(&self, node: &str, message: &str) -> Vec<Resource> {
        let sent = self.sent.lock().unwrap();
        let matching = sent.iter().filter(|(url, task)| {
            *url == base_url(node) && task::message_input(task, terms::MESSAGE_NAME) == Some(message)
        });
        matching.map(|(_, task)| task.clone()).collect()
    }
}

impl Messenger for Post {
    fn deliver<'m>(
        &'m self,
        delivery: Delivery<'m>,
    ) -> Pin<Box<dyn Future<Output = Result<(), DeliveryFailure>> + Send + 'm>> {
        Box::pin(async move {
            let url = delivery.endpoint_url.to_owned();
            self.sent.lock().unwrap().push((url.clone(), delivery.task.clone()));
            let fault = self.next_fault(&url);
            match fault {
                Some(Fault::Forbidden) => return Err(failure(FailureKind::Forbidden, "answered 403", false)),
                Some(Fault::Unreachable) => {
                    return Err(failure(FailureKind::NotReachable, "connection refused", false));
                }
                Some(Fault::Restarting) => return Err(failure(FailureKind::NotReachable, "connection refused", true)),
                Some(Fault::Swallowed) => return Ok(()),
                _ => {}
            }
            let door = self.doors.lock().unwrap().get(&url).cloned();
            let node = door.and_then(|door| door.lock().unwrap().clone());
            let Some((store, runtime)) = node else {
                return Err(failure(FailureKind::NotReachable, "connection refused", true));
            };
            let times = if fault == Some(Fault::Twice) { 2 } else { 1 };
            for _ in 0..times {
                let created = create(&store, &runtime, delivery.task.clone(), Some(delivery.identifier.1)).await;
                // As the endpoint, which answers 5xx.
                created.map_err(|error| failure(FailureKind::NotReachable, &error.to_string(), true))?;
            }
            match fault {
                Some(Fault::AnswerLost) => Err(failure(FailureKind::NotReachable, "connection lost", true)),
                _ => Ok(()),
            }
        })
    }
}

pub(super) fn failure(kind: FailureKind, text: &str, may_pass: bool) -> DeliveryFailure {
    DeliveryFailure { kind, text: text.to_owned(), may_pass }
}

/// What the endpoint does with a Task: unless one with the identifier exists, version 1 and the process in one
/// transaction.
async fn create(
    store: &Store,
    runtime: &Arc<Runtime>,
    task: Resource,
    identifier: Option<&str>,
) -> Result<String, ProcessError> {
    let query = identifier.map(|value| {
        let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        fhir::search::parse_query(ResourceType::Task, &format!("identifier={}%7C{value}", terms::URI_IDENTIFIER))
    });
    let runtime = Arc::clone(runtime);
    store
        .write(move |tx| {
            if let Some(query) = query
                && let Some(known) = tx.search(&query, &ReadFilter::everything())?.matches.first()
            {
                return Ok(known.id.clone());
            }
            let created = tx.create(task, &uuid::Uuid::new_v4().to_string())?;
            runtime.accept(tx, &created.resource)?;
            Ok(created.id)
        })
        .await
}

// === impl Node ===

pub(super) fn base_url(name: &str) -> String {
    format!("https://{name}.example/fhir")
}

impl Node {
    pub(super) async fn open(&self) {
        let clock = self.clock.clone();
        self.fuse.set(None);
        let fuse = Arc::clone(&self.fuse);
        let tell = move || {
            fuse.burn();
            clock.now()
        };
        let options = StoreOptions { clock: Some(Arc::new(tell)), ..StoreOptions::default() };
        let store = store_testing::open(&self.path, options).await.unwrap();
        let node = LocalNode {
            organization_identifier: self.name.to_owned(),
            endpoint_identifier: format!("{}-endpoint", self.name),
            base_url: base_url(self.name),
        };
        let mut plugins = vec![ping_pong::plugin()];
        plugins.extend((self.extra)());
        let runtime = Arc::new(Runtime::start(store.clone(), node, &plugins, store.owner()).await.unwrap());
        *self.door.lock().unwrap() = Some((store, runtime));
    }

    /// The same node, to be opened with other plug-ins after this one is killed.
    pub(super) fn with_same_store(&self, extra: impl Fn() -> Vec<Plugin> + Send + Sync + 'static) -> Self {
        Self {
            name: self.name,
            path: self.path.clone(),
            clock: self.clock.clone(),
            extra: Arc::new(extra),
            door: Arc::clone(&self.door),
            post: Arc::clone(&self.post),
            fuse: Arc::default(),
            died: AtomicBool::new(false),
        }
    }

    /// What `kill -9` leaves: claims are not given up, nothing is finished.
    pub(super) async fn kill(&self) {
        let open = self.door.lock().unwrap().take();
        if let Some((store, runtime)) = open {
            drop(runtime);
            self.died.store(store_testing::is_postgresql(), Ordering::SeqCst);
            // Everything answered is durable; closing only frees the file for the next start.
            store.close().await;
        }
    }

    pub(super) async fn restart(&self) {
        self.kill().await;
        self.open().await;
    }

    pub(super) fn is_up(&self) -> bool {
        self.door.lock().unwrap().is_some()
    }

    pub(super) fn store(&self) -> Store {
        self.door.lock().unwrap().as_ref().unwrap().0.clone()
    }

    pub(super) fn runtime(&self) -> Arc<Runtime> {
        Arc::clone(&self.door.lock().unwrap().as_ref().unwrap().1)
    }

    pub(super) async fn create(&self, task: Resource) -> String {
        create(&self.store(), &self.runtime(), task, None).await.unwrap()
    }

    /// Stores a Task without a process taking it.
    pub(super) async fn store_only(&self, task: Resource) -> String {
        let id = uuid::Uuid::new_v4().to_string();
        self.write(move |tx| tx.create(task, &id)).await.id
    }

    pub(super) async fn write<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<R, store::StoreError> + Send + 'static,
    ) -> R {
        self.store().write(work).await.unwrap()
    }

    pub(super) async fn task(&self, id: &str) -> Resource {
        let id = id.to_owned();
        self.write(move |tx| task::read(tx, &id)).await.unwrap()
    }

    pub(super) async fn status(&self, id: &str) -> String {
        self.task(id).await.str("status").unwrap_or_default().to_owned()
    }

    /// The statuses that the Task had.
    pub(super) async fn history(&self, id: &str) -> Vec<String> {
        let id = id.to_owned();
        let versions = self.write(move |tx| {
            let mut versions = Vec::new();
            while let Some(stored) = tx.read_version(ResourceType::Task, &id, versions.len() as u64 + 1)?.current() {
                versions.push(stored.resource.str("status").unwrap_or_default().to_owned());
            }
            Ok(versions)
        });
        let mut statuses = versions.await;
        statuses.dedup();
        statuses
    }

    pub(super) async fn tasks(&self) -> Vec<Resource> {
        let query = fhir::search::parse_query(ResourceType::Task, "_count=1000&_sort=_lastUpdated");
        let found = self.write(move |tx| tx.search(&query, &ReadFilter::everything())).await;
        found.matches.into_iter().map(|stored| (*stored.resource).clone()).collect()
    }

    pub(super) async fn instances(&self, ended: bool) -> Vec<store::processes::Instance> {
        let list = InstanceList { ended: Some(ended), limit: 1_000, ..InstanceList::default() };
        self.write(move |tx| tx.instances(&list)).await
    }

    /// Sends what is due; true if there was something.
    pub(super) async fn send(&self) -> bool {
        let runtime = self.runtime();
        let messages = outbox::claim(&runtime, 100).await.unwrap();
        let any = !messages.is_empty();
        for message in messages {
            let result = outbox::attempt(self.post.as_ref(), &message).await;
            outbox::finish(&runtime, message, result).await;
        }
        any
    }

    /// Does the work that is due, one after the other; true if there was some.
    pub(super) async fn run_work(&self) -> bool {
        let runtime = self.runtime();
        let items = work::claim(&runtime, 100).await.unwrap();
        let any = !items.is_empty();
        for item in items {
            work::run(Arc::clone(&runtime), item).await;
        }
        any
    }

    /// Runs the jobs that are due; true if there were some.
    pub(super) async fn run_jobs(&self) -> bool {
        let runtime = self.runtime();
        let jobs = jobs::claim(&runtime).await.unwrap();
        let any = !jobs.is_empty();
        for job in jobs {
            jobs::run(Arc::clone(&runtime), job).await;
        }
        any
    }
}

// === impl Network ===

impl Network {
    pub(super) async fn new(names: &[&'static str]) -> Self {
        Self::with_plugins(names, Vec::new).await
    }

    pub(super) async fn with_plugins(
        names: &[&'static str],
        extra: impl Fn() -> Vec<Plugin> + Send + Sync + 'static,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut network = Self::open(directory.path(), names, extra, Clock::new()).await;
        network.directory = Some(directory);
        network
    }

    /// A network whose stores are in a directory that the test owns.
    pub(super) async fn open(
        directory: &Path,
        names: &[&'static str],
        extra: impl Fn() -> Vec<Plugin> + Send + Sync + 'static,
        clock: Clock,
    ) -> Self {
        let post = Arc::new(Post::default());
        let extra: Arc<Extra> = Arc::new(extra);
        let mut nodes = Vec::new();
        for name in names {
            let door = Door::default();
            post.doors.lock().unwrap().insert(base_url(name), Arc::clone(&door));
            let path = directory.join(format!("{name}.db"));
            let node = Node {
                name,
                path,
                clock: clock.clone(),
                extra: Arc::clone(&extra),
                door,
                post: Arc::clone(&post),
                fuse: Arc::default(),
                died: AtomicBool::new(false),
            };
            node.open().await;
            let partners = names.to_vec();
            node.write(move |tx| partners.iter().try_for_each(|partner| seed(tx, partner))).await;
            nodes.push(node);
        }
        Self { nodes, post, clock, directory: None }
    }

    /// Takes every step that is due, on every node that runs.
    pub(super) async fn settle(&self) {
        let one_died =
            self.nodes.iter().filter(|node| node.is_up() && node.died.swap(false, Ordering::SeqCst)).count() > 0;
        let mut looks = if one_died { LOOKS_AFTER_A_DEATH } else { 0 };
        for _ in 0..1_000 {
            let mut any = false;
            for node in &self.nodes {
                if node.is_up() {
                    any |= node.run_jobs().await;
                    any |= node.send().await;
                    any |= node.run_work().await;
                }
            }
            if !any && looks == 0 {
                return;
            }
            if !any {
                looks -= 1;
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
        panic!("the network does not come to rest");
    }

    /// Lets time pass in small pieces, so that what is due later happens in its order.
    pub(super) async fn pass(&self, time: Duration) {
        let pieces = 8;
        for _ in 0..pieces {
            self.clock.advance(time / pieces);
            self.settle().await;
        }
    }

    /// What must hold when all is quiet: no Task is open and no instance lives, nothing waits to be sent or done.
    pub(super) async fn assert_quiet(&self) {
        for node in &self.nodes {
            for task in node.tasks().await {
                let status = task.str("status").unwrap_or_default();
                assert!(
                    ["completed", "failed"].contains(&status),
                    "{}: {}",
                    node.name,
                    fhir::print(Format::Json, &task, true)
                );
            }
            assert!(node.instances(false).await.is_empty(), "{} has instances", node.name);
            let left = node.write(|tx| Ok((tx.count_outbox()?, tx.next_job()?, tx.next_inbox_expiry()?))).await;
            assert_eq!(left, (0, None, None), "{}", node.name);
            assert_eq!(node.write(|tx| tx.count_work_items()).await, [], "{}", node.name);
        }
    }
}

/// Organisation and endpoint of a node, as the allow-list brings them.
pub(super) fn seed(tx: &mut Transaction<'_>, name: &str) -> Result<(), store::StoreError> {
    if matches!(tx.read(ResourceType::Organization, &format!("organization-{name}"))?, store::Found::Current(_)) {
        return Ok(());
    }
    let identifier = |system: &str, value: &str| Object::new().with("system", system).with("value", value);
    let mut organization = Resource::new("Organization");
    organization.push("identifier", identifier(terms::ORGANIZATION_IDENTIFIER, name));
    organization.set("active", true);
    tx.create(organization, &format!("organization-{name}"))?;
    let mut endpoint = Resource::new("Endpoint");
    endpoint.push("identifier", identifier(terms::ENDPOINT_IDENTIFIER, &format!("{name}-endpoint")));
    endpoint.set("status", "active");
    endpoint.set("address", base_url(name));
    endpoint.set("managingOrganization", Object::new().with("reference", format!("Organization/organization-{name}")));
    tx.create(endpoint, &format!("endpoint-{name}"))?;
    Ok(())
}

/// A Task for a process of `http://test.org/bpe/Process/` or of ping-pong.
pub(super) fn new_task(
    process: &str,
    message: &str,
    business_key: Option<&str>,
    correlation_key: Option<&str>,
) -> Resource {
    let canonical =
        if process.contains("://") { process.to_owned() } else { format!("http://dsf.dev/bpe/Process/{process}") };
    let mut built = Resource::new("Task");
    built.set("instantiatesCanonical", canonical);
    built.set("status", "requested");
    built.set("intent", "order");
    built.set("authoredOn", "2026-01-01T00:00:00Z");
    let party = task::organization_reference("a");
    built.set("requester", party.clone());
    built.set("restriction", Object::new().with("recipient", vec![party.into()]));
    built.push("input", task::string_parameter(terms::BPMN_MESSAGE, terms::MESSAGE_NAME, message));
    for (code, value) in [(terms::BUSINESS_KEY, business_key), (terms::CORRELATION_KEY, correlation_key)] {
        if let Some(value) = value {
            built.push("input", task::string_parameter(terms::BPMN_MESSAGE, code, value));
        }
    }
    built
}

pub(super) fn start_ping() -> Resource {
    new_task("ping|1.0", "startPing", None, None)
}

/// The error output of a Task.
pub(super) fn error_of(task: &Resource) -> Option<String> {
    let errors: Vec<_> =
        task.list("output").iter().filter(|output| is_type(output, terms::BPMN_MESSAGE, terms::ERROR)).collect();
    assert!(errors.len() < 2, "more than one error output");
    errors.first().and_then(|output| output.str("valueString")).map(str::to_owned)
}

fn is_type(output: &Value, system: &str, code: &str) -> bool {
    let codings = output.get("type").map_or(&[][..], |kind| kind.list("coding"));
    codings.iter().any(|coding| coding.str("system") == Some(system) && coding.str("code") == Some(code))
}

/// Endpoint, status and error of each `ping-status` or `pong-status` output, in their order.
pub(super) fn results_of(task: &Resource, code: &str) -> Vec<(String, String, Option<String>)> {
    let outputs =
        task.list("output").iter().filter(|output| is_type(output, "http://dsf.dev/fhir/CodeSystem/ping", code));
    outputs
        .map(|output| {
            let children = output.list("extension").first().unwrap().list("extension");
            let child = |url: &str| children.iter().find(|child| child.str("url") == Some(url));
            let endpoint = child("endpoint-identifier").and_then(|child| child.get("valueIdentifier")?.str("value"));
            let status = output.get("valueCoding").and_then(|coding| coding.str("code"));
            let error = child("error-message").and_then(|child| child.str("valueString")).map(str::to_owned);
            (endpoint.unwrap().to_owned(), status.unwrap().to_owned(), error)
        })
        .collect()
}

/// Reads a FHIR XML file.
pub(super) fn read_xml(text: &str) -> Resource {
    fhir::parse(Format::Xml, text.as_bytes(), &Limits::default()).unwrap()
}
