//! Reads event definitions: what an event waits for or does.

use super::mapping;
use super::node::Shared;
use super::reader::Errors;
use super::{
    BoundaryTrigger, Catch, Condition, EndResult, ErrorCatch, EscalationCatch, Implementation, Mapping, NodeKind,
    StartTrigger, Throw, VariableEvent, activity, extension,
};
use crate::ElementId;
use crate::expression::Expression;
use crate::timer::Timer;
use crate::xml::Element;

/// Where a start event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartPosition {
    Process,
    SubProcess,
    EventSubProcess,
}

/// What a start event begins with.
pub(super) fn start(
    event: &Element,
    position: StartPosition,
    shared: &Shared,
    errors: &mut Errors,
) -> Option<StartTrigger> {
    let definition = single(event, errors)?;
    let trigger = match definition {
        None => StartTrigger::None,
        Some(definition) => start_trigger(event, definition, shared, errors)?,
    };
    let by_event = position == StartPosition::EventSubProcess;
    match (&trigger, position) {
        (StartTrigger::None, StartPosition::EventSubProcess) => {
            errors.report(event, "start event of an event sub-process needs a trigger");
        }
        (StartTrigger::None, _) => {}
        (_, StartPosition::SubProcess) => errors.report(event, "start event of a sub-process must have no trigger"),
        (
            StartTrigger::Error(_) | StartTrigger::Escalation { .. } | StartTrigger::Compensation,
            StartPosition::Process,
        ) => {
            let kind = definition.map(|definition| definition.name.to_string()).unwrap_or_default();
            errors.report(event, format!("{kind} cannot start a process"));
        }
        (StartTrigger::Event { catch, .. }, StartPosition::Process) => {
            let name = match catch {
                Catch::Message { message: name } | Catch::Signal { signal: name } => name,
                Catch::Timer(timer) => timer.expression(),
                Catch::Condition(_) => return Some(trigger),
            };
            if name.constant().is_none() {
                let text = match catch {
                    Catch::Message { .. } => "name of the message of a start event must not depend on variables",
                    Catch::Signal { .. } => "name of the signal of a start event must not depend on variables",
                    _ => "timer of a start event must not depend on variables",
                };
                errors.report(event, text);
            }
        }
        _ => {}
    }
    if !by_event && !event.flag("isInterrupting", true, errors) && position == StartPosition::SubProcess {
        errors.report(event, "isInterrupting belongs to the start event of an event sub-process");
    }
    Some(trigger)
}

fn start_trigger(event: &Element, definition: &Element, shared: &Shared, errors: &mut Errors) -> Option<StartTrigger> {
    let interrupting = event.flag("isInterrupting", true, errors);
    match &*definition.name {
        "errorEventDefinition" => {
            if !interrupting {
                errors.report(event, "error start event always interrupts");
            }
            Some(StartTrigger::Error(error(event, definition, shared, errors)?))
        }
        "escalationEventDefinition" => {
            let catch = escalation(event, definition, shared, errors)?;
            Some(StartTrigger::Escalation { catch, interrupting })
        }
        "compensateEventDefinition" => Some(StartTrigger::Compensation),
        _ => Some(StartTrigger::Event { catch: waits(event, definition, shared, errors)?, interrupting }),
    }
}

/// What an end event does.
pub(super) fn end(event: &Element, shared: &Shared, errors: &mut Errors) -> Option<EndResult> {
    let Some(definition) = single(event, errors)? else { return Some(EndResult::None) };
    match &*definition.name {
        "messageEventDefinition" => Some(EndResult::Message(implementation(event, definition, errors)?)),
        "signalEventDefinition" => Some(EndResult::Signal {
            signal: signal_name(event, definition, shared, errors)?,
            payload: payload(definition, errors),
        }),
        "errorEventDefinition" => {
            let declaration = definition.reference("errorRef").and_then(|id| shared.errors.get(id));
            let Some(code) = declaration.and_then(|error| error.code.as_deref()) else {
                errors.report(event, "error end event has no error with an errorCode");
                return None;
            };
            let code = event.expression(code, errors)?;
            Some(EndResult::Error { code, message: declaration.and_then(|error| error.message.clone()) })
        }
        "escalationEventDefinition" => {
            Some(EndResult::Escalation { code: escalation_code(event, definition, shared, errors)? })
        }
        "terminateEventDefinition" => Some(EndResult::Terminate),
        "compensateEventDefinition" => {
            Some(EndResult::Compensation { activity: compensated(definition, event, errors) })
        }
        _ => refused(event, definition, errors),
    }
}

/// What an intermediate throw event does.
pub(super) fn throw(event: &Element, shared: &Shared, errors: &mut Errors) -> Option<NodeKind> {
    let Some(definition) = single(event, errors)? else { return Some(NodeKind::IntermediateThrowEvent(Throw::None)) };
    Some(NodeKind::IntermediateThrowEvent(match &*definition.name {
        "messageEventDefinition" => Throw::Message(implementation(event, definition, errors)?),
        "signalEventDefinition" => Throw::Signal {
            signal: signal_name(event, definition, shared, errors)?,
            payload: payload(definition, errors),
        },
        "escalationEventDefinition" => Throw::Escalation { code: escalation_code(event, definition, shared, errors)? },
        "compensateEventDefinition" => Throw::Compensation { activity: compensated(definition, event, errors) },
        "linkEventDefinition" => {
            return Some(NodeKind::LinkThrowEvent { name: link_name(event, definition, errors)?, target: None });
        }
        _ => return refused(event, definition, errors),
    }))
}

/// What an intermediate catch event waits for.
pub(super) fn catch(event: &Element, shared: &Shared, errors: &mut Errors) -> Option<NodeKind> {
    let Some(definition) = single(event, errors)? else {
        errors.report(event, "intermediate catch event has no event definition");
        return None;
    };
    if &*definition.name == "linkEventDefinition" {
        return Some(NodeKind::LinkCatchEvent { name: link_name(event, definition, errors)? });
    }
    Some(NodeKind::IntermediateCatchEvent(waits(event, definition, shared, errors)?))
}

/// What triggers a boundary event.
pub(super) fn boundary(event: &Element, shared: &Shared, errors: &mut Errors) -> Option<NodeKind> {
    let Some(attached_to) = event.reference("attachedToRef") else {
        errors.report(event, "boundary event is not attached to an activity (attachedToRef)");
        return None;
    };
    let Some(definition) = single(event, errors)? else {
        errors.report(event, "boundary event has no event definition");
        return None;
    };
    let mut interrupting = event.flag("cancelActivity", true, errors);
    let trigger = match &*definition.name {
        "errorEventDefinition" => {
            if !interrupting {
                errors.report(event, "error boundary event always interrupts (cancelActivity)");
            }
            BoundaryTrigger::Error(error(event, definition, shared, errors)?)
        }
        "escalationEventDefinition" => BoundaryTrigger::Escalation(escalation(event, definition, shared, errors)?),
        "compensateEventDefinition" => {
            interrupting = false;
            BoundaryTrigger::Compensation { handler: None }
        }
        _ => BoundaryTrigger::Event(waits(event, definition, shared, errors)?),
    };
    Some(NodeKind::BoundaryEvent { attached_to: attached_to.into(), trigger, interrupting })
}

/// What any event waits for.
fn waits(event: &Element, definition: &Element, shared: &Shared, errors: &mut Errors) -> Option<Catch> {
    match &*definition.name {
        "messageEventDefinition" => Some(Catch::Message { message: message_name(event, definition, shared, errors)? }),
        "timerEventDefinition" => Some(Catch::Timer(timer(event, definition, errors)?)),
        "signalEventDefinition" => {
            if definition.extensions().next().is_some() {
                errors.report(event, "only events that throw a signal pass variables");
            }
            Some(Catch::Signal { signal: signal_name(event, definition, shared, errors)? })
        }
        "conditionalEventDefinition" => Some(Catch::Condition(condition(event, definition, errors)?)),
        _ => refused(event, definition, errors),
    }
}

fn error(event: &Element, definition: &Element, shared: &Shared, errors: &mut Errors) -> Option<ErrorCatch> {
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
    Some(ErrorCatch {
        code,
        code_variable: variable(definition, "errorCodeVariable"),
        message_variable: variable(definition, "errorMessageVariable"),
    })
}

fn escalation(event: &Element, definition: &Element, shared: &Shared, errors: &mut Errors) -> Option<EscalationCatch> {
    Some(EscalationCatch {
        code: escalation_code(event, definition, shared, errors)?,
        code_variable: variable(definition, "escalationCodeVariable"),
    })
}

#[expect(clippy::option_option, reason = "outer: readable; inner: present")]
fn escalation_code(
    event: &Element,
    definition: &Element,
    shared: &Shared,
    errors: &mut Errors,
) -> Option<Option<String>> {
    match definition.reference("escalationRef") {
        None => Some(None),
        Some(reference) => match shared.escalations.get(reference) {
            Some(code) => Some(code.clone()),
            None => {
                errors.report(event, format!("escalation {reference} is not declared"));
                None
            }
        },
    }
}

fn compensated(definition: &Element, event: &Element, errors: &mut Errors) -> Option<ElementId> {
    if !definition.flag("waitForCompletion", true, errors) {
        errors.report(event, "compensation that is not waited for (waitForCompletion=false) is not executed");
    }
    definition.reference("activityRef").map(ElementId::from)
}

fn link_name(event: &Element, definition: &Element, errors: &mut Errors) -> Option<String> {
    let name = definition.attribute("name").map(str::trim).filter(|name| !name.is_empty());
    if name.is_none() {
        errors.report(event, "link has no name");
    }
    name.map(str::to_owned)
}

fn variable(definition: &Element, name: &str) -> Option<String> {
    definition.engine_attribute(name).filter(|value| !value.is_empty()).map(str::to_owned)
}

fn payload(definition: &Element, errors: &mut Errors) -> Vec<Mapping> {
    mapping::read(definition, "in", errors)
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
    name
}

fn implementation(event: &Element, definition: &Element, errors: &mut Errors) -> Option<Implementation> {
    extension::implementation(definition, errors).or_else(|| {
        errors.report(event, "message has no implementation (camunda:class), nothing would be sent");
        None
    })
}

fn timer(event: &Element, definition: &Element, errors: &mut Errors) -> Option<Timer> {
    let kind = |name: &str| -> Option<fn(Expression) -> Timer> {
        match name {
            "timeDuration" => Some(Timer::Duration),
            "timeDate" => Some(Timer::Date),
            "timeCycle" => Some(Timer::Cycle),
            _ => None,
        }
    };
    for child in definition.children.iter().filter(|child| child.in_bpmn()) {
        let Some(kind) = kind(&child.name) else { continue };
        let timer = kind(event.expression(child.text.trim(), errors)?);
        // Any time will do: a date may have passed by now.
        if let Some(text) = timer.expression().constant()
            && let Err(error) = timer.schedule(&text, time::OffsetDateTime::UNIX_EPOCH)
        {
            errors.report(event, error.to_string());
        }
        return Some(timer);
    }
    errors.report(event, "timer has no timeDuration, timeDate or timeCycle");
    None
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
        return activity::script(owner, Some(language), element.text.trim(), errors);
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
