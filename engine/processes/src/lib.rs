//! Processes: how a Task becomes a process instance, how the instance moves, and how its messages leave the node.
//!
//! ```text
//! endpoint ─ Task created ─▶ Runtime::accept ─┐                    ┌─▶ Task versions, instance, jobs, outbox: one transaction
//! jobs worker ─ due job ────▶ Runtime::run_job ┼─▶ unit::Unit ──────┤
//! outbox worker ─ delivered ▶ Unit::delivered ─┤   bpmn::step       └─▶ after commit: workers wake up
//! work worker ── done ──────▶ Unit::worked ────┘
//! ```
//!
//! Invariants (`process-engine.md` 0.3-0.6, 5.7):
//! - An accepted Task, the instance that it starts or continues, its timers and its messages are one transaction.
//! - Steps of a process run inside that transaction and have no effect outside it; sending is done by the outbox after
//!   the commit, with an identifier that makes a repetition harmless; long steps are work items, done beside transactions
//!   by one engine at a time, with their result recorded once.
//! - A message that arrives before its receiver waits is kept in the inbox for a while and then fails with the
//!   reference's text.
//! - Every instance that ends leaves no Task of its own `in-progress`, also one that cannot be read any more.
//! - An accepted Task is never refused because its process fails: it ends `failed` with the reason. Only a database that
//!   cannot be written refuses it.
//! - Nothing is tried again without end: an error that would come again ends the instance that caused it.
//! - Tasks that nobody took over are taken over or failed at the start; ended instances are removed after their time.

pub mod allow_list;
pub mod catalogue;
pub mod data_sharing;
pub mod definition;
pub mod external;
pub mod feasibility;
mod inbox;
mod jobs;
pub mod limits;
pub mod outbox;
pub mod ping_pong;
pub mod plugin;
pub mod retention;
pub mod runtime;
mod sender;
pub mod state;
pub mod step;
pub mod task;
pub mod terms;
pub mod user_task;
pub mod work;

pub use catalogue::{Catalogue, Origin, Publication, Published, Refused};
pub use definition::{Definition, Definitions};
pub use outbox::{Delivery, DeliveryFailure, FailureKind, Messenger};
pub use plugin::package::{self, Found, OnFailure, Package, PackageError};
pub use plugin::{Misbound, Plugin, PluginError};
pub use runtime::{AnswerError, LocalNode, OperateError, ProcessError, Runtime};
pub use state::ProcessState;
pub use step::{BoxFuture, Listener, Message, SendStep, ServiceStep, StepContext, StepError, WorkError, WorkStep};
pub use user_task::UserTaskListener;
pub use work::{ContentReader, ContentWriter, WorkContext};

#[cfg(test)]
mod tests;
