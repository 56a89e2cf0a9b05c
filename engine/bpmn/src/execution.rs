//! Execution: commands in, events out.
//!
//! [`step`] takes a command, lets the processors under [`element`] append events until every token waits or has ended, and
//! returns them. A processor never touches the instance: [`apply`] is the only writer, one applier per event.

pub mod command;
pub mod environment;
pub mod error;
pub mod event;
pub mod instance;

mod apply;

use command::Command;
use environment::Environment;
use error::StepError;
use event::Event;
use instance::Instance;

use crate::model::Model;

/// Runs one command: every token moves until it waits or ends.
///
/// On success the instance has changed and the returned events say how; the host stores both and acts on the events. On
/// error the instance is unchanged.
pub fn step(model: &Model, instance: &mut Instance, command: Command, environment: &mut dyn Environment) -> Result<Vec<Event>, StepError> {
    let _ = (model, instance, command, environment);
    Err(StepError::Inconsistent("engine not wired yet".to_owned()))
}
