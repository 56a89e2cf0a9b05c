//! Jobs, timers and subscriptions: opening them, closing them, and what happens when they trigger.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::engine::{Engine, Operation, Result, Stop};
use super::environment::ListenerEvent;
use super::error::StepError;
use super::event::{Event, Job, JobKind, Subscription, Trigger};
use super::event_sub_process::Received;
use super::instance::{Owner, TokenId};
use crate::ElementId;
use crate::expression::Expression;
use crate::model::{Asynchronous, BoundaryTrigger, Catch, Node, NodeKind, StartTrigger};
use crate::timer::{Schedule, Timer};

impl<'a> Engine<'a> {
    /// Makes a job that continues the token.
    pub(super) fn create_job(
        &mut self,
        token: TokenId,
        node: &Node,
        kind: JobKind,
        asynchronous: &Asynchronous,
    ) -> Result<()> {
        self.add_job(Owner::Token(token), node, kind, asynchronous, None)
    }

    fn add_job(
        &mut self,
        owner: Owner,
        node: &Node,
        kind: JobKind,
        asynchronous: &Asynchronous,
        schedule: Option<Schedule>,
    ) -> Result<()> {
        let job = self.new_id();
        let (due, repeat) = schedule.map_or((None, None), |schedule| (Some(schedule.due), schedule.repeat));
        Ok(self.append(Event::JobCreated(Job {
            job,
            owner,
            element: Arc::clone(&node.id),
            kind,
            due,
            exclusive: asynchronous.exclusive,
            retry: asynchronous.retry.clone(),
            repeat,
        }))?)
    }

    /// Waits for what an event catches. `true`: it is a condition that is true already; it is waited for only where it may
    /// become true again.
    pub(super) fn open_wait(&mut self, owner: Owner, node: &Node, catch: &Catch) -> Result<bool> {
        match catch {
            Catch::Message { message } => self.open_message(owner, node, message)?,
            Catch::Timer(timer) => self.open_timer(owner, node, timer)?,
            Catch::Signal { signal } => {
                let name = self.evaluate_text(owner, &node.id, signal)?;
                self.subscribe(owner, node, Trigger::Signal { name })?;
            }
            Catch::Condition(condition) => {
                let satisfied = self.is_satisfied(owner, &node.id, condition)?;
                if !satisfied || !is_interrupting(node) {
                    self.subscribe(owner, node, Trigger::Condition)?;
                }
                return Ok(satisfied);
            }
        }
        Ok(false)
    }

    /// Makes a job that fires the timer event `node`; the due time is fixed now.
    fn open_timer(&mut self, owner: Owner, node: &Node, timer: &Timer) -> Result<()> {
        let text = self.evaluate_text(owner, &node.id, timer.expression())?;
        let schedule = timer.schedule(&text, self.environment.now());
        let mut schedule = schedule.map_err(|error| Stop::element(&node.id, error))?;
        if is_interrupting(node) {
            schedule.repeat = None;
        }
        self.add_job(owner, node, JobKind::Timer, &node.asynchronous, Some(schedule))
    }

    /// Waits for a message at the event or receive task `node`.
    pub(super) fn open_message(&mut self, owner: Owner, node: &Node, message: &Expression) -> Result<()> {
        let name = self.evaluate_text(owner, &node.id, message)?;
        let correlation_key = self.correlation_key(owner);
        self.subscribe(owner, node, Trigger::Message { name, correlation_key })
    }

    /// Opens a subscription.
    fn subscribe(&mut self, owner: Owner, node: &Node, trigger: Trigger) -> Result<()> {
        let subscription = self.new_id();
        let element = Arc::clone(&node.id);
        Ok(self.append(Event::SubscriptionOpened(Subscription { subscription, owner, element, trigger }))?)
    }

    /// Opens the timers and subscriptions of the boundary events of an activity. Gives an interrupting one whose condition
    /// is true already.
    pub(super) fn open_boundary_events(&mut self, token: TokenId, node: &Node) -> Result<Option<ElementId>> {
        let mut satisfied = None;
        for id in &node.boundary_events {
            let event = self.node(id)?;
            let NodeKind::BoundaryEvent { trigger: BoundaryTrigger::Event(catch), interrupting, .. } = &event.kind
            else {
                continue;
            };
            if !self.open_wait(Owner::Token(token), event, catch)? {
                continue;
            }
            if *interrupting {
                satisfied = satisfied.or_else(|| Some(Arc::clone(id)));
            } else {
                self.branch(token, id)?;
            }
        }
        Ok(satisfied)
    }

    /// Closes every wait of one owner.
    pub(super) fn close_waits(&mut self, owner: Owner) -> Result<(), StepError> {
        self.close_waits_of(&BTreeSet::from([owner]))
    }

    /// Closes every wait: the instance ends.
    pub(super) fn close_all_waits(&mut self) -> Result<(), StepError> {
        let tokens = self.instance.tokens.keys().map(|token| Owner::Token(*token));
        let scopes = self.instance.scopes.keys().map(|scope| Owner::Scope(*scope));
        self.close_waits_of(&tokens.chain(scopes).collect())
    }

    /// Closes every job, subscription, step, user task and call of these owners.
    pub(super) fn close_waits_of(&mut self, owners: &BTreeSet<Owner>) -> Result<(), StepError> {
        let instance = &*self.instance;
        let owned = |token: TokenId| owners.contains(&Owner::Token(token));
        let mut closing = Vec::new();
        for step in instance.steps.values().filter(|step| owned(step.token)) {
            closing.push(Event::StepCancelled { step: Arc::clone(&step.step) });
        }
        let user_tasks: Vec<_> = instance
            .user_tasks
            .values()
            .filter(|user_task| owned(user_task.token))
            .map(|user_task| (user_task.token, Arc::clone(&user_task.user_task)))
            .collect();
        for call in instance.calls.values().filter(|call| owned(call.token)) {
            closing.push(Event::CallCancelled { call: Arc::clone(&call.call) });
        }
        for subscription in instance.subscriptions.values().filter(|open| owners.contains(&open.owner)) {
            closing.push(Event::SubscriptionClosed { subscription: Arc::clone(&subscription.subscription) });
        }
        for job in instance.jobs.values().filter(|job| owners.contains(&job.owner)) {
            closing.push(Event::JobCancelled { job: Arc::clone(&job.job) });
        }
        for (token, user_task) in user_tasks {
            self.listen_to_task(token, ListenerEvent::Delete).map_err(|stop| stop.into_error(&self.process.id))?;
            self.append(Event::UserTaskCancelled { user_task })?;
        }
        for event in closing {
            self.append(event)?;
        }
        Ok(())
    }

    /// What was waited for at `element` has happened: the event itself, one behind its gateway, a boundary event, or the
    /// start of an event sub-process.
    fn trigger(&mut self, owner: Owner, element: &ElementId, received: Option<Received>) -> Result<()> {
        let token = match owner {
            Owner::Scope(scope) => {
                let start = self.node(element)?;
                return self.start_event_sub_process(scope, start, received).map(drop);
            }
            Owner::Token(token) => token,
        };
        if let Some((name, message)) = received {
            let (scope, element) = (self.token(token)?.scope, Arc::clone(element));
            self.append(Event::TaskMessageReceived { element, name, scope, message, start: false })?;
        }
        let node = self.node_of(token)?;
        if node.id == *element {
            self.schedule(Operation::Complete(token));
            return Ok(());
        }
        if matches!(node.kind, NodeKind::EventBasedGateway) {
            return self.leave_gateway(token, node, element);
        }
        if is_interrupting(self.node(element)?) {
            self.interrupt(token, element)
        } else {
            self.branch(token, element).map(drop)
        }
    }

    /// An event behind an event-based gateway has happened: the others are no longer waited for.
    pub(super) fn leave_gateway(&mut self, token: TokenId, node: &'a Node, element: &ElementId) -> Result<()> {
        self.close_waits(Owner::Token(token))?;
        self.listen(token, &node.id, &node.listeners, ListenerEvent::End)?;
        if let Some(scope) = self.token(token)?.inner {
            self.append(Event::ScopeClosed { scope })?;
        }
        self.append(Event::ElementLeft { token, element: Arc::clone(&node.id) })?;
        let flow =
            node.outgoing.iter().find(|flow| self.process.flow(flow).is_some_and(|flow| flow.target == *element));
        match flow {
            Some(flow) => self.take(token, flow),
            None => Err(StepError::UnknownElement(element.to_string()).into()),
        }
    }

    /// Delivers a message to a subscription.
    pub(super) fn receive_message(
        &mut self,
        subscription: &str,
        variables: Vec<(String, Value)>,
        message: Option<String>,
    ) -> Result<()> {
        let open = self.instance.subscriptions.get(subscription).cloned();
        let Some((open, name)) = open.and_then(|open| match &open.trigger {
            Trigger::Message { name, .. } => Some((open.clone(), name.clone())),
            Trigger::Signal { .. } | Trigger::Condition => None,
        }) else {
            return Err(StepError::NotOpen { kind: "message subscription", id: subscription.to_owned() }.into());
        };
        self.consume(&open)?;
        self.write_all(open.owner, &open.element, variables)?;
        self.trigger_at(open.owner, &open.element, Some((name, message)))
    }

    /// Delivers a signal to every subscription that is open now.
    pub(super) fn receive_signal(&mut self, name: &str, variables: &[(String, Value)]) -> Result<()> {
        let waiting: Vec<_> = self
            .instance
            .subscriptions
            .values()
            .filter(|subscription| matches!(&subscription.trigger, Trigger::Signal { name: waited } if waited == name))
            .cloned()
            .collect();
        for open in waiting {
            if self.instance.subscriptions.contains_key(&open.subscription) {
                self.consume(&open)?;
                self.write_all(open.owner, &open.element, variables.to_vec())?;
                self.trigger_at(open.owner, &open.element, None)?;
            }
        }
        Ok(())
    }

    /// A subscription is used up; an event that does not interrupt goes on waiting, under a new id, so that a repeated
    /// delivery of the same message is recognised.
    fn consume(&mut self, open: &Subscription) -> Result<()> {
        self.append(Event::SubscriptionClosed { subscription: Arc::clone(&open.subscription) })?;
        let node = self.node(&open.element)?;
        if is_interrupting(node) { Ok(()) } else { self.subscribe(open.owner, node, open.trigger.clone()) }
    }

    /// A timer fired; that of an event which does not interrupt may be set again.
    pub(super) fn fire_timer(&mut self, job: &Job) -> Result<()> {
        let node = self.node(&job.element)?;
        if let (Some(repeat), Some(due)) = (&job.repeat, job.due) {
            let next = repeat.next(due, self.environment.now()).map_err(|error| Stop::element(&node.id, error))?;
            if let Some(schedule) = next {
                self.add_job(job.owner, node, JobKind::Timer, &node.asynchronous, Some(schedule))?;
            }
        }
        self.trigger_at(job.owner, &job.element, None)
    }

    /// Like [`Self::trigger`], with BPMN errors of listeners looking for their catch.
    pub(super) fn trigger_at(&mut self, owner: Owner, element: &ElementId, received: Option<Received>) -> Result<()> {
        match (self.trigger(owner, element, received), owner) {
            (Err(Stop::Thrown { code, message }), Owner::Token(token)) => Ok(self.throw(token, code, message)?),
            (other, _) => other,
        }
    }
}

/// `false` for boundary events and starts of event sub-processes that leave running what they belong to.
pub(super) fn is_interrupting(node: &Node) -> bool {
    match &node.kind {
        NodeKind::BoundaryEvent { interrupting, .. }
        | NodeKind::StartEvent(StartTrigger::Event { interrupting, .. }) => *interrupting,
        _ => true,
    }
}
