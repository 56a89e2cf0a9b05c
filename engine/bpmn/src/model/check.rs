//! Checks of structure after a process was read, and the links between nodes, flows and boundary events.

use std::collections::BTreeSet;

use super::reader::Errors;
use super::{BoundaryTrigger, Catch, Node, NodeKind, Process, Repetition, StartTrigger, compensation};
use crate::{ElementId, ListenerEvent};

/// Links the process and reports what contradicts itself.
pub(super) fn check(process: &mut Process, errors: &mut Errors) {
    link_flows(process, errors);
    link_boundary_events(process, errors);
    link_links(process, errors);
    check_starts(process, errors);
    for node in process.nodes.values() {
        check_flows_of(process, node, errors);
        check_features(node, errors);
        compensation::check(process, node, errors);
        match &node.kind {
            NodeKind::ExclusiveGateway => check_exclusive(process, node, errors),
            NodeKind::EventBasedGateway => check_event_based(process, node, errors),
            _ => {}
        }
    }
}

fn link_flows(process: &mut Process, errors: &mut Errors) {
    for id in &process.flow_order {
        let Some(flow) = process.flows.get(id) else { continue };
        let (source, target) = (process.nodes.get(&flow.source), process.nodes.get(&flow.target));
        match (source, target) {
            // A node that was refused is reported already; do not report its flows as well.
            (None, _) | (_, None) if errors.found_any() => {}
            (None, _) => errors.report_at(id, flow.line, format!("source {} does not exist", flow.source)),
            (_, None) => errors.report_at(id, flow.line, format!("target {} does not exist", flow.target)),
            (Some(source), Some(target)) if source.parent != target.parent => {
                errors.report_at(id, flow.line, "sequence flow crosses the border of a sub-process");
            }
            _ => {}
        }
        let (source, target) = (flow.source.clone(), flow.target.clone());
        if let Some(node) = process.nodes.get_mut(&source) {
            node.outgoing.push(id.clone());
        }
        if let Some(node) = process.nodes.get_mut(&target) {
            node.incoming.push(id.clone());
        }
    }
}

fn link_boundary_events(process: &mut Process, errors: &mut Errors) {
    let mut attached: Vec<(u32, ElementId, ElementId, bool)> = Vec::new();
    for node in process.nodes.values() {
        process.has_inclusive_joins |= matches!(node.kind, NodeKind::InclusiveGateway) && node.incoming.len() > 1;
        process.has_conditions |= waits_for_condition(node);
        if let NodeKind::BoundaryEvent { attached_to, trigger, .. } = &node.kind {
            let is_compensation = matches!(trigger, BoundaryTrigger::Compensation { .. });
            attached.push((node.line, node.id.clone(), attached_to.clone(), is_compensation));
        }
    }
    attached.sort();
    for (line, id, attached_to, is_compensation) in attached {
        let parent = process.nodes.get(&id).and_then(|node| node.parent.clone());
        match process.nodes.get_mut(&attached_to) {
            Some(activity) if activity.kind.is_activity() && activity.parent == parent => {
                // A compensation boundary event does nothing while the activity runs.
                if !is_compensation {
                    activity.boundary_events.push(id);
                }
            }
            Some(_) => errors.report_at(
                &id,
                line,
                format!("boundary event is attached to {attached_to}, which is no activity beside it"),
            ),
            None if errors.found_any() => {}
            None => errors.report_at(
                &id,
                line,
                format!("boundary event is attached to {attached_to}, which does not exist"),
            ),
        }
    }
}

fn waits_for_condition(node: &Node) -> bool {
    matches!(
        node.kind,
        NodeKind::IntermediateCatchEvent(Catch::Condition(_))
            | NodeKind::BoundaryEvent { trigger: BoundaryTrigger::Event(Catch::Condition(_)), .. }
            | NodeKind::StartEvent(StartTrigger::Event { catch: Catch::Condition(_), .. })
    )
}

/// Joins every link throw event with the catch event of its name in the same process or sub-process.
fn link_links(process: &mut Process, errors: &mut Errors) {
    let mut catches: std::collections::BTreeMap<(Option<ElementId>, String), ElementId> = Default::default();
    for node in process.nodes.values() {
        let NodeKind::LinkCatchEvent { name } = &node.kind else { continue };
        if catches.insert((node.parent.clone(), name.clone()), node.id.clone()).is_some() {
            errors.report_at(&node.id, node.line, format!("link {name} is caught by two events"));
        }
    }
    for node in process.nodes.values_mut() {
        let NodeKind::LinkThrowEvent { name, target } = &mut node.kind else { continue };
        *target = catches.get(&(node.parent.clone(), name.clone())).cloned();
        if target.is_none() {
            errors.report_at(&node.id, node.line, format!("link {name} is caught by no event beside it"));
        }
    }
}

fn check_starts(process: &Process, errors: &mut Errors) {
    if process.start_events().next().is_none() && !errors.found_any() {
        errors.report_at(&process.id, process.line, "process has no start event");
    }
    let mut names = BTreeSet::new();
    for (id, name) in process.message_starts() {
        if !names.insert(name.clone()) {
            let line = process.node(id).map_or(process.line, |node| node.line);
            errors.report_at(id, line, format!("message {name} starts the process at two start events"));
        }
    }
    if process.start_events().filter(|(_, trigger)| matches!(trigger, StartTrigger::None)).count() > 1 {
        errors.report_at(&process.id, process.line, "process has more than one none start event");
    }
}

fn check_flows_of(process: &Process, node: &Node, errors: &mut Errors) {
    let mut report = |text: &str| errors.report_at(&node.id, node.line, text);
    match &node.kind {
        NodeKind::StartEvent(_) if !node.incoming.is_empty() => report("start event has an incoming sequence flow"),
        NodeKind::BoundaryEvent { .. } if !node.incoming.is_empty() => {
            report("boundary event has an incoming sequence flow")
        }
        NodeKind::EndEvent(_) if !node.outgoing.is_empty() => report("end event has an outgoing sequence flow"),
        NodeKind::LinkCatchEvent { .. } if !node.incoming.is_empty() => {
            report("link catch event has an incoming sequence flow")
        }
        NodeKind::LinkThrowEvent { .. } if !node.outgoing.is_empty() => {
            report("link throw event has an outgoing sequence flow")
        }
        NodeKind::EventSubProcess { .. } if !node.incoming.is_empty() || !node.outgoing.is_empty() => {
            report("event sub-process has sequence flows")
        }
        _ => {}
    }
    let Some(default) = &node.default_flow else { return };
    match process.flow(default).filter(|_| node.outgoing.contains(default)) {
        Some(flow) if flow.condition.is_some() => report("default flow has a condition"),
        Some(_) => {}
        None => report("default flow is no outgoing sequence flow of the element"),
    }
}

fn check_features(node: &Node, errors: &mut Errors) {
    let mut report = |text: &str| errors.report_at(&node.id, node.line, text);
    let is_multi_instance = matches!(node.repetition, Some(Repetition::MultiInstance(_)));
    if is_multi_instance && !node.outputs.is_empty() {
        report("output parameter on a multi-instance activity is not executed");
    }
    if node.listeners.iter().any(|listener| listener.event == ListenerEvent::Take) {
        report("execution listener for take belongs to a sequence flow");
    }
    let maps = !node.inputs.is_empty() || !node.outputs.is_empty();
    match &node.kind {
        NodeKind::EventBasedGateway if node.asynchronous.after => {
            report("asyncAfter on an event-based gateway is not executed")
        }
        NodeKind::EndEvent(_) if !node.outputs.is_empty() => report("output parameter on an end event is not executed"),
        NodeKind::ExclusiveGateway
        | NodeKind::ParallelGateway
        | NodeKind::InclusiveGateway
        | NodeKind::EventBasedGateway
            if maps =>
        {
            report("input or output parameter on a gateway is not executed");
        }
        NodeKind::EventSubProcess { .. } if maps => {
            report("input or output parameter on an event sub-process is not executed");
        }
        NodeKind::EventSubProcess { .. } if node.asynchronous.before || node.asynchronous.after => {
            report("asynchronous continuation of an event sub-process is not executed");
        }
        _ => {}
    }
}

fn check_exclusive(process: &Process, node: &Node, errors: &mut Errors) {
    let mut report = |line: u32, text: String| errors.report_at(&node.id, line, text);
    let flows: Vec<_> = node.outgoing.iter().filter_map(|id| process.flow(id)).collect();
    match flows.as_slice() {
        [] => report(node.line, "exclusive gateway has no outgoing sequence flow".to_owned()),
        [only] if only.condition.is_some() => {
            report(only.line, format!("the only outgoing sequence flow {} has a condition", only.id))
        }
        [_] => {}
        several => {
            for flow in several {
                if flow.condition.is_none() && node.default_flow.as_ref() != Some(&flow.id) {
                    report(flow.line, format!("sequence flow {} has no condition and is not the default", flow.id));
                }
            }
        }
    }
}

fn check_event_based(process: &Process, node: &Node, errors: &mut Errors) {
    if node.outgoing.is_empty() {
        errors.report_at(&node.id, node.line, "event-based gateway has no outgoing sequence flow");
    }
    for flow in node.outgoing.iter().filter_map(|id| process.flow(id)) {
        let target = process.node(&flow.target);
        if target.is_none() && errors.found_any() {
            continue;
        }
        if !target.is_some_and(|target| {
            matches!(target.kind, NodeKind::IntermediateCatchEvent(_)) && target.incoming.len() == 1
        }) {
            let text = format!(
                "event-based gateway leads to {}, which is no intermediate catch event of its own",
                flow.target
            );
            errors.report_at(&node.id, flow.line, text);
        }
        if flow.condition.is_some() {
            errors.report_at(&flow.id, flow.line, "sequence flow behind an event-based gateway has a condition");
        }
    }
}
