//! Execution: commands in, events out.
//!
//! [`step`] takes a command, lets the processors under `element` append events until every token waits or has ended, and
//! returns them. A processor never touches the instance: `apply` is the only writer, one applier per event.

pub mod command;
pub mod environment;
pub mod error;
pub mod event;
pub mod instance;

mod apply;
mod call;
mod compensation;
mod element;
mod engine;
mod event_sub_process;
mod handle;
mod interrupt;
mod lifecycle;
mod listeners;
mod repetition;
mod throw;
mod variables;
mod waits;

#[cfg(test)]
mod tests;

use command::Command;
use engine::Engine;
use environment::Environment;
use error::StepError;
use event::Event;
use instance::Instance;

use crate::model::Model;

/// Runs one command: every token moves until it waits or ends.
///
/// On success the instance has changed and the returned events say how; the host stores both and acts on the events. On
/// error the instance is unchanged.
pub fn step(
    model: &Model,
    instance: &mut Instance,
    command: Command,
    environment: &mut dyn Environment,
) -> Result<Vec<Event>, StepError> {
    let id = match (&command, instance.process()) {
        (Command::Start { process, .. }, None) => process.as_str(),
        (_, Some(process)) => process,
        (_, None) => "",
    };
    let Some(process) = model.process(id) else {
        return Err(StepError::UnknownElement(id.to_owned()));
    };
    // Variables are shared, so a copy costs the structure only.
    let mut working_copy = instance.clone();
    let mut engine = Engine::new(process, &mut working_copy, environment);
    engine.handle(command)?;
    engine.run()?;
    let events = engine.events;
    *instance = working_copy;
    Ok(events)
}
