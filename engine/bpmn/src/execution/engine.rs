//! The machine that runs one command: a working copy of the instance, the events so far, and the agenda.
//!
//! The agenda is a stack, so that a token runs until it waits before the next one moves, as in Camunda. It is empty between
//! commands: whatever has to survive is a token state, job, subscription, step or user task.

use std::sync::Arc;

use super::environment::Environment;
use super::error::StepError;
use super::event::Event;
use super::instance::{Instance, Owner, Scope, ScopeId, ScopeKind, Token, TokenId, TokenState};
use crate::expression::ExpressionError;
use crate::limits;
use crate::model::{Node, Process, VariableEvent};
use crate::timer::TimerError;
use crate::{ElementId, Id};

/// State of a running command.
pub(super) struct Engine<'a> {
    pub(super) process: &'a Process,
    pub(super) instance: &'a mut Instance,
    pub(super) environment: &'a mut dyn Environment,
    pub(super) events: Vec<Event>,
    agenda: Vec<Operation>,
    operations: usize,
}

/// One entry of the agenda.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    /// The token stands before its element.
    Arrive {
        token: TokenId,
        /// The asynchronous continuation ran already.
        continued: bool,
    },
    /// The behaviour of the element is done.
    Complete(TokenId),
    /// The element was left; the token goes on.
    Depart(TokenId),
    /// A variable changed; conditions may have become true.
    VariableChanged { owner: Owner, name: String, event: VariableEvent },
}

/// Why an operation ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The command is refused.
    Refused(StepError),
    /// A BPMN error looks for its boundary event.
    Thrown { code: String, message: Option<String> },
}

pub(super) type Result<T, E = Stop> = std::result::Result<T, E>;

// === impl Engine ===

impl<'a> Engine<'a> {
    pub(super) fn new(process: &'a Process, instance: &'a mut Instance, environment: &'a mut dyn Environment) -> Self {
        Self { process, instance, environment, events: Vec::new(), agenda: Vec::new(), operations: 0 }
    }

    /// Works the agenda off.
    pub(super) fn run(&mut self) -> Result<(), StepError> {
        loop {
            let Some(operation) = self.agenda.pop() else {
                // Inclusive joins go on when nothing can reach them any more, which is known when all has moved.
                if self.release_inclusive_joins()? {
                    continue;
                }
                return Ok(());
            };
            self.operations = self.operations.saturating_add(1);
            if self.operations > limits::OPERATIONS_PER_COMMAND {
                return Err(StepError::Limit { element: self.process.id.clone(), limit: "operations of one command" });
            }
            self.operate(operation)?;
        }
    }

    fn operate(&mut self, operation: Operation) -> Result<(), StepError> {
        let token = match &operation {
            Operation::Arrive { token, .. } | Operation::Complete(token) | Operation::Depart(token) => Some(*token),
            Operation::VariableChanged { .. } => None,
        };
        // The token may have been cancelled by what ran since the operation was scheduled.
        if token.is_some_and(|token| !self.instance.tokens.contains_key(&token)) {
            return Ok(());
        }
        let result = match operation {
            Operation::Arrive { token, continued } => self.arrive(token, continued),
            Operation::Complete(token) => self.complete(token),
            Operation::Depart(token) => self.depart(token),
            Operation::VariableChanged { owner, name, event } => self.check_conditions(owner, &name, event),
        };
        match (result, token) {
            (Ok(()), _) => Ok(()),
            (Err(Stop::Thrown { code, message }), Some(token)) => self.throw(token, code, message),
            (Err(stop), _) => Err(stop.into_error(&self.process.id)),
        }
    }

    /// Schedules an operation to run next.
    pub(super) fn schedule(&mut self, operation: Operation) {
        self.agenda.push(operation);
    }

    /// Forgets what was scheduled: the instance ended.
    pub(super) fn clear_agenda(&mut self) {
        self.agenda.clear();
    }

    /// Records an event; applying it is the only way in which the instance changes.
    pub(super) fn append(&mut self, event: Event) -> Result<(), StepError> {
        self.instance.apply(&event)?;
        self.events.push(event);
        Ok(())
    }

    pub(super) fn new_id(&mut self) -> Id {
        self.environment.new_id().into()
    }

    pub(super) fn token(&self, token: TokenId) -> Result<&Token, StepError> {
        self.instance
            .tokens
            .get(&token)
            .ok_or_else(|| StepError::Inconsistent(format!("token {} does not exist", token.0)))
    }

    pub(super) fn scope(&self, scope: ScopeId) -> Result<&Scope, StepError> {
        self.instance
            .scopes
            .get(&scope)
            .ok_or_else(|| StepError::Inconsistent(format!("scope {} does not exist", scope.0)))
    }

    /// The flow node at which a token is.
    pub(super) fn node_of(&self, token: TokenId) -> Result<&'a Node, StepError> {
        self.node(&self.token(token)?.element)
    }

    pub(super) fn node(&self, id: &str) -> Result<&'a Node, StepError> {
        self.process.node(id).ok_or_else(|| StepError::UnknownElement(id.to_owned()))
    }

    /// `true` for a token that is one of several instances of its activity.
    pub(super) fn is_instance(&self, token: TokenId) -> Result<bool, StepError> {
        Ok(self.scope(self.token(token)?.scope)?.kind == ScopeKind::MultiInstance)
    }

    pub(super) fn set_state(&mut self, token: TokenId, state: TokenState) -> Result<(), StepError> {
        if self.token(token)?.state == state {
            return Ok(());
        }
        self.append(Event::TokenStateChanged { token, state })
    }

    pub(super) fn create_token(&mut self, scope: ScopeId, element: &ElementId) -> Result<TokenId, StepError> {
        if self.instance.tokens.len() >= limits::TOKENS {
            return Err(StepError::Limit { element: Arc::clone(element), limit: "tokens of an instance" });
        }
        let token = TokenId(self.instance.next_key);
        self.append(Event::TokenCreated { token, scope, element: Arc::clone(element) })?;
        Ok(token)
    }

    pub(super) fn open_scope(
        &mut self,
        parent: Option<TokenId>,
        kind: ScopeKind,
        element: &ElementId,
    ) -> Result<ScopeId, StepError> {
        let scope = ScopeId(self.instance.next_key);
        self.append(Event::ScopeOpened { scope, kind, element: Arc::clone(element), parent })?;
        Ok(scope)
    }
}

// === impl Stop ===

impl Stop {
    /// An error of an element.
    pub(super) fn element(element: &ElementId, text: impl Into<Evidence>) -> Self {
        Self::Refused(StepError::Element { element: Arc::clone(element), text: text.into().0 })
    }

    /// The refusal; a BPMN error where none can be caught is one too.
    pub(super) fn into_error(self, element: &ElementId) -> StepError {
        match self {
            Self::Refused(error) => error,
            Self::Thrown { code, .. } => StepError::Element {
                element: Arc::clone(element),
                text: format!("bpmn error {code} cannot be thrown here"),
            },
        }
    }
}

/// Text of a refusal.
pub(super) struct Evidence(String);

impl From<&str> for Evidence {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Evidence {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<ExpressionError> for Evidence {
    fn from(error: ExpressionError) -> Self {
        Self(error.to_string())
    }
}

impl From<TimerError> for Evidence {
    fn from(error: TimerError) -> Self {
        Self(error.to_string())
    }
}

impl From<StepError> for Stop {
    fn from(error: StepError) -> Self {
        Self::Refused(error)
    }
}
