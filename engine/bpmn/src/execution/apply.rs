//! Appliers: the only code that changes an instance. One arm per event, nothing decided here.

use std::sync::Arc;

use super::error::StepError;
use super::event::Event;
use super::event::OpenCall;
use super::instance::{Compensation, Instance, Owner, Scope, ScopeId, ScopeKind, Status, Token, TokenId, TokenState};
use crate::VariableMap;

type Result<T, E = StepError> = std::result::Result<T, E>;

impl Instance {
    /// Rebuilds an instance from its events.
    pub fn replay<'a>(events: impl IntoIterator<Item = &'a Event>) -> Result<Self> {
        let mut instance = Self::default();
        for event in events {
            instance.apply(event)?;
        }
        Ok(instance)
    }

    /// Applies one event. An event that does not fit the state is refused: the history was altered.
    pub fn apply(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::InstanceStarted { instance, process, version_tag, business_key, caller, at: _ } => {
                if self.status != Status::New {
                    return Err(inconsistent("a started instance starts again"));
                }
                self.id = Some(Arc::clone(instance));
                self.process = Some(Arc::clone(process));
                self.version_tag.clone_from(version_tag);
                self.business_key.clone_from(business_key);
                self.caller.clone_from(caller);
                self.status = Status::Active;
            }
            Event::ScopeOpened { scope, kind, element, parent } => {
                self.use_key(scope.0);
                if let Some(parent) = parent {
                    self.token_mut(*parent)?.inner = Some(*scope);
                }
                let opened = Scope {
                    id: *scope,
                    kind: *kind,
                    element: Arc::clone(element),
                    parent: *parent,
                    variables: VariableMap::new(),
                    messages: Vec::new(),
                    tokens: 0,
                    compensations: Vec::new(),
                };
                self.scopes.insert(*scope, opened);
            }
            Event::ScopeClosed { scope } => self.close_scope(*scope)?,
            Event::TokenCreated { token, scope, element } => {
                self.use_key(token.0);
                let holder = self.scope_mut(*scope)?;
                holder.tokens = holder.tokens.saturating_add(1);
                let created = Token {
                    id: *token,
                    scope: *scope,
                    element: Arc::clone(element),
                    state: TokenState::Running,
                    inner: None,
                    variables: VariableMap::new(),
                };
                self.tokens.insert(*token, created);
            }
            Event::FlowTaken { token, target: element, flow: _ } | Event::TokenMoved { token, element } => {
                self.token_mut(*token)?.element = Arc::clone(element);
            }
            Event::TokenStateChanged { token, state } => self.token_mut(*token)?.state = *state,
            Event::TokenEnded { token } => self.end_token(*token)?,
            Event::VariableSet { owner, name, value } => {
                self.map_mut(*owner)?.insert(name.clone(), Arc::clone(value));
            }
            Event::VariableRemoved { owner, name } => {
                self.map_mut(*owner)?.remove(name);
            }
            Event::StepRequested(step) => {
                self.steps.insert(Arc::clone(&step.step), step.clone());
            }
            Event::StepCompleted { step } | Event::StepCancelled { step } => {
                self.steps.remove(step);
            }
            Event::JobCreated(job) => {
                self.jobs.insert(Arc::clone(&job.job), job.clone());
            }
            Event::JobCompleted { job } | Event::JobCancelled { job } => {
                self.jobs.remove(job);
            }
            Event::SubscriptionOpened(subscription) => {
                self.subscriptions.insert(Arc::clone(&subscription.subscription), subscription.clone());
            }
            Event::SubscriptionRekeyed { subscription, correlation_key } => {
                if let Some(super::event::Trigger::Message { correlation_key: key, .. }) =
                    self.subscriptions.get_mut(subscription).map(|subscription| &mut subscription.trigger)
                {
                    key.clone_from(correlation_key);
                }
            }
            Event::SubscriptionClosed { subscription } => {
                self.subscriptions.remove(subscription);
            }
            Event::UserTaskCreated(user_task) => {
                self.user_tasks.insert(Arc::clone(&user_task.user_task), user_task.clone());
            }
            Event::UserTaskCompleted { user_task } | Event::UserTaskCancelled { user_task } => {
                self.user_tasks.remove(user_task);
            }
            Event::CallRequested(call) => {
                let open =
                    OpenCall { call: Arc::clone(&call.call), token: call.token, element: Arc::clone(&call.element) };
                self.calls.insert(Arc::clone(&call.call), open);
            }
            Event::CallCompleted { call } | Event::CallCancelled { call } => {
                self.calls.remove(call);
            }
            Event::CompensationRecorded { scope, activity, handler, from, instance } => {
                self.record_compensation(*scope, activity, handler.as_ref(), *from, *instance)?;
            }
            Event::CompensationsMoved { from, into } => {
                let moved = std::mem::take(&mut self.scope_mut(*from)?.compensations);
                self.scope_mut(*into)?.compensations.extend(moved);
            }
            Event::CompensationStarted { from, into, activity } => {
                let all = std::mem::take(&mut self.scope_mut(*from)?.compensations);
                let wanted =
                    |entry: &Compensation| activity.as_ref().is_none_or(|activity| *activity == entry.activity);
                let (taken, kept) = all.into_iter().partition(wanted);
                self.scope_mut(*from)?.compensations = kept;
                self.scope_mut(*into)?.compensations = taken;
            }
            Event::CompensationTaken { from, token, into } => self.take_compensation(*from, *token, *into)?,
            Event::TaskMessageReceived { scope, message, start, .. } => {
                if *start {
                    self.start_message.clone_from(message);
                } else if let Some(message) = message {
                    self.scope_mut(*scope)?.messages.push(message.clone());
                }
            }
            Event::EndEventReached { scope, root, .. } => {
                self.scope_mut(*scope)?.messages.clear();
                if *root {
                    self.start_message = None;
                }
            }
            Event::InstanceCompleted { .. } => self.end(Status::Completed),
            Event::InstanceFailed { reason, .. } => self.end(Status::Failed { reason: reason.clone() }),
            Event::InstanceCancelled { reason, .. } => self.end(Status::Cancelled { reason: reason.clone() }),
            // History and notices to the host only.
            Event::ElementEntered { .. }
            | Event::ElementLeft { .. }
            | Event::ElementCancelled { .. }
            | Event::ListenerCalled { .. }
            | Event::SignalThrown { .. }
            | Event::EscalationThrown { .. }
            | Event::Returned { .. }
            | Event::ErrorUnhandled { .. } => {}
        }
        Ok(())
    }

    fn record_compensation(
        &mut self,
        scope: ScopeId,
        activity: &crate::ElementId,
        handler: Option<&crate::ElementId>,
        from: Option<ScopeId>,
        instance: Option<TokenId>,
    ) -> Result<()> {
        let mut variables = match instance {
            Some(token) => self.token_mut(token)?.variables.clone(),
            None => VariableMap::new(),
        };
        let mut nested = Vec::new();
        if let Some(from) = from {
            let inner = self.scope_mut(from)?;
            nested = std::mem::take(&mut inner.compensations);
            variables.extend(inner.variables.iter().map(|(name, value)| (name.clone(), Arc::clone(value))));
        }
        let entry = Compensation { activity: Arc::clone(activity), handler: handler.cloned(), variables, nested };
        self.scope_mut(scope)?.compensations.push(entry);
        Ok(())
    }

    fn take_compensation(&mut self, from: ScopeId, token: TokenId, into: Option<ScopeId>) -> Result<()> {
        let entry = self.scope_mut(from)?.compensations.pop();
        let entry = entry.ok_or_else(|| inconsistent("nothing is left to compensate"))?;
        match into {
            Some(into) => {
                let scope = self.scope_mut(into)?;
                scope.variables = entry.variables;
                scope.compensations = entry.nested;
            }
            None => self.token_mut(token)?.variables = entry.variables,
        }
        Ok(())
    }

    fn use_key(&mut self, key: u32) {
        self.next_key = self.next_key.max(key.saturating_add(1));
    }

    /// Messages that no end event of the scope settled are kept by the enclosing scope, so that none is forgotten.
    fn close_scope(&mut self, id: ScopeId) -> Result<()> {
        let scope = self.scopes.remove(&id).ok_or_else(|| inconsistent("a scope closes that is not open"))?;
        let Some(parent) = scope.parent else { return Ok(()) };
        let outer = {
            let token = self.token_mut(parent)?;
            token.inner = None;
            token.scope
        };
        self.scope_mut(outer)?.messages.extend(scope.messages);
        Ok(())
    }

    /// When the second-last token of a scope ends, the scope takes over the variables of the last one.
    fn end_token(&mut self, id: TokenId) -> Result<()> {
        let token = self.tokens.remove(&id).ok_or_else(|| inconsistent("a token ends that does not exist"))?;
        let scope = self.scope_mut(token.scope)?;
        scope.tokens = scope.tokens.saturating_sub(1);
        if scope.kind == ScopeKind::MultiInstance || scope.tokens != 1 {
            return Ok(());
        }
        if let Some(last) = self.tokens.values_mut().find(|other| other.scope == token.scope) {
            let variables = std::mem::take(&mut last.variables);
            self.scope_mut(token.scope)?.variables.extend(variables);
        }
        Ok(())
    }

    fn end(&mut self, status: Status) {
        self.status = status;
        self.scopes.clear();
        self.tokens.clear();
        self.steps.clear();
        self.jobs.clear();
        self.subscriptions.clear();
        self.user_tasks.clear();
        self.calls.clear();
        self.start_message = None;
    }

    fn token_mut(&mut self, id: TokenId) -> Result<&mut Token> {
        self.tokens.get_mut(&id).ok_or_else(|| inconsistent("an event names a token that does not exist"))
    }

    fn scope_mut(&mut self, id: ScopeId) -> Result<&mut Scope> {
        self.scopes.get_mut(&id).ok_or_else(|| inconsistent("an event names a scope that does not exist"))
    }

    fn map_mut(&mut self, owner: Owner) -> Result<&mut VariableMap> {
        match owner {
            Owner::Scope(scope) => self.scope_mut(scope).map(|scope| &mut scope.variables),
            Owner::Token(token) => self.token_mut(token).map(|token| &mut token.variables),
        }
    }
}

fn inconsistent(text: &str) -> StepError {
    StepError::Inconsistent(text.to_owned())
}
