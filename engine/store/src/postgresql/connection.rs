//! A connection that waits: for a thread that has nothing else to do, with statements that are put off and sent together.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::time::Instant;

use futures_util::future::{MaybeDone, maybe_done};
use futures_util::{StreamExt as _, pin_mut};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Error, Statement};

use super::session::{Database, Session, runtime};
use super::statements::{PostgreSqlRow, Statements, types_of};
use super::{error, outcome};
use crate::connection::{Begun, Connection, Note};
use crate::resources::parse_type;
use crate::sql::{Control, Dialect, Param, Row, Sql, to_millis};
use crate::{StoreError, limits};

/// Taken before anything else in a transaction that writes.
const LOCK: &str = "SELECT pg_advisory_xact_lock(?1)";

/// What a group must know; asked under the lock, so nobody changes it meanwhile.
const BEGUN: &str = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint,
    (SELECT MAX(last_updated) FROM resource_version), pg_current_xact_id()::text";

/// A connection to PostgreSQL.
pub(crate) struct PostgreSqlConnection {
    pub(super) database: Arc<Database>,
    role: Role,
    runtime: Option<Runtime>,
    pub(super) session: Option<Session>,
    state: State,
    queue: Vec<(Statement, Vec<Param<'static>>)>,
    /// Since when the server could not be reached.
    broken: Option<Instant>,
    /// The newest commit that this writer has seen, of whatever engine.
    seen: Option<i64>,
    /// The id of the writing transaction.
    transaction: Option<String>,
    /// The history of the server that the last session was on.
    pub(super) timeline: Option<String>,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Writer,
    Reader,
}

/// Where its transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    None,
    /// It has begun, but nothing of it was answered: it may begin again on another connection.
    Fresh,
    Open,
    /// A statement failed; only going back to a savepoint helps.
    Failed,
}

/// What the server said to statements that were sent together.
struct Answers {
    put_off: Result<(), Error>,
    last: Result<u64, Failure>,
}

enum Failure {
    Server(Error),
    /// Whoever took the rows did not want more.
    Taker(StoreError),
}

type Taker<'t> = &'t mut dyn FnMut(&dyn Row) -> Result<(), StoreError>;

// === impl PostgreSqlConnection: the session ===

impl PostgreSqlConnection {
    pub(super) const fn new(database: Arc<Database>, role: Role) -> Self {
        Self {
            database,
            role,
            runtime: None,
            session: None,
            state: State::None,
            queue: Vec::new(),
            broken: None,
            seen: None,
            transaction: None,
            timeline: None,
        }
    }

    /// Connects if there is no session.
    pub(super) fn connect(&mut self) -> Result<(), StoreError> {
        if self.session.is_some() {
            return Ok(());
        }
        self.disconnect();
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => runtime()?,
        };
        let connected = runtime.block_on(async {
            let (client, wire) = self.database.connect().await?;
            tokio::spawn(wire);
            let timeline = client.query_one(outcome::TIMELINE, &[]).await?.try_get(0)?;
            Ok(Session { client, statements: Statements::default(), timeline })
        });
        self.runtime = Some(runtime);
        let session = connected.map_err(|error: Error| match error::may_pass(&error) {
            true => StoreError::Unavailable(self.database.explain(&error).to_string()),
            false => self.database.explain(&error),
        })?;
        self.session = Some(session);
        Ok(())
    }

    pub(super) fn disconnect(&mut self) {
        if let Some(session) = self.session.take() {
            self.timeline = Some(session.timeline);
        }
        self.state = State::None;
        self.queue.clear();
    }

    /// Tries again while the server is away, as long as a caller may wait.
    fn patiently<T>(&mut self, mut attempt: impl FnMut(&mut Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        loop {
            match attempt(self) {
                Ok(done) => {
                    self.broken = None;
                    return Ok(done);
                }
                Err(error @ StoreError::Unavailable(_)) => {
                    self.disconnect();
                    let since = *self.broken.get_or_insert_with(Instant::now);
                    if since.elapsed() > limits::RECONNECT {
                        return Err(error);
                    }
                    thread::sleep(limits::RECONNECT_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn prepare(&mut self, sql: &str, params: &[Param<'_>]) -> Result<Statement, StoreError> {
        let (Some(session), Some(runtime)) = (&mut self.session, &self.runtime) else { return Err(lost()) };
        if let Some(statement) = session.statements.get(sql, params) {
            return Ok(statement);
        }
        let types = types_of(params);
        let text = crate::sql::translate_placeholders(sql);
        match runtime.block_on(session.client.prepare_typed(&text, &types)) {
            Ok(statement) => {
                session.statements.keep(sql, types, statement.clone());
                Ok(statement)
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Sends what was put off and this statement, and waits for all of it.
    fn run(&mut self, sql: &str, params: &[Param<'_>], taker: Option<Taker<'_>>) -> Result<Answers, StoreError> {
        let statement = self.prepare(sql, params)?;
        let queue = std::mem::take(&mut self.queue);
        let (Some(session), Some(runtime)) = (&self.session, &self.runtime) else { return Err(lost()) };
        Ok(runtime.block_on(exchange(&session.client, &queue, &statement, params, taker)))
    }

    /// What the answers mean: the first error counts, the others follow from it.
    fn judge(&mut self, answers: Answers) -> Result<u64, StoreError> {
        if let Err(error) = answers.put_off {
            return Err(self.failed(&error));
        }
        match answers.last {
            Ok(count) => {
                if self.state == State::Fresh {
                    self.state = State::Open;
                }
                Ok(count)
            }
            Err(Failure::Server(error)) => Err(self.failed(&error)),
            Err(Failure::Taker(error)) => Err(error),
        }
    }

    fn failed(&mut self, error: &Error) -> StoreError {
        if error::is_lost(error) {
            self.disconnect();
        } else if self.state != State::None {
            self.state = State::Failed;
        }
        error::translate(error)
    }

    fn put_now(&mut self, sql: &str, params: &[Param<'_>]) -> Result<(), StoreError> {
        let statement = self.prepare(sql, params)?;
        self.queue.push((statement, params.iter().map(Param::to_owned_param).collect()));
        Ok(())
    }

    fn statement(&mut self, sql: &str, params: &[Param<'_>], taker: Option<Taker<'_>>) -> Result<u64, StoreError> {
        let answers = self.run(sql, params, taker)?;
        self.judge(answers)
    }
}

/// A thread may be dropped within another runtime, which must not wait for this one.
impl Drop for PostgreSqlConnection {
    fn drop(&mut self) {
        self.session = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

// === impl PostgreSqlConnection: transactions ===

impl PostgreSqlConnection {
    pub(super) fn begin_locked(&mut self) -> Result<(), StoreError> {
        self.connect()?;
        if self.state != State::None {
            self.control(Control::Rollback)?;
        }
        self.state = State::Open;
        self.put_now("BEGIN", &[])?;
        let lock = self.database.writer_lock();
        self.put_now(LOCK, &[lock.into()])
    }

    fn begin_snapshot(&mut self) -> Result<(), StoreError> {
        self.connect()?;
        self.state = State::Fresh;
        self.queue.clear();
        self.put_now("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", &[])
    }

    fn ask_begun(&mut self) -> Result<Begun, StoreError> {
        let mut begun = Begun::default();
        let mut transaction = None;
        self.query(BEGUN, &[], &mut |row| {
            begun.clock = row.optional_time(0)?;
            begun.last_time = row.optional_time(1)?;
            transaction = Some(row.string(2)?);
            Ok(())
        })?;
        self.transaction = transaction;
        let last = begun.last_time.map(to_millis);
        if let (Some(seen), Some(last)) = (self.seen, last)
            && last > seen
        {
            self.query(
                "SELECT DISTINCT type FROM resource_version WHERE last_updated > ?1",
                &[seen.into()],
                &mut |row| {
                    begun.changed_elsewhere.push(parse_type(row.text(0)?)?);
                    Ok(())
                },
            )?;
        }
        // Nothing was committed before: whatever comes later is news.
        self.seen = Some(self.seen.unwrap_or(i64::MIN).max(last.unwrap_or(i64::MIN)));
        Ok(begun)
    }
}

impl Sql for PostgreSqlConnection {
    fn dialect(&self) -> Dialect {
        Dialect::PostgreSql
    }

    fn execute(&mut self, sql: &str, params: &[Param<'_>]) -> Result<usize, StoreError> {
        let count = self.statement(sql, params, None)?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    fn put(&mut self, sql: &str, params: &[Param<'_>]) -> Result<(), StoreError> {
        if self.queue.len() >= limits::PUT_OFF {
            return self.execute(sql, params).map(drop);
        }
        self.put_now(sql, params)
    }

    fn control(&mut self, control: Control) -> Result<(), StoreError> {
        match control {
            Control::Save(_) | Control::Release(_) => self.put_now(control.as_sql(), &[]),
            Control::Undo(_) => {
                // What was put off is undone as well, so its errors do not count.
                let answers = self.run(control.as_sql(), &[], None)?;
                let undone = self.judge(Answers { put_off: Ok(()), last: answers.last });
                undone.map(|_| self.state = State::Open)
            }
            Control::Rollback => {
                if self.session.is_some() && self.state != State::None {
                    let answers = self.run(control.as_sql(), &[], None)?;
                    self.judge(Answers { put_off: Ok(()), last: answers.last })?;
                }
                self.state = State::None;
                self.queue.clear();
                Ok(())
            }
        }
    }

    fn settle(&mut self) -> Result<(), StoreError> {
        let Some((statement, params)) = self.queue.pop() else { return Ok(()) };
        let queue = std::mem::take(&mut self.queue);
        let (Some(session), Some(runtime)) = (&self.session, &self.runtime) else { return Err(lost()) };
        let answers = runtime.block_on(exchange(&session.client, &queue, &statement, &params, None));
        self.judge(answers).map(drop)
    }

    fn query(&mut self, sql: &str, params: &[Param<'_>], row: Taker<'_>) -> Result<(), StoreError> {
        if self.role == Role::Writer || self.state != State::Fresh {
            return self.statement(sql, params, Some(row)).map(drop);
        }
        // The server may have been restarted since the connection was used last.
        let mut taken = false;
        self.patiently(|this| {
            if this.state == State::None {
                this.begin_snapshot()?;
            }
            let mut taker = |next: &dyn Row| {
                taken = true;
                row(next)
            };
            match this.statement(sql, params, Some(&mut taker)) {
                Err(StoreError::Unavailable(cause)) if taken => Err(StoreError::RolledBack(cause)),
                answer => answer.map(drop),
            }
        })
    }
}

impl Connection for PostgreSqlConnection {
    fn sql(&mut self) -> &mut dyn Sql {
        self
    }

    fn begin_alone(&mut self) -> Result<(), StoreError> {
        self.begin_locked()?;
        self.settle()
    }

    fn begin_group(&mut self) -> Result<Begun, StoreError> {
        self.patiently(|this| {
            this.begin_locked()?;
            let begun = this.ask_begun();
            if begun.is_err() && this.session.is_some() {
                this.control(Control::Rollback)?;
            }
            begun
        })
    }

    fn begin_read(&mut self) -> Result<(), StoreError> {
        self.patiently(Self::begin_snapshot)
    }

    fn commit(&mut self, note: &Note) -> Result<(), StoreError> {
        // A COMMIT of a transaction in which something failed is a ROLLBACK that looks like success.
        let settled = if self.state == State::Open { self.settle() } else { Err(failed_before()) };
        if let Err(error) = settled {
            let _ = self.control(Control::Rollback);
            return Err(error);
        }
        let time = to_millis(note.time);
        if !note.is_silent() {
            let flag = |set: bool, letter: char| if set { letter } else { '-' };
            let (changes, jobs) = (flag(note.changes, 'c'), flag(note.jobs, 'j'));
            let (outbox, work) = (flag(note.outbox, 'o'), flag(note.work, 'w'));
            let text = format!("{} {time} {changes}{jobs}{outbox}{work}", self.database.owner());
            if note.changes {
                self.database.remember_own(time);
            }
            let channel = self.database.settings.channel();
            self.put_now("SELECT pg_notify(?1, ?2)", &[channel.into(), text.into()])?;
        }
        let committed = self.run("COMMIT", &[], None).and_then(|answers| self.judge(answers));
        let committed = match committed {
            Ok(_) => Ok(()),
            Err(error) if self.session.is_some() => {
                // The server is there and said no: the transaction is over and nothing of it was kept.
                Err(error)
            }
            Err(error) => self.outcome(&error),
        };
        self.state = State::None;
        if committed.is_ok() && note.changes {
            self.seen = Some(self.seen.unwrap_or(i64::MIN).max(time));
        }
        committed
    }

    fn in_transaction(&self) -> bool {
        self.session.is_some() && self.state != State::None
    }

    fn batch(&mut self, sql: &str) -> Result<(), StoreError> {
        self.settle()?;
        let (Some(session), Some(runtime)) = (&self.session, &self.runtime) else { return Err(lost()) };
        match runtime.block_on(session.client.batch_execute(sql)) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn group_size(&self) -> usize {
        limits::GROUP_SIZE_POSTGRESQL
    }
}

impl PostgreSqlConnection {
    /// The connection broke during the commit: asks what became of the transaction.
    fn outcome(&mut self, cause: &StoreError) -> Result<(), StoreError> {
        let unknown = || StoreError::CommitUnknown(cause.to_string());
        let transaction = self.transaction.take().ok_or_else(unknown)?;
        outcome::find(self, &transaction, cause)
    }
}

fn lost() -> StoreError {
    StoreError::Unavailable("the connection was lost".to_owned())
}

fn failed_before() -> StoreError {
    StoreError::RolledBack("a statement before it failed".to_owned())
}

/// Sends the statements without waiting in between, then takes their answers, which come in the same order.
async fn exchange(
    client: &Client,
    queue: &[(Statement, Vec<Param<'static>>)],
    statement: &Statement,
    params: &[Param<'_>],
    taker: Option<Taker<'_>>,
) -> Answers {
    let mut sent: Vec<Pin<Box<MaybeDone<_>>>> = Vec::with_capacity(queue.len());
    for (statement, params) in queue {
        sent.push(Box::pin(maybe_done(client.execute_raw(statement, params.iter()))));
    }
    let last = maybe_done(client.query_raw(statement, params.iter()));
    pin_mut!(last);
    // The first poll of each sends it.
    std::future::poll_fn(|context| {
        for request in &mut sent {
            let _ = request.as_mut().poll(context);
        }
        let _ = last.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
    let mut put_off = Ok(());
    for mut request in sent {
        request.as_mut().await;
        if let Some(Err(error)) = request.as_mut().take_output()
            && put_off.is_ok()
        {
            put_off = Err(error);
        }
    }
    last.as_mut().await;
    let last = match last.as_mut().take_output() {
        Some(Ok(rows)) => take_rows(rows, taker).await,
        Some(Err(error)) => Err(Failure::Server(error)),
        None => Ok(0),
    };
    Answers { put_off, last }
}

async fn take_rows(rows: tokio_postgres::RowStream, taker: Option<Taker<'_>>) -> Result<u64, Failure> {
    pin_mut!(rows);
    let mut taker = taker;
    while let Some(row) = rows.next().await {
        let row = row.map_err(Failure::Server)?;
        if let Some(taker) = &mut taker {
            taker(&PostgreSqlRow(&row)).map_err(Failure::Taker)?;
        }
    }
    Ok(rows.rows_affected().unwrap_or(0))
}
