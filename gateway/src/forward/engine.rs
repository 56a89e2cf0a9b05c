//! Requests to the engine, over its Unix socket.
//!
//! The task of the client's request writes head and judged body in one go and reads the answer itself: no other task, no
//! channel and no timer stands between a request and its answer. Raw content is passed on piece by piece ([`Upload`]).
//! Connections are kept in pools, one for each thread that serves clients. One that the engine closed meanwhile is noticed before it is used or, where nothing of
//! the request can have been acted on, made up for by a new one.

mod connection;
mod framing;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use pingora::http::ResponseHeader;

use super::head::EngineHead;
use crate::limits::ENGINE_CONNECTIONS;
use connection::{Broken, Connection};
use framing::{AnswerBody, AnswerHead, RequestBody};

/// Connections to the engine.
#[derive(Debug)]
pub(crate) struct Engine {
    pools: Vec<Arc<Pool>>,
}

#[derive(Debug)]
struct Pool {
    socket: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

/// The answer of the engine: its head at once, its body piece by piece.
#[derive(Debug)]
pub(crate) struct EngineAnswer {
    /// Without the fields that belong to the link; until it is taken.
    pub(crate) head: Option<Box<ResponseHeader>>,
    body: AnswerBody,
    /// None once the body is complete: the connection is in the pool again.
    connection: Option<Connection>,
    pool: Arc<Pool>,
    keep: bool,
}

/// A request whose content is still coming.
#[derive(Debug)]
pub(crate) struct Upload {
    connection: Connection,
    pool: Arc<Pool>,
    framing: RequestBody,
}

/// Why the engine did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// Nobody listens, or not in time.
    #[error("engine socket cannot be reached: {0}")]
    Connect(std::io::Error),
    /// The connection broke; whether the request was acted on is not known.
    #[error("engine connection failed: {0}")]
    Connection(std::io::Error),
    /// What came is no answer.
    #[error("engine answer is not readable: {0}")]
    Answer(&'static str),
    /// No answer in time.
    #[error("engine did not answer in time")]
    TimedOut,
}

// === impl Engine ===

impl Engine {
    /// For the socket at this path and so many threads.
    #[must_use]
    pub(crate) fn new(socket: &Path, threads: usize) -> Self {
        let pool = |_| Arc::new(Pool { socket: socket.to_owned(), idle: Mutex::new(Vec::new()) });
        Self { pools: (0..threads.max(1)).map(pool).collect() }
    }

    /// The pool of this thread: a connection is woken where it was opened.
    fn pool(&self) -> Result<&Arc<Pool>, EngineError> {
        let pool = self.pools.get(daemon::worker_number()).or_else(|| self.pools.first());
        pool.ok_or(EngineError::Answer("there is no pool"))
    }

    /// Sends a request with all of its body and waits for the head of the answer.
    pub(crate) async fn send(
        &self,
        head: &EngineHead,
        body: &Bytes,
        patience: Duration,
    ) -> Result<EngineAnswer, EngineError> {
        let framing = if body.is_empty() { RequestBody::Absent } else { RequestBody::Length(body.len() as u64) };
        let pool = self.pool()?;
        if let Some(mut connection) = pool.take_idle() {
            match connection.ask(head, framing, body, patience).await {
                Ok(answer) => return Ok(pool.answer(connection, answer)),
                Err(broken) if broken.may_ask_again(head) => {}
                Err(broken) => return Err(broken.error),
            }
        }
        let mut connection = pool.connect().await?;
        match connection.ask(head, framing, body, patience).await {
            Ok(answer) => Ok(pool.answer(connection, answer)),
            Err(Broken { error, .. }) => Err(error),
        }
    }

    /// Sends the head of a request whose content follows.
    pub(crate) async fn begin(
        &self,
        head: &EngineHead,
        length: Option<u64>,
        patience: Duration,
    ) -> Result<Upload, EngineError> {
        let framing = length.map_or(RequestBody::Chunked, RequestBody::Length);
        // Content cannot be sent twice, so the connection is one that the engine cannot have closed yet.
        let pool = self.pool()?;
        let mut connection = pool.connect().await?;
        match connection.send(head, framing, &Bytes::new(), patience).await {
            Ok(()) => Ok(Upload { connection, pool: Arc::clone(pool), framing }),
            Err(Broken { error, .. }) => Err(error),
        }
    }
}

// === impl Pool ===

impl Pool {
    async fn connect(&self) -> Result<Connection, EngineError> {
        Connection::open(&self.socket).await.map_err(EngineError::Connect)
    }

    /// The connection that was used last, so that the others can be closed by the engine for want of use.
    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if connection.is_open() {
                return Some(connection);
            }
        }
        None
    }

    fn give_back(&self, mut connection: Connection) {
        connection.rest();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < ENGINE_CONNECTIONS {
            idle.push(connection);
        }
    }

    fn answer(self: &Arc<Self>, connection: Connection, answer: AnswerHead) -> EngineAnswer {
        let AnswerHead { head, body, keep } = answer;
        let mut answer =
            EngineAnswer { head: Some(head), body, connection: Some(connection), pool: Arc::clone(self), keep };
        if answer.body.is_complete() {
            answer.end();
        }
        answer
    }
}

// === impl EngineAnswer ===

impl EngineAnswer {
    /// Length of the body as announced; none if it comes in chunks.
    pub(crate) const fn length(&self) -> Option<u64> {
        self.body.announced()
    }

    /// Whether nothing more comes.
    pub(crate) const fn is_complete(&self) -> bool {
        self.body.is_complete()
    }

    /// The next piece; none at the end.
    pub(crate) async fn piece(&mut self, patience: Duration) -> Result<Option<Bytes>, EngineError> {
        let Some(connection) = &mut self.connection else { return Ok(None) };
        let piece = connection.piece(&mut self.body, patience).await?;
        if self.body.is_complete() {
            self.end();
        }
        Ok(piece)
    }

    fn end(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.keep
        {
            self.pool.give_back(connection);
        }
    }
}

// === impl Upload ===

impl Upload {
    /// Passes a piece on. False when the engine has answered already and wants no more.
    pub(crate) async fn pass(&mut self, piece: &Bytes, patience: Duration) -> Result<bool, EngineError> {
        self.connection.pass(piece, self.framing, patience).await
    }

    /// Ends the content and waits for the head of the answer. What was not sent ends the connection with the answer.
    pub(crate) async fn finish(mut self, complete: bool, patience: Duration) -> Result<EngineAnswer, EngineError> {
        let complete = complete && self.connection.end_content(self.framing, patience).await?;
        let mut answer = self.connection.answer(false, patience).await.map_err(|broken| broken.error)?;
        answer.keep &= complete;
        Ok(self.pool.answer(self.connection, answer))
    }
}
