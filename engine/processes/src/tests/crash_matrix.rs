//! The crash matrix: random models run on a real store that dies at each of its transactions in turn, or in a process that
//! is killed; what comes of them equals what comes of an undisturbed run.
//!
//! Nothing but the store and the clock decides what happens next, so that a run goes on as it would have without the
//! death. A driver takes the place of the workers: it does one thing at a time, in an order that does not depend on ids.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration as Wait, Instant};

use bpmn::kit::random::Block;
use bpmn::{Event, Trigger};
use serde_json::{Value, json};
use store::processes::{InstanceList, WorkItem};
use store::{StoreError, Transaction};
use time::{Duration, OffsetDateTime};

use super::support::{Clock, Network, Node, error_of, new_task};
use super::user_tasks;
use crate::plugin::{Implementations, Plugin};
use crate::runtime::{OperateError, ProcessError, read_instance};
use crate::step::{BoxFuture, ServiceStep, StepContext, StepError, WorkError, WorkStep};
use crate::work::{self, WorkContext};
use crate::{inbox, jobs, limits, task, terms};

const BEGIN: i64 = 1_700_000_000_000;
/// Timers of the models are whole minutes; a little more than one makes up for the milliseconds between transactions.
const MINUTE: Duration = Duration::seconds(61);
/// What a restart takes: the store's time runs ahead of a clock that stands, by a millisecond for each transaction, and what
/// is due then must be due after a restart too.
const RESTART: Duration = Duration::seconds(1);
const MINUTES: i64 = 40;
/// Messages of each name that come from outside.
const MESSAGES: usize = 4;
const TURNS: usize = 3_000;

const KILLED_DIRECTORY: &str = "SCHLEUSE_TEST_MATRIX_DIRECTORY";
const ONLY: &str = "SCHLEUSE_TEST_MATRIX_ONLY";
const KILLED_SEED: &str = "SCHLEUSE_TEST_MATRIX_SEED";

/// The texts of a seed: the random model, and the one that it calls. Texts of plug-ins are never given back, so each is made
/// once.
fn models(seed: u64) -> Vec<&'static str> {
    static MADE: Mutex<BTreeMap<u64, Vec<&'static str>>> = Mutex::new(BTreeMap::new());
    MADE.lock().unwrap().entry(seed).or_insert_with(|| made(seed)).clone()
}

fn made(seed: u64) -> Vec<&'static str> {
    let block = Block::Sequence(vec![Block::Step { before: false, after: false }, Block::random(seed, 3, 3)]);
    let random = format!(
        r#"<message id="m" name="m"/><message id="m-a" name="a"/><message id="m-b" name="b"/><signal id="s-go" name="go"/>
        <escalation id="x-e" escalationCode="E"/><error id="e-x" errorCode="X"/>
        <process id="testorg_random" isExecutable="true" camunda:versionTag="1.0">{}</process>"#,
        block.body(r#"<messageEventDefinition messageRef="m"/>"#)
    );
    let other = r#"<process id="other" isExecutable="true" camunda:versionTag="1.0"><startEvent id="os"/><endEvent id="oe"/>
        <scriptTask id="ot" camunda:resultVariable="x"><script>${1}</script></scriptTask>
        <sequenceFlow id="of" sourceRef="os" targetRef="ot"/><sequenceFlow id="og" sourceRef="ot" targetRef="oe"/></process>"#;
    let document = |content: &str| -> &'static str {
        let text = format!(
            r#"<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:camunda="http://camunda.org/schema/1.0/bpmn" id="d">{content}</definitions>"#
        );
        Box::leak(text.into_boxed_str())
    };
    vec![document(&random), document(other)]
}

fn plugins(seed: u64) -> Vec<Plugin> {
    vec![Plugin {
        name: "random",
        version: "1.0",
        date: "2026-01-01",
        models: models(seed),
        resources: Vec::new(),
        implementations: Implementations::default()
            .with_service("C", Count { choice: seed.is_multiple_of(2) })
            .with_work("Mapped", Mapped),
    }]
}

/// Counts its calls; what else it does depends on the number in the name of its element.
struct Count {
    choice: bool,
}

impl ServiceStep for Count {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let element = context.step.element.to_string();
        let number: u64 = element.trim_start_matches(|character: char| !character.is_ascii_digit()).parse().unwrap();
        if context.variable("choice").is_none() {
            context.set("choice", self.choice);
            context.set("flag", false);
            context.set("lists", json!([[], [1], [1, 2], [1, 2, 3]]));
        }
        let count = context.variable("count").and_then(|count| count.as_u64()).unwrap_or(0);
        context.set("count", count + 1);
        if number.is_multiple_of(5) {
            context.set("flag", true);
        }
        if number.is_multiple_of(3) {
            context.add_output(task::string_parameter(terms::BPMN_MESSAGE, "note", &format!("{element}/{count}")));
        }
        if element.starts_with("throwing") && !number.is_multiple_of(2) {
            return Err(StepError::Bpmn { code: "X".to_owned(), message: None });
        }
        Ok(())
    }
}

/// A long step.
struct Mapped;

impl WorkStep for Mapped {
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError> {
        Ok(json!({ "in": context.variable("in") }))
    }

    fn work<'a>(&'a self, input: &'a Value, _: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>> {
        Box::pin(async move { Ok(input.clone()) })
    }

    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError> {
        context.set("worked", output);
        Ok(())
    }
}

/// A node, and what has happened to the clock.
struct Driver<'n> {
    node: &'n Node,
    clock: &'n Clock,
    /// Long steps that were claimed and not yet done.
    items: Vec<WorkItem>,
}

/// Somebody who waits, by name and number of the token, in which nothing is random.
type Place = (String, u32);

impl<'n> Driver<'n> {
    const fn new(node: &'n Node, clock: &'n Clock) -> Self {
        Self { node, clock, items: Vec::new() }
    }

    async fn write<R: Send + 'static>(
        &self,
        write: impl FnOnce(&mut Transaction<'_>) -> Result<R, ProcessError> + Send + 'static,
    ) -> Result<R, ProcessError> {
        self.node.store().write(write).await
    }

    fn minutes(&self) -> i64 {
        let passed = self.clock.now().unix_timestamp() - BEGIN / 1_000;
        passed / MINUTE.whole_seconds()
    }

    async fn read<R: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Transaction<'_>) -> Result<R, ProcessError> + Send + 'static,
    ) -> Result<R, ProcessError> {
        self.node.store().read(read).await
    }

    /// Whether one of the times has come. Only transactions that write have a time of their own, which runs ahead of a clock
    /// that stands.
    async fn is_due<const N: usize>(
        &self,
        next: impl FnOnce(&mut Transaction<'_>) -> Result<[Option<OffsetDateTime>; N], StoreError> + Send + 'static,
    ) -> Result<bool, ProcessError> {
        let (now, next) = self.read(move |tx| Ok((tx.now(), next(tx)?))).await?;
        Ok(next.into_iter().flatten().any(|due| due <= now + RESTART))
    }

    /// The instances that run.
    async fn running(&self) -> Result<Vec<(String, bpmn::Instance)>, ProcessError> {
        let runtime = self.node.runtime();
        self.read(move |tx| {
            let list = InstanceList { ended: Some(false), limit: 100, ..InstanceList::default() };
            let rows = tx.instances(&list)?;
            let read = |row: &store::processes::Instance| read_instance(&runtime.catalogue(), row).unwrap().1;
            Ok(rows.iter().map(|row| (row.id.clone(), read(row))).collect())
        })
        .await
    }

    /// Does the next thing; false when everything has ended.
    async fn turn(&mut self) -> Result<bool, ProcessError> {
        let tasks = self.node.store().read(|tx| Ok::<_, ProcessError>(all_tasks(tx)?)).await?;
        if tasks.is_empty() {
            self.receive("m").await?;
            return Ok(true);
        }
        if self.job().await? || self.item().await? {
            return Ok(true);
        }
        let running = self.running().await?;
        if running.is_empty() {
            return Ok(false);
        }
        for kind in 0..3 {
            let done = match (tasks.len() as i64 + self.minutes() + kind) % 3 {
                0 => self.answer(&running).await?,
                1 => self.message(&running, &tasks).await?,
                _ => self.time(&running),
            };
            if done {
                return Ok(true);
            }
        }
        let (runtime, ids) = (self.node.runtime(), running.into_iter().map(|(id, _)| id));
        for id in ids.collect::<Vec<_>>() {
            let runtime = Arc::clone(&runtime);
            let cancel = move |tx: &mut Transaction<'_>| {
                match runtime.cancel_instance(tx, &id, "nothing can happen any more") {
                    Err(OperateError::Process(error)) => Err(error),
                    // A called process ends with the one that called it.
                    _ => Ok(()),
                }
            };
            self.write(cancel).await?;
        }
        Ok(true)
    }

    /// Runs a job that is due: continuations before timers, and each kind in the order of its elements. Which of two timers
    /// of one minute is due first depends on whether a restart lies between them. As the worker does, it looks first and
    /// writes only if there is something, so that no transaction is without effect.
    async fn job(&self) -> Result<bool, ProcessError> {
        if !self.is_due(|tx| Ok([tx.next_job()?, tx.next_inbox_expiry()?])).await? {
            return Ok(false);
        }
        let running = self.running().await?;
        let runtime = self.node.runtime();
        let claim = move |tx: &mut Transaction<'_>| {
            inbox::expire(tx)?;
            let now = tx.now();
            let mut due = Vec::new();
            for (id, instance) in &running {
                for job in tx.jobs_of(id)?.into_iter().filter(|job| job.locked_until <= now) {
                    let Some(known) = instance.jobs().find(|known| *known.job == *job.id) else { continue };
                    if job.due <= now {
                        let place = (known.element.to_string(), format!("{:?}", known.owner));
                        due.push((known.due.is_some(), place, job));
                    }
                }
            }
            due.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
            for ((_, _, job), rank) in due.iter().zip(0_i64..) {
                let time = now - Duration::milliseconds(due.len() as i64 - rank);
                tx.reschedule_job(&job.id, time, job.retries, job.failure.as_deref())?;
            }
            Ok(tx.claim_jobs(&runtime.owner, now, limits::CLAIM_TIME, 1)?.pop())
        };
        let Some(job) = self.write(claim).await? else { return Ok(false) };
        jobs::run(self.node.runtime(), job).await;
        Ok(true)
    }

    /// Does the next long step.
    async fn item(&mut self) -> Result<bool, ProcessError> {
        if self.is_due(|tx| Ok([tx.next_step()?])).await? {
            self.items.extend(work::claim(&self.node.runtime(), 100).await?);
        }
        let places: BTreeMap<String, Place> = self
            .running()
            .await?
            .iter()
            .flat_map(|(_, instance)| instance.steps())
            .map(|step| (step.step.to_string(), (step.element.to_string(), step.token.0)))
            .collect();
        self.items.sort_by_key(|item| std::cmp::Reverse(places.get(&item.id).cloned()));
        let Some(item) = self.items.pop() else { return Ok(false) };
        work::run(self.node.runtime(), item).await;
        Ok(true)
    }

    /// Answers an open user task.
    async fn answer(&self, running: &[(String, bpmn::Instance)]) -> Result<bool, ProcessError> {
        let open = running.iter().flat_map(|(_, instance)| instance.user_tasks());
        let Some(first) = open.min_by_key(|open| (open.element.to_string(), open.token.0)) else { return Ok(false) };
        let id = first.user_task.to_string();
        let read = move |tx: &mut Transaction<'_>| tx.read(fhir::ResourceType::QuestionnaireResponse, &id);
        let response = self.node.store().read(read).await?.current().unwrap();
        let response = (*response.resource).clone();
        match user_tasks::update(self.node, response, "completed", "ann").await {
            Err(_) if !self.node.fuse.is_burnt() => panic!("an answer is refused"),
            _ => Ok(true),
        }
    }

    /// Sends a message that exactly one waits for.
    async fn message(
        &self,
        running: &[(String, bpmn::Instance)],
        tasks: &[fhir::Resource],
    ) -> Result<bool, ProcessError> {
        for name in ["a", "b"] {
            let open = running.iter().flat_map(|(_, instance)| instance.subscriptions());
            let awaited = open
                .filter(|open| matches!(&open.trigger, Trigger::Message { name: awaited, .. } if awaited == name))
                .count();
            let sent = tasks.iter().filter(|sent| task::message_input(sent, terms::MESSAGE_NAME) == Some(name)).count();
            if awaited == 1 && sent < MESSAGES {
                self.receive(name).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A Task comes in.
    async fn receive(&self, message: &str) -> Result<(), ProcessError> {
        let built = new_task("http://test.org/bpe/Process/random|1.0", message, Some("A"), None);
        let runtime = self.node.runtime();
        let create = move |tx: &mut Transaction<'_>| {
            let created = tx.create(built, &uuid::Uuid::new_v4().to_string())?;
            runtime.accept(tx, &created.resource).map(drop)
        };
        self.write(create).await
    }

    fn time(&self, running: &[(String, bpmn::Instance)]) -> bool {
        let waits = running.iter().flat_map(|(_, instance)| instance.jobs()).any(|job| job.due.is_some());
        let passes = waits && self.minutes() < MINUTES;
        if passes {
            self.clock.advance(MINUTE);
        }
        passes
    }
}

fn all_tasks(tx: &mut Transaction<'_>) -> Result<Vec<fhir::Resource>, StoreError> {
    let query = fhir::search::parse_query(fhir::ResourceType::Task, "_count=1000&_sort=_lastUpdated");
    let found = tx.search(&query, &store::ReadFilter::everything())?;
    Ok(found.matches.into_iter().map(|stored| (*stored.resource).clone()).collect())
}

/// A node with the models of the seed.
async fn open(directory: &Path, seed: u64, clock: Clock) -> Network {
    let network = Network::open(directory, &["a"], move || plugins(seed), clock).await;
    let seed_form = |tx: &mut Transaction<'_>| match tx.read(fhir::ResourceType::Questionnaire, user_tasks::FORM_ID)? {
        store::Found::Current(_) => Ok(()),
        _ => tx.create(user_tasks::form(), user_tasks::FORM_ID).map(drop),
    };
    network.nodes[0].write(seed_form).await;
    network
}

/// Everything that came of the run, without ids and times.
async fn outcome(node: &Node) -> String {
    let mut lines = Vec::new();
    for ended in node.instances(true).await {
        let id = ended.id.clone();
        let events = node.write(move |tx| tx.instance_events(&id, 0, 100_000)).await;
        let events: Vec<Event> = events.iter().map(|event| serde_json::from_slice(&event.data).unwrap()).collect();
        let replayed = bpmn::Instance::replay(&events).unwrap();
        let path: Vec<String> = events
            .iter()
            .filter_map(|event| match event {
                Event::ElementEntered { element, .. } => Some(element.to_string()),
                _ => None,
            })
            .collect();
        let variables = replayed.root_variables().to_map().into_iter();
        // An answer has its own id and time in it.
        let variables = variables.filter(|(name, _)| name != "questionnaireResponse");
        let variables: BTreeMap<String, Value> = variables.map(|(name, value)| (name, Value::clone(&value))).collect();
        let (events, status) = (events.len(), replayed.status());
        lines.push(format!("{} {status:?} {events} events: {} {variables:?}", ended.process_key, path.join(" ")));
    }
    for stored in node.tasks().await {
        let history = node.history(stored.id().unwrap()).await.join(" ");
        let outputs = stored.list("output").iter().filter_map(|output| output.str("valueString")).collect::<Vec<_>>();
        let name = task::message_input(&stored, terms::MESSAGE_NAME).unwrap();
        lines.push(format!("Task {name}: {history}; {outputs:?} {:?}", error_of(&stored)));
    }
    for response in user_tasks::responses(node).await {
        lines.push(format!("answer {}", response.str("status").unwrap()));
    }
    lines.sort();
    lines.join("\n")
}

/// Runs a model to its end. The store dies at the transaction after `death`, or not. Gives what came of it, and the number
/// of transactions.
async fn run(seed: u64, death: Option<u32>) -> (String, u32) {
    let directory = folder();
    let network = open(directory.path(), seed, Clock::at(BEGIN)).await;
    let node = &network.nodes[0];
    node.fuse.set(death);
    let mut driver = Driver::new(node, &network.clock);
    for _ in 0..TURNS {
        let went_on = driver.turn().await;
        if node.fuse.is_burnt() {
            driver.items.clear();
            node.restart().await;
            wait_for_claims(node).await;
            network.clock.advance(RESTART);
            continue;
        }
        if !went_on.unwrap_or_else(|error| panic!("model {seed}: {error}")) {
            let transactions = node.fuse.begun();
            network.assert_quiet().await;
            return (outcome(node).await, transactions);
        }
    }
    panic!("model {seed} does not come to its end");
}

/// Nothing of a run has to outlive the machine, so where there is a file system in memory, no run waits for a disk.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A database server gives back what a dead engine had claimed only a moment later. Until then the run would go on in another
/// order than an undisturbed one, so that is waited for.
async fn wait_for_claims(node: &Node) {
    if !store_testing::is_postgresql() {
        return;
    }
    let deadline = Instant::now() + Wait::from_secs(60);
    loop {
        let own = node.store().owner().to_owned();
        let is_held = move |tx: &mut Transaction<'_>| {
            let is_foreign = |holder: &Option<String>| holder.as_ref().is_some_and(|holder| *holder != own);
            let list = InstanceList { ended: Some(false), limit: 100, ..InstanceList::default() };
            for instance in tx.instances(&list)? {
                let jobs = tx.jobs_of(&instance.id)?;
                let work = tx.work_of(&instance.id)?;
                if jobs.iter().any(|job| is_foreign(&job.locked_by))
                    || work.iter().any(|item| is_foreign(&item.locked_by))
                {
                    return Ok(true);
                }
            }
            Ok::<_, StoreError>(false)
        };
        if !node.store().read(is_held).await.unwrap() {
            return;
        }
        assert!(Instant::now() < deadline, "what a dead engine had claimed is not given back");
        tokio::time::sleep(Wait::from_millis(20)).await;
    }
}

fn is_slow() -> bool {
    std::env::var_os("SCHLEUSE_SLOW").is_some()
}

/// Does `work` for each number below `count`, several at a time.
fn each<R: Send>(count: u64, work: impl AsyncFn(u64) -> R + Sync) -> Vec<R> {
    let next = AtomicU64::new(0);
    let lane = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut results = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::SeqCst);
            if number >= count {
                return results;
            }
            results.push(runtime.block_on(work(number)));
        }
    };
    let lanes = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(lane)).collect();
        // A lane that panicked has said why.
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    })
}

#[test]
fn a_store_that_dies_at_any_transaction_of_a_random_model_leaves_the_state_of_an_undisturbed_run() {
    let count = match (store_testing::is_postgresql(), is_slow()) {
        (false, false) => 60,
        (false, true) => 1_000,
        // A restart takes as long as the server needs to notice the death.
        (true, false) => 12,
        (true, true) => 40,
    };
    // The number of a model that failed looks at it alone.
    let only: Option<u64> = std::env::var(ONLY).ok().map(|number| number.parse().unwrap());
    let (first, count) = only.map_or((0, count), |only| (only, 1));
    let begun = Instant::now();
    let done = AtomicU64::new(0);
    let tried = each(count, async |number| {
        let seed = first + number;
        let (expected, transactions) = run(seed, None).await;
        // Every transaction of some models, in each build one of the others.
        let all = is_slow() || seed < 2;
        let points: Vec<u32> =
            if all { (0..transactions).collect() } else { vec![(seed as u32 * 7) % transactions.max(1)] };
        for point in &points {
            let (found, _) = run(seed, Some(*point)).await;
            assert_eq!(found, expected, "model {seed}, the store died at transaction {point}");
        }
        let done = done.fetch_add(1, Ordering::SeqCst) + 1;
        if is_slow() && done.is_multiple_of(50) {
            println!("{done} models after {} s", begun.elapsed().as_secs());
        }
        (points.len(), transactions)
    });
    let deaths: usize = tried.iter().map(|(deaths, _)| deaths).sum();
    let most = tried.iter().map(|(_, transactions)| transactions).max().unwrap();
    println!("{count} models with up to {most} transactions, {deaths} deaths, {} s", begun.elapsed().as_secs());
}

/// The process that is killed. It goes on where the one before ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by the other test of this file"]
async fn child() {
    let Some(directory) = std::env::var_os(KILLED_DIRECTORY).map(PathBuf::from) else { return };
    let seed = std::env::var(KILLED_SEED).unwrap().parse().unwrap();
    let time = directory.join("time");
    let begin = std::fs::read_to_string(&time).ok().and_then(|text| text.parse().ok()).unwrap_or(BEGIN);
    let network = open(&directory, seed, Clock::at(begin)).await;
    wait_for_claims(&network.nodes[0]).await;
    let mut driver = Driver::new(&network.nodes[0], &network.clock);
    let mut written = network.clock.now();
    network.clock.advance(RESTART);
    loop {
        let now = network.clock.now();
        if now != written {
            let new = directory.join("time.new");
            std::fs::write(&new, (now.unix_timestamp_nanos() / 1_000_000).to_string()).unwrap();
            std::fs::rename(&new, &time).unwrap();
            written = now;
        }
        if !driver.turn().await.unwrap() {
            break;
        }
    }
    network.assert_quiet().await;
    network.nodes[0].kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_killed_process_leaves_the_state_of_an_undisturbed_run() {
    let models: u64 = if is_slow() { 100 } else { 3 };
    let mut random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), "moments");
    let mut kills = 0_u32;
    for seed in 0..models {
        let (expected, _) = run(seed, None).await;
        let directory = folder();
        let start = || {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "tests::crash_matrix::child", "--ignored"])
                .env(KILLED_DIRECTORY, directory.path())
                .env(KILLED_SEED, seed.to_string())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        };
        for _ in 0..8 {
            let mut child = start();
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            tokio::time::sleep(Wait::from_millis(20 + (random >> 33) % 200)).await;
            let over = child.try_wait().unwrap();
            child.kill().ok();
            child.wait().unwrap();
            match over {
                Some(status) => {
                    assert!(status.success(), "model {seed} fails after a kill");
                    break;
                }
                None => kills += 1,
            }
        }
        // Whatever moment it was, the next process brings it to its end.
        let mut child = start();
        let deadline = Instant::now() + Wait::from_secs(180);
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("model {seed} does not end after kills");
            }
            tokio::time::sleep(Wait::from_millis(20)).await;
        };
        assert!(status.success(), "model {seed}");
        let network = open(directory.path(), seed, Clock::at(BEGIN)).await;
        assert_eq!(outcome(&network.nodes[0]).await, expected, "model {seed} was killed");
        network.nodes[0].kill().await;
    }
    println!("{models} models, {kills} kills");
}
