//! Reads flow nodes and sequence flows of a process or sub-process.

use std::collections::BTreeMap;

use super::event_definition::{self, StartPosition};
use super::reader::Errors;
use super::{ErrorDeclaration, Message, Node, NodeKind, Process, SequenceFlow, Signal};
use super::{activity, extension, repetition};
use crate::ElementId;
use crate::expression::Expression;
use crate::xml::Element;

/// Declarations that nodes refer to.
pub(super) struct Shared {
    pub(super) messages: BTreeMap<ElementId, Message>,
    pub(super) signals: BTreeMap<ElementId, Signal>,
    pub(super) errors: BTreeMap<ElementId, ErrorDeclaration>,
    pub(super) escalations: BTreeMap<ElementId, Option<String>>,
}

/// Elements of BPMN inside a process that carry no behaviour here: lanes, data, artefacts, documentation and roles.
const PASSED_OVER: [&str; 24] = [
    "association",
    "auditing",
    "correlationSubscription",
    "dataObject",
    "dataObjectReference",
    "dataStoreReference",
    "documentation",
    "extensionElements",
    "group",
    "humanPerformer",
    "incoming",
    "ioBinding",
    "ioSpecification",
    "laneSet",
    "monitoring",
    "multiInstanceLoopCharacteristics",
    "outgoing",
    "performer",
    "potentialOwner",
    "property",
    "resourceRole",
    "standardLoopCharacteristics",
    "supports",
    "textAnnotation",
];

/// Reads everything inside a process or sub-process.
pub(super) fn read_container(
    container: &Element,
    parent: Option<(&ElementId, StartPosition)>,
    shared: &Shared,
    process: &mut Process,
    errors: &mut Errors,
) {
    for element in container.children.iter().filter(|child| child.in_bpmn()) {
        match &*element.name {
            "sequenceFlow" => sequence_flow(element, process, errors),
            "dataInputAssociation" | "dataOutputAssociation" => {}
            name if PASSED_OVER.contains(&name) => {}
            _ => flow_node(element, parent, shared, process, errors),
        }
    }
}

fn flow_node(
    element: &Element,
    parent: Option<(&ElementId, StartPosition)>,
    shared: &Shared,
    process: &mut Process,
    errors: &mut Errors,
) {
    let Some(id) = element.id(errors) else { return };
    let Some(kind) =
        kind(element, &id, parent.map_or(StartPosition::Process, |(_, position)| position), shared, process, errors)
    else {
        return;
    };
    extension::check_node(element, errors);
    check_attributes(element, errors);
    let parent = parent.map(|(id, _)| id);
    if matches!(kind, NodeKind::EventSubProcess { .. }) {
        let container = parent.unwrap_or(&process.id).clone();
        process.event_sub_processes.entry(container).or_default().push(id.clone());
    }
    let node = Node {
        id: id.clone(),
        name: element.attribute("name").filter(|name| !name.is_empty()).map(str::to_owned),
        line: element.line,
        parent: parent.cloned(),
        repetition: repetition::read(element, &kind, errors),
        is_for_compensation: element.flag("isForCompensation", false, errors),
        compensation_handler: None,
        kind,
        incoming: Vec::new(),
        outgoing: Vec::new(),
        default_flow: element.reference("default").map(ElementId::from),
        boundary_events: Vec::new(),
        asynchronous: extension::asynchronous(element, errors),
        listeners: extension::execution_listeners(element, errors),
        inputs: extension::parameters(element, "inputParameter", errors),
        outputs: extension::parameters(element, "outputParameter", errors),
    };
    if process.nodes.insert(id, node).is_some() {
        errors.report(element, "id is used by another element");
    }
}

fn kind(
    element: &Element,
    id: &ElementId,
    position: StartPosition,
    shared: &Shared,
    process: &mut Process,
    errors: &mut Errors,
) -> Option<NodeKind> {
    match &*element.name {
        "startEvent" => Some(NodeKind::StartEvent(event_definition::start(element, position, shared, errors)?)),
        "endEvent" => Some(NodeKind::EndEvent(event_definition::end(element, shared, errors)?)),
        "intermediateThrowEvent" => event_definition::throw(element, shared, errors),
        "intermediateCatchEvent" => event_definition::catch(element, shared, errors),
        "boundaryEvent" => event_definition::boundary(element, shared, errors),
        "serviceTask" | "sendTask" => activity::step(element, errors),
        "receiveTask" => {
            Some(NodeKind::ReceiveTask { message: event_definition::message_name(element, element, shared, errors)? })
        }
        "userTask" => Some(NodeKind::UserTask(activity::user_task(element, errors)?)),
        "scriptTask" => activity::script_task(element, errors),
        "callActivity" => Some(NodeKind::CallActivity(activity::call(element, errors)?)),
        "task" | "manualTask" => Some(NodeKind::Task),
        "exclusiveGateway" => Some(NodeKind::ExclusiveGateway),
        "parallelGateway" => Some(NodeKind::ParallelGateway),
        "inclusiveGateway" => Some(NodeKind::InclusiveGateway),
        "eventBasedGateway" => Some(NodeKind::EventBasedGateway),
        "subProcess" => sub_process(element, id, shared, process, errors),
        other => {
            errors.report(element, format!("{other} is not executed"));
            None
        }
    }
}

fn sub_process(
    element: &Element,
    id: &ElementId,
    shared: &Shared,
    process: &mut Process,
    errors: &mut Errors,
) -> Option<NodeKind> {
    let by_event = element.flag("triggeredByEvent", false, errors);
    let name = if by_event { "event sub-process" } else { "sub-process" };
    let mut starts = element.bpmn_children("startEvent");
    let start = starts.next().and_then(|start| start.reference("id"));
    if starts.next().is_some() || start.is_none() {
        errors.report(element, format!("{name} needs exactly one start event"));
    }
    let position = if by_event { StartPosition::EventSubProcess } else { StartPosition::SubProcess };
    read_container(element, Some((id, position)), shared, process, errors);
    let start = start?.into();
    Some(if by_event { NodeKind::EventSubProcess { start } } else { NodeKind::SubProcess { start } })
}

/// Refuses attributes of BPMN itself that would change behaviour.
fn check_attributes(element: &Element, errors: &mut Errors) {
    if element.flag("instantiate", false, errors) {
        errors.report(element, format!("{} that starts the process (instantiate) is not executed", element.name));
    }
    if element.attribute("eventGatewayType").is_some_and(|kind| kind != "Exclusive") {
        errors.report(element, "parallel event-based gateway is not executed");
    }
    for name in ["startQuantity", "completionQuantity"] {
        if element.attribute(name).is_some_and(|quantity| quantity.trim() != "1") {
            errors.report(element, format!("{name} other than 1 is not executed"));
        }
    }
}

fn sequence_flow(element: &Element, process: &mut Process, errors: &mut Errors) {
    let Some(id) = element.id(errors) else { return };
    let (Some(source), Some(target)) = (element.reference("sourceRef"), element.reference("targetRef")) else {
        errors.report(element, "sequence flow needs sourceRef and targetRef");
        return;
    };
    extension::check_flow(element, errors);
    let condition =
        element.bpmn_children("conditionExpression").next().filter(|condition| !condition.text.trim().is_empty());
    let flow = SequenceFlow {
        id: id.clone(),
        name: element.attribute("name").filter(|name| !name.is_empty()).map(str::to_owned),
        line: element.line,
        source: source.into(),
        target: target.into(),
        // A refused condition still counts as one, so that the gateway's checks do not report it again.
        condition: condition.map(|condition| {
            event_definition::condition_expression(element, condition, errors)
                .unwrap_or_else(|| Expression::literal(""))
        }),
        listeners: extension::execution_listeners(element, errors),
    };
    process.flow_order.push(id.clone());
    if process.flows.insert(id, flow).is_some() {
        errors.report(element, "id is used by another sequence flow");
    }
}
