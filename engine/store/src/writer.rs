//! The writer thread: many closures, one commit.
//!
//! A flush to disk costs more than the statements of a small transaction. While one group is being flushed, the closures
//! that arrive wait in the queue and become the next group. Each closure can be undone alone: if it fails or
//! panics, only its own changes are undone. Nobody is answered before the commit, and a failing commit fails every
//! closure of its group.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use time::{Duration, OffsetDateTime};
use tokio::sync::{mpsc, oneshot, watch};

use crate::connection::{Begun, Connection, Note};
use crate::sql::{Control, Savepoint};
use crate::store::Shared;
use crate::transaction::{After, Effects};
use crate::{StoreError, Transaction, limits};

/// A closure with the way to answer it.
pub(crate) struct Job(Box<dyn Work>);

/// The handle of the thread.
pub(crate) struct Writer {
    queue: mpsc::Sender<Order>,
    ended: watch::Receiver<bool>,
}

enum Order {
    Run(Job),
    Close,
}

/// A closure whose result type is erased.
trait Work: Send {
    /// Runs the closure; `Ok` if its changes are to be kept.
    fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Undo>;

    /// Answers the caller: what the closure returned, or the reason why its changes are not durable.
    fn answer(self: Box<Self>, durable: Result<(), StoreError>);
}

/// The closure returned an error, which its caller will get.
struct Undo;

struct Typed<F, R, E> {
    work: Option<F>,
    result: Option<Result<R, E>>,
    reply: oneshot::Sender<Result<R, E>>,
}

struct Group {
    jobs: Vec<(Box<dyn Work>, Option<StoreError>)>,
    effects: Effects,
}

// === impl Job ===

impl Job {
    pub(crate) fn new<R, E, F>(work: F) -> (Self, oneshot::Receiver<Result<R, E>>)
    where
        F: FnOnce(&mut Transaction<'_>) -> Result<R, E> + Send + 'static,
        R: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        (Self(Box::new(Typed { work: Some(work), result: None, reply })), answer)
    }
}

impl<F, R, E> Work for Typed<F, R, E>
where
    F: FnOnce(&mut Transaction<'_>) -> Result<R, E> + Send,
    R: Send,
    E: From<StoreError> + Send,
{
    fn run(&mut self, transaction: &mut Transaction<'_>) -> Result<(), Undo> {
        let Some(work) = self.work.take() else { return Err(Undo) };
        let result = work(transaction);
        let kept = if result.is_ok() { Ok(()) } else { Err(Undo) };
        self.result = Some(result);
        kept
    }

    fn answer(self: Box<Self>, durable: Result<(), StoreError>) {
        let answer = match (self.result, durable) {
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(E::from(error)),
            (Some(Ok(result)), Ok(())) => Ok(result),
            (None, Ok(())) => Err(E::from(StoreError::Closed)),
        };
        // The caller may have stopped waiting; its transaction counts all the same.
        let _ = self.reply.send(answer);
    }
}

// === impl Writer ===

impl Writer {
    /// Starts the thread. `guard` is what keeps others away from the database and is dropped after the connection.
    pub(crate) fn start(
        connection: Box<dyn Connection>,
        guard: Box<dyn Send>,
        shared: Arc<Shared>,
        last_time: Option<OffsetDateTime>,
    ) -> Result<Self, StoreError> {
        let (queue, orders) = mpsc::channel(limits::WRITE_QUEUE);
        let (end, ended) = watch::channel(false);
        let run = move || {
            let mut thread = Thread { connection, shared, last_time };
            thread.run(orders);
            thread.connection.finish();
            drop(thread);
            drop(guard);
            let _ = end.send(true);
        };
        thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(run)
            .map_err(|error| StoreError::Io(error.to_string()))?;
        Ok(Self { queue, ended })
    }

    /// A way to submit jobs that does not keep the thread running.
    pub(crate) fn back_door(&self) -> BackDoor {
        BackDoor(self.queue.downgrade())
    }

    /// Queues the job; waits while the queue is full.
    pub(crate) async fn submit(&self, job: Job) -> Result<(), StoreError> {
        self.queue.send(Order::Run(job)).await.map_err(|_| StoreError::Closed)
    }

    /// Waits until everything queued before is answered and the thread has ended.
    pub(crate) async fn close(&self) {
        let _ = self.queue.send(Order::Close).await;
        let mut ended = self.ended.clone();
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

/// Submits jobs from within the store, as long as the store is open.
#[derive(Clone)]
pub(crate) struct BackDoor(mpsc::WeakSender<Order>);

impl BackDoor {
    pub(crate) async fn submit(&self, job: Job) -> Result<(), StoreError> {
        let queue = self.0.upgrade().ok_or(StoreError::Closed)?;
        queue.send(Order::Run(job)).await.map_err(|_| StoreError::Closed)
    }
}

struct Thread {
    connection: Box<dyn Connection>,
    shared: Arc<Shared>,
    last_time: Option<OffsetDateTime>,
}

impl Thread {
    fn run(&mut self, mut orders: mpsc::Receiver<Order>) {
        let mut open = true;
        while open {
            let Some(Order::Run(first)) = orders.blocking_recv() else { break };
            open = self.run_group(first, &mut orders);
        }
        orders.close();
        // Jobs that slipped in behind the order to close are answered rather than dropped.
        while let Ok(order) = orders.try_recv() {
            if let Order::Run(job) = order {
                job.0.answer(Err(StoreError::Closed));
            }
        }
    }

    /// Runs `first` and what waits behind it, commits and answers. False if the store is to be closed.
    fn run_group(&mut self, first: Job, orders: &mut mpsc::Receiver<Order>) -> bool {
        let mut group = Group { jobs: Vec::new(), effects: Effects::default() };
        let begun = match self.connection.begin_group() {
            Ok(begun) => begun,
            Err(error) => {
                first.0.answer(Err(error));
                return true;
            }
        };
        // Before any closure: what it takes from a cache must not be older than what it reads in the database.
        self.shared.changed_elsewhere(&begun.changed_elsewhere);
        let now = self.next_time(&begun);
        let started = Instant::now();
        let mut open = true;
        let mut next = Some(first);
        while let Some(job) = next.take() {
            let alive = self.run_job(job, now, &mut group);
            if !alive || group.jobs.len() >= self.connection.group_size() || started.elapsed() >= limits::GROUP_TIME {
                break;
            }
            match orders.try_recv() {
                Ok(Order::Run(job)) => next = Some(job),
                Ok(Order::Close) => open = false,
                Err(_) => {}
            }
        }
        let durable = self.write_counts(&mut group, now).and_then(|()| self.commit(&group, now));
        self.answer(group, &durable);
        open
    }

    /// Runs one job in its savepoint. False if the database has ended the whole transaction.
    fn run_job(&mut self, job: Job, now: OffsetDateTime, group: &mut Group) -> bool {
        let mut work = job.0;
        if let Err(error) = self.connection.control(Control::Save(Savepoint::Work)) {
            group.jobs.push((work, Some(error)));
            return self.connection.in_transaction();
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut transaction = Transaction::new(self.connection.sql(), &self.shared.context, now, true);
            work.run(&mut transaction).map(|()| transaction.into_effects())
        }));
        let (kept, mut problem) = match outcome {
            Ok(Ok(effects)) => match self.connection.settle() {
                Ok(()) => (Some(effects), None),
                Err(error) => (None, Some(error)),
            },
            Ok(Err(Undo)) => (None, None),
            Err(panic) => (None, Some(StoreError::Panicked(panic_text(&*panic)))),
        };
        if !self.connection.in_transaction() {
            let text = "the database gave up the transaction: the disk is full or failing, or the server was ended";
            problem.get_or_insert_with(|| StoreError::RolledBack(text.to_owned()));
            group.jobs.push((work, problem));
            return false;
        }
        let ended = match &kept {
            Some(_) => self.connection.control(Control::Release(Savepoint::Work)),
            None => {
                self.shared.rolled_back.fetch_add(1, Ordering::Relaxed);
                let undone = self.connection.control(Control::Undo(Savepoint::Work));
                undone.and_then(|()| self.connection.control(Control::Release(Savepoint::Work)))
            }
        };
        match (ended, kept) {
            (Ok(()), Some(effects)) => {
                group.effects.changes.extend(effects.changes);
                group.effects.tally.extend(effects.tally);
                group.effects.jobs |= effects.jobs;
                group.effects.outbox |= effects.outbox;
                group.effects.work |= effects.work;
                group.effects.after.extend(effects.after);
            }
            (Ok(()), None) => {}
            (Err(error), _) => {
                // The savepoint can neither be kept nor undone: the group must not be committed.
                problem = Some(error);
                let _ = self.connection.control(Control::Rollback);
            }
        }
        group.jobs.push((work, problem));
        self.connection.in_transaction()
    }

    /// Writes the counts that the group changes; without them nothing of it may be committed.
    fn write_counts(&mut self, group: &mut Group, now: OffsetDateTime) -> Result<(), StoreError> {
        let noted = std::mem::take(&mut group.effects.tally);
        if noted.is_empty() || !self.connection.in_transaction() {
            return Ok(());
        }
        let written = Transaction::new(self.connection.sql(), &self.shared.context, now, true).write_counts(noted);
        if written.is_err() && self.connection.in_transaction() {
            let _ = self.connection.control(Control::Rollback);
        }
        written
    }

    fn commit(&mut self, group: &Group, now: OffsetDateTime) -> Result<(), StoreError> {
        if !self.connection.in_transaction() {
            let text =
                "another transaction of the same group broke it: the disk is full or failing, or the server was ended";
            return Err(StoreError::RolledBack(text.to_owned()));
        }
        let Effects { changes, jobs, outbox, work, .. } = &group.effects;
        let note = Note { time: now, changes: !changes.is_empty(), jobs: *jobs, outbox: *outbox, work: *work };
        let started = Instant::now();
        let committing = self.shared.freshness.commit(changes);
        self.connection.commit(&note)?;
        drop(committing);
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        self.shared.commit_micros.fetch_add(micros, Ordering::Relaxed);
        self.shared.committed.fetch_add(group.jobs.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn answer(&self, group: Group, durable: &Result<(), StoreError>) {
        for (work, problem) in group.jobs {
            work.answer(problem.map_or_else(|| durable.clone(), Err));
        }
        if matches!(durable, Ok(()) | Err(StoreError::CommitUnknown(_))) {
            group.effects.after.into_iter().for_each(After::run);
        }
        if let Err(error) = durable {
            tracing::error!(%error, "transactions could not be made durable");
            return;
        }
        for change in group.effects.changes {
            // Fails only when nobody listens.
            let _ = self.shared.changes.send(Arc::new(change));
        }
        self.shared.wake(group.effects.jobs, group.effects.outbox, group.effects.work);
    }

    /// The time of a group: later than that of every group before, unless the clock was wrong by more than a minute.
    fn next_time(&mut self, begun: &Begun) -> OffsetDateTime {
        let clock = self.shared.clock_of(begun.clock);
        let now = match self.last_time.max(begun.last_time) {
            Some(last) if last >= clock && last - clock < Duration::minutes(1) => last + Duration::milliseconds(1),
            Some(last) if last >= clock => {
                tracing::warn!(%last, %clock, "the clock went back; times of new versions follow it");
                clock
            }
            _ => clock,
        };
        self.last_time = Some(now);
        now
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no text".to_owned())
}
