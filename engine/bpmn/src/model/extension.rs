//! Reads the extension attributes and elements of Camunda 7 and Operaton.
//!
//! Each known name is either executed, or harmless (it concerns forms, history or assignment in a task list that a DSF node
//! does not have). Every other name of the engine's name spaces is refused, because leaving it out would change behaviour.

use super::reader::Errors;
use super::{Asynchronous, ExecutionListener, Field, FieldValue, Implementation, Parameter, TaskListener};
use crate::ListenerEvent;
use crate::timer::parse_retry_cycle;
use crate::xml::Element;

/// Attributes that change nothing here.
const HARMLESS_ATTRIBUTES: [&str; 19] = [
    "assignee",
    "candidateGroups",
    "candidateStarterGroups",
    "candidateStarterUsers",
    "candidateUsers",
    "diagramRelationId",
    "dueDate",
    "followUpDate",
    "formHandlerClass",
    "formRef",
    "formRefBinding",
    "formRefVersion",
    "initiator",
    "isStartableInTasklist",
    "jobPriority",
    "modelerTemplate",
    "modelerTemplateVersion",
    "priority",
    "taskPriority",
];

/// Extension elements that change nothing here.
const HARMLESS_EXTENSIONS: [&str; 2] = ["formData", "properties"];

const IMPLEMENTATION_ATTRIBUTES: [&str; 3] = ["class", "expression", "resultVariable"];
const FLOW_NODE_ATTRIBUTES: [&str; 4] = ["async", "asyncBefore", "asyncAfter", "exclusive"];
const FLOW_NODE_EXTENSIONS: [&str; 4] = ["executionListener", "failedJobRetryTimeCycle", "inputOutput", "field"];

/// Refuses what is not executed at a process.
pub(super) fn check_process(element: &Element, errors: &mut Errors) {
    check(element, element, &["versionTag", "historyTimeToLive"], &["executionListener"], errors);
}

/// Refuses what is not executed at a flow node.
pub(super) fn check_node(element: &Element, errors: &mut Errors) {
    let mut attributes = FLOW_NODE_ATTRIBUTES.to_vec();
    let mut extensions = FLOW_NODE_EXTENSIONS.to_vec();
    match &*element.name {
        "serviceTask" | "sendTask" => attributes.extend(IMPLEMENTATION_ATTRIBUTES),
        "userTask" => {
            attributes.push("formKey");
            extensions.push("taskListener");
        }
        // A form at the start concerns the starter's user interface only.
        "startEvent" => attributes.push("formKey"),
        _ => {}
    }
    check(element, element, &attributes, &extensions, errors);
}

/// Refuses what is not executed at an event definition.
pub(super) fn check_event_definition(event: &Element, definition: &Element, errors: &mut Errors) {
    let (attributes, extensions): (&[&str], &[&str]) = match &*definition.name {
        "messageEventDefinition" => (&IMPLEMENTATION_ATTRIBUTES, &["field"]),
        "errorEventDefinition" => (&["errorCodeVariable", "errorMessageVariable"], &[]),
        "conditionalEventDefinition" => (&["variableName", "variableEvents"], &[]),
        _ => (&[], &[]),
    };
    check(event, definition, attributes, extensions, errors);
}

/// Refuses what is not executed at a multi-instance marker.
pub(super) fn check_multi_instance(activity: &Element, element: &Element, errors: &mut Errors) {
    let mut attributes = FLOW_NODE_ATTRIBUTES.to_vec();
    attributes.extend(["collection", "elementVariable"]);
    check(activity, element, &attributes, &["failedJobRetryTimeCycle"], errors);
}

/// Refuses what is not executed at a sequence flow.
pub(super) fn check_flow(element: &Element, errors: &mut Errors) {
    check(element, element, &[], &["executionListener"], errors);
}

fn check(owner: &Element, element: &Element, attributes: &[&str], extensions: &[&str], errors: &mut Errors) {
    for (name, _) in element.engine_attributes() {
        if !attributes.contains(&name) && !HARMLESS_ATTRIBUTES.contains(&name) {
            errors.report(owner, format!("attribute camunda:{name} on {} is not executed", element.name));
        }
    }
    for extension in element.extensions() {
        if !extensions.contains(&&*extension.name) && !HARMLESS_EXTENSIONS.contains(&&*extension.name) {
            errors.report_at(
                owner.label(),
                extension.line,
                format!("extension camunda:{} on {} is not executed", extension.name, element.name),
            );
        }
    }
}

/// `asyncBefore`, `asyncAfter`, `exclusive` and the retry cycle.
pub(super) fn asynchronous(element: &Element, errors: &mut Errors) -> Asynchronous {
    let mut retry = None;
    for cycle in element.engine_extensions("failedJobRetryTimeCycle") {
        match parse_retry_cycle(&cycle.text) {
            Ok(parsed) => retry = Some(parsed),
            Err(error) => errors.report_at(element.label(), cycle.line, error.to_string()),
        }
    }
    Asynchronous {
        before: element.engine_flag("asyncBefore", false, errors) || element.engine_flag("async", false, errors),
        after: element.engine_flag("asyncAfter", false, errors),
        exclusive: element.engine_flag("exclusive", true, errors),
        retry,
    }
}

/// The implementation that an element names, if any.
pub(super) fn implementation(element: &Element, errors: &mut Errors) -> Option<Implementation> {
    let class = element.engine_attribute("class").map(str::trim).filter(|class| !class.is_empty());
    let expression = element.engine_attribute("expression").filter(|expression| !expression.is_empty());
    match (class, expression) {
        (Some(_), Some(_)) => {
            errors.report(element, "both camunda:class and camunda:expression are set");
            None
        }
        (Some(class), None) => Some(Implementation::Class { class: class.to_owned(), fields: fields(element, errors) }),
        (None, Some(text)) => Some(Implementation::Expression {
            expression: element.expression(text, errors)?,
            result_variable: element
                .engine_attribute("resultVariable")
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
        }),
        (None, None) => None,
    }
}

/// Injected fields of an element.
fn fields(element: &Element, errors: &mut Errors) -> Vec<Field> {
    element.engine_extensions("field").filter_map(|field| read_field(field, errors)).collect()
}

/// Injected fields that stand directly in a listener.
fn own_fields(listener: &Element, errors: &mut Errors) -> Vec<Field> {
    listener
        .children
        .iter()
        .filter(|child| child.in_engine() && &*child.name == "field")
        .filter_map(|field| read_field(field, errors))
        .collect()
}

fn read_field(field: &Element, errors: &mut Errors) -> Option<Field> {
    let Some(name) = field.attribute("name").filter(|name| !name.is_empty()) else {
        errors.report(field, "field has no name");
        return None;
    };
    let child = |name: &str| {
        field.children.iter().find(|child| child.in_engine() && &*child.name == name).map(|child| child.text.as_str())
    };
    let literal = field.attribute("stringValue").or_else(|| child("string"));
    let expression = field.attribute("expression").or_else(|| child("expression"));
    let value = match (literal, expression) {
        (Some(text), None) => FieldValue::Literal(text.to_owned()),
        (None, Some(text)) => FieldValue::Expression(field.expression(text.trim(), errors)?),
        _ => {
            errors.report(field, format!("field {name} needs exactly one of string and expression"));
            return None;
        }
    };
    Some(Field { name: name.to_owned(), value })
}

/// Execution listeners in document order.
pub(super) fn execution_listeners(element: &Element, errors: &mut Errors) -> Vec<ExecutionListener> {
    let mut listeners = Vec::new();
    for listener in element.engine_extensions("executionListener") {
        let event = match listener.attribute("event") {
            Some("start") => ListenerEvent::Start,
            Some("end") => ListenerEvent::End,
            Some("take") => ListenerEvent::Take,
            None if element.is_bpmn("sequenceFlow") => ListenerEvent::Take,
            other => {
                errors.report_at(
                    element.label(),
                    listener.line,
                    format!("event {:?} of an execution listener is unknown", other.unwrap_or_default()),
                );
                continue;
            }
        };
        if let Some(implementation) = listener_implementation(element, listener, errors) {
            listeners.push(ExecutionListener { event, implementation });
        }
    }
    listeners
}

/// Task listeners in document order.
pub(super) fn task_listeners(element: &Element, errors: &mut Errors) -> Vec<TaskListener> {
    let mut listeners = Vec::new();
    for listener in element.engine_extensions("taskListener") {
        let event = listener.attribute("event").unwrap_or_default().to_owned();
        if !["create", "assignment", "complete", "delete", "update"].contains(&event.as_str()) {
            errors.report_at(
                element.label(),
                listener.line,
                format!("event {event:?} of a task listener is not executed"),
            );
            continue;
        }
        match listener_implementation(element, listener, errors) {
            Some(Implementation::Class { class, fields }) => listeners.push(TaskListener { event, class, fields }),
            Some(Implementation::Expression { .. }) => {
                errors.report_at(element.label(), listener.line, "task listener with an expression is not executed");
            }
            None => {}
        }
    }
    listeners
}

fn listener_implementation(element: &Element, listener: &Element, errors: &mut Errors) -> Option<Implementation> {
    if let Some(class) = listener.attribute("class").map(str::trim).filter(|class| !class.is_empty()) {
        return Some(Implementation::Class { class: class.to_owned(), fields: own_fields(listener, errors) });
    }
    if let Some(text) = listener.attribute("expression").filter(|text| !text.is_empty()) {
        return Some(Implementation::Expression {
            expression: element.expression(text, errors)?,
            result_variable: None,
        });
    }
    errors.report_at(
        element.label(),
        listener.line,
        format!("{} without class or expression is not executed", listener.name),
    );
    None
}

/// Input (`inputParameter`) or output (`outputParameter`) parameters in document order.
pub(super) fn parameters(element: &Element, kind: &str, errors: &mut Errors) -> Vec<Parameter> {
    let mut parameters = Vec::new();
    let mappings = element.engine_extensions("inputOutput").flat_map(|mapping| mapping.children.iter());
    for parameter in mappings.filter(|child| child.in_engine() && &*child.name == kind) {
        let Some(name) = parameter.attribute("name").filter(|name| !name.is_empty()) else {
            errors.report_at(element.label(), parameter.line, format!("{kind} has no name"));
            continue;
        };
        if let Some(child) = parameter.children.first() {
            errors.report_at(
                element.label(),
                child.line,
                format!("{} in parameter {name} is not executed", child.name),
            );
            continue;
        }
        let text = parameter.text.trim();
        let value = if text.is_empty() { None } else { element.expression(text, errors) };
        parameters.push(Parameter { name: name.to_owned(), value });
    }
    parameters
}
