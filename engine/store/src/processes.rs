//! What the process engine keeps: definitions, instances, jobs, work, messages in both directions, settings.
//!
//! These are records with opaque payloads; what they mean is the business of the crate `processes`. What this side
//! guarantees is that they change in the same transaction as the resources, that two writers of one instance notice each
//! other (revision), and that a job or message is worked on by one engine at a time (lock with an end).

mod definitions;
mod inbox;
mod instances;
mod jobs;
mod outbox;
mod settings;
mod subscriptions;
mod work;

pub use definitions::Definition;
pub use inbox::{BufferedMessage, NewBufferedMessage};
pub use instances::{EndedInstance, Instance, InstanceEvent, InstanceList, InstanceState, InstanceUpdate, NewInstance};
pub use jobs::{Job, NewJob};
pub use outbox::{NewOutboxMessage, OutboxMessage};
pub use settings::Counted;
pub use subscriptions::{MessageSubscription, MessageTarget, SignalSubscription};
pub use work::{ExternalFetch, NewWorkItem, WorkItem, WorkItemList, WorkKind};

#[cfg(test)]
mod tests;
