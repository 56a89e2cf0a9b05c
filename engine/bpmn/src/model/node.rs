//! Reads flow nodes and sequence flows of a process or sub-process.

use std::collections::BTreeMap;

use super::reader::Errors;
use super::{ErrorDeclaration, Message, MultiInstance, Node, NodeKind, Process, SequenceFlow, Signal, StartTrigger};
use super::{event_definition, extension};
use crate::ElementId;
use crate::expression::Expression;
use crate::xml::Element;

/// Declarations that nodes refer to.
pub(super) struct Shared {
    pub(super) messages: BTreeMap<ElementId, Message>,
    pub(super) signals: BTreeMap<ElementId, Signal>,
    pub(super) errors: BTreeMap<ElementId, ErrorDeclaration>,
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
    parent: Option<&ElementId>,
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
    parent: Option<&ElementId>,
    shared: &Shared,
    process: &mut Process,
    errors: &mut Errors,
) {
    let Some(id) = element.id(errors) else { return };
    let Some(kind) = kind(element, &id, parent, shared, process, errors) else { return };
    extension::check_node(element, errors);
    check_attributes(element, errors);
    let node = Node {
        id: id.clone(),
        name: element.attribute("name").filter(|name| !name.is_empty()).map(str::to_owned),
        line: element.line,
        parent: parent.cloned(),
        multi_instance: multi_instance(element, &kind, errors),
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
    parent: Option<&ElementId>,
    shared: &Shared,
    process: &mut Process,
    errors: &mut Errors,
) -> Option<NodeKind> {
    match &*element.name {
        "startEvent" => {
            let trigger = event_definition::start(element, shared, errors)?;
            if parent.is_some() && !matches!(trigger, StartTrigger::None) {
                errors.report(element, "start event of a sub-process must have no trigger");
            }
            Some(NodeKind::StartEvent(trigger))
        }
        "endEvent" => Some(NodeKind::EndEvent(event_definition::end(element, shared, errors)?)),
        "intermediateThrowEvent" => {
            Some(NodeKind::IntermediateThrowEvent(event_definition::throw(element, shared, errors)?))
        }
        "intermediateCatchEvent" => {
            Some(NodeKind::IntermediateCatchEvent(event_definition::catch(element, shared, errors)?))
        }
        "boundaryEvent" => boundary_event(element, shared, errors),
        "serviceTask" | "sendTask" => {
            let Some(implementation) = extension::implementation(element, errors) else {
                errors.report(
                    element,
                    format!("{} has no implementation (camunda:class or camunda:expression)", element.name),
                );
                return None;
            };
            Some(if &*element.name == "sendTask" {
                NodeKind::SendTask(implementation)
            } else {
                NodeKind::ServiceTask(implementation)
            })
        }
        "receiveTask" => {
            Some(NodeKind::ReceiveTask { message: event_definition::message_name(element, element, shared, errors)? })
        }
        "userTask" => {
            let form_key = match element.engine_attribute("formKey").filter(|key| !key.is_empty()) {
                Some(key) => Some(element.expression(key, errors)?),
                None => None,
            };
            Some(NodeKind::UserTask { form_key, listeners: extension::task_listeners(element, errors) })
        }
        "task" | "manualTask" => Some(NodeKind::Task),
        "exclusiveGateway" => Some(NodeKind::ExclusiveGateway),
        "parallelGateway" => Some(NodeKind::ParallelGateway),
        "eventBasedGateway" => Some(NodeKind::EventBasedGateway),
        "subProcess" => sub_process(element, id, shared, process, errors),
        other => {
            errors.report(element, format!("{other} is not executed"));
            None
        }
    }
}

fn boundary_event(element: &Element, shared: &Shared, errors: &mut Errors) -> Option<NodeKind> {
    if !element.flag("cancelActivity", true, errors) {
        errors.report(element, "boundary event that does not interrupt (cancelActivity=false) is not executed");
    }
    let Some(attached_to) = element.reference("attachedToRef") else {
        errors.report(element, "boundary event is not attached to an activity (attachedToRef)");
        return None;
    };
    let trigger = event_definition::boundary(element, shared, errors)?;
    Some(NodeKind::BoundaryEvent { attached_to: attached_to.into(), trigger })
}

fn sub_process(
    element: &Element,
    id: &ElementId,
    shared: &Shared,
    process: &mut Process,
    errors: &mut Errors,
) -> Option<NodeKind> {
    if element.flag("triggeredByEvent", false, errors) {
        errors.report(element, "event sub-process is not executed");
        return None;
    }
    let mut starts = element.bpmn_children("startEvent");
    let start = starts.next().and_then(|start| start.reference("id"));
    if starts.next().is_some() || start.is_none() {
        errors.report(element, "sub-process needs exactly one start event");
    }
    read_container(element, Some(id), shared, process, errors);
    Some(NodeKind::SubProcess { start: start?.into() })
}

/// Refuses attributes of BPMN itself that would change behaviour.
fn check_attributes(element: &Element, errors: &mut Errors) {
    if element.flag("isForCompensation", false, errors) {
        errors.report(element, "compensation handler (isForCompensation) is not executed");
    }
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
    if element.bpmn_children("standardLoopCharacteristics").next().is_some() {
        errors.report(element, "standard loop is not executed");
    }
}

fn multi_instance(activity: &Element, kind: &NodeKind, errors: &mut Errors) -> Option<MultiInstance> {
    let element = activity.bpmn_children("multiInstanceLoopCharacteristics").next()?;
    if !kind.is_activity() {
        errors.report(activity, "only activities can have several instances");
        return None;
    }
    extension::check_multi_instance(activity, element, errors);
    if element.flag("isSequential", false, errors) {
        errors.report(activity, "sequential multi-instance is not executed");
    }
    for child in element.children.iter().filter(|child| child.in_bpmn()) {
        if !["extensionElements", "documentation"].contains(&&*child.name) {
            errors.report_at(
                activity.label(),
                child.line,
                format!("{} of a multi-instance activity is not executed", child.name),
            );
        }
    }
    let Some(collection) =
        element.engine_attribute("collection").map(str::trim).filter(|collection| !collection.is_empty())
    else {
        errors.report(activity, "multi-instance activity has no collection (camunda:collection)");
        return None;
    };
    // Without expression marks the attribute names a variable.
    let collection = if collection.contains('{') {
        activity.expression(collection, errors)?
    } else {
        Expression::variable(collection)
    };
    Some(MultiInstance {
        collection,
        element_variable: element
            .engine_attribute("elementVariable")
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
        asynchronous: extension::asynchronous(element, errors),
    })
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

// === impl NodeKind ===

impl NodeKind {
    /// `true` for tasks and sub-processes.
    pub(super) fn is_activity(&self) -> bool {
        matches!(
            self,
            Self::ServiceTask(_)
                | Self::SendTask(_)
                | Self::ReceiveTask { .. }
                | Self::UserTask { .. }
                | Self::Task
                | Self::SubProcess { .. }
        )
    }
}
