//! Reads multi-instance and loop markers.

use super::reader::Errors;
use super::{MultiInstance, NodeKind, Repetition, StandardLoop, event_definition, extension};
use crate::expression::Expression;
use crate::xml::Element;

/// The marker of an activity, if it has one.
pub(super) fn read(activity: &Element, kind: &NodeKind, errors: &mut Errors) -> Option<Repetition> {
    let multi_instance = activity.bpmn_children("multiInstanceLoopCharacteristics").next();
    let standard = activity.bpmn_children("standardLoopCharacteristics").next();
    if (multi_instance.is_some() || standard.is_some()) && !kind.is_activity() {
        errors.report(activity, "only activities can have several instances");
        return None;
    }
    match (multi_instance, standard) {
        (None, None) => None,
        (Some(marker), None) => Some(Repetition::MultiInstance(self::multi_instance(activity, marker, errors)?)),
        (None, Some(marker)) => Some(Repetition::Standard(self::standard(activity, marker, errors)?)),
        (Some(_), Some(_)) => {
            errors.report(activity, "activity has both a multi-instance and a loop marker");
            None
        }
    }
}

fn multi_instance(activity: &Element, marker: &Element, errors: &mut Errors) -> Option<MultiInstance> {
    extension::check_multi_instance(activity, marker, errors);
    for child in marker.children.iter().filter(|child| child.in_bpmn()) {
        let known = [
            "extensionElements",
            "documentation",
            "loopCardinality",
            "loopDataInputRef",
            "inputDataItem",
            "completionCondition",
        ];
        if !known.contains(&&*child.name) {
            let text = format!("{} of a multi-instance activity is not executed", child.name);
            errors.report_at(activity.label(), child.line, text);
        }
    }
    if marker.attribute("behavior").is_some_and(|behavior| behavior != "All") {
        errors.report(activity, "behavior other than All of a multi-instance activity is not executed");
    }
    let cardinality = match text_of(marker, "loopCardinality") {
        Some(text) => Some(activity.expression(text, errors)?),
        None => None,
    };
    let collection = marker.engine_attribute("collection").map(str::trim).filter(|collection| !collection.is_empty());
    let collection = match collection.or_else(|| text_of(marker, "loopDataInputRef")) {
        // Without expression marks the text names a variable.
        Some(text) if text.contains('{') => Some(activity.expression(text, errors)?),
        Some(name) => Some(Expression::variable(name)),
        None => None,
    };
    if cardinality.is_none() && collection.is_none() {
        errors.report(activity, "multi-instance activity has neither a collection nor loopCardinality");
        return None;
    }
    let completion = match marker.bpmn_children("completionCondition").next() {
        Some(condition) if !condition.text.trim().is_empty() => {
            Some(event_definition::condition_expression(activity, condition, errors)?)
        }
        _ => None,
    };
    let item = marker.bpmn_children("inputDataItem").next().and_then(|item| item.reference("name"));
    Some(MultiInstance {
        sequential: marker.flag("isSequential", false, errors),
        cardinality,
        collection,
        element_variable: marker
            .engine_attribute("elementVariable")
            .filter(|name| !name.is_empty())
            .or(item)
            .map(str::to_owned),
        completion,
        asynchronous: extension::asynchronous(marker, errors),
    })
}

fn standard(activity: &Element, marker: &Element, errors: &mut Errors) -> Option<StandardLoop> {
    extension::check_multi_instance(activity, marker, errors);
    let maximum = match marker.attribute("loopMaximum").map(str::trim).filter(|text| !text.is_empty()) {
        Some(text) => match text.parse::<usize>() {
            Ok(maximum) => Some(maximum),
            Err(_) => {
                errors.report(activity, format!("loopMaximum {text:?} is no number"));
                return None;
            }
        },
        None => None,
    };
    let condition = match marker.bpmn_children("loopCondition").next() {
        Some(condition) if !condition.text.trim().is_empty() => {
            Some(event_definition::condition_expression(activity, condition, errors)?)
        }
        _ => None,
    };
    if maximum.is_none() && condition.is_none() {
        errors.report(activity, "loop has neither loopCondition nor loopMaximum and would never end");
        return None;
    }
    Some(StandardLoop {
        test_before: marker.flag("testBefore", false, errors),
        maximum,
        condition,
        asynchronous: extension::asynchronous(marker, errors),
    })
}

fn text_of<'a>(element: &'a Element, name: &str) -> Option<&'a str> {
    element
        .children
        .iter()
        .find(|child| child.is_bpmn(name))
        .map(|child| child.text.trim())
        .filter(|text| !text.is_empty())
}
