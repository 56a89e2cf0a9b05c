//! Processes: how a Task becomes a process instance, how the instance moves, and how its messages leave the node.
//!
//! ```text
//! endpoint ─ Task created ─▶ Runtime::accept ─┐                    ┌─▶ Task versions, instance, jobs, outbox: one transaction
//! jobs worker ─ due job ────▶ Runtime::run_job ┼─▶ unit::Unit ──────┤
//! outbox worker ─ delivered ▶ Runtime::settle ─┘   bpmn::step       └─▶ after commit: workers wake up
//! ```
//!
//! Invariants (`process-engine.md` 0.3-0.6, 5.7):
//! - An accepted Task, the instance that it starts or continues, its timers and its messages are one transaction.
//! - Steps of a process run inside that transaction and have no effect outside it; sending is done by the outbox after
//!   the commit, with an identifier that makes a repetition harmless.
//! - A message that arrives before its receiver waits is kept in the inbox for a while and then fails with the
//!   reference's text.
//! - Every instance that ends leaves no Task of its own `in-progress`.

pub mod definition;
pub mod inbox;
pub mod jobs;
pub mod limits;
pub mod outbox;
pub mod ping_pong;
pub mod plugin;
pub mod runtime;
pub mod step;
pub mod task;
pub mod terms;

pub use definition::{Definition, Definitions};
pub use outbox::{Delivery, DeliveryFailure, FailureKind, Messenger};
pub use plugin::{Plugin, PluginError};
pub use runtime::{LocalNode, ProcessError, Runtime};
pub use step::{Listener, Message, SendStep, ServiceStep, StepContext, StepError};
