//! Jobs, timers and subscriptions: opening them, closing them, and what happens when they trigger.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use time::OffsetDateTime;

use super::engine::{Engine, Operation, Result, Stop};
use super::environment::ListenerEvent;
use super::error::StepError;
use super::event::{Event, Job, JobKind, Subscription, Trigger};
use super::instance::TokenId;
use crate::ElementId;
use crate::expression::Expression;
use crate::model::{Asynchronous, BoundaryTrigger, Node, NodeKind};
use crate::timer::{IsoDuration, Timer, parse_date};

impl<'a> Engine<'a> {
    /// Makes a job that continues the token.
    pub(super) fn create_job(
        &mut self,
        token: TokenId,
        node: &Node,
        kind: JobKind,
        asynchronous: &Asynchronous,
    ) -> Result<()> {
        self.add_job(token, node, kind, asynchronous, None)
    }

    fn add_job(
        &mut self,
        token: TokenId,
        node: &Node,
        kind: JobKind,
        asynchronous: &Asynchronous,
        due: Option<OffsetDateTime>,
    ) -> Result<()> {
        let job = self.new_id();
        Ok(self.append(Event::JobCreated(Job {
            job,
            token,
            element: Arc::clone(&node.id),
            kind,
            due,
            exclusive: asynchronous.exclusive,
            retry: asynchronous.retry.clone(),
        }))?)
    }

    /// Makes a job that fires the timer event `node`; the due time is fixed now.
    pub(super) fn open_timer(&mut self, token: TokenId, node: &Node, timer: &Timer) -> Result<()> {
        let due = match timer {
            Timer::Duration(expression) => {
                let text = self.evaluate_text(token, &node.id, expression)?;
                IsoDuration::parse(&text).and_then(|duration| duration.after(self.environment.now()))
            }
            Timer::Date(expression) => parse_date(&self.evaluate_text(token, &node.id, expression)?),
        };
        let due = due.map_err(|error| Stop::element(&node.id, error))?;
        self.add_job(token, node, JobKind::Timer, &node.asynchronous, Some(due))
    }

    /// Waits for a message at the event or receive task `node`.
    pub(super) fn open_message(&mut self, token: TokenId, node: &Node, message: &Expression) -> Result<()> {
        let name = self.evaluate_text(token, &node.id, message)?;
        let correlation_key = self.correlation_key(token);
        self.subscribe(token, node, Trigger::Message { name, correlation_key })
    }

    /// Waits for a signal at the event `node`.
    pub(super) fn open_signal(&mut self, token: TokenId, node: &Node, signal: &Expression) -> Result<()> {
        let name = self.evaluate_text(token, &node.id, signal)?;
        self.subscribe(token, node, Trigger::Signal { name })
    }

    /// Opens a subscription.
    pub(super) fn subscribe(&mut self, token: TokenId, node: &Node, trigger: Trigger) -> Result<()> {
        let subscription = self.new_id();
        Ok(self.append(Event::SubscriptionOpened(Subscription {
            subscription,
            token,
            element: Arc::clone(&node.id),
            trigger,
        }))?)
    }

    /// Opens the timers and subscriptions of the boundary events of an activity.
    pub(super) fn open_boundary_events(&mut self, token: TokenId, node: &Node) -> Result<()> {
        for id in &node.boundary_events {
            let event = self.node(id)?;
            let NodeKind::BoundaryEvent { trigger, .. } = &event.kind else { continue };
            match trigger {
                BoundaryTrigger::Error { .. } => {}
                BoundaryTrigger::Message { message } => self.open_message(token, event, message)?,
                BoundaryTrigger::Timer(timer) => self.open_timer(token, event, timer)?,
            }
        }
        Ok(())
    }

    /// Closes every job, subscription, step and user task of a token.
    pub(super) fn close_waits(&mut self, token: TokenId) -> Result<(), StepError> {
        self.close_waits_of(&BTreeSet::from([token]))
    }

    /// Closes every job, subscription, step and user task of these tokens.
    pub(super) fn close_waits_of(&mut self, tokens: &BTreeSet<TokenId>) -> Result<(), StepError> {
        let instance = &*self.instance;
        let mut closing = Vec::new();
        for step in instance.steps.values().filter(|step| tokens.contains(&step.token)) {
            closing.push(Event::StepCancelled { step: Arc::clone(&step.step) });
        }
        for user_task in instance.user_tasks.values().filter(|user_task| tokens.contains(&user_task.token)) {
            closing.push(Event::UserTaskCancelled { user_task: Arc::clone(&user_task.user_task) });
        }
        for subscription in instance.subscriptions.values().filter(|subscription| tokens.contains(&subscription.token))
        {
            closing.push(Event::SubscriptionClosed { subscription: Arc::clone(&subscription.subscription) });
        }
        for job in instance.jobs.values().filter(|job| tokens.contains(&job.token)) {
            closing.push(Event::JobCancelled { job: Arc::clone(&job.job) });
        }
        for event in closing {
            self.append(event)?;
        }
        Ok(())
    }

    /// What a token waited for at `element` has happened: the event itself, one behind its gateway, or a boundary event.
    pub(super) fn trigger(&mut self, token: TokenId, element: &ElementId) -> Result<()> {
        let node = self.node_of(token)?;
        if node.id == *element {
            self.schedule(Operation::Complete(token));
            return Ok(());
        }
        if matches!(node.kind, NodeKind::EventBasedGateway) {
            return self.leave_gateway(token, node, element);
        }
        self.interrupt(token, element)
    }

    /// An event behind an event-based gateway has happened: the others are no longer waited for.
    fn leave_gateway(&mut self, token: TokenId, node: &'a Node, element: &ElementId) -> Result<()> {
        self.close_waits(token)?;
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
        self.append(Event::SubscriptionClosed { subscription: Arc::clone(&open.subscription) })?;
        let scope = self.token(open.token)?.scope;
        self.append(Event::TaskMessageReceived {
            element: Arc::clone(&open.element),
            name,
            scope,
            message,
            start: false,
        })?;
        self.write_all(open.token, &open.element, variables)?;
        self.trigger_at(open.token, &open.element)
    }

    /// Delivers a signal to every subscription that is open now.
    pub(super) fn receive_signal(&mut self, name: &str) -> Result<()> {
        let waiting: Vec<_> = self
            .instance
            .subscriptions
            .values()
            .filter(|subscription| matches!(&subscription.trigger, Trigger::Signal { name: waited } if waited == name))
            .cloned()
            .collect();
        for open in waiting {
            if self.instance.subscriptions.contains_key(&open.subscription) {
                self.append(Event::SubscriptionClosed { subscription: Arc::clone(&open.subscription) })?;
                self.trigger_at(open.token, &open.element)?;
            }
        }
        Ok(())
    }

    /// Like [`Self::trigger`], with BPMN errors of listeners looking for their boundary event.
    pub(super) fn trigger_at(&mut self, token: TokenId, element: &ElementId) -> Result<()> {
        match self.trigger(token, element) {
            Err(Stop::Thrown { code, message }) => Ok(self.throw(token, code, message)?),
            other => other,
        }
    }
}
