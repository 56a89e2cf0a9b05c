//! The outbox: messages leave the node after the transaction that sent them, and its result comes back in another.
//!
//! Each message carries an identifier made from the id of its row and goes out with `If-None-Exist` on it, so that
//! sending it twice, after a crash or a lost answer, creates one Task: "created" and "exists" both mean delivered.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fhir::{Format, Limits, Object, Resource, Value};
use store::processes::{NewOutboxMessage, OutboxMessage};
use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::runtime::{LocalNode, ProcessError, Runtime, Unit, fail_instance};
use crate::step::Message;
use crate::{limits, task, terms};

/// Delivers Tasks to partners.
pub trait Messenger: Send + Sync + 'static {
    /// Creates the Task at the endpoint unless one with this identifier exists.
    fn deliver<'m>(
        &'m self,
        delivery: Delivery<'m>,
    ) -> Pin<Box<dyn Future<Output = Result<(), DeliveryFailure>> + Send + 'm>>;
}

/// A Task on its way.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'d> {
    /// Base URL of the receiving endpoint.
    pub endpoint_url: &'d str,
    /// The Task.
    pub task: &'d Resource,
    /// System and value of its identifier.
    pub identifier: (&'d str, &'d str),
}

/// Why a Task was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryFailure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// Why, for people.
    pub text: String,
    /// Whether trying again soon may help.
    pub may_pass: bool,
}

/// What kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The partner refused: HTTP 403.
    Forbidden,
    /// Anything else.
    NotReachable,
}

/// Identifier value of a message.
fn identifier_value(id: &str) -> String {
    format!("urn:uuid:{id}")
}

/// The Task of a message (`process-engine.md` 3.1).
pub(crate) fn build_task(
    node: &LocalNode,
    step: &bpmn::Step,
    business_key: &str,
    message: &Message,
    now: OffsetDateTime,
) -> Result<Resource, String> {
    let field = |name: &str| {
        let value = step.fields.get(name).and_then(serde_json::Value::as_str);
        value.ok_or_else(|| format!("element {} has no field {name}", step.element))
    };
    let mut built = Resource::new("Task");
    built.set("meta", Object::new().with("profile", vec![Value::from(field("profile")?)]));
    let identifier = Object::new().with("system", terms::URI_IDENTIFIER).with("value", identifier_value(&step.step));
    built.push("identifier", identifier);
    built.set("instantiatesCanonical", field("instantiatesCanonical")?);
    built.set("status", "requested");
    built.set("intent", "order");
    built.set("authoredOn", fhir::date::format_instant(now));
    built.set("requester", task::organization_reference(&node.organization_identifier));
    let recipient = task::organization_reference(&message.organization_identifier);
    built.set("restriction", Object::new().with("recipient", vec![recipient.into()]));
    let standard = |code: &str, value: &str| task::string_parameter(terms::BPMN_MESSAGE, code, value);
    built.push("input", standard(terms::MESSAGE_NAME, field("messageName")?));
    built.push("input", standard(terms::BUSINESS_KEY, business_key));
    if let Some(key) = &message.correlation_key {
        built.push("input", standard(terms::CORRELATION_KEY, key));
    }
    for input in &message.inputs {
        built.push("input", input.clone());
    }
    Ok(built)
}

/// The messages that are on their way, of which there is a bounded number.
///
/// A message that is queued while there is room is claimed by the transaction that queues it, and sent after the commit.
/// One that finds no room waits in the database and is claimed from there, by this engine or another. Nothing is claimed
/// that cannot be sent at once, so no claim runs out while its message waits for its turn.
#[derive(Debug)]
pub(crate) struct Sending {
    /// Room for messages; none as long as nobody sends.
    room: Arc<Semaphore>,
    queued: mpsc::UnboundedSender<Queued>,
    /// Taken by the worker.
    taken: Mutex<Option<mpsc::UnboundedReceiver<Queued>>>,
}

/// A message that was queued and claimed together, by its id, and the room that it takes.
#[derive(Debug)]
struct Queued {
    id: String,
    room: OwnedSemaphorePermit,
}

impl Default for Sending {
    fn default() -> Self {
        // As many as there is room for.
        let (queued, taken) = mpsc::unbounded_channel();
        Self { room: Arc::new(Semaphore::new(0)), queued, taken: Mutex::new(Some(taken)) }
    }
}

impl Sending {
    /// Queues a message in this transaction.
    pub(crate) fn queue(
        &self,
        tx: &mut store::Transaction<'_>,
        owner: &str,
        message: &NewOutboxMessage,
    ) -> Result<(), store::StoreError> {
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else { return tx.insert_outbox(message) };
        let until = tx.now() + limits::CLAIM_TIME;
        tx.insert_claimed_outbox(message, owner, until)?;
        let (queued, id) = (self.queued.clone(), message.id.clone());
        tx.after_commit(move || {
            // Without a worker the claim is given up at the next start, or runs out.
            let _ = queued.send(Queued { id, room });
        });
        Ok(())
    }

    fn open(&self) -> Option<mpsc::UnboundedReceiver<Queued>> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner).take();
        if taken.is_some() {
            self.room.add_permits(limits::SENDING);
        }
        taken
    }

    /// All the room that is left.
    fn rest(&self) -> Option<OwnedSemaphorePermit> {
        let rest = u32::try_from(self.room.available_permits()).unwrap_or(u32::MAX);
        Arc::clone(&self.room).try_acquire_many_owned(rest).ok().filter(|permit| permit.num_permits() > 0)
    }
}

/// Runs until `stop` turns true, then waits for what is on its way.
pub(crate) async fn work(runtime: Arc<Runtime>, messenger: Arc<dyn Messenger>, mut stop: watch::Receiver<bool>) {
    let mut wake = runtime.store.watch_outbox();
    let Some(mut queued) = runtime.sending.open() else { return };
    let mut sending = JoinSet::new();
    while !*stop.borrow() {
        wake.borrow_and_update();
        while sending.try_join_next().is_some() {}
        let pause = match round(&runtime, &messenger, &mut sending).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::error!(%error, "messages could not be claimed");
                Duration::from_secs(1)
            }
        };
        let pause = tokio::time::sleep(pause);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                Some(message) = queued.recv() => {
                    sending.spawn(send_queued(Arc::clone(&runtime), Arc::clone(&messenger), message));
                    // Nothing else is due because of it.
                    continue;
                }
                () = &mut pause => {}
                changed = wake.changed() => if changed.is_err() { return },
                _ = stop.changed() => {}
                Some(_) = sending.join_next() => {}
            }
            break;
        }
    }
    runtime.sending.room.close();
    queued.close();
    while let Some(message) = queued.recv().await {
        sending.spawn(send_queued(Arc::clone(&runtime), Arc::clone(&messenger), message));
    }
    while sending.join_next().await.is_some() {}
}

/// Sends a message that its own transaction has claimed, if it is still there: the transaction may have ended the instance
/// after it queued the message.
async fn send_queued(runtime: Arc<Runtime>, messenger: Arc<dyn Messenger>, Queued { id, room }: Queued) {
    let owner = runtime.owner.clone();
    let read = runtime.store.read(move |tx| Ok::<_, ProcessError>(tx.outbox_message(&id)?));
    match read.await {
        Ok(Some(message)) if message.locked_by.as_ref() == Some(&owner) => {
            let result = attempt(messenger.as_ref(), &message).await;
            finish(&runtime, message, result).await;
        }
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "a message could not be read; it is sent when its claim runs out"),
    }
    drop(room);
}

/// Begins to send what is due and says how long nothing will be.
async fn round(
    runtime: &Arc<Runtime>,
    messenger: &Arc<dyn Messenger>,
    sending: &mut JoinSet<()>,
) -> Result<Duration, ProcessError> {
    if runtime.sending.room.available_permits() == 0 {
        // Room that a transaction has taken and gives back undone is not announced.
        let is_full = sending.len() >= limits::SENDING;
        return Ok(if is_full { limits::LONGEST_SLEEP } else { limits::CLAIM_PAUSE });
    }
    let (now, next) = runtime.store.read(|tx| Ok::<_, ProcessError>((tx.now(), tx.next_outbox()?))).await?;
    match next {
        None => return Ok(limits::LONGEST_SLEEP),
        Some(next) if next > now => {
            let pause = Duration::try_from(next - now).unwrap_or(Duration::ZERO);
            return Ok(pause.clamp(Duration::from_millis(1), limits::LONGEST_SLEEP));
        }
        Some(_) => {}
    }
    let Some(mut room) = runtime.sending.rest() else { return Ok(limits::CLAIM_PAUSE) };
    let messages = claim(runtime, room.num_permits()).await?;
    if messages.is_empty() {
        return Ok(limits::CLAIM_PAUSE);
    }
    for message in messages {
        let Some(own) = room.split(1) else { break };
        let (runtime, messenger) = (Arc::clone(runtime), Arc::clone(messenger));
        sending.spawn(async move {
            let result = attempt(messenger.as_ref(), &message).await;
            finish(&runtime, message, result).await;
            drop(own);
        });
    }
    Ok(Duration::ZERO)
}

/// Claims messages whose time has come.
pub(crate) async fn claim(runtime: &Arc<Runtime>, limit: usize) -> Result<Vec<OutboxMessage>, ProcessError> {
    let owner = runtime.owner.clone();
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let claim = move |tx: &mut store::Transaction<'_>| {
        let now = tx.now();
        Ok::<_, ProcessError>(tx.claim_outbox(&owner, now, limits::CLAIM_TIME, limit)?)
    };
    runtime.store.write(claim).await
}

/// Records the result of an attempt. If that fails in a way that would come again, the instance that sent the message
/// ends; else the message is sent again, which its receiver recognises.
pub(crate) async fn finish(runtime: &Arc<Runtime>, message: OutboxMessage, result: Result<(), DeliveryFailure>) {
    let (shared, copy) = (Arc::clone(runtime), message.clone());
    let Err(error) = runtime.store.write(move |tx| record(&shared, tx, &copy, &result)).await else { return };
    tracing::error!(message = message.id, %error, "result of a delivery could not be recorded");
    let shared = Arc::clone(runtime);
    let id = message.id.clone();
    let recorded = runtime.store.write(move |tx| give_up(&shared, tx, &message, &error)).await;
    if let Err(error) = recorded {
        tracing::error!(message = id, %error, "a delivery could not be recorded; it will be repeated when its claim runs out");
    }
}

fn give_up(
    runtime: &Runtime,
    tx: &mut store::Transaction<'_>,
    message: &OutboxMessage,
    error: &ProcessError,
) -> Result<(), ProcessError> {
    if !error.is_final() {
        let again = tx.now() + limits::JOB_PAUSE;
        return Ok(tx.reschedule_outbox(&message.id, again, &error.to_string())?);
    }
    if !tx.complete_outbox(&message.id, &runtime.owner)? {
        return Ok(());
    }
    match &message.instance {
        Some(instance) => fail_instance(runtime, tx, instance, &error.to_string()),
        None => Ok(()),
    }
}

/// Sends a message once.
pub(crate) async fn attempt(messenger: &dyn Messenger, message: &OutboxMessage) -> Result<(), DeliveryFailure> {
    let unreadable = |error: fhir::ParseError| DeliveryFailure {
        kind: FailureKind::NotReachable,
        text: format!("the stored message cannot be read: {error}"),
        may_pass: false,
    };
    let task = fhir::parse(Format::Json, &message.body, &Limits::default()).map_err(unreadable)?;
    let value = identifier_value(&message.id);
    let delivery =
        Delivery { endpoint_url: &message.target_url, task: &task, identifier: (terms::URI_IDENTIFIER, &value) };
    let answer = tokio::time::timeout(limits::DELIVERY_TIME, messenger.deliver(delivery)).await;
    answer.unwrap_or_else(|_| {
        let text = format!("no result within {} s", limits::DELIVERY_TIME.as_secs());
        Err(DeliveryFailure { kind: FailureKind::NotReachable, text, may_pass: false })
    })
}

/// The pause before the next attempt, if there is one: first those that help over a restart, then the rest of the retry cycle
/// that the model gives the element.
fn pause_after(
    runtime: &Runtime,
    tx: &mut store::Transaction<'_>,
    message: &OutboxMessage,
    attempts: u32,
) -> Result<Option<Duration>, ProcessError> {
    if attempts < limits::DELIVERY_ATTEMPTS {
        return Ok(limits::DELIVERY_PAUSES.get(message.attempts as usize).copied());
    }
    let Some(instance) = &message.instance else { return Ok(None) };
    let cycle = Unit::new(runtime, tx).retry_cycle_of(instance, &message.step)?;
    let cycle = cycle.filter(|cycle| attempts < cycle.attempts);
    let seconds = cycle.and_then(|cycle| {
        let intervals = &cycle.intervals;
        intervals.get(attempts as usize - 1).or_else(|| intervals.last()).copied()
    });
    Ok(seconds.map(Duration::from_secs))
}

/// Records the result: later, if it may pass, else as the outcome of the step that waits for it.
fn record(
    runtime: &Runtime,
    tx: &mut store::Transaction<'_>,
    message: &OutboxMessage,
    result: &Result<(), DeliveryFailure>,
) -> Result<(), ProcessError> {
    if let Err(failure) = result {
        let attempts = message.attempts + 1;
        tracing::warn!(
            message = message.id,
            recipient = message.target_organization,
            attempts,
            reason = failure.text,
            "delivery failed"
        );
        if failure.may_pass
            && let Some(pause) = pause_after(runtime, tx, message, attempts)?
        {
            return Ok(tx.reschedule_outbox(&message.id, tx.now() + pause, &failure.text)?);
        }
    }
    let label = if result.is_ok() { "delivered" } else { "failed" };
    metrics::counter!("schleuse_messages_sent_total", "result" => label).increment(1);
    if !tx.complete_outbox(&message.id, &runtime.owner)? {
        return Ok(());
    }
    let Some(instance) = &message.instance else { return Ok(()) };
    let mut unit = Unit::new(runtime, tx);
    unit.delivered(instance, &message.step, message.created, result)?;
    unit.run()
}
