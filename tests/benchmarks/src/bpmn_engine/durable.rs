//! Instances in a store: how many start and end in a second, what a hundred thousand that wait cost, and how late timers
//! are. Everything runs in this process on the engine's own runtime and store; an instance comes with its Task, as it does
//! in a node.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::process::Command as Program;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fhir::{Object, Resource};
use processes::plugin::Implementations;
use processes::{
    Delivery, DeliveryFailure, FailureKind, LocalNode, Messenger, Plugin, ProcessError, Runtime, ServiceStep,
    StepContext, StepError, task, terms,
};
use store::{PostgreSql, Store, StoreOptions, Tls, Transaction};
use time::OffsetDateTime;
use tokio::sync::watch;

use super::Part;
use crate::Run;
use crate::error::{During as _, Failure, Outcome};
use crate::process::memory_of;
use crate::report::{Report, Target};
use crate::statistics::{self, Values};

/// Who starts instances at the same time.
const CONCURRENT: usize = 64;
/// Instances of one commit, where the commit is not what is measured.
const TOGETHER: usize = 200;
/// Longest wait for what has to happen.
const PATIENCE: Duration = Duration::from_secs(120);
/// Database of a server, as `scripts/with-postgres --durable` gives it.
const SERVER: &str = "SCHLEUSE_TEST_POSTGRES";

/// Milliseconds by which timers fired late, by business key.
type Fired = Arc<Mutex<Vec<(String, f64)>>>;

/// An engine on a store, with its workers.
struct Engine {
    store: Store,
    runtime: Arc<Runtime>,
    fired: Fired,
    stop: watch::Sender<bool>,
    workers: tokio::task::JoinHandle<()>,
}

struct Nobody;

impl Messenger for Nobody {
    fn deliver<'m>(
        &'m self,
        _: Delivery<'m>,
    ) -> Pin<Box<dyn Future<Output = Result<(), DeliveryFailure>> + Send + 'm>> {
        let text = "nobody is there".to_owned();
        Box::pin(async { Err(DeliveryFailure { kind: FailureKind::NotReachable, text, may_pass: false }) })
    }
}

/// Notes how late it is; the business key begins with the time that was meant, in milliseconds.
struct Late(Fired);

impl ServiceStep for Late {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let key = context.business_key().unwrap_or_default().to_owned();
        let late = (OffsetDateTime::now_utc() - meant(&key)).as_seconds_f64() * 1_000.0;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((key, late));
        Ok(())
    }
}

/// Gives the timer its time.
struct Due;

impl ServiceStep for Due {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let due = meant(context.business_key().unwrap_or_default());
        context.set("due", fhir::date::format_instant(due));
        Ok(())
    }
}

fn meant(key: &str) -> OffsetDateTime {
    let milliseconds: i64 = key.split('-').next().and_then(|text| text.parse().ok()).unwrap_or_default();
    OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(milliseconds)
}

fn milliseconds_now() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}

/// Measures and reports.
pub(super) async fn run(run: &Run, report: &mut Report) -> Outcome<()> {
    let folder = run.results.join("bpmn-store");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).during("removing the store of the last run")?;
    }
    std::fs::create_dir_all(&folder).during("making a folder for the stores")?;
    if run.wants_part(Part::Rate) {
        in_a_file(&folder, run.quick, report).await?;
    }
    if run.wants_part(Part::Waiting) {
        let engine = on_sqlite(&folder, "waiting").await?;
        waiting(&engine, run.quick, report).await?;
        engine.end().await;
    }
    if run.wants_part(Part::Timers) {
        let engine = on_sqlite(&folder, "timers").await?;
        spread(&engine, report).await?;
        together(&engine, report).await?;
        engine.end().await;
    }
    if run.wants_part(Part::Server) {
        postgresql(run.quick, report).await?;
    }
    Ok(())
}

async fn in_a_file(folder: &Path, quick: bool, report: &mut Report) -> Outcome<()> {
    let engine = on_sqlite(folder, "rate").await?;
    let whole = rate(&engine, quick, Load::Instance).await?;
    let alone = rate(&engine, quick, Load::InstanceAlone).await?;
    let tasks = rate(&engine, quick, Load::TaskAlone).await?;
    engine.end().await;
    let name = "durable on SQLite, 64 concurrent, instances per second";
    report.figure(name, alone, "1/s", Target::AtLeast(5_000.0));
    shares(report, "SQLite", whole, tasks);
    Ok(())
}

async fn on_sqlite(folder: &Path, name: &str) -> Outcome<Engine> {
    let path = folder.join(format!("{name}.db"));
    Engine::open(Store::open_sqlite(&path, StoreOptions::default()).await.during("opening the store")?).await
}

async fn postgresql(quick: bool, report: &mut Report) -> Outcome<()> {
    let Ok(server) = std::env::var(SERVER) else {
        report.note(format!("PostgreSQL is not measured: {SERVER} is not set; use scripts/with-postgres --durable"));
        return Ok(());
    };
    let database = |schema| PostgreSql::new(&server, None, &Tls::Disabled, schema).during("reading the URL");
    let store = Store::open_postgresql(database("benchmark_bpmn")?, StoreOptions::default()).await;
    let engine = Engine::open(store.during("opening the database")?).await?;
    let ours = rate(&engine, quick, Load::Instance).await?;
    let alone = rate(&engine, quick, Load::InstanceAlone).await?;
    let tasks = rate(&engine, quick, Load::TaskAlone).await?;
    engine.end().await;
    database("benchmark_bpmn")?.remove().await.during("removing the schema")?;
    report.value("durable on PostgreSQL, 64 concurrent, instances per second", alone, "1/s");
    shares(report, "PostgreSQL", ours, tasks);
    match pgbench(&server) {
        Ok(Commits { built_in, bare }) => {
            report.value("pgbench, its own transactions, 64 clients", built_in, "1/s");
            report.value("pgbench's transactions for an instance", built_in / alone, "x");
            report.value("the same for an instance with its Task", built_in / ours, "x");
            report.value("commits of one bare row by pgbench, 64 clients", bare, "1/s");
            report.figure("bare rows for an instance", bare / alone, "x", Target::AtMost(2.0));
        }
        Err(failure) => report.note(format!("pgbench is not measured: {failure}")),
    }
    Ok(())
}

/// Commits per second of pgbench with as many clients as we have.
struct Commits {
    /// Its built-in transaction (five statements, TPC-B-like), prepared, with a branch for each client.
    built_in: f64,
    /// One inserted number: the least that can be committed.
    bare: f64,
}

fn pgbench(server: &str) -> Outcome<Commits> {
    let folder = tempfile::tempdir().during("making a folder")?;
    let script = folder.path().join("insert.sql");
    std::fs::write(&script, "INSERT INTO benchmark_commits VALUES (1);\n").during("writing a script")?;
    let psql = |sql: &str| Program::new("psql").args([server, "--quiet", "--command", sql]).output().during("psql");
    psql("CREATE TABLE IF NOT EXISTS benchmark_commits (x bigint)")?;
    let found = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let program = found.map(|version| version.path().join("bin/pgbench")).find(|path| path.is_file());
    let program = program.unwrap_or_else(|| "pgbench".into());
    let clients = CONCURRENT.to_string();
    let run = |arguments: &[&std::ffi::OsStr]| {
        Program::new(&program).args(arguments).arg(server).output().during("running pgbench")
    };
    let rate = |choice: &[&std::ffi::OsStr]| {
        let common = ["--no-vacuum", "--client", &clients, "--jobs", "2", "--time", "5"].map(std::ffi::OsStr::new);
        let output = run(&[&common, choice].concat())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.ok_or_else(|| Failure::new(format!("it says: {text}")))
    };
    run(&["--initialize", "--quiet", "--scale", &clients].map(std::ffi::OsStr::new))?;
    let built_in = rate(&["--protocol", "prepared", "--builtin", "tpcb-like"].map(std::ffi::OsStr::new));
    let bare = rate(&["--file".as_ref(), script.as_os_str()]);
    psql("DROP TABLE benchmark_commits, pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers")?;
    Ok(Commits { built_in: built_in?, bare: bare? })
}

/// Instances with their Task, and what of these is the writing of its three versions.
fn shares(report: &mut Report, store: &str, instances: f64, tasks: f64) {
    report.value(format!("the same on {store}, from Task to Task"), instances, "1/s");
    report.value(format!("the same on {store} without the instance: three versions of the Task"), tasks, "1/s");
    let own = (1.0 / instances - 1.0 / tasks) * 1_000_000.0;
    report.value(format!("time of an instance on {store} beyond its Task"), own, "µs");
}

/// What is written for each key.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// An instance that no Task has started, which is what peers have.
    InstanceAlone,
    /// The Task, its instance, and the Task again as it goes on and ends.
    Instance,
    /// The Task in the same versions, and no instance.
    TaskAlone,
}

/// Instances per second of five script tasks from start to end.
async fn rate(engine: &Engine, quick: bool, load: Load) -> Outcome<f64> {
    let each = if quick { 30 } else { 400 };
    let mut rates = Vec::new();
    for round in 0..if quick { 1 } else { 5 } {
        let started = Instant::now();
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CONCURRENT {
            let (store, runtime) = (engine.store.clone(), Arc::clone(&engine.runtime));
            clients.spawn(async move {
                for number in 0..each {
                    let key = format!("{round}-{client}-{number}");
                    match load {
                        Load::Instance => start(&store, &runtime, "scripts", "m", vec![key]).await.map(drop)?,
                        Load::InstanceAlone => begin(&store, &runtime).await?,
                        Load::TaskAlone => three_versions(&store, key).await?,
                    }
                }
                Ok::<_, Failure>(())
            });
        }
        while let Some(ended) = clients.join_next().await {
            ended.during("a client")??;
        }
        rates.push((CONCURRENT * each) as f64 / started.elapsed().as_secs_f64());
    }
    engine.wait_for(0).await?;
    Ok(statistics::median(rates))
}

async fn waiting(engine: &Engine, quick: bool, report: &mut Report) -> Outcome<()> {
    let (count, samples) = if quick { (2_000, 50) } else { (100_000, 1_000) };
    let resident = || memory_of(&[std::process::id()]).rss as f64;
    // What the store needs for itself is there before.
    engine.start_all("waits", (0..TOGETHER).map(|number| format!("warm-{number}"))).await?;
    let before = resident();
    engine.start_all("waits", (0..count).map(|number| format!("key-{number}"))).await?;
    let each = (resident() - before).max(0.0) / count as f64;
    report.figure(format!("memory of each of {count} waiting instances"), each, "B", Target::Below(2_048.0));
    let (mut inside, mut whole) = (Vec::new(), Vec::new());
    for sample in 0..samples {
        let key = format!("key-{}", sample * (count / samples));
        let begun = Instant::now();
        inside.push(start(&engine.store, &engine.runtime, "waits", "go", vec![key]).await?.as_secs_f64() * 1_000.0);
        whole.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    let (inside, whole) = (Values::new(inside), Values::new(whole));
    report.figure("a message to one of them, within its transaction, p50", inside.p50(), "ms", Target::Below(1.0));
    report.value("the same, p99", inside.p99(), "ms");
    report.value("the same with its commit, p50", whole.p50(), "ms");
    Ok(())
}

/// 2,000 timers spread over one second.
async fn spread(engine: &Engine, report: &mut Report) -> Outcome<()> {
    let begin = milliseconds_now() + 6_000;
    engine.start_all("timer", (0..2_000_i64).map(|number| format!("{}-{number}", begin + number / 2))).await?;
    if milliseconds_now() > begin {
        report.note("the timers were due before all of them were there; this machine is too slow or busy".to_owned());
    }
    engine.wait_for(0).await?;
    let late = engine.take_fired();
    let late = Values::new(late.into_values().flatten().collect());
    report.figure("lateness of 2,000 timers over one second, p99", late.p99(), "ms", Target::Below(250.0));
    report.value("the same, p50", late.p50(), "ms");
    Ok(())
}

/// 10,000 timers that are due at one instant.
async fn together(engine: &Engine, report: &mut Report) -> Outcome<()> {
    let due = milliseconds_now() + 20_000;
    engine.start_all("timer", (0..10_000).map(|number| format!("{due}-{number}"))).await?;
    if milliseconds_now() > due {
        report.note("the timers were due before all of them were there; this machine is too slow or busy".to_owned());
    }
    engine.wait_for(0).await?;
    let seconds = (milliseconds_now() - due) as f64 / 1_000.0;
    let fired = engine.take_fired();
    let twice = fired.values().filter(|times| times.len() != 1).count();
    report.figure("10,000 timers of one instant are durable after", seconds, "s", Target::AtMost(3.0));
    report.figure("of these, fired more than once", twice as f64, "", Target::Equals(0.0));
    report.figure("of these, fired", fired.len() as f64, "", Target::Equals(10_000.0));
    Ok(())
}

impl Engine {
    async fn open(store: Store) -> Outcome<Self> {
        let fired = Fired::default();
        let node = LocalNode {
            organization_identifier: "benchmark.example".to_owned(),
            endpoint_identifier: "endpoint.benchmark.example".to_owned(),
            base_url: "https://benchmark.example/fhir".to_owned(),
        };
        let runtime = Runtime::start(store.clone(), node, &[plugin(&fired)], store.owner()).await;
        let runtime = Arc::new(runtime.during("starting the engine")?);
        let (stop, stopping) = watch::channel(false);
        let workers = tokio::spawn(Arc::clone(&runtime).work(Arc::new(Nobody), stopping));
        Ok(Self { store, runtime, fired, stop, workers })
    }

    async fn end(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.workers.await {
            eprintln!("the workers of the engine ended badly: {error}");
        }
        self.store.close().await;
    }

    /// Starts an instance for each key, many in one commit.
    async fn start_all(&self, process: &'static str, keys: impl Iterator<Item = String>) -> Outcome<()> {
        let keys: Vec<String> = keys.collect();
        for keys in keys.chunks(TOGETHER) {
            start(&self.store, &self.runtime, process, "m", keys.to_vec()).await?;
        }
        Ok(())
    }

    /// Waits until only so many instances run.
    async fn wait_for(&self, running: u64) -> Outcome<()> {
        let begun = Instant::now();
        loop {
            let counted = self.store.read(|tx| tx.count_running_instances()).await.during("counting instances")?;
            let left: u64 = counted.iter().map(|(.., count)| count).sum();
            if left <= running {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(Failure::new(format!("{left} instances do not end")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How late each timer fired, each time.
    fn take_fired(&self) -> BTreeMap<String, Vec<f64>> {
        let mut fired: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (key, late) in std::mem::take(&mut *self.fired.lock().unwrap_or_else(PoisonError::into_inner)) {
            fired.entry(key).or_default().push(late);
        }
        fired
    }
}

/// Stores a Task for each key and gives it to its process, in one transaction; gives the time of the latter.
async fn start(
    store: &Store,
    runtime: &Arc<Runtime>,
    process: &'static str,
    message: &'static str,
    keys: Vec<String>,
) -> Outcome<Duration> {
    let runtime = Arc::clone(runtime);
    let work = move |tx: &mut Transaction<'_>| {
        let mut spent = Duration::ZERO;
        for key in keys {
            let created = tx.create(new_task(process, message, &key), &store::new_id())?;
            let begun = Instant::now();
            runtime.accept(tx, &created.resource)?;
            spent += begun.elapsed();
        }
        Ok::<_, ProcessError>(spent)
    };
    store.write(work).await.during("giving a Task to its process")
}

/// Begins an instance without a Task.
async fn begin(store: &Store, runtime: &Arc<Runtime>) -> Outcome<()> {
    let runtime = Arc::clone(runtime);
    let begun = store.write(move |tx| runtime.begin(tx, "exampleorg_scripts", "1.0")).await;
    match begun.during("beginning an instance")? {
        true => Ok(()),
        false => Err(Failure::new("the process is not installed")),
    }
}

/// Stores a Task and the versions that an instance makes of it.
async fn three_versions(store: &Store, key: String) -> Outcome<()> {
    let work = move |tx: &mut Transaction<'_>| {
        let mut written = tx.create(new_task("scripts", "m", &key), &store::new_id())?;
        for status in ["in-progress", "completed"] {
            let mut next = (*written.resource).clone();
            next.set("status", status);
            written = task::write(tx, next)?;
        }
        Ok::<_, ProcessError>(())
    };
    store.write(work).await.during("writing a Task")
}

fn new_task(process: &str, message: &str, key: &str) -> Resource {
    let mut built = Resource::new("Task");
    built.set("instantiatesCanonical", format!("http://example.org/bpe/Process/{process}|1.0"));
    built.set("status", "requested");
    built.set("intent", "order");
    built.set("authoredOn", "2026-01-01T00:00:00Z");
    let party = task::organization_reference("benchmark.example");
    built.set("requester", party.clone());
    built.set("restriction", Object::new().with("recipient", vec![party.into()]));
    for (code, value) in [(terms::MESSAGE_NAME, message), (terms::BUSINESS_KEY, key)] {
        built.push("input", task::string_parameter(terms::BPMN_MESSAGE, code, value));
    }
    built
}

fn plugin(fired: &Fired) -> Plugin {
    let scripts: String = (0..5)
        .map(|number| {
            let (from, value) = match number {
                0 => ("s".to_owned(), "${1}"),
                _ => (format!("t{}", number - 1), "${x + 1}"),
            };
            format!(
                r#"<scriptTask id="t{number}" camunda:resultVariable="x"><script>{value}</script></scriptTask><sequenceFlow id="f{number}" sourceRef="{from}" targetRef="t{number}"/>"#
            )
        })
        .collect();
    let scripts =
        format!(r#"{scripts}<startEvent id="alone"/><sequenceFlow id="a" sourceRef="alone" targetRef="t0"/>"#);
    let wait = r#"<intermediateCatchEvent id="w"><messageEventDefinition messageRef="go"/></intermediateCatchEvent><sequenceFlow id="f" sourceRef="s" targetRef="w"/>"#;
    let timer = r#"<serviceTask id="d" camunda:class="Due"/><sequenceFlow id="f" sourceRef="s" targetRef="d"/>
        <intermediateCatchEvent id="w"><timerEventDefinition><timeDate>${due}</timeDate></timerEventDefinition></intermediateCatchEvent>
        <sequenceFlow id="g" sourceRef="d" targetRef="w"/><serviceTask id="l" camunda:class="Late"/><sequenceFlow id="h" sourceRef="w" targetRef="l"/>"#;
    let models = [("scripts", &*scripts, "t4"), ("waits", wait, "w"), ("timer", timer, "l")];
    Plugin {
        name: "benchmark",
        version: "1.0",
        date: "2026-01-01",
        models: models.into_iter().map(|(name, body, last)| document(name, body, last)).collect(),
        resources: Vec::new(),
        implementations: Implementations::default()
            .with_service("Due", Due)
            .with_service("Late", Late(Arc::clone(fired))),
    }
}

/// Plug-ins live as long as the process.
fn document(name: &str, body: &str, last: &str) -> &'static str {
    let text = format!(
        r#"<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:camunda="http://camunda.org/schema/1.0/bpmn" id="d" targetNamespace="t">
        <message id="m" name="m"/><message id="go" name="go"/>
        <process id="exampleorg_{name}" isExecutable="true" camunda:versionTag="1.0"><startEvent id="s"><messageEventDefinition messageRef="m"/></startEvent>
        {body}<endEvent id="e"/><sequenceFlow id="end" sourceRef="{last}" targetRef="e"/></process></definitions>"#
    );
    Box::leak(text.into_boxed_str())
}
