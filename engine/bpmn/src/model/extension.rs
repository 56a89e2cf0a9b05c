//! Reads the extension attributes and elements of Camunda 7 and Operaton.
//!
//! Each known name is either executed, or harmless: it concerns the diagram, or the form and the task list in which a person
//! would start a process. Every other name of the engine's name spaces is refused, because leaving it out would change
//! behaviour, or promise what nothing keeps.

use super::reader::Errors;
use super::{
    Asynchronous, ExecutionListener, Field, FieldValue, Implementation, Parameter, ParameterValue, TaskListener,
    activity,
};
use crate::expression::Expression;
use crate::timer::parse_retry_cycle;
use crate::xml::Element;
use crate::{ListenerEvent, limits};

/// Attributes that change nothing here.
const HARMLESS_ATTRIBUTES: [&str; 5] =
    ["diagramRelationId", "isStartableInTasklist", "modelerTemplate", "modelerTemplateIcon", "modelerTemplateVersion"];

/// Extension elements that change nothing here.
const HARMLESS_EXTENSIONS: [&str; 1] = ["properties"];

/// A form at the start concerns the user interface of who starts only.
const START_FORM_ATTRIBUTES: [&str; 4] = ["formKey", "formRef", "formRefBinding", "formRefVersion"];

const IMPLEMENTATION_ATTRIBUTES: [&str; 7] =
    ["class", "delegateExpression", "expression", "resultVariable", "taskPriority", "topic", "type"];
const USER_TASK_ATTRIBUTES: [&str; 7] =
    ["assignee", "candidateGroups", "candidateUsers", "dueDate", "followUpDate", "formKey", "priority"];
const CALL_ATTRIBUTES: [&str; 2] = ["calledElementBinding", "calledElementVersionTag"];
const FLOW_NODE_ATTRIBUTES: [&str; 4] = ["async", "asyncBefore", "asyncAfter", "exclusive"];
const FLOW_NODE_EXTENSIONS: [&str; 4] = ["executionListener", "failedJobRetryTimeCycle", "inputOutput", "field"];

/// Refuses what is not executed at a process.
pub(super) fn check_process(element: &Element, errors: &mut Errors) {
    check(element, element, &["versionTag", "historyTimeToLive", "taskPriority"], &["executionListener"], errors);
}

/// Refuses what is not executed at a flow node.
pub(super) fn check_node(element: &Element, errors: &mut Errors) {
    let mut attributes = FLOW_NODE_ATTRIBUTES.to_vec();
    let mut extensions = FLOW_NODE_EXTENSIONS.to_vec();
    match &*element.name {
        "serviceTask" | "sendTask" => attributes.extend(IMPLEMENTATION_ATTRIBUTES),
        "userTask" => {
            attributes.extend(USER_TASK_ATTRIBUTES);
            extensions.push("taskListener");
        }
        "scriptTask" => attributes.extend(["resultVariable", "resource"]),
        "callActivity" => {
            attributes.extend(CALL_ATTRIBUTES);
            extensions.extend(["in", "out"]);
        }
        "startEvent" => {
            attributes.extend(START_FORM_ATTRIBUTES);
            extensions.push("formData");
        }
        _ => {}
    }
    check(element, element, &attributes, &extensions, errors);
}

/// Refuses what is not executed at an event definition.
pub(super) fn check_event_definition(event: &Element, definition: &Element, errors: &mut Errors) {
    let (attributes, extensions): (&[&str], &[&str]) = match &*definition.name {
        "messageEventDefinition" => (&IMPLEMENTATION_ATTRIBUTES, &["field"]),
        "errorEventDefinition" => (&["errorCodeVariable", "errorMessageVariable"], &[]),
        "escalationEventDefinition" => (&["escalationCodeVariable"], &[]),
        "signalEventDefinition" => (&[], &["in"]),
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
    let named = |name: &str| element.engine_attribute(name).map(str::trim).filter(|text| !text.is_empty());
    let class = named("class").or_else(|| named("delegateExpression"));
    let kinds = ["class", "delegateExpression", "expression", "type"];
    if kinds.into_iter().filter(|kind| named(kind).is_some()).count() > 1 {
        errors.report(element, "more than one of camunda:class, delegateExpression, expression and type is set");
        return None;
    }
    for (attribute, kind) in [("resultVariable", "expression"), ("topic", "type")] {
        if named(attribute).is_some() && named(kind).is_none() {
            errors.report(element, format!("camunda:{attribute} without camunda:{kind} is not executed"));
        }
    }
    let priority = task_priority(element, errors);
    if let Some(class) = class {
        return Some(Implementation::Class { class: class.to_owned(), priority, fields: fields(element, errors) });
    }
    if let Some(text) = named("expression") {
        if priority.is_some() {
            errors.report(element, "camunda:taskPriority concerns the work of external workers, not an expression");
        }
        let result_variable = named("resultVariable").map(str::to_owned);
        return Some(Implementation::Expression { expression: element.expression(text, errors)?, result_variable });
    }
    match (named("type"), named("topic")) {
        (Some("external"), Some(topic)) => Some(Implementation::External {
            topic: element.expression(topic, errors)?,
            priority,
            fields: fields(element, errors),
        }),
        (Some("external"), None) => {
            errors.report(element, "external task has no camunda:topic");
            None
        }
        (Some(other), _) => {
            errors.report(element, format!("camunda:type {other} is not executed"));
            None
        }
        (None, _) => None,
    }
}

/// `taskPriority`: a whole number, or an expression for one.
pub(super) fn task_priority(element: &Element, errors: &mut Errors) -> Option<Expression> {
    let text = element.engine_attribute("taskPriority").map(str::trim).filter(|text| !text.is_empty())?;
    let priority = element.expression(text, errors)?;
    if priority.constant().is_some_and(|constant| constant.trim().parse::<i64>().is_err()) {
        errors.report(element, format!("camunda:taskPriority {text:?} is no whole number"));
    }
    Some(priority)
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
        let event = match listener.attribute("event").unwrap_or_default() {
            "create" => ListenerEvent::Create,
            "assignment" => ListenerEvent::Assignment,
            "complete" => ListenerEvent::Complete,
            "delete" => ListenerEvent::Delete,
            other => {
                errors.report_at(
                    element.label(),
                    listener.line,
                    format!("event {other:?} of a task listener is not executed"),
                );
                continue;
            }
        };
        if let Some(implementation) = listener_implementation(element, listener, errors) {
            listeners.push(TaskListener { event, implementation });
        }
    }
    listeners
}

fn listener_implementation(element: &Element, listener: &Element, errors: &mut Errors) -> Option<Implementation> {
    let named = |name: &str| listener.attribute(name).map(str::trim).filter(|text| !text.is_empty());
    if let Some(class) = named("class").or_else(|| named("delegateExpression")) {
        let fields = own_fields(listener, errors);
        return Some(Implementation::Class { class: class.to_owned(), priority: None, fields });
    }
    let script = listener.children.iter().find(|child| child.in_engine() && &*child.name == "script");
    let expression = match (named("expression"), script) {
        (Some(text), _) => element.expression(text, errors)?,
        (None, Some(script)) => {
            activity::script(element, script.attribute("scriptFormat"), script.text.trim(), errors)?
        }
        (None, None) => {
            errors.report_at(
                element.label(),
                listener.line,
                format!("{} without class or expression is not executed", listener.name),
            );
            return None;
        }
    };
    Some(Implementation::Expression { expression, result_variable: None })
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
        if let Some(value) = parameter_value(element, parameter, 0, errors) {
            parameters.push(Parameter { name: name.to_owned(), value });
        }
    }
    parameters
}

/// Text, an expression, a list, a map or a script that is an expression.
fn parameter_value(owner: &Element, holder: &Element, depth: usize, errors: &mut Errors) -> Option<ParameterValue> {
    if depth > limits::PARAMETER_DEPTH {
        errors.report_at(owner.label(), holder.line, "parameter is nested too deep");
        return None;
    }
    let depth = depth.saturating_add(1);
    let Some(child) = holder.children.first() else {
        let text = holder.text.trim();
        return if text.is_empty() {
            Some(ParameterValue::Null)
        } else {
            Some(ParameterValue::Expression(owner.expression(text, errors)?))
        };
    };
    match &*child.name {
        "list" => {
            let values = child.children.iter().filter(|value| value.in_engine());
            let values: Option<Vec<_>> = values
                .map(|value| match &*value.name {
                    "value" => parameter_value(owner, value, depth, errors),
                    "script" => script_value(owner, value, errors),
                    other => refuse_parameter(owner, value, other, errors),
                })
                .collect();
            Some(ParameterValue::List(values?))
        }
        "map" => {
            let entries = child.children.iter().filter(|entry| entry.in_engine());
            let entries: Option<Vec<_>> = entries
                .map(|entry| {
                    let key = entry.attribute("key").unwrap_or_default().to_owned();
                    Some((key, parameter_value(owner, entry, depth, errors)?))
                })
                .collect();
            Some(ParameterValue::Map(entries?))
        }
        "script" => script_value(owner, child, errors),
        other => refuse_parameter(owner, child, other, errors),
    }
}

fn script_value(owner: &Element, script: &Element, errors: &mut Errors) -> Option<ParameterValue> {
    if script.attribute("resource").is_some() {
        errors.report_at(owner.label(), script.line, "script in an external resource is not executed");
        return None;
    }
    activity::script(owner, script.attribute("scriptFormat"), script.text.trim(), errors)
        .map(ParameterValue::Expression)
}

fn refuse_parameter(owner: &Element, child: &Element, name: &str, errors: &mut Errors) -> Option<ParameterValue> {
    errors.report_at(owner.label(), child.line, format!("{name} in a parameter is not executed"));
    None
}
