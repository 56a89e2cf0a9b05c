//! Small processes for the tests, `testorg_…|1.0`, canonical `http://test.org/bpe/Process/…`.

use crate::plugin::{Implementations, Plugin};
use crate::step::{Message, SendStep, ServiceStep, StepContext, StepError};
use crate::{task, terms};

/// Bodies of processes by name. `SEND` becomes the fields of a send element.
const MODELS: &[(&str, &str)] = &[
    (
        "hello",
        r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent>
        <sequenceFlow id="f1" sourceRef="start" targetRef="do"/>
        <serviceTask id="do" camunda:class="Note"/><sequenceFlow id="f2" sourceRef="do" targetRef="end"/><endEvent id="end"/>"#,
    ),
    // The start itself cannot be followed.
    (
        "broken",
        r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent>
        <sequenceFlow id="f1" sourceRef="start" targetRef="gate"/>
        <exclusiveGateway id="gate"/>
        <sequenceFlow id="f2" sourceRef="gate" targetRef="end"><conditionExpression>${missing == 'x'}</conditionExpression></sequenceFlow>
        <sequenceFlow id="f3" sourceRef="gate" targetRef="other"><conditionExpression>${missing == 'y'}</conditionExpression></sequenceFlow>
        <endEvent id="end"/><endEvent id="other"/>"#,
    ),
    // A gateway behind a step cannot be followed.
    (
        "late",
        r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent>
        <sequenceFlow id="f1" sourceRef="start" targetRef="do"/>
        <serviceTask id="do" camunda:class="Note"/><sequenceFlow id="f2" sourceRef="do" targetRef="gate"/>
        <exclusiveGateway id="gate"/>
        <sequenceFlow id="f3" sourceRef="gate" targetRef="end"><conditionExpression>${missing}</conditionExpression></sequenceFlow>
        <sequenceFlow id="f4" sourceRef="gate" targetRef="other"><conditionExpression>${missing}</conditionExpression></sequenceFlow>
        <endEvent id="end"/><endEvent id="other"/>"#,
    ),
    (
        "fails",
        r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent>
        <sequenceFlow id="f1" sourceRef="start" targetRef="do"/>
        <serviceTask id="do" camunda:class="Fail"/><sequenceFlow id="f2" sourceRef="do" targetRef="end"/><endEvent id="end"/>"#,
    ),
    // One of three branches fails while the others wait.
    (
        "branches",
        r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent>
        <sequenceFlow id="f1" sourceRef="start" targetRef="list"/>
        <serviceTask id="list" camunda:class="List"/><sequenceFlow id="f2" sourceRef="list" targetRef="sub"/>
        <subProcess id="sub"><multiInstanceLoopCharacteristics camunda:collection="${items}" camunda:elementVariable="item"/>
          <startEvent id="s"/><sequenceFlow id="g1" sourceRef="s" targetRef="gate"/>
          <exclusiveGateway id="gate" default="g3"/>
          <sequenceFlow id="g2" sourceRef="gate" targetRef="do"><conditionExpression>${item == 'two'}</conditionExpression></sequenceFlow>
          <sequenceFlow id="g3" sourceRef="gate" targetRef="wait"/>
          <intermediateCatchEvent id="wait"><messageEventDefinition messageRef="go"/></intermediateCatchEvent>
          <sequenceFlow id="g4" sourceRef="wait" targetRef="e"/>
          <serviceTask id="do" camunda:class="Fail"/><sequenceFlow id="g5" sourceRef="do" targetRef="e"/><endEvent id="e"/>
        </subProcess><sequenceFlow id="f3" sourceRef="sub" targetRef="end"/><endEvent id="end"/>"#,
    ),
    // BPMN errors: caught by code, caught by any, not caught.
    (
        "caught",
        concat!(
            r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent><sequenceFlow id="f1" sourceRef="start" targetRef="do"/>
        <serviceTask id="do" camunda:class="Throw"/><boundaryEvent id="b" attachedToRef="do"><errorEventDefinition errorRef="x" camunda:errorCodeVariable="code" camunda:errorMessageVariable="text"/></boundaryEvent>"#,
            r#"<sequenceFlow id="f2" sourceRef="do" targetRef="end"/><sequenceFlow id="f3" sourceRef="b" targetRef="note"/>
        <serviceTask id="note" camunda:class="Note"/><sequenceFlow id="f4" sourceRef="note" targetRef="end"/><endEvent id="end"/>"#,
        ),
    ),
    (
        "any",
        r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent><sequenceFlow id="f1" sourceRef="start" targetRef="do"/>
        <serviceTask id="do" camunda:class="Throw"/><boundaryEvent id="b" attachedToRef="do"><errorEventDefinition camunda:errorCodeVariable="code"/></boundaryEvent>
        <sequenceFlow id="f2" sourceRef="do" targetRef="end"/><sequenceFlow id="f3" sourceRef="b" targetRef="note"/>
        <serviceTask id="note" camunda:class="Note"/><sequenceFlow id="f4" sourceRef="note" targetRef="end"/><endEvent id="end"/>"#,
    ),
    (
        "uncaught",
        r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent><sequenceFlow id="f1" sourceRef="start" targetRef="do"/>
        <serviceTask id="do" camunda:class="Throw"/><boundaryEvent id="b" attachedToRef="do"><errorEventDefinition errorRef="y"/></boundaryEvent>
        <sequenceFlow id="f2" sourceRef="do" targetRef="end"/><sequenceFlow id="f3" sourceRef="b" targetRef="end"/><endEvent id="end"/>"#,
    ),
    // A join that one token never reaches.
    (
        "stuck",
        r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent><sequenceFlow id="f1" sourceRef="start" targetRef="gate"/>
        <exclusiveGateway id="gate" default="f2"/><sequenceFlow id="f2" sourceRef="gate" targetRef="join"/>
        <sequenceFlow id="f3" sourceRef="gate" targetRef="join"><conditionExpression>${false}</conditionExpression></sequenceFlow>
        <parallelGateway id="join"/><sequenceFlow id="f4" sourceRef="join" targetRef="end"/><endEvent id="end"/>"#,
    ),
    // Goes round for ever without waiting.
    (
        "endless",
        r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent><sequenceFlow id="f1" sourceRef="start" targetRef="do"/>
        <serviceTask id="do" camunda:class="Note"/><sequenceFlow id="f2" sourceRef="do" targetRef="do"/>"#,
    ),
    (
        "throw",
        r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent><sequenceFlow id="f1" sourceRef="start" targetRef="send"/>
        <intermediateThrowEvent id="send"><messageEventDefinition messageRef="m" camunda:class="Send">SEND</messageEventDefinition></intermediateThrowEvent>
        <sequenceFlow id="f2" sourceRef="send" targetRef="after"/><serviceTask id="after" camunda:class="Note"/>
        <sequenceFlow id="f3" sourceRef="after" targetRef="end"/><endEvent id="end"/>"#,
    ),
    (
        "last",
        r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent><sequenceFlow id="f1" sourceRef="start" targetRef="end"/>
        <endEvent id="end"><messageEventDefinition messageRef="m" camunda:class="Send">SEND</messageEventDefinition></endEvent>"#,
    ),
    // Waits for one message on the instance, with a timer.
    (
        "waits",
        r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent><sequenceFlow id="f1" sourceRef="start" targetRef="gate"/>
        <eventBasedGateway id="gate"/><sequenceFlow id="f2" sourceRef="gate" targetRef="go"/><sequenceFlow id="f3" sourceRef="gate" targetRef="timer"/>
        <intermediateCatchEvent id="go"><messageEventDefinition messageRef="go"/></intermediateCatchEvent>
        <intermediateCatchEvent id="timer"><timerEventDefinition><timeDuration>${execution.hasVariable('x') ? x : "PT30S"}</timeDuration></timerEventDefinition></intermediateCatchEvent>
        <sequenceFlow id="f4" sourceRef="go" targetRef="end"/><sequenceFlow id="f5" sourceRef="timer" targetRef="note"/>
        <serviceTask id="note" camunda:class="Note"/><sequenceFlow id="f6" sourceRef="note" targetRef="end"/><endEvent id="end"/>"#,
    ),
    // Receive tasks in parallel, each with its correlation key.
    (
        "keys",
        r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent><sequenceFlow id="f1" sourceRef="start" targetRef="list"/>
        <serviceTask id="list" camunda:class="List"/><sequenceFlow id="f2" sourceRef="list" targetRef="get"/>
        <receiveTask id="get" messageRef="go"><extensionElements><camunda:inputOutput><camunda:inputParameter name="correlationKey">${item}</camunda:inputParameter></camunda:inputOutput></extensionElements>
          <multiInstanceLoopCharacteristics camunda:collection="${items}" camunda:elementVariable="item"/></receiveTask>
        <sequenceFlow id="f3" sourceRef="get" targetRef="end"/><endEvent id="end"/>"#,
    ),
    // Waits for ten days and is then removed two days after its end.
    (
        "brief",
        r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent><sequenceFlow id="f1" sourceRef="start" targetRef="end"/><endEvent id="end"/>"#,
    ),
    // Sends a reply key.
    (
        "alternative",
        r#"<startEvent id="start"><messageEventDefinition messageRef="m"/></startEvent><sequenceFlow id="f1" sourceRef="start" targetRef="key"/>
        <serviceTask id="key" camunda:class="Alternative"/><sequenceFlow id="f2" sourceRef="key" targetRef="go"/>
        <intermediateCatchEvent id="go"><messageEventDefinition messageRef="go"/></intermediateCatchEvent>
        <sequenceFlow id="f3" sourceRef="go" targetRef="end"/><endEvent id="end"/>"#,
    ),
];

const FIELDS: &str = r#"<extensionElements>
    <camunda:field name="instantiatesCanonical"><camunda:string>http://test.org/bpe/Process/hello|1.0</camunda:string></camunda:field>
    <camunda:field name="messageName"><camunda:string>m</camunda:string></camunda:field>
    <camunda:field name="profile"><camunda:string>http://test.org/fhir/StructureDefinition/task|1.0</camunda:string></camunda:field>
  </extensionElements>"#;

/// The BPMN text of a process.
pub(super) fn bpmn(name: &str, version: &str, body: &str) -> &'static str {
    let time_to_live = if name == "brief" { r#" camunda:historyTimeToLive="P2D""# } else { "" };
    let body = body.replace("SEND", FIELDS);
    let text = format!(
        r#"<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:camunda="http://camunda.org/schema/1.0/bpmn" id="d" targetNamespace="t">
        <process id="testorg_{name}" isExecutable="true" camunda:versionTag="{version}"{time_to_live}>{body}</process>
        <message id="m" name="m"/><message id="go" name="go"/><error id="x" errorCode="X"/><error id="y" errorCode="Y"/></definitions>"#
    );
    Box::leak(text.into_boxed_str())
}

pub(super) fn body_of(name: &str) -> &'static str {
    MODELS.iter().find(|(known, _)| *known == name).unwrap().1
}

pub(super) fn plugins() -> Vec<Plugin> {
    let models = MODELS.iter().map(|(name, body)| bpmn(name, "1.0", body)).collect();
    vec![plugin(models)]
}

pub(super) fn plugin(models: Vec<&'static str>) -> Plugin {
    Plugin {
        name: "test",
        version: "1.0",
        date: "2026-01-01",
        models,
        resources: Vec::new(),
        implementations: implementations(),
    }
}

fn implementations() -> Implementations {
    Implementations::default()
        .with_service("Note", Note)
        .with_service("Fail", Fail)
        .with_service("Throw", Throw)
        .with_service("List", List)
        .with_service("Alternative", Alternative)
        .with_send("Send", Send)
}

/// Leaves an output that says how often it ran and what it saw.
struct Note;

impl ServiceStep for Note {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        let count = context.variable("notes").and_then(|count| count.as_u64()).unwrap_or(0) + 1;
        context.set("notes", count);
        if count <= 3 {
            let seen = [context.string("code"), context.string("text")].map(Option::unwrap_or_default).join("/");
            context.add_output(task::string_parameter(terms::BPMN_MESSAGE, "note", &seen));
        }
        Ok(())
    }
}

struct Fail;

impl ServiceStep for Fail {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        context.add_output(task::string_parameter(terms::BPMN_MESSAGE, "note", "before"));
        Err(StepError::Failed("the disk is on fire".to_owned()))
    }
}

struct Throw;

impl ServiceStep for Throw {
    fn execute(&self, _: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        Err(StepError::Bpmn { code: "X".to_owned(), message: Some("m".to_owned()) })
    }
}

struct List;

impl ServiceStep for List {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        context.set("items", serde_json::json!(["one", "two", "three"]));
        Ok(())
    }
}

struct Alternative;

impl ServiceStep for Alternative {
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError> {
        context.set("alternativeBusinessKey", "other-key");
        Ok(())
    }
}

/// Sends to node `b`, with the failure text of the default.
struct Send;

impl SendStep for Send {
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError> {
        context.set(
            "target",
            serde_json::json!({ "organizationIdentifierValue": "b", "endpointIdentifierValue": "b-endpoint" }),
        );
        Ok(Message {
            organization_identifier: "b".to_owned(),
            endpoint_identifier: "b-endpoint".to_owned(),
            endpoint_url: super::support::base_url("b"),
            correlation_key: None,
            inputs: Vec::new(),
        })
    }
}
