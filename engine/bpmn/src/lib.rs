//! A pure BPMN 2.0 model reader and token engine with the semantics of Camunda 7, on which DSF processes were modelled.
//!
//! Four parts, each usable alone:
//!
//! - [`model`]: BPMN XML to an immutable [`Model`]; what is not executed is refused at load, by name and line.
//! - [`expression`]: the bounded subset of the expression language (JUEL) that models in the field use.
//! - [`kit`]: a host in memory that runs scenarios and walks through models, for tests and `schleuse process check`.
//! - [`execution`]: [`step`] moves an [`Instance`] from wait state to wait state and returns the [`Event`]s that did it.
//!
//! The crate has no clock, no randomness, no I/O and no threads: time, ids and execution listeners come in through
//! [`Environment`]. Element processors only append events; applying an event is the only way an instance changes
//! ([`Instance::apply`]), so replaying the events of an instance from the start gives the identical instance.
//! The host persists events and instance in one transaction and acts on the events after it (steps, jobs, subscriptions).
//!
//! ```
//! use bpmn::{Command, Environment, Event, Instance, ListenerCall, ListenerError, Model, StepOutcome, VariableWrite, step};
//!
//! struct Host(u32);
//! impl Environment for Host {
//!     fn now(&self) -> time::OffsetDateTime {
//!         time::OffsetDateTime::UNIX_EPOCH
//!     }
//!     fn new_id(&mut self) -> String {
//!         self.0 += 1;
//!         self.0.to_string()
//!     }
//!     fn listen(&mut self, call: &ListenerCall<'_>) -> Result<Vec<VariableWrite>, ListenerError> {
//!         Err(ListenerError::Failed(format!("unknown listener {}", call.class)))
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let xml = br#"<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL" xmlns:camunda="http://camunda.org/schema/1.0/bpmn">
//!   <process id="hello" isExecutable="true">
//!     <startEvent id="start"/><sequenceFlow id="f" sourceRef="start" targetRef="greet"/>
//!     <serviceTask id="greet" camunda:class="Greet"/>
//!   </process>
//! </definitions>"#;
//! let model = Model::parse(xml).map_err(|errors| format!("{errors:?}"))?;
//! let (mut instance, mut host) = (Instance::default(), Host(0));
//!
//! let start = Command::Start {
//!     process: "hello".to_owned(),
//!     start_event: "start".into(),
//!     business_key: None,
//!     variables: Vec::new(),
//!     message: None,
//!     caller: None,
//! };
//! let mut history = step(&model, &mut instance, start, &mut host)?;
//! let Some(Event::StepRequested(request)) = history.iter().find(|event| matches!(event, Event::StepRequested(_))) else {
//!     return Err("no step".into());
//! };
//! assert_eq!(request.class, "Greet");
//!
//! let answer = Command::StepCompleted { step: request.step.clone(), outcome: StepOutcome::completed() };
//! history.extend(step(&model, &mut instance, answer, &mut host)?);
//! assert!(instance.is_ended());
//! assert_eq!(Instance::replay(&history)?, instance);
//! # Ok(())
//! # }
//! ```
#![warn(missing_docs)]

pub mod execution;
pub mod expression;
pub mod kit;
pub mod limits;
pub mod model;
pub mod timer;
mod xml;

pub use execution::command::{Command, StepOutcome, VariableWrite};
pub use execution::environment::{Environment, ListenerCall, ListenerError, ListenerEvent};
pub use execution::error::StepError;
pub use execution::event::{
    Call, CallBinding, CallOutcome, Caller, Event, Job, JobKind, Listener, OpenCall, Step, StepKind, Subscription,
    Trigger, UserTask,
};
pub use execution::instance::{
    Compensation, Instance, Owner, Scope, ScopeId, ScopeKind, Status, Token, TokenId, TokenState, Variables,
};
pub use execution::step;
pub use model::{Model, ModelError, Process};
pub use xml::Document;

use std::sync::Arc;

/// The `id` attribute of an element of the model; cheap to clone.
pub type ElementId = Arc<str>;

/// An identifier made by [`Environment::new_id`] for something the host stores: a step, job, subscription or user task.
pub type Id = Arc<str>;

/// Variables by name, as JSON values.
pub type VariableMap = std::collections::BTreeMap<String, Arc<serde_json::Value>>;
