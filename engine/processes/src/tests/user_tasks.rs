//! User tasks: a QuestionnaireResponse that a person completes moves the instance, in one transaction.

use fhir::{Object, Resource, ResourceType, questionnaire};
use store::ReadFilter;
use time::Duration;

use super::models;
use super::support::{Network, Node, error_of, new_task};
use super::work::notes;
use crate::plugin::{Implementations, Plugin};
use crate::runtime::AnswerError;
use crate::step::{ServiceStep, StepContext, StepError};
use crate::user_task::{self, UserTaskListener};
use crate::{task, terms};

const FORM: &str = "http://test.org/fhir/Questionnaire/release|1.0";

const START: &str = r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent>"#;

/// Bodies by name; `TASK` is the user task `release` without its end.
const BODIES: &[(&str, &str)] = &[
    (
        "asks",
        r#"<sequenceFlow id="f1" sourceRef="start" targetRef="release"/>
        TASK</userTask><sequenceFlow id="f2" sourceRef="release" targetRef="read"/>
        <serviceTask id="read" camunda:class="Read"/><sequenceFlow id="f3" sourceRef="read" targetRef="end"/><endEvent id="end"/>"#,
    ),
    (
        "prefills",
        r#"<sequenceFlow id="f0" sourceRef="start" targetRef="list"/><serviceTask id="list" camunda:class="People"/>
        <sequenceFlow id="f1" sourceRef="list" targetRef="release"/>
        TASK<extensionElements><camunda:taskListener class="Prefill" event="create">
          <camunda:field name="practitionerRole" stringValue="DIC_USER"/>
          <camunda:field name="practitioners"><camunda:expression>${people}</camunda:expression></camunda:field>
          <camunda:field name="taskOutputSystem" stringValue="http://test.org/s"/>
          <camunda:field name="taskOutputCode" stringValue="answer"/>
          <camunda:field name="taskOutputVersion" stringValue="1.0"/>
        </camunda:taskListener></extensionElements></userTask><sequenceFlow id="f2" sourceRef="release" targetRef="end"/><endEvent id="end"/>"#,
    ),
    (
        "waits",
        r#"<sequenceFlow id="f1" sourceRef="start" targetRef="release"/>
        TASK</userTask><sequenceFlow id="f2" sourceRef="release" targetRef="end"/><endEvent id="end"/>
        <boundaryEvent id="late" attachedToRef="release"><timerEventDefinition><timeDuration>PT1H</timeDuration></timerEventDefinition></boundaryEvent>
        <sequenceFlow id="f3" sourceRef="late" targetRef="note"/>
        <boundaryEvent id="stop" attachedToRef="release"><messageEventDefinition messageRef="go"/></boundaryEvent>
        <sequenceFlow id="f4" sourceRef="stop" targetRef="note"/>
        <serviceTask id="note" camunda:class="Note"/><sequenceFlow id="f5" sourceRef="note" targetRef="end"/>"#,
    ),
    (
        "rejectable",
        r#"<sequenceFlow id="f1" sourceRef="start" targetRef="release"/>
        TASK</userTask><sequenceFlow id="f2" sourceRef="release" targetRef="end"/><endEvent id="end"/>
        <boundaryEvent id="no" attachedToRef="release"><errorEventDefinition camunda:errorCodeVariable="code" camunda:errorMessageVariable="text"/></boundaryEvent>
        <sequenceFlow id="f3" sourceRef="no" targetRef="note"/>
        <serviceTask id="note" camunda:class="Note"/><sequenceFlow id="f5" sourceRef="note" targetRef="end"/>"#,
    ),
    (
        "twice",
        r#"<sequenceFlow id="f1" sourceRef="start" targetRef="release"/>
        TASK</userTask><sequenceFlow id="f2" sourceRef="release" targetRef="confirm"/>
        <userTask id="confirm" camunda:formKey="http://test.org/fhir/Questionnaire/release|1.0"><extensionElements>
          <camunda:taskListener class="dev.dsf.bpe.v2.activity.DefaultUserTaskListener" event="create">
          <camunda:field name="fourEyes" stringValue="start, release"/></camunda:taskListener></extensionElements></userTask>
        <sequenceFlow id="f3" sourceRef="confirm" targetRef="end"/><endEvent id="end"/>"#,
    ),
    (
        "unknown",
        r#"<sequenceFlow id="f1" sourceRef="start" targetRef="release"/>
        <userTask id="release" camunda:formKey="http://test.org/fhir/Questionnaire/other|1.0"/>
        <sequenceFlow id="f2" sourceRef="release" targetRef="end"/><endEvent id="end"/>"#,
    ),
    (
        "nobody",
        r#"<sequenceFlow id="f1" sourceRef="start" targetRef="release"/>
        TASK<extensionElements><camunda:taskListener class="dev.dsf.bpe.v1.activity.DefaultUserTaskListener" event="create">
          <camunda:field name="practitioner" stringValue=" "/></camunda:taskListener></extensionElements></userTask>
        <sequenceFlow id="f2" sourceRef="release" targetRef="end"/><endEvent id="end"/>"#,
    ),
];

/// Leaves the answer as an output.
struct Read;

impl ServiceStep for Read {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let answer = context.variable(user_task::ANSWER).unwrap_or_default();
        let status = answer.get("status").and_then(serde_json::Value::as_str).unwrap_or_default();
        let released = answer.pointer("/item/3/answer/0/valueBoolean").and_then(serde_json::Value::as_bool);
        let text = format!("{status}/{released:?}");
        context.add_output(task::string_parameter(terms::BPMN_MESSAGE, "note", &text));
        Ok(())
    }
}

struct Prefill;

impl UserTaskListener for Prefill {
    fn before_create(&self, context: &mut StepContext<'_, '_>, response: &mut Resource) -> Result<(), StepError> {
        assert!(questionnaire::set_answer(response, "release", Some(Object::new().with("valueBoolean", true))));

        context.set("filled", true);
        Ok(())
    }
}

fn plugins() -> Vec<Plugin> {
    let task = format!(r#"<userTask id="release" camunda:formKey="{FORM}">"#);
    let models =
        BODIES.iter().map(|(name, body)| models::bpmn(name, "1.0", &format!("{START}{}", body.replace("TASK", &task))));
    let mut plugin = models::plugin(models.collect());
    let own = Implementations::default()
        .with_service("Read", Read)
        .with_service("People", People)
        .with_user_task("Prefill", Prefill);
    plugin.implementations.extend(&own);
    vec![plugin]
}

struct People;

impl ServiceStep for People {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        context.set("people", serde_json::json!(["ann@test.org", "http://test.org/sid|bob"]));
        Ok(())
    }
}

async fn network() -> Network {
    let network = Network::with_plugins(&["a"], plugins).await;
    network.nodes[0].write(|tx| tx.create(form(), FORM_ID)).await;
    network
}

pub(super) const FORM_ID: &str = "f7d2f1b8-0a5b-4b9e-9d4e-0c3b1f7a2d10";

pub(super) fn form() -> Resource {
    let item = |link_id: &str, kind: &str| {
        Object::new().with("linkId", link_id).with("text", "text").with("type", kind).with("required", true).into()
    };
    let mut questionnaire = Resource::new("Questionnaire");
    questionnaire.set("url", "http://test.org/fhir/Questionnaire/release");
    questionnaire.set("version", "1.0");
    questionnaire.set("status", "active");
    questionnaire.set(
        "item",
        vec![
            item("business-key", "string"),
            item("user-task-id", "string"),
            item("explain", "display"),
            item("release", "boolean"),
        ],
    );
    questionnaire
}

async fn start(node: &Node, process: &str) -> String {
    node.create(new_task(&format!("http://test.org/bpe/Process/{process}|1.0"), "m", Some("A"), None)).await
}

pub(super) async fn responses(node: &Node) -> Vec<Resource> {
    let query = fhir::search::parse_query(ResourceType::QuestionnaireResponse, "_count=100&_sort=_lastUpdated");
    let found = node.write(move |tx| tx.search(&query, &ReadFilter::everything())).await;
    found.matches.into_iter().map(|stored| (*stored.resource).clone()).collect()
}

async fn response(node: &Node, id: &str) -> Resource {
    let id = id.to_owned();
    let found = node.write(move |tx| tx.read(ResourceType::QuestionnaireResponse, &id)).await.current();
    (*found.unwrap().resource).clone()
}

/// The only one that is open.
async fn open(node: &Node) -> Resource {
    let mut open = responses(node).await;
    open.retain(|response| response.str("status") == Some("in-progress"));
    assert_eq!(open.len(), 1);
    open.pop().unwrap()
}

/// What the endpoint does with an update that its rules permit.
pub(super) async fn update(node: &Node, mut response: Resource, status: &str, person: &str) -> Result<(), AnswerError> {
    response.set("status", status);
    if status == "completed" {
        let identifier =
            Object::new().with("system", "http://dsf.dev/sid/practitioner-identifier").with("value", person);
        response.set("author", Object::new().with("type", "Practitioner").with("identifier", identifier));
        response.set("authored", "2026-01-01T00:00:00Z");
    }
    let runtime = node.runtime();
    let store = node.store();
    let updated = store.write(move |tx| {
        let id = response.id().unwrap().to_owned();
        let stored = tx.update(response, &id, None)?;
        runtime.answered(tx, &stored.resource)
    });
    updated.await
}

#[tokio::test]
async fn bpmn_018_a_user_task_is_a_response_with_a_placeholder_for_every_item() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = start(node, "asks").await;
    assert_eq!(node.status(&id).await, "in-progress");
    let asked = open(node).await;
    assert_eq!(asked.str("questionnaire"), Some(FORM));
    assert_eq!(asked.profiles().next(), Some("http://dsf.dev/fhir/StructureDefinition/questionnaire-response"));
    assert_eq!(user_task::person_of(&asked, "author").unwrap().1, "a");
    let links: Vec<_> = asked.list("item").iter().filter_map(|item| item.str("linkId")).collect();
    assert_eq!(links, ["business-key", "user-task-id", "explain", "release"]);
    let string = |link| questionnaire::answer(&asked, link).and_then(|answer| answer.str("valueString"));
    assert_eq!((string("business-key"), string("user-task-id")), (Some("A"), asked.id()));
    assert!(questionnaire::item(&asked, "explain").unwrap().get("answer").is_none());
    let placeholder = questionnaire::answer(&asked, "release").and_then(|answer| answer.get("valueBoolean")?.as_bool());
    assert_eq!(placeholder, Some(false));
}

#[tokio::test]
async fn bpmn_019_a_completed_answer_is_amended_and_moves_the_instance_in_one_transaction() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = start(node, "asks").await;
    let mut asked = open(node).await;
    assert!(questionnaire::set_answer(&mut asked, "release", Some(Object::new().with("valueBoolean", true))));
    // A crash before the answer changes nothing.
    node.restart().await;
    update(node, asked.clone(), "completed", "ann").await.unwrap();
    assert_eq!(response(node, asked.id().unwrap()).await.str("status"), Some("amended"));
    assert_eq!(notes(&node.task(&id).await), ["amended/Some(true)"]);
    assert_eq!(node.history(&id).await, ["requested", "in-progress", "completed"]);
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_020_without_its_questionnaire_the_task_fails() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = start(node, "unknown").await;
    let reason = "Process testorg_unknown|1.0 has fatal error in step release, reason: Could not find Questionnaire resource with url|version=http://test.org/fhir/Questionnaire/other|1.0";
    assert_eq!(error_of(&node.task(&id).await).as_deref(), Some(reason));
    assert!(responses(node).await.is_empty());
    network.assert_quiet().await;
}

#[tokio::test]
async fn bpmn_021_an_answer_of_an_unknown_user_task_changes_nothing_else() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = start(node, "asks").await;
    let mut stray = open(node).await;
    let other = "0b6b0a43-58ab-4a3f-a6f3-8d2c4c1d6b55";
    let value = Object::new().with("valueString", other);
    assert!(questionnaire::set_answer(&mut stray, "user-task-id", Some(value)));
    let copy = stray.clone();
    node.write(move |tx| tx.create(copy, other)).await;
    stray.set("id", other);
    update(node, stray, "completed", "ann").await.unwrap();
    assert_eq!(response(node, other).await.str("status"), Some("completed"));
    assert_eq!(node.status(&id).await, "in-progress");
    // And one without any.
    let mut bare = Resource::new("QuestionnaireResponse");
    bare.set("status", "in-progress");
    let bare_id = "5a1d8d8c-9a0c-4e55-8c3f-5f7b0a5f0e11";
    let copy = bare.clone();
    node.write(move |tx| tx.create(copy, bare_id)).await;
    bare.set("id", bare_id);
    update(node, bare, "completed", "ann").await.unwrap();
    assert_eq!(node.status(&id).await, "in-progress");
}

#[tokio::test]
async fn bpmn_022_bpmn_023_bpmn_024_people_roles_and_the_output_of_the_start_task_come_from_the_listener() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = start(node, "prefills").await;
    let asked = open(node).await;
    let extension = asked.list("extension").first().unwrap();
    assert_eq!(
        extension.str("url"),
        Some("http://dsf.dev/fhir/StructureDefinition/extension-questionnaire-authorization")
    );
    let parts: Vec<(&str, &str, &str)> = extension
        .list("extension")
        .iter()
        .map(|part| {
            let value = part.get("valueIdentifier").or_else(|| part.get("valueCoding")).unwrap();
            let code = value.str("value").or_else(|| value.str("code")).unwrap();
            (part.str("url").unwrap(), value.str("system").unwrap(), code)
        })
        .collect();
    let practitioner = "http://dsf.dev/sid/practitioner-identifier";
    assert_eq!(
        parts,
        [
            ("practitioner", practitioner, "ann@test.org"),
            ("practitioner", "http://test.org/sid", "bob"),
            ("practitioner-role", "http://dsf.dev/fhir/CodeSystem/practitioner-role", "DIC_USER"),
        ]
    );
    let filled = questionnaire::answer(&asked, "release").and_then(|answer| answer.get("valueBoolean")?.as_bool());
    assert_eq!(filled, Some(true));
    let task = node.task(&id).await;
    assert_eq!(task.str("status"), Some("in-progress"));
    let reference = task.list("output").first().and_then(|output| output.get("valueReference")?.str("reference"));
    assert_eq!(reference, Some(format!("QuestionnaireResponse/{}", asked.id().unwrap()).as_str()));
    update(node, asked, "completed", "ann@test.org").await.unwrap();
    assert_eq!(node.status(&id).await, "completed");
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_listener_that_names_nobody_does_not_open_the_task_to_everybody() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = start(node, "nobody").await;
    assert!(
        error_of(&node.task(&id).await).unwrap().contains("the field practitioner of user task release names nobody")
    );
    assert!(responses(node).await.is_empty());
}

#[tokio::test]
async fn bpmn_062_what_ends_the_wait_closes_the_response() {
    let network = network().await;
    let node = &network.nodes[0];
    // By a message.
    let id = start(node, "waits").await;
    let asked = open(node).await;
    let stop = node.create(new_task("http://test.org/bpe/Process/waits|1.0", "go", Some("A"), None)).await;
    assert_eq!(response(node, asked.id().unwrap()).await.str("status"), Some("stopped"));
    assert_eq!((node.status(&id).await, node.status(&stop).await), ("completed".to_owned(), "completed".to_owned()));
    // By the deadline.
    let id = start(node, "waits").await;
    let asked = open(node).await;
    network.clock.advance(Duration::minutes(61));
    network.settle().await;
    assert_eq!(response(node, asked.id().unwrap()).await.str("status"), Some("stopped"));
    assert_eq!(node.status(&id).await, "completed");
    // By the end of an instance that cannot be read any more.
    let id = start(node, "asks").await;
    let asked = open(node).await;
    super::failures::damage(node).await;
    node.restart().await;
    let (_, stopping) = tokio::sync::watch::channel(false);
    crate::runtime::take_over(&node.runtime(), &stopping).await.unwrap();
    assert_eq!(response(node, asked.id().unwrap()).await.str("status"), Some("stopped"));
    assert_eq!(node.status(&id).await, "failed");
    network.assert_quiet().await;
}

#[tokio::test]
async fn a_stopped_response_is_an_error_of_the_user_task() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = start(node, "rejectable").await;
    update(node, open(node).await, "stopped", "").await.unwrap();
    assert_eq!(notes(&node.task(&id).await), ["rejected/user task release was stopped"]);
    assert_eq!(node.status(&id).await, "completed");
    // Nobody planned for it.
    let id = start(node, "asks").await;
    update(node, open(node).await, "stopped", "").await.unwrap();
    assert_eq!(error_of(&node.task(&id).await).as_deref(), Some("user task release was stopped"));
    network.assert_quiet().await;
}

#[tokio::test]
async fn four_eyes_need_two_people() {
    let network = network().await;
    let node = &network.nodes[0];
    let id = start(node, "twice").await;
    update(node, open(node).await, "completed", "ann").await.unwrap();
    let second = open(node).await;
    let refused = update(node, second.clone(), "completed", "ann").await.unwrap_err();
    assert!(matches!(&refused, AnswerError::Refused(text) if text.contains("user task release")), "{refused}");
    assert_eq!(response(node, second.id().unwrap()).await.str("status"), Some("in-progress"), "nothing is kept");
    let mut as_starter = second.clone();
    as_starter.set("author", task::organization_reference("a"));
    as_starter.set("status", "completed");
    let runtime = node.runtime();
    let store = node.store();
    let refused = store.write(move |tx| {
        let id = as_starter.id().unwrap().to_owned();
        let stored = tx.update(as_starter, &id, None)?;
        runtime.answered(tx, &stored.resource)
    });
    assert!(matches!(refused.await, Err(AnswerError::Refused(text)) if text.contains("started the process")));
    update(node, second, "completed", "bob").await.unwrap();
    assert_eq!(node.status(&id).await, "completed");
    network.assert_quiet().await;
}
