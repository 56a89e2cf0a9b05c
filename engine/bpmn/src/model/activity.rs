//! Reads activities: tasks with an implementation, user tasks, scripts and call activities.

use super::reader::Errors;
use super::{Binding, CallActivity, NodeKind, UserTaskModel, extension, mapping};
use crate::expression::Expression;
use crate::xml::Element;

/// Formats of scripts that are the expression language.
const EXPRESSION_FORMATS: [&str; 4] = ["juel", "el", "expression", "application/x-juel"];

/// A service or send task.
pub(super) fn step(element: &Element, errors: &mut Errors) -> Option<NodeKind> {
    let Some(implementation) = extension::implementation(element, errors) else {
        errors.report(
            element,
            format!("{} has no implementation (camunda:class, camunda:expression or an external topic)", element.name),
        );
        return None;
    };
    Some(if &*element.name == "sendTask" {
        NodeKind::SendTask(implementation)
    } else {
        NodeKind::ServiceTask(implementation)
    })
}

/// A user task.
pub(super) fn user_task(element: &Element, errors: &mut Errors) -> Option<UserTaskModel> {
    let mut expression = |name: &str| optional(element, element.engine_attribute(name), errors);
    Some(UserTaskModel {
        form_key: expression("formKey")?,
        assignee: expression("assignee")?,
        candidate_users: expression("candidateUsers")?,
        candidate_groups: expression("candidateGroups")?,
        due: expression("dueDate")?,
        follow_up: expression("followUpDate")?,
        priority: expression("priority")?,
        description: optional(
            element,
            element.bpmn_children("documentation").next().map(|text| text.text.trim()),
            errors,
        )?,
        listeners: extension::task_listeners(element, errors),
    })
}

/// A script task. Only scripts that are expressions are executed.
pub(super) fn script_task(element: &Element, errors: &mut Errors) -> Option<NodeKind> {
    if element.engine_attribute("resource").is_some() {
        errors.report(element, "script in an external resource is not executed");
        return None;
    }
    let text = element.bpmn_children("script").next().map(|script| script.text.trim()).unwrap_or_default();
    let script = script(element, element.attribute("scriptFormat"), text, errors)?;
    let result_variable = element.engine_attribute("resultVariable").filter(|name| !name.is_empty()).map(str::to_owned);
    Some(NodeKind::ScriptTask { script, result_variable })
}

/// A script: an expression, or refused with the name of its language.
pub(super) fn script(owner: &Element, format: Option<&str>, text: &str, errors: &mut Errors) -> Option<Expression> {
    let format = format.unwrap_or_default().trim();
    let is_ours = format.is_empty() || EXPRESSION_FORMATS.contains(&format.to_ascii_lowercase().as_str());
    let parsed = Expression::parse(text);
    if let Ok(expression) = &parsed
        && (expression.is_single() || (is_ours && expression.constant().is_none()))
    {
        return Some(expression.clone());
    }
    if is_ours {
        let text = match parsed {
            Ok(_) => "script is no expression of the form ${...}".to_owned(),
            Err(error) => error.to_string(),
        };
        errors.report(owner, text);
    } else {
        errors.report(owner, format!("script in language {format} is not executed"));
    }
    None
}

/// A call activity.
pub(super) fn call(element: &Element, errors: &mut Errors) -> Option<CallActivity> {
    let Some(called) = element.reference("calledElement") else {
        errors.report(element, "call activity names no process (calledElement)");
        return None;
    };
    let binding = match element.engine_attribute("calledElementBinding").unwrap_or("latest") {
        "latest" => Binding::Latest,
        "deployment" => Binding::Deployment,
        "versionTag" => match element.engine_attribute("calledElementVersionTag") {
            Some(tag) => Binding::VersionTag(element.expression(tag, errors)?),
            None => {
                errors.report(element, "call activity bound by version tag has no camunda:calledElementVersionTag");
                return None;
            }
        },
        other => {
            errors.report(element, format!("call activity with binding {other} is not executed"));
            return None;
        }
    };
    let inputs = mapping::read(element, "in", errors);
    let business_key = match mapping::business_key(element) {
        Some(text) => Some(element.expression(text, errors)?),
        None => None,
    };
    Some(CallActivity {
        called: element.expression(called, errors)?,
        binding,
        inputs,
        business_key,
        outputs: mapping::read(element, "out", errors),
    })
}

#[expect(clippy::option_option, reason = "outer: readable; inner: present")]
fn optional(element: &Element, text: Option<&str>, errors: &mut Errors) -> Option<Option<Expression>> {
    match text.filter(|text| !text.is_empty()) {
        Some(text) => element.expression(text, errors).map(Some),
        None => Some(None),
    }
}
