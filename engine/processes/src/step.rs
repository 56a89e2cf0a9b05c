//! What processes are made of besides their model: service steps, message sends and listeners, named by the
//! implementation class that the model gives.
//!
//! A step runs inside the transaction of its instance and touches nothing but that transaction: it reads resources,
//! reads and writes variables, adds outputs to the start Task. Sending is split: [`SendStep::message`] builds the message
//! inside the transaction, the outbox delivers it after the commit, and [`SendStep::delivered`] decides in the next
//! transaction what the result means to the process. Work that needs time, files or the network is split in the same
//! way: [`WorkStep`].

use std::future::Future;
use std::pin::Pin;

use bpmn::{ListenerCall, VariableWrite, Variables};
use fhir::{Object, Resource};
use serde_json::Value;
use store::{StoreError, Transaction};
use time::OffsetDateTime;

use crate::outbox::DeliveryFailure;
use crate::runtime::LocalNode;
use crate::work::WorkContext;

/// A future in a box, so that steps can be objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A service task.
pub trait ServiceStep: Send + Sync {
    /// Does the work.
    fn execute(&self, context: &mut StepContext<'_, '_>) -> Result<(), StepError>;
}

/// A service task whose work needs time, files or the network: prepared and finished inside transactions, done outside of
/// them.
///
/// ```text
/// prepare: transaction of the instance ─▶ work item ─▶ work, by one engine at a time ─▶ finish: moves the token on
///                                            ▲                    │ crash, lost lease, WorkError::Retry
///                                            └────────────────────┘
/// ```
pub trait WorkStep: Send + Sync {
    /// Says what is to be done, in the transaction that reaches the element. The result is stored and given to
    /// [`Self::work`]; it should name what is large rather than hold it.
    fn prepare(&self, context: &mut StepContext<'_, '_>) -> Result<Value, StepError>;

    /// Does it. It may be begun again after a crash, so beginning twice must do no harm. When the context is cancelled
    /// nobody waits for the result any more.
    fn work<'a>(&'a self, input: &'a Value, context: WorkContext) -> BoxFuture<'a, Result<Value, WorkError>>;

    /// Takes the result in, in the transaction that moves the token on. Called once for each work that ends well.
    fn finish(&self, context: &mut StepContext<'_, '_>, output: Value) -> Result<(), StepError>;
}

/// Why work has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// It may succeed later: it is tried again as often as the model's retry cycle says, then the step fails.
    #[error("{message}")]
    Retry {
        /// Why.
        message: String,
    },
    /// It would fail again: the step fails.
    #[error("{message}")]
    Failed {
        /// Why.
        message: String,
    },
    /// A BPMN error, which looks for its boundary event.
    #[error("BPMN error {code}")]
    Bpmn {
        /// Code.
        code: String,
        /// Message.
        message: Option<String>,
    },
}

/// A send task, message throw or message end event.
pub trait SendStep: Send + Sync {
    /// Says what is sent to whom.
    fn message(&self, context: &mut StepContext<'_, '_>) -> Result<Message, StepError>;

    /// Says what the outcome means. The default fails the step as DSF does when a message cannot be sent.
    fn delivered(
        &self,
        context: &mut StepContext<'_, '_>,
        result: &Result<(), DeliveryFailure>,
    ) -> Result<(), StepError> {
        match result {
            Ok(()) => Ok(()),
            Err(failure) => Err(context.send_failed(failure)),
        }
    }
}

/// An execution listener. It sees the variables of its element and writes variables.
pub trait Listener: Send + Sync {
    /// Called at the moment that the model names.
    fn call(&self, call: &ListenerCall<'_>) -> Result<Vec<VariableWrite>, bpmn::ListenerError>;
}

/// A message to a partner (`process-engine.md` 3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Organisation that receives it.
    pub organization_identifier: String,
    /// Identifier of the receiving endpoint, for texts.
    pub endpoint_identifier: String,
    /// Base URL of the receiving endpoint.
    pub endpoint_url: String,
    /// Correlation key that the answer must carry.
    pub correlation_key: Option<String>,
    /// Inputs after the standard ones.
    pub inputs: Vec<Object>,
}

/// Why a step does not go on normally.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// A BPMN error, which looks for its boundary event.
    #[error("BPMN error {code}")]
    Bpmn {
        /// Code.
        code: String,
        /// Message.
        message: Option<String>,
    },
    /// The instance fails, its Tasks too.
    #[error("{0}")]
    Failed(String),
    /// The store failed. The whole transaction is undone and run again, unless that would fail again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a step can see and do.
pub struct StepContext<'c, 't> {
    pub(crate) tx: &'c mut Transaction<'t>,
    pub(crate) node: &'c LocalNode,
    pub(crate) step: &'c bpmn::Step,
    pub(crate) variables: Variables<'c>,
    pub(crate) start_task: Option<&'c Resource>,
    pub(crate) latest_task: Option<&'c Resource>,
    pub(crate) writes: Vec<VariableWrite>,
    pub(crate) outputs: Vec<Object>,
    /// Why the Tasks of the instance fail while it goes on.
    pub(crate) failing: Option<String>,
    pub(crate) completing: bool,
    /// When the step was asked for; differs from now when a message was delivered in between.
    pub(crate) requested: OffsetDateTime,
}

// === impl WorkError ===

impl WorkError {
    /// Fails for good.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed { message: message.into() }
    }

    /// Fails for now.
    pub fn retry(message: impl Into<String>) -> Self {
        Self::Retry { message: message.into() }
    }
}

/// A database that does not answer may do so later.
impl From<StoreError> for WorkError {
    fn from(error: StoreError) -> Self {
        match crate::runtime::is_final(&error) {
            true => Self::failed(error.to_string()),
            false => Self::retry(error.to_string()),
        }
    }
}

// === impl StepContext ===

impl<'c, 't> StepContext<'c, 't> {
    /// The transaction, for reading resources.
    pub fn transaction(&mut self) -> &mut Transaction<'t> {
        self.tx
    }

    /// The node that runs the process.
    #[must_use]
    pub const fn node(&self) -> &'c LocalNode {
        self.node
    }

    /// Time of the transaction.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        self.tx.now()
    }

    /// When the step was asked for.
    #[must_use]
    pub const fn requested(&self) -> OffsetDateTime {
        self.requested
    }

    /// A variable as the element sees it, with what this step wrote.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<Value> {
        let written = self.writes.iter().rev().find(|write| write.name == name);
        match written {
            Some(write) => write.value.clone(),
            None => self.variables.get(name).cloned(),
        }
    }

    /// A string variable.
    #[must_use]
    pub fn string(&self, name: &str) -> Option<String> {
        self.variable(name)?.as_str().map(str::to_owned)
    }

    /// Writes a variable where it exists, else to the instance.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.writes.push(VariableWrite::set(name, value));
    }

    /// Writes a variable of this execution.
    pub fn set_local(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.writes.push(VariableWrite::set_local(name, value));
    }

    /// Removes a variable where it is found.
    pub fn remove(&mut self, name: impl Into<String>) {
        self.writes.push(VariableWrite::remove(name));
    }

    /// An injected field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'c str> {
        self.step.fields.get(name)?.as_str()
    }

    /// Business key of the instance.
    #[must_use]
    pub fn business_key(&self) -> Option<&'c str> {
        self.variables.business_key()
    }

    /// The Task that started the instance.
    pub fn start_task(&self) -> Result<&'c Resource, StepError> {
        self.start_task.ok_or_else(|| StepError::Failed("the instance has no start Task".to_owned()))
    }

    /// The Task that was received last in this scope, else the start Task.
    #[must_use]
    pub const fn latest_task(&self) -> Option<&'c Resource> {
        self.latest_task
    }

    /// Adds an output to the start Task; stored with the transaction.
    pub fn add_output(&mut self, output: Object) {
        self.outputs.push(output);
    }

    /// Fails the Tasks of the instance with this transaction, while the instance goes on.
    pub fn fail_tasks(&mut self, reason: impl Into<String>) {
        self.failing = Some(reason.into());
    }

    /// Completes the Tasks of the instance with this transaction, while the instance goes on, for example to delete later
    /// what it has made.
    pub fn complete_tasks(&mut self) {
        self.completing = true;
    }

    /// What kind of element the step is.
    #[must_use]
    pub const fn kind(&self) -> bpmn::StepKind {
        self.step.kind
    }

    /// Stores a Binary with the content that work has written ([`crate::work::ContentWriter`]); gives its id.
    pub fn create_binary(&mut self, mut binary: Resource, upload: &str) -> Result<String, StepError> {
        binary.remove("data");
        let stored = self.tx.create(binary, &store::new_id())?;
        self.tx.adopt_upload(upload, &stored.id, stored.version)?;
        Ok(stored.id)
    }

    /// The error of a message that could not be sent, in the reference's words (`process-engine.md` 3.5).
    #[must_use]
    pub fn send_failed(&self, failure: &DeliveryFailure) -> StepError {
        let target = self.variable("target").unwrap_or_default();
        let target = |name: &str| target.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
        let field = |name: &str| self.field(name).unwrap_or("?");
        let key = target("correlationKey");
        StepError::Failed(format!(
            "Task {} send failed [recipient: {}, endpoint: {}, businessKey: {}{}, message: {}, error: {}]",
            field("instantiatesCanonical"),
            target("organizationIdentifierValue"),
            target("endpointIdentifierValue"),
            self.business_key().unwrap_or("?"),
            if key == "?" { String::new() } else { format!(", correlationKey: {key}") },
            field("messageName"),
            failure.text,
        ))
    }

    /// A fresh UUID.
    #[must_use]
    pub fn new_id(&self) -> String {
        uuid::Uuid::new_v4().to_string()
    }
}
