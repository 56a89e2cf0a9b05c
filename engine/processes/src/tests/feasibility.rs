//! Feasibility between a portal `p` and the sites `a` and `b`, with counts that the question itself names.
//!
//! Names `feasibility_aNN` are the cases of `data-sharing-processes.md` section 17.1.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use fhir::{Object, Resource, ResourceType, Value};
use sources::Question;
use store::{ReadFilter, Store, Transaction};
use time::Duration;

use super::support::{Fault, Network, Node, base_url, error_of, new_task};
use super::wire;
use crate::feasibility::{Counts, Partners, RateLimit, Rules, Told, plugin};
use crate::plugin::Plugin;
use crate::step::{BoxFuture, WorkError};
use crate::{task, terms};

const BASE: &str = "http://medizininformatik-initiative.de";
const FEASIBILITY: &str = "http://medizininformatik-initiative.de/fhir/CodeSystem/feasibility";
const OUTCOME: &str = "http://schleuse.example/fhir/CodeSystem/feasibility-outcome";
const TAG: &str = "http://dsf.dev/fhir/CodeSystem/read-access-tag";
const REPORT: &str = "measure-report-reference";
const RESULT: &str = "feasibilitySingleDicResultMessage";
const EXECUTE: &str = "feasibilityExecuteMessage";

/// The stores of the nodes that can be reached, by their base URL.
#[derive(Clone, Default)]
struct Reach(Arc<Mutex<BTreeMap<String, Store>>>);

/// Counts what the definition says; what is no number is a term that nobody knows.
struct Stated;

struct Consortium {
    network: Network,
    reach: Reach,
}

// === impl Reach ===

impl Reach {
    fn store(&self, base_url: &str) -> Result<Store, WorkError> {
        let stores = self.0.lock().unwrap();
        stores.get(base_url).cloned().ok_or_else(|| WorkError::retry("connection refused"))
    }
}

impl Partners for Reach {
    fn search<'a>(
        &'a self,
        base_url: &'a str,
        resource_type: &'a str,
        parameters: &'a [(&'a str, &'a str)],
    ) -> BoxFuture<'a, Result<Vec<Resource>, WorkError>> {
        Box::pin(async move {
            assert_eq!(resource_type, "Measure");
            let parameters: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let query = fhir::search::parse_query(ResourceType::Measure, &parameters.join("&"));
            assert_eq!(query.diagnostics(), None);
            let search = move |tx: &mut Transaction<'_>| tx.search(&query, &ReadFilter::everything());
            let found = self.store(base_url)?.write(search).await?;
            let found = found.matches.into_iter().chain(found.includes);
            Ok(found.map(|stored| (*stored.resource).clone()).collect())
        })
    }

    fn read<'a>(
        &'a self,
        base_url: &'a str,
        resource_type: &'a str,
        id: &'a str,
    ) -> BoxFuture<'a, Result<Resource, WorkError>> {
        Box::pin(async move {
            assert_eq!(resource_type, "MeasureReport");
            let id = id.to_owned();
            let read = move |tx: &mut Transaction<'_>| tx.read(ResourceType::MeasureReport, &id);
            let found = self.store(base_url)?.write(read).await?.current();
            found.map(|stored| (*stored.resource).clone()).ok_or_else(|| WorkError::failed("answered 404"))
        })
    }
}

// === impl Stated ===

impl Counts for Stated {
    fn tell(&self, question: Question) -> BoxFuture<'_, Result<Told, WorkError>> {
        Box::pin(async move {
            let definition = question.definition.ok_or_else(|| WorkError::failed("the question has no definition"))?;
            let question = String::from_utf8(definition).unwrap();
            let count = question.parse();
            let count = count.map_err(|_| WorkError::failed("a term of the question is not known here"))?;
            Ok(Told { count, question })
        })
    }
}

// === impl Consortium ===

impl Consortium {
    async fn new() -> Self {
        Self::with_limit(999).await
    }

    async fn with_limit(count: u64) -> Self {
        Self::with_rules(Rules { limit: RateLimit { count, interval: Duration::HOUR }, ..rules() }).await
    }

    async fn with_rules(rules: Rules) -> Self {
        let reach = Reach::default();
        let partners: Arc<dyn Partners> = Arc::new(reach.clone());
        let counts: Arc<dyn Counts> = Arc::new(Stated);
        let plugins = move || ["1.0", "1.1"].map(|version| plugin(version, &partners, &counts, rules)).into();
        let network = Network::with_plugins(&["p", "a", "b"], plugins).await;
        let consortium = Self { network, reach };
        for node in &consortium.network.nodes {
            node.write(members).await;
            consortium.connect(node);
        }
        consortium
    }

    /// Lets partners reach the node, also after a restart.
    fn connect(&self, node: &Node) {
        self.reach.0.lock().unwrap().insert(base_url(node.name), node.store());
    }

    fn portal(&self) -> &Node {
        &self.network.nodes[0]
    }

    fn site(&self) -> &Node {
        &self.network.nodes[1]
    }

    /// Asks as the portal's user; the id of the request.
    async fn ask(&self, definition: &str) -> String {
        let measure = question(self.portal(), definition, "application/json").await;
        self.portal().create(request(&format!("Measure/{measure}"))).await
    }

    /// A Task for site `a` as the portal sends it, without the portal waiting for its answer; what became of it.
    async fn order(&self, measure: &str) -> Resource {
        self.network.post.plan("p", &[Fault::Swallowed]);
        let id = self.site().create(execution(measure)).await;
        self.network.settle().await;
        self.site().task(&id).await
    }

    async fn measure(&self, definition: &str, content_type: &str) -> String {
        let id = question(self.portal(), definition, content_type).await;
        format!("{}/Measure/{id}", base_url("p"))
    }

    /// Outcomes of a request: site, code, and the count of the copy or the reason.
    async fn outcomes(&self, request: &str) -> Vec<(String, String, String)> {
        let task = self.portal().task(request).await;
        let mut outcomes = Vec::new();
        for output in task.list("output") {
            let Some(code) = code_of(output, OUTCOME) else { continue };
            let site = output.list("extension")[0].get("valueReference").and_then(|dic| dic.get("identifier"));
            let site = site.and_then(|identifier| identifier.str("value")).unwrap().to_owned();
            let text = match output.get("valueReference").and_then(|reference| reference.str("reference")) {
                Some(url) => count_of(&read_report(self.portal(), url).await).to_string(),
                None => output.str("valueString").unwrap().to_owned(),
            };
            outcomes.push((site, code, text));
        }
        outcomes.sort();
        outcomes
    }
}

/// As the reference.
fn rules() -> Rules {
    let limit = RateLimit { count: 999, interval: Duration::HOUR };
    Rules { limit, questions: None, answer_time: std::time::Duration::from_secs(300), minimum_sites: 1 }
}

/// All belong to one parent organisation: `p` as its portal, the others as data integration centres.
fn members(tx: &mut Transaction<'_>) -> Result<(), store::StoreError> {
    let reference = |kind: &str, id: &str| Object::new().with("reference", format!("{kind}/{id}"));
    tx.create(Resource::new("Organization"), "organization-mii")?;
    for (name, role) in [("p", "HRP"), ("a", "DIC"), ("b", "DIC")] {
        let mut member = Resource::new("OrganizationAffiliation");
        member.set("active", true);
        member.set("organization", reference("Organization", "organization-mii"));
        member.set("participatingOrganization", reference("Organization", &format!("organization-{name}")));
        member.push("endpoint", reference("Endpoint", &format!("endpoint-{name}")));
        let role = Object::new().with("system", "http://dsf.dev/fhir/CodeSystem/organization-role").with("code", role);
        member.push("code", Object::new().with("coding", vec![role.into()]));
        tx.create(member, &format!("member-{name}"))?;
    }
    Ok(())
}

/// Stores a question; the id of its Measure.
async fn question(node: &Node, definition: &str, content_type: &str) -> String {
    let (measure_id, library_id) = (uuid::Uuid::new_v4().to_string(), uuid::Uuid::new_v4().to_string());
    let url = format!("urn:uuid:{library_id}");
    let mut library = Resource::new("Library");
    library.set("url", url.as_str());
    let data = base64::engine::general_purpose::STANDARD.encode(definition);
    library.push("content", Object::new().with("contentType", content_type).with("data", data));
    let mut measure = Resource::new("Measure");
    measure.push("library", url);
    let id = measure_id.clone();
    node.write(move |tx| {
        tx.create(library, &library_id)?;
        tx.create(measure, &measure_id)
    })
    .await;
    id
}

fn from_portal(process: &str, message: &str, correlation: Option<&str>, measure: &str) -> Resource {
    let key = uuid::Uuid::new_v4().to_string();
    let mut task = new_task(&format!("{BASE}/bpe/Process/{process}|1.0"), message, Some(&key), correlation);
    task.set("requester", task::organization_reference("p"));
    let reference = Object::new().with("reference", measure);
    task.push("input", task::parameter(FEASIBILITY, "measure-reference").with("valueReference", reference));
    task
}

fn request(measure: &str) -> Resource {
    from_portal("feasibilityRequest", "feasibilityRequestMessage", None, measure)
}

fn execution(measure: &str) -> Resource {
    from_portal("feasibilityExecute", EXECUTE, Some(&uuid::Uuid::new_v4().to_string()), measure)
}

fn code_of(parameter: &Value, system: &str) -> Option<String> {
    let coding = parameter.get("type")?.list("coding").first()?;
    if coding.str("system") == Some(system) { coding.str("code").map(str::to_owned) } else { None }
}

async fn read_report(node: &Node, url: &str) -> Resource {
    let id = url.strip_prefix(&format!("{}/MeasureReport/", base_url(node.name))).unwrap().to_owned();
    let read = node.write(move |tx| tx.read(ResourceType::MeasureReport, &id)).await;
    (*read.current().unwrap().resource).clone()
}

fn count_of(report: &Resource) -> i64 {
    match report.list("group")[0].list("population")[0].get("count") {
        Some(Value::Number(count)) => count.as_i64().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn tags(report: &Resource) -> Vec<&str> {
    let tags = report.get("meta").map_or(&[][..], |meta| meta.list("tag"));
    tags.iter().filter(|tag| tag.str("system") == Some(TAG)).filter_map(|tag| tag.str("code")).collect()
}

/// The reference that an output or input of a Task gives to a report.
fn report_of(task: &Resource, list: &str) -> String {
    let found = task.list(list).iter().find(|item| code_of(item, FEASIBILITY).as_deref() == Some(REPORT));
    found.and_then(|item| item.get("valueReference")?.str("reference")).unwrap().to_owned()
}

fn answered(site: &str, count: u64) -> (String, String, String) {
    (site.to_owned(), "answered".to_owned(), count.to_string())
}

async fn results(node: &Node) -> Vec<Resource> {
    let is_result = |task: &Resource| task::message_input(task, terms::MESSAGE_NAME) == Some(RESULT);
    node.tasks().await.into_iter().filter(is_result).collect()
}

// === cases ===

#[tokio::test]
async fn feasibility_a01_every_site_answers_and_the_portal_keeps_copies() {
    let consortium = Consortium::new().await;
    let id = consortium.ask("40").await;
    consortium.network.settle().await;
    assert_eq!(consortium.outcomes(&id).await, [answered("a", 40), answered("b", 40)]);
    assert_eq!(consortium.portal().status(&id).await, "completed");
    let request = consortium.portal().task(&id).await;
    let results = results(consortium.portal()).await;
    assert_eq!(results.len(), 2);
    for result in &results {
        assert_eq!(result.str("status"), Some("completed"));
        let key = |task| task::message_input(task, terms::BUSINESS_KEY).map(str::to_owned);
        assert_eq!(key(result), key(&request));
        let copy = read_report(consortium.portal(), &report_of(result, "output")).await;
        assert_eq!((tags(&copy), count_of(&copy)), (vec!["LOCAL"], 40));
        let site = result.get("requester").and_then(|requester| requester.get("identifier")?.str("value")).unwrap();
        let site = consortium.network.nodes.iter().find(|node| node.name == site).unwrap();
        let original = read_report(site, &report_of(result, "input")).await;
        assert_eq!(tags(&original), ["LOCAL", "ORGANIZATION"]);
        assert_eq!(original.str("measure").map(|url| url.starts_with(&base_url("p"))), Some(true));
    }
    consortium.network.assert_quiet().await;
}

#[tokio::test]
async fn every_feasibility_task_is_valid_against_our_and_the_published_profiles() {
    let consortium = Consortium::new().await;
    consortium.network.post.plan("b", &[Fault::Unreachable]);
    let id = consortium.ask("40").await;
    consortium.network.settle().await;
    let partners: Arc<dyn Partners> = Arc::new(consortium.reach.clone());
    let counts: Arc<dyn Counts> = Arc::new(Stated);
    let ours: Plugin = plugin("1.0", &partners, &counts, rules());
    let registries = wire::registries(&ours, "plugins/mii-process-feasibility");
    let sent = consortium.network.post.sent.lock().unwrap().clone();
    assert_eq!(sent.len(), 3);
    for (_, task) in &sent {
        wire::assert_valid(task, &registries);
    }
    let mut stored = results(consortium.portal()).await;
    stored.push(consortium.portal().task(&id).await);
    stored.extend(consortium.site().tasks().await);
    assert_eq!(stored.len(), 3);
    for task in &mut stored {
        let profile = match task::message_input(task, terms::MESSAGE_NAME) {
            Some(RESULT) => "feasibility-task-single-dic-result",
            Some(EXECUTE) => "feasibility-task-execute",
            _ => "feasibility-task-request",
        };
        let profile = format!("{BASE}/fhir/StructureDefinition/{profile}|1.0");
        task.set("meta", Object::new().with("profile", vec![profile.into()]));
        wire::assert_valid(task, &registries);
    }
}

#[tokio::test]
async fn feasibility_a05_questions_beyond_the_rate_are_refused_and_later_ones_are_not() {
    let consortium = Consortium::with_limit(3).await;
    let measure = consortium.measure("40", "application/json").await;
    for asked in 0..8 {
        let task = consortium.order(&measure).await;
        let reason = task.get("statusReason").and_then(|reason| reason.str("text"));
        let expected =
            if asked < 3 { ("completed", None) } else { ("failed", Some("The request rate limit has been exceeded.")) };
        assert_eq!((task.str("status").unwrap(), reason), expected, "question {asked}");
    }
    assert_eq!(consortium.network.post.sent_to("p", RESULT).len(), 3);
    // Refused questions do not prolong the refusal, and a restart neither forgets nor latches.
    consortium.site().restart().await;
    assert_eq!(consortium.order(&measure).await.str("status"), Some("failed"));
    consortium.network.clock.advance(Duration::minutes(61));
    assert_eq!(consortium.order(&measure).await.str("status"), Some("completed"));
}

#[tokio::test]
async fn feasibility_a06_a_site_that_cannot_be_asked_is_an_outcome() {
    let consortium = Consortium::new().await;
    consortium.network.post.plan("b", &[Fault::Unreachable]);
    let id = consortium.ask("40").await;
    consortium.network.settle().await;
    let not_sent = ("b".to_owned(), "not-sent".to_owned(), "connection refused".to_owned());
    assert_eq!(consortium.outcomes(&id).await, [answered("a", 40), not_sent]);
    assert_eq!(consortium.portal().status(&id).await, "completed");
    consortium.network.assert_quiet().await;
}

#[tokio::test]
async fn feasibility_a07_a_site_that_does_not_answer_is_waited_for_and_is_too_late_then() {
    let consortium = Consortium::new().await;
    consortium.network.post.plan("b", &[Fault::Swallowed]);
    let id = consortium.ask("40").await;
    consortium.network.settle().await;
    assert_eq!(consortium.portal().status(&id).await, "in-progress");
    consortium.network.pass(Duration::minutes(5) + Duration::SECOND).await;
    let missing = ("b".to_owned(), "no-answer".to_owned(), "no answer within the time".to_owned());
    assert_eq!(consortium.outcomes(&id).await, [answered("a", 40), missing]);
    assert_eq!(consortium.portal().status(&id).await, "completed");
    // The answer of b to what it was asked comes after all.
    let asked = consortium.network.post.sent_to("b", EXECUTE).remove(0);
    let late = consortium.network.nodes[2].create(asked).await;
    consortium.network.pass(Duration::minutes(2)).await;
    assert_eq!(consortium.network.nodes[2].status(&late).await, "completed");
    let results = results(consortium.portal()).await;
    let statuses: Vec<_> = results.iter().filter_map(|result| result.str("status")).collect();
    assert_eq!(statuses.iter().filter(|status| **status == "failed").count(), 1, "{statuses:?}");
    assert_eq!(consortium.outcomes(&id).await.len(), 2);
    consortium.network.assert_quiet().await;
}

#[tokio::test]
async fn a_site_that_does_not_answer_is_waited_for_as_long_as_the_node_says() {
    let rules = Rules { answer_time: std::time::Duration::from_secs(20), ..rules() };
    let consortium = Consortium::with_rules(rules).await;
    consortium.network.post.plan("b", &[Fault::Swallowed]);
    let id = consortium.ask("40").await;
    consortium.network.settle().await;
    consortium.network.pass(Duration::seconds(19)).await;
    assert_eq!(consortium.portal().status(&id).await, "in-progress");
    consortium.network.pass(Duration::seconds(2)).await;
    assert_eq!(consortium.portal().status(&id).await, "completed");
    assert_eq!(consortium.outcomes(&id).await.len(), 2);
}

#[tokio::test]
async fn too_few_sites_are_not_asked() {
    let consortium = Consortium::with_rules(Rules { minimum_sites: 3, ..rules() }).await;
    let id = consortium.ask("40").await;
    consortium.network.settle().await;
    let error = error_of(&consortium.portal().task(&id).await).unwrap();
    assert!(error.contains("2 sites could be asked, fewer than the 3"), "{error}");
    assert_eq!(consortium.network.post.sent_to("a", EXECUTE), []);
}

#[tokio::test]
async fn the_budget_of_questions_is_spent_by_new_ones_alone_and_survives_restarts() {
    let consortium = Consortium::with_rules(Rules { questions: Some(2), ..rules() }).await;
    let mut measures = Vec::new();
    for definition in ["40", "50", "60"] {
        measures.push(consortium.measure(definition, "application/json").await);
    }
    let statuses = async |order: &[usize]| {
        let mut statuses = Vec::new();
        for number in order {
            statuses.push(consortium.order(&measures[*number]).await.str("status").unwrap().to_owned());
        }
        statuses
    };
    assert_eq!(statuses(&[0, 0, 1, 2, 0]).await, ["completed", "completed", "completed", "failed", "completed"]);
    consortium.site().restart().await;
    consortium.connect(consortium.site());
    assert_eq!(statuses(&[2, 1]).await, ["failed", "completed"]);
    let refused = consortium.order(&measures[2]).await;
    assert!(error_of(&refused).unwrap().contains("2 different questions in thirty days"), "{refused:?}");
    consortium.network.clock.advance(Duration::days(31));
    assert_eq!(statuses(&[2]).await, ["completed"]);
}

#[tokio::test]
async fn feasibility_a16_both_versions_run_beside_each_other() {
    let consortium = Consortium::new().await;
    let first = consortium.ask("40").await;
    let measure = question(consortium.portal(), "50", "application/json").await;
    let mut second = request(&format!("Measure/{measure}"));
    let process = format!("{BASE}/bpe/Process/feasibilityRequest|1.1");
    second.set("instantiatesCanonical", process.as_str());
    let second = consortium.portal().create(second).await;
    consortium.network.settle().await;
    assert_eq!(consortium.outcomes(&first).await, [answered("a", 40), answered("b", 40)]);
    assert_eq!(consortium.outcomes(&second).await, [answered("a", 50), answered("b", 50)]);
    let sent = consortium.network.post.sent_to("a", EXECUTE);
    let versions: Vec<_> =
        sent.iter().map(|task| task.str("instantiatesCanonical").unwrap().rsplit('|').next().unwrap()).collect();
    assert_eq!(versions, ["1.0", "1.1"]);
    for task in results(consortium.portal()).await {
        let canonical = task.str("instantiatesCanonical").unwrap().to_owned();
        let asked = if canonical.ends_with("|1.1") { 50 } else { 40 };
        assert_eq!(count_of(&read_report(consortium.portal(), &report_of(&task, "output")).await), asked);
    }
    consortium.network.assert_quiet().await;
}

#[tokio::test]
async fn feasibility_a08_a_request_that_is_old_when_it_begins_asks_nobody() {
    let consortium = Consortium::new().await;
    let measure = question(consortium.portal(), "40", "application/json").await;
    let id = consortium.portal().store_only(request(&format!("Measure/{measure}"))).await;
    consortium.network.clock.advance(Duration::minutes(6));
    consortium.portal().restart().await;
    consortium.connect(consortium.portal());
    super::takeover::start(consortium.portal()).await;
    consortium.network.settle().await;
    let request = consortium.portal().task(&id).await;
    let error = error_of(&request);
    assert!(error.as_ref().is_some_and(|error| error.contains("stale task")), "{error:?} {request:?}");
    assert_eq!(consortium.network.post.sent_to("a", EXECUTE), []);
    consortium.network.assert_quiet().await;
}

#[tokio::test]
async fn feasibility_a10_to_a14_a_question_that_cannot_be_counted_fails_and_is_not_answered_with_zero() {
    let consortium = Consortium::new().await;
    let good = consortium.measure("40", "application/json").await;
    let without_json = consortium.measure("40", "text/cql").await;
    let unknown = consortium.measure("no number", "application/json").await;
    let cases = [
        ("b", good.clone(), "has the role HRP in no network"),
        ("p", good.replace("https://p.", "https://third."), "no Measure at the endpoint of its requester"),
        ("p", format!("{}/Library/x", base_url("p")), "no Measure at the endpoint of its requester"),
        (
            "p",
            format!("{}/Measure/7c4d5d34-0f0e-4f6b-9d38-0a4a3a9d6c11", base_url("p")),
            "not one Measure with its Library",
        ),
        ("p", without_json, "the question has no definition"),
        ("p", unknown, "a term of the question is not known here"),
    ];
    for (requester, measure, expected) in cases {
        let mut task = execution(&measure);
        task.set("requester", task::organization_reference(requester));
        let id = consortium.site().create(task).await;
        consortium.network.pass(Duration::minutes(2)).await;
        let task = consortium.site().task(&id).await;
        assert_eq!(task.str("status"), Some("failed"));
        let error = error_of(&task).unwrap();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(consortium.network.post.sent_to("p", RESULT), []);
    assert_eq!(consortium.network.post.sent_to("b", RESULT), []);
    consortium.network.assert_quiet().await;
}

#[tokio::test]
async fn feasibility_a17_and_a18_restarts_while_a_question_is_open_lose_and_double_nothing() {
    let consortium = Consortium::new().await;
    let id = consortium.ask("40").await;
    let mut is_done = false;
    for _ in 0..100 {
        for node in &consortium.network.nodes {
            node.restart().await;
            consortium.connect(node);
            // One step of one worker, then the next crash.
            let _ = node.run_jobs().await || node.send().await || node.run_work().await;
        }
        consortium.network.clock.advance(Duration::seconds(1));
        is_done = consortium.portal().status(&id).await == "completed";
        if is_done {
            break;
        }
    }
    assert!(is_done, "{:?}", consortium.outcomes(&id).await);
    consortium.network.pass(Duration::minutes(3)).await;
    assert_eq!(consortium.outcomes(&id).await, [answered("a", 40), answered("b", 40)]);
    assert_eq!(results(consortium.portal()).await.len(), 2);
    consortium.network.assert_quiet().await;
}

#[tokio::test]
async fn feasibility_a19_a_second_answer_of_a_site_changes_nothing() {
    let consortium = Consortium::new().await;
    let id = consortium.ask("40").await;
    consortium.network.settle().await;
    let mut second = consortium.network.post.sent_to("p", RESULT).remove(0);
    second.remove("identifier");
    let second = consortium.portal().create(second).await;
    consortium.network.pass(Duration::minutes(2)).await;
    assert_eq!(consortium.portal().status(&second).await, "failed");
    assert_eq!(consortium.outcomes(&id).await, [answered("a", 40), answered("b", 40)]);
    consortium.network.assert_quiet().await;
}

#[tokio::test]
async fn an_answer_of_no_use_is_the_outcome_of_its_site_alone() {
    let consortium = Consortium::new().await;
    let id = consortium.ask("40").await;
    while consortium.portal().run_jobs().await || consortium.portal().send().await {}
    // Both are asked. a refers to a report that is elsewhere, and somebody answers in the place of b.
    for (site, sender) in [("a", "a"), ("b", "a")] {
        let asked = consortium.network.post.sent_to(site, EXECUTE).remove(0);
        let key = |name| task::message_input(&asked, name).map(str::to_owned);
        let (business, correlation) = (key(terms::BUSINESS_KEY), key(terms::CORRELATION_KEY));
        let process = format!("{BASE}/bpe/Process/feasibilityRequest|1.0");
        let mut answer = new_task(&process, RESULT, business.as_deref(), correlation.as_deref());
        answer.set("requester", task::organization_reference(sender));
        let elsewhere = Object::new().with("reference", "https://third.example/fhir/MeasureReport/x");
        answer.push("input", task::parameter(FEASIBILITY, REPORT).with("valueReference", elsewhere));
        consortium.portal().create(answer).await;
    }
    while consortium.portal().run_work().await || consortium.portal().run_jobs().await {}
    let outcomes = consortium.outcomes(&id).await;
    let expected = [
        ("a", "unusable", "the result refers to no MeasureReport at the endpoint of its site"),
        ("b", "unusable", "the result was not sent by the site that was asked"),
    ];
    assert_eq!(outcomes, expected.map(|(site, code, text)| (site.to_owned(), code.to_owned(), text.to_owned())));
    assert_eq!(consortium.portal().status(&id).await, "completed");
    consortium.network.pass(Duration::minutes(3)).await;
    consortium.network.assert_quiet().await;
}
