//! Element processors, one file each. A processor runs the behaviour of its element by appending events and says what the
//! token does next; it never changes the instance itself.

mod boundary_event;
mod call_activity;
mod catch_event;
mod end_event;
mod event_based_gateway;
mod exclusive_gateway;
mod inclusive_gateway;
mod parallel_gateway;
mod pass_through;
mod receive_task;
mod script_task;
mod step;
mod sub_process;
mod throw_event;
mod user_task;

use super::engine::{Engine, Operation, Result};
use super::instance::TokenId;
use super::lifecycle::Next;
use crate::ElementId;
use crate::model::{EndResult, Node, NodeKind, Throw};

pub(super) use end_event::settle_messages;
pub(super) use step::step_completed;

/// Runs the behaviour of the element that a token entered.
pub(super) fn execute<'a>(engine: &mut Engine<'a>, token: TokenId, node: &'a Node) -> Result<Next> {
    use super::event::StepKind;
    match &node.kind {
        NodeKind::StartEvent(_)
        | NodeKind::Task
        | NodeKind::LinkThrowEvent { .. }
        | NodeKind::LinkCatchEvent { .. }
        | NodeKind::EventSubProcess { .. } => Ok(pass_through::execute()),
        NodeKind::EndEvent(EndResult::Message(implementation)) => {
            step::execute(engine, token, node, implementation, StepKind::MessageEnd)
        }
        NodeKind::EndEvent(result) => end_event::execute(engine, token, node, result),
        NodeKind::IntermediateThrowEvent(Throw::Message(implementation)) => {
            step::execute(engine, token, node, implementation, StepKind::MessageThrow)
        }
        NodeKind::IntermediateThrowEvent(throw) => throw_event::execute(engine, token, node, throw),
        NodeKind::IntermediateCatchEvent(catch) => catch_event::execute(engine, token, node, catch),
        NodeKind::BoundaryEvent { .. } => Ok(boundary_event::execute()),
        NodeKind::ServiceTask(implementation) => step::execute(engine, token, node, implementation, StepKind::Service),
        NodeKind::SendTask(implementation) => step::execute(engine, token, node, implementation, StepKind::SendTask),
        NodeKind::ReceiveTask { message } => receive_task::execute(engine, token, node, message),
        NodeKind::UserTask(task) => user_task::execute(engine, token, node, task),
        NodeKind::ScriptTask { script, result_variable } => {
            script_task::execute(engine, token, node, script, result_variable.as_ref())
        }
        NodeKind::CallActivity(activity) => call_activity::execute(engine, token, node, activity),
        NodeKind::ExclusiveGateway => Ok(exclusive_gateway::execute()),
        NodeKind::ParallelGateway => parallel_gateway::execute(engine, token, node),
        NodeKind::InclusiveGateway => inclusive_gateway::execute(engine, token, node),
        NodeKind::EventBasedGateway => event_based_gateway::execute(engine, token, node),
        NodeKind::SubProcess { start } => sub_process::execute(engine, token, start),
    }
}

/// Sequence flows that a token takes when it leaves the element.
pub(super) fn select_flows<'a>(engine: &Engine<'a>, token: TokenId, node: &'a Node) -> Result<Vec<&'a ElementId>> {
    match &node.kind {
        NodeKind::ExclusiveGateway => exclusive_gateway::select_flow(engine, token, node).map(|flow| vec![flow]),
        NodeKind::ParallelGateway => Ok(node.outgoing.iter().collect()),
        _ => pass_through::select_flows(engine, token, node),
    }
}

/// Schedules the completion of an element and then, to run before it, whatever `first` schedules.
fn complete_after(
    engine: &mut Engine<'_>,
    token: TokenId,
    first: impl FnOnce(&mut Engine<'_>) -> Result<()>,
) -> Result<Next> {
    engine.schedule(Operation::Complete(token));
    first(engine)?;
    Ok(Next::Scheduled)
}
