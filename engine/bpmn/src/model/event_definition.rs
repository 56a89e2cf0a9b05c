//! Reads event definitions: what an event waits for or does.

use super::node::Shared;
use super::reader::Errors;
use super::{
    BoundaryTrigger, Catch, Condition, EndResult, Implementation, StartTrigger, Throw, VariableEvent, extension,
};
use crate::expression::Expression;
use crate::timer::{IsoDuration, Timer, parse_date};
use crate::xml::Element;

/// What a start event of the process begins with.
pub(super) fn start(event: &Element, shared: &Shared, errors: &mut Errors) -> Option<StartTrigger> {
    let Some(definition) = single(event, errors)? else { return Some(StartTrigger::None) };
    match &*definition.name {
        "messageEventDefinition" => {
            let message = message_name(event, definition, shared, errors)?;
            if message.constant().is_none() {
                errors.report(event, "name of the message of a start event must not depend on variables");
            }
            Some(StartTrigger::Message { message })
        }
        _ => refused(event, definition, errors),
    }
}

/// What an end event does.
pub(super) fn end(event: &Element, shared: &Shared, errors: &mut Errors) -> Option<EndResult> {
    let Some(definition) = single(event, errors)? else { return Some(EndResult::None) };
    match &*definition.name {
        "messageEventDefinition" => Some(EndResult::Message(implementation(event, definition, errors)?)),
        "signalEventDefinition" => Some(EndResult::Signal { signal: signal_name(event, definition, shared, errors)? }),
        "errorEventDefinition" => {
            let declaration = definition.reference("errorRef").and_then(|id| shared.errors.get(id));
            let Some(code) = declaration.and_then(|error| error.code.clone()) else {
                errors.report(event, "error end event has no error with an errorCode");
                return None;
            };
            Some(EndResult::Error { code, message: declaration.and_then(|error| error.message.clone()) })
        }
        _ => refused(event, definition, errors),
    }
}

/// What an intermediate throw event does.
pub(super) fn throw(event: &Element, shared: &Shared, errors: &mut Errors) -> Option<Throw> {
    let Some(definition) = single(event, errors)? else { return Some(Throw::None) };
    match &*definition.name {
        "messageEventDefinition" => Some(Throw::Message(implementation(event, definition, errors)?)),
        "signalEventDefinition" => Some(Throw::Signal { signal: signal_name(event, definition, shared, errors)? }),
        _ => refused(event, definition, errors),
    }
}

/// What an intermediate catch event waits for.
pub(super) fn catch(event: &Element, shared: &Shared, errors: &mut Errors) -> Option<Catch> {
    let Some(definition) = single(event, errors)? else {
        errors.report(event, "intermediate catch event has no event definition");
        return None;
    };
    match &*definition.name {
        "messageEventDefinition" => Some(Catch::Message { message: message_name(event, definition, shared, errors)? }),
        "timerEventDefinition" => Some(Catch::Timer(timer(event, definition, errors)?)),
        "signalEventDefinition" => Some(Catch::Signal { signal: signal_name(event, definition, shared, errors)? }),
        "conditionalEventDefinition" => Some(Catch::Condition(condition(event, definition, errors)?)),
        _ => refused(event, definition, errors),
    }
}

/// What triggers a boundary event.
pub(super) fn boundary(event: &Element, shared: &Shared, errors: &mut Errors) -> Option<BoundaryTrigger> {
    let Some(definition) = single(event, errors)? else {
        errors.report(event, "boundary event has no event definition");
        return None;
    };
    match &*definition.name {
        "messageEventDefinition" => {
            Some(BoundaryTrigger::Message { message: message_name(event, definition, shared, errors)? })
        }
        "timerEventDefinition" => Some(BoundaryTrigger::Timer(timer(event, definition, errors)?)),
        "errorEventDefinition" => {
            let code = match definition.reference("errorRef") {
                None => None,
                Some(reference) => match shared.errors.get(reference) {
                    Some(declaration) => declaration.code.clone(),
                    None => {
                        errors.report(event, format!("error {reference} is not declared"));
                        return None;
                    }
                },
            };
            let variable =
                |name| definition.engine_attribute(name).filter(|value| !value.is_empty()).map(str::to_owned);
            Some(BoundaryTrigger::Error {
                code,
                code_variable: variable("errorCodeVariable"),
                message_variable: variable("errorMessageVariable"),
            })
        }
        _ => refused(event, definition, errors),
    }
}

/// The name of the message that an element refers to.
pub(super) fn message_name(
    event: &Element,
    holder: &Element,
    shared: &Shared,
    errors: &mut Errors,
) -> Option<Expression> {
    let Some(reference) = holder.reference("messageRef") else {
        errors.report(event, "no message is referred to (messageRef)");
        return None;
    };
    let Some(message) = shared.messages.get(reference) else {
        errors.report(event, format!("message {reference} is not declared"));
        return None;
    };
    if message.name.source().trim().is_empty() {
        errors.report(event, format!("message {reference} has no name"));
        return None;
    }
    Some(message.name.clone())
}

fn signal_name(event: &Element, definition: &Element, shared: &Shared, errors: &mut Errors) -> Option<Expression> {
    let signal = definition.reference("signalRef").and_then(|id| shared.signals.get(id));
    let name = signal.map(|signal| signal.name.clone()).filter(|name| !name.source().trim().is_empty());
    if name.is_none() {
        errors.report(event, "no signal with a name is referred to (signalRef)");
    }
    if definition.extensions().next().is_some() {
        errors.report(event, "payload of signals is not executed");
    }
    name
}

fn implementation(event: &Element, definition: &Element, errors: &mut Errors) -> Option<Implementation> {
    extension::implementation(definition, errors).or_else(|| {
        errors.report(event, "message has no implementation (camunda:class), nothing would be sent");
        None
    })
}

fn timer(event: &Element, definition: &Element, errors: &mut Errors) -> Option<Timer> {
    for child in definition.children.iter().filter(|child| child.in_bpmn()) {
        let text = child.text.trim();
        match &*child.name {
            "timeDuration" => {
                let expression = event.expression(text, errors)?;
                check_constant(event, &expression, errors, |text| {
                    IsoDuration::parse(text).map(|_| ()).map_err(|error| error.to_string())
                });
                return Some(Timer::Duration(expression));
            }
            "timeDate" => {
                let expression = event.expression(text, errors)?;
                check_constant(event, &expression, errors, |text| {
                    parse_date(text).map(|_| ()).map_err(|error| error.to_string())
                });
                return Some(Timer::Date(expression));
            }
            "timeCycle" => {
                errors.report(event, "timer cycle (timeCycle) is not executed");
                return None;
            }
            _ => {}
        }
    }
    errors.report(event, "timer has no timeDuration or timeDate");
    None
}

fn check_constant(
    event: &Element,
    expression: &Expression,
    errors: &mut Errors,
    check: impl Fn(&str) -> Result<(), String>,
) {
    if let Some(Err(text)) = expression.constant().map(|text| check(&text)) {
        errors.report(event, text);
    }
}

fn condition(event: &Element, definition: &Element, errors: &mut Errors) -> Option<Condition> {
    let Some(element) = definition.bpmn_children("condition").next() else {
        errors.report(event, "conditional event has no condition");
        return None;
    };
    let expression = condition_expression(event, element, errors)?;
    let mut events = Vec::new();
    for name in definition
        .engine_attribute("variableEvents")
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        match name {
            "create" => events.push(VariableEvent::Create),
            "update" => events.push(VariableEvent::Update),
            "delete" => events.push(VariableEvent::Delete),
            other => errors.report(event, format!("variable event {other:?} is unknown")),
        }
    }
    let variable = definition.engine_attribute("variableName").filter(|name| !name.is_empty()).map(str::to_owned);
    Some(Condition { expression, variable, events })
}

/// A condition: an expression of our language, not a script and not mere text.
pub(super) fn condition_expression(owner: &Element, element: &Element, errors: &mut Errors) -> Option<Expression> {
    if let Some(language) = element.attribute("language").filter(|language| !language.is_empty()) {
        errors.report(owner, format!("condition in language {language} is not executed"));
        return None;
    }
    if element.engine_attribute("resource").is_some() {
        errors.report(owner, "condition in an external resource is not executed");
        return None;
    }
    let expression = owner.expression(element.text.trim(), errors)?;
    if expression.constant().is_some() {
        errors.report(owner, format!("condition {:?} is no expression of the form ${{...}}", expression.source()));
        return None;
    }
    Some(expression)
}

/// The event definition of an event: none, one, or an error.
#[expect(clippy::option_option, reason = "outer: readable; inner: present")]
fn single<'a>(event: &'a Element, errors: &mut Errors) -> Option<Option<&'a Element>> {
    let mut definitions =
        event.children.iter().filter(|child| child.in_bpmn() && child.name.ends_with("EventDefinition"));
    let first = definitions.next();
    if definitions.next().is_some() {
        errors.report(event, "event with several event definitions is not executed");
        return None;
    }
    if event.bpmn_children("eventDefinitionRef").next().is_some() {
        errors.report(event, "reference to a shared event definition is not executed");
        return None;
    }
    if let Some(definition) = first {
        extension::check_event_definition(event, definition, errors);
    }
    Some(first)
}

fn refused<T>(event: &Element, definition: &Element, errors: &mut Errors) -> Option<T> {
    errors.report(event, format!("{} on {} is not executed", definition.name, event.name));
    None
}
