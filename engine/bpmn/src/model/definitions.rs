//! Reads the `definitions` element: messages, signals, errors and the executable processes.

use std::collections::BTreeMap;

use super::node::{self, Shared};
use super::reader::Errors;
use super::{ErrorDeclaration, Message, Model, ModelError, Process, Signal, extension};
use super::{check, compensation};
use crate::xml::Element;
use crate::{Document, ElementId};

/// Reads a BPMN document.
pub(super) fn read(document: &Document) -> Result<Model, Vec<ModelError>> {
    let root = &document.root;
    let mut errors = Errors::default();
    if !root.is_bpmn("definitions") {
        errors.report(root, "root element is not definitions of BPMN 2.0");
        return errors.finish(()).and(Err(Vec::new()));
    }
    let shared = Shared {
        messages: declarations(root, "message", &mut errors, message),
        signals: declarations(root, "signal", &mut errors, signal),
        errors: declarations(root, "error", &mut errors, error),
        escalations: declarations(root, "escalation", &mut errors, |element, _| Some(escalation(element))),
    };
    let mut processes: Vec<Process> = Vec::new();
    for element in root.bpmn_children("process") {
        if !element.flag("isExecutable", true, &mut errors) {
            continue;
        }
        let Some(process) = process(element, &shared, &mut errors) else { continue };
        if processes.iter().any(|other| other.id == process.id) {
            errors.report(element, "id is used by another process");
        }
        processes.push(process);
    }
    if processes.is_empty() {
        errors.report(root, "no executable process");
    }
    errors.finish(Model {
        id: root.attribute("id").map(str::to_owned),
        target_namespace: root.attribute("targetNamespace").map(str::to_owned),
        messages: shared.messages,
        signals: shared.signals,
        errors: shared.errors,
        escalations: shared.escalations,
        processes,
    })
}

fn declarations<T>(
    root: &Element,
    name: &str,
    errors: &mut Errors,
    read: impl Fn(&Element, &mut Errors) -> Option<T>,
) -> BTreeMap<ElementId, T> {
    let mut found = BTreeMap::new();
    for element in root.bpmn_children(name) {
        let (Some(id), Some(declaration)) = (element.id(errors), read(element, errors)) else { continue };
        if found.insert(id, declaration).is_some() {
            errors.report(element, format!("id is used by another {name}"));
        }
    }
    found
}

/// A message without name is only an error where it is used.
fn message(element: &Element, errors: &mut Errors) -> Option<Message> {
    Some(Message { name: element.expression(element.attribute("name").unwrap_or_default(), errors)? })
}

fn signal(element: &Element, errors: &mut Errors) -> Option<Signal> {
    Some(Signal { name: element.expression(element.attribute("name").unwrap_or_default(), errors)? })
}

fn escalation(element: &Element) -> Option<String> {
    element.attribute("escalationCode").filter(|code| !code.is_empty()).map(str::to_owned)
}

fn error(element: &Element, errors: &mut Errors) -> Option<ErrorDeclaration> {
    let message = match element.engine_attribute("errorMessage") {
        Some(text) => Some(element.expression(text, errors)?),
        None => None,
    };
    let code = element.attribute("errorCode").filter(|code| !code.is_empty()).map(str::to_owned);
    Some(ErrorDeclaration { code, message })
}

fn process(element: &Element, shared: &Shared, errors: &mut Errors) -> Option<Process> {
    let id = element.id(errors)?;
    extension::check_process(element, errors);
    let mut process = Process {
        id,
        name: element.attribute("name").map(str::to_owned),
        is_executable: true,
        version_tag: element.engine_attribute("versionTag").map(str::to_owned),
        history_time_to_live: element.engine_attribute("historyTimeToLive").map(str::to_owned),
        task_priority: extension::task_priority(element, errors),
        listeners: extension::execution_listeners(element, errors),
        nodes: BTreeMap::new(),
        flows: BTreeMap::new(),
        line: element.line,
        flow_order: Vec::new(),
        event_sub_processes: BTreeMap::new(),
        has_conditions: false,
        has_inclusive_joins: false,
    };
    node::read_container(element, None, shared, &mut process, errors);
    compensation::link(element, &mut process, errors);
    check::check(&mut process, errors);
    Some(process)
}
