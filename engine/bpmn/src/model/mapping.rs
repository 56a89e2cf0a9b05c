//! Reads `camunda:in` and `camunda:out`: which variables a called process or a signal gets, and gives back.

use super::Mapping;
use super::reader::Errors;
use crate::expression::Expression;
use crate::xml::Element;

/// The mappings of one direction in document order.
pub(super) fn read(element: &Element, direction: &str, errors: &mut Errors) -> Vec<Mapping> {
    element.engine_extensions(direction).filter_map(|mapping| one(element, mapping, errors)).collect()
}

/// The business key of a called process.
pub(super) fn business_key(element: &Element) -> Option<&str> {
    element.engine_extensions("in").find_map(|mapping| mapping.attribute("businessKey"))
}

fn one(owner: &Element, mapping: &Element, errors: &mut Errors) -> Option<Mapping> {
    if mapping.attribute("businessKey").is_some() {
        return None;
    }
    let local = mapping.flag("local", false, errors);
    if let Some(variables) = mapping.attribute("variables") {
        if variables != "all" {
            errors.report_at(owner.label(), mapping.line, format!("variables={variables:?} is not executed, only all"));
        }
        return Some(Mapping::All { local });
    }
    let target = mapping.attribute("target").filter(|target| !target.is_empty());
    let named = mapping.attribute("source").filter(|source| !source.is_empty());
    let expression = mapping.attribute("sourceExpression").filter(|source| !source.is_empty());
    let (source, is_expression) = match (named, expression) {
        // As in Camunda an expression may also stand in `source`.
        (Some(name), None) if name.contains("${") || name.contains("#{") => (owner.expression(name, errors)?, true),
        (Some(name), None) => (Expression::variable(name), false),
        (None, Some(text)) => (owner.expression(text, errors)?, true),
        _ => {
            errors.report_at(
                owner.label(),
                mapping.line,
                format!("camunda:{} needs source or sourceExpression", mapping.name),
            );
            return None;
        }
    };
    let Some(target) = target else {
        errors.report_at(owner.label(), mapping.line, format!("camunda:{} has no target", mapping.name));
        return None;
    };
    Some(Mapping::Variable { source, is_expression, target: target.to_owned(), local })
}
