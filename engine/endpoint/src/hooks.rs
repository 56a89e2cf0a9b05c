//! What the engine plugs into the endpoint: process start, audit, and the publication of the allow-list.
//!
//! The endpoint knows neither processes nor files; it calls these traits at fixed places of a request:
//!
//! ```text
//! permit read ─▶ Audit::record ┬▶ transaction { … TaskHandler::task_created … } ─▶ commit ─▶ TaskHandler::committed
//!                              │                                └▶ AllowListPublisher::publish, acknowledged ─▶ Audit::record ─▶ answer
//!                              └▶ Audit::on_disk ─────────────────────────────────────────────────────────────────────────────┘
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use fhir::{Resource, ResourceType};
use link::CorrelationId;
use policies::{AllowList, Identity};
use store::{StoreError, Transaction};
use time::OffsetDateTime;

/// A future in a box, so that the traits can be objects.
pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Takes over Tasks and answers to user tasks that were just accepted.
pub trait TaskHandler: Send + Sync + 'static {
    /// Called inside the transaction that stored version 1 of a Task with status `requested`. It may write the next
    /// version and the process instance with `tx`; an error undoes the Task too and is answered with 500.
    ///
    /// Returns the newest version if it wrote one. The client is answered with version 1 in any case.
    fn task_created(&self, tx: &mut Transaction<'_>, task: &Resource) -> Result<Option<Resource>, HandlerError>;

    /// Called inside the transaction that updated a QuestionnaireResponse to `completed` or `stopped`, after every rule of the
    /// endpoint. It may write further versions and move a process; an error undoes the update too.
    fn answered(&self, _: &mut Transaction<'_>, _: &Resource) -> Result<(), HandlerError> {
        Ok(())
    }

    /// Called once after the commit of a transaction in which a Task or an answer was taken over.
    fn committed(&self);
}

/// Leaves every Task `requested`, for an attached foreign engine (`[engine] processes = "none"`).
#[derive(Clone, Copy, Debug, Default)]
pub struct LeaveTasks;

/// Why a Task or answer could not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The process does not accept the answer; the text is for the person who gives it.
    #[error("{0}")]
    Refused(String),
    /// Anything else; the text is for the log.
    #[error("{0}")]
    Other(String),
}

/// Keeps evidence of what was asked and what was done.
pub trait Audit: Send + Sync + 'static {
    /// Appends a record. Called before anything is written and again with the result; once with both for what only reads.
    fn record(&self, record: &AuditRecord<'_>) -> Result<(), AuditError>;

    /// Resolves when every record made so far is on disk. Begun when a write begins and awaited before it is answered.
    fn on_disk(&self) -> Boxed<'_, Result<(), AuditError>>;
}

/// The audit log cannot be written; the text is for the log.
#[derive(Debug, thiserror::Error)]
#[error("audit record cannot be written: {0}")]
pub struct AuditError(pub String);

/// One record. It names what was touched and never what is in it.
#[derive(Clone, Debug)]
pub struct AuditRecord<'a> {
    /// Joins the records of gateway and engine.
    pub correlation_id: CorrelationId,
    /// When.
    pub at: OffsetDateTime,
    /// Who.
    pub identity: &'a Identity,
    /// Name of the interaction.
    pub interaction: &'a str,
    /// Type that the path names.
    pub resource_type: Option<ResourceType>,
    /// Id that the path names, or of the resource that was created.
    pub id: Option<&'a str>,
    /// What is recorded.
    pub event: AuditEvent<'a>,
}

/// What a record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditEvent<'a> {
    /// The request begins.
    Begun {
        /// Rule of the gateway's policy.
        rule: &'a str,
        /// Policy by which the gateway decided.
        policy_version: &'a str,
    },
    /// The request is over.
    Ended {
        /// Status of the answer.
        status: u16,
        /// Stable code of the refusal, if it was refused.
        code: Option<&'a str>,
    },
    /// A request that changes nothing, from its beginning to its end.
    Answered {
        /// Rule of the gateway's policy.
        rule: &'a str,
        /// Policy by which the gateway decided.
        policy_version: &'a str,
        /// Status of the answer.
        status: u16,
        /// Stable code of the refusal, if it was refused.
        code: Option<&'a str>,
    },
}

/// Tells the gateways about a new allow-list.
pub trait AllowListPublisher: Send + Sync + 'static {
    /// Makes the list the newest snapshot and hands it to the gateways; gives its version. Called for one list after the
    /// other, never for two at a time, and never cut short.
    fn publish(&self, allow_list: Arc<AllowList>) -> Boxed<'_, Result<u64, PublishError>>;

    /// Resolves when every connected gateway has acknowledged the version. The endpoint waits for at most one second
    /// before it answers the change.
    fn acknowledged(&self, version: u64) -> Boxed<'_, ()>;

    /// Version of the newest snapshot that was published; a permit of a newer one is not accepted.
    fn version(&self) -> u64;
}

/// The allow-list was not published; it will be tried again. The text is for the log.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PublishError(pub String);

// === impl LeaveTasks ===

impl TaskHandler for LeaveTasks {
    fn task_created(&self, _: &mut Transaction<'_>, _: &Resource) -> Result<Option<Resource>, HandlerError> {
        Ok(None)
    }

    fn committed(&self) {}
}
