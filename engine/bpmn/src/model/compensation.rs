//! Links compensation: a boundary event and its handler are joined by an association, not by a sequence flow.

use super::reader::Errors;
use super::{BoundaryTrigger, EndResult, Node, NodeKind, Process, Throw};
use crate::ElementId;
use crate::xml::Element;

/// Gives every compensation boundary event its handler and every activity its compensating activity.
pub(super) fn link(container: &Element, process: &mut Process, errors: &mut Errors) {
    let mut associations = Vec::new();
    collect(container, &mut associations);
    let boundaries: Vec<(ElementId, ElementId, u32)> = process
        .nodes
        .values()
        .filter_map(|node| match &node.kind {
            NodeKind::BoundaryEvent { attached_to, trigger: BoundaryTrigger::Compensation { .. }, .. } => {
                Some((node.id.clone(), attached_to.clone(), node.line))
            }
            _ => None,
        })
        .collect();
    for (boundary, activity, line) in boundaries {
        let mut targets = associations.iter().filter(|(source, _)| **source == *boundary).map(|(_, target)| *target);
        let handler = targets.next().and_then(|target| process.nodes.get(target)).map(|node| node.id.clone());
        let (Some(handler), None) = (handler, targets.next()) else {
            errors.report_at(
                &boundary,
                line,
                "compensation boundary event needs one association to the activity that compensates",
            );
            continue;
        };
        if !process.nodes.get(&handler).is_some_and(|node| node.is_for_compensation) {
            errors.report_at(&boundary, line, format!("{handler} compensates but is not marked isForCompensation"));
        }
        if let Some(NodeKind::BoundaryEvent { trigger: BoundaryTrigger::Compensation { handler: own }, .. }) =
            process.nodes.get_mut(&boundary).map(|node| &mut node.kind)
        {
            *own = Some(handler.clone());
        }
        if let Some(activity) = process.nodes.get_mut(&activity) {
            activity.compensation_handler = Some(handler);
        }
    }
}

fn collect<'a>(container: &'a Element, found: &mut Vec<(&'a str, &'a str)>) {
    for child in container.children.iter().filter(|child| child.in_bpmn()) {
        match (&*child.name, child.reference("sourceRef"), child.reference("targetRef")) {
            ("association", Some(source), Some(target)) => found.push((source, target)),
            ("subProcess", ..) => collect(child, found),
            _ => {}
        }
    }
}

/// Checks what compensation events and handlers may look like.
pub(super) fn check(process: &Process, node: &Node, errors: &mut Errors) {
    let mut report = |text: String| errors.report_at(&node.id, node.line, text);
    if node.is_for_compensation {
        if !node.kind.is_activity() {
            report("only activities can compensate (isForCompensation)".to_owned());
        }
        if !node.incoming.is_empty() || !node.outgoing.is_empty() {
            report("a compensating activity has no sequence flows".to_owned());
        }
        if !process.nodes.values().any(|other| other.compensation_handler.as_ref() == Some(&node.id)) {
            report("no compensation boundary event is associated with the compensating activity".to_owned());
        }
    }
    let referred = match &node.kind {
        NodeKind::EndEvent(EndResult::Compensation { activity })
        | NodeKind::IntermediateThrowEvent(Throw::Compensation { activity }) => activity.as_ref(),
        _ => None,
    };
    if let Some(activity) = referred {
        let target = process.node(activity);
        // An event sub-process compensates what runs beside it.
        let holder = node.parent.as_ref().and_then(|parent| process.node(parent));
        let reaches = |target: &Node| {
            target.parent == node.parent
                || holder.is_some_and(|holder| {
                    matches!(holder.kind, NodeKind::EventSubProcess { .. }) && holder.parent == target.parent
                })
        };
        if !target.is_some_and(|target| target.kind.is_activity() && reaches(target)) {
            report(format!("compensation refers to {activity}, which is no activity of this scope"));
        }
    }
    if matches!(&node.kind, NodeKind::BoundaryEvent { trigger: BoundaryTrigger::Compensation { .. }, .. })
        && !node.outgoing.is_empty()
    {
        report("compensation boundary event has an outgoing sequence flow".to_owned());
    }
}
