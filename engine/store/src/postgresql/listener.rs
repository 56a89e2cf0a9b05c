//! What other engines on the same database commit: their changes, their wake-ups, and whether they still live.
//!
//! Every commit that others may wait for sends a notification: who, when, and what kinds of things. The times of commits
//! are unique and follow each other, so the versions that a commit wrote are found by its time; they are read from the
//! tables and announced like own changes. After a broken connection everything since the last commit that was heard of is
//! read in the same way, so nothing is missed, and the workers look for themselves.
//!
//! The session holds a lock that only this engine takes. When the engine dies, however, the server gives the lock up, and
//! another engine that sees work claimed by it takes that work over at once, long before the claim runs out. An engine
//! that merely lost this session may see its work done by another: completing work asks whether the claim still holds.

use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fhir::ResourceType;
use futures_util::StreamExt as _;
use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, Error, Row};

use super::session::{Database, Wire, runtime};
use crate::change::{Change, ChangeKind};
use crate::resources::parse_content;
use crate::sql::to_millis;
use crate::store::Shared;
use crate::writer::{BackDoor, Job};
use crate::{StoreError, Transaction, limits};

/// Versions between two commits, in their order; those of one resource in the order of their versions.
const VERSIONS: &str = "SELECT last_updated, type, id, version, content FROM resource_version
    WHERE last_updated > $1 AND last_updated <= $2 ORDER BY last_updated, id, version";

/// Who has claimed work.
const OWNERS: &str = "SELECT locked_by FROM job WHERE locked_by IS NOT NULL
    UNION SELECT locked_by FROM outbox WHERE locked_by IS NOT NULL
    UNION SELECT locked_by FROM work_item WHERE locked_by IS NOT NULL AND kind = 'step'";

/// The thread that listens.
pub(crate) struct Listener {
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
}

struct Ear {
    database: Arc<Database>,
    shared: Arc<Shared>,
    back_door: BackDoor,
    /// Time of the last commit that was heard of.
    heard: i64,
}

/// What a notification says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) owner: String,
    pub(super) time: i64,
    pub(super) changes: bool,
    pub(super) jobs: bool,
    pub(super) outbox: bool,
    pub(super) work: bool,
}

/// Why listening ended.
enum Ended {
    Stopped,
    Lost(String),
}

// === impl Listener ===

impl Listener {
    /// Starts the thread and waits until it listens.
    pub(crate) fn start(
        database: Arc<Database>,
        shared: Arc<Shared>,
        back_door: BackDoor,
        last_time: Option<OffsetDateTime>,
    ) -> Result<Self, StoreError> {
        let (stop, mut stopping) = watch::channel(false);
        let (end, ended) = watch::channel(false);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let runtime = runtime()?;
        let mut ear = Ear { database, shared, back_door, heard: last_time.map_or(i64::MIN, to_millis) };
        let run = move || {
            runtime.block_on(ear.listen(&ready, &mut stopping));
            let _ = end.send(true);
        };
        thread::Builder::new()
            .name("store-listener".to_owned())
            .spawn(run)
            .map_err(|error| StoreError::Io(error.to_string()))?;
        let listener = Self { stop, ended };
        match is_ready.recv_timeout(limits::CONNECT * 2) {
            Ok(()) => Ok(listener),
            Err(_) => Err(StoreError::Unavailable("no session for listening could be made".to_owned())),
        }
    }

    /// Ends the thread.
    pub(crate) async fn close(&self) {
        let _ = self.stop.send(true);
        let mut ended = self.ended.clone();
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}

// === impl Ear ===

impl Ear {
    async fn listen(&mut self, ready: &std::sync::mpsc::Sender<()>, stopping: &mut watch::Receiver<bool>) {
        let mut pause = limits::RECONNECT_PAUSE;
        loop {
            let cause = match self.session(ready, stopping, &mut pause).await {
                Ended::Stopped => return,
                Ended::Lost(cause) => cause,
            };
            if pause == limits::RECONNECT_PAUSE {
                tracing::warn!(cause, "what other engines write is not heard; connecting again");
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopping.wait_for(|stop| *stop) => return,
            }
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }

    /// Listens on one session until it is lost.
    async fn session(
        &mut self,
        ready: &std::sync::mpsc::Sender<()>,
        stopping: &mut watch::Receiver<bool>,
        pause: &mut Duration,
    ) -> Ended {
        let (client, wire) = match self.database.connect().await {
            Ok(connected) => connected,
            Err(error) => return Ended::Lost(self.database.explain(&error).to_string()),
        };
        let (messages, mut arrived) = mpsc::unbounded_channel();
        let wire = tokio::spawn(drive(wire, messages));
        let ended = tokio::select! {
            result = self.follow(&client, &mut arrived, ready, pause) => match result {
                Ok(never) => match never {},
                Err(error) => Ended::Lost(error),
            },
            _ = stopping.wait_for(|stop| *stop) => Ended::Stopped,
        };
        // The server ends the session, and gives up its lock, when it is told to.
        drop(client);
        let _ = tokio::time::timeout(Duration::from_secs(1), wire).await;
        ended
    }

    async fn follow(
        &mut self,
        client: &Client,
        arrived: &mut mpsc::UnboundedReceiver<Heard>,
        ready: &std::sync::mpsc::Sender<()>,
        pause: &mut Duration,
    ) -> Result<std::convert::Infallible, String> {
        let text = |error: Error| error.to_string();
        let listen = format!("LISTEN {}", self.database.settings.channel());
        client.batch_execute(&listen).await.map_err(text)?;
        let versions = client.prepare_typed(VERSIONS, &[Type::INT8, Type::INT8]).await.map_err(text)?;
        let mut present = self.appear(client).await.map_err(text)?;
        // From here on notifications arrive; what was committed before is read.
        self.announce(client, &versions, self.heard, i64::MAX).await.map_err(text)?;
        let caught_up = self.heard;
        self.shared.wake(true, true, true);
        let _ = ready.send(());
        *pause = limits::RECONNECT_PAUSE;
        let mut look = tokio::time::interval(limits::PRESENCE);
        loop {
            tokio::select! {
                heard = arrived.recv() => {
                    let heard = heard.ok_or("the connection was lost")?;
                    if heard.time > caught_up || heard.time < caught_up.saturating_sub(60_000) {
                        self.hear(client, &versions, &heard).await.map_err(text)?;
                    }
                }
                _ = look.tick() => {
                    if !present {
                        present = self.appear(client).await.map_err(text)?;
                    }
                    self.take_over(client).await.map_err(text)?;
                }
            }
        }
    }

    async fn hear(
        &mut self,
        client: &Client,
        versions: &tokio_postgres::Statement,
        heard: &Heard,
    ) -> Result<(), Error> {
        if heard.owner == self.database.owner() {
            self.database.forget_own(heard.time);
        } else {
            if heard.changes {
                self.announce(client, versions, heard.time - 1, heard.time).await?;
            }
            self.shared.wake(heard.jobs, heard.outbox, heard.work);
        }
        self.heard = heard.time;
        Ok(())
    }

    /// Announces what others committed after one time up to another, row by row, as long versions are not kept together.
    async fn announce(
        &mut self,
        client: &Client,
        versions: &tokio_postgres::Statement,
        after: i64,
        to: i64,
    ) -> Result<(), Error> {
        let mut rows = pin!(client.query_raw(versions, [after, to]).await?);
        while let Some(row) = rows.next().await {
            let row = row?;
            let time: i64 = row.try_get(0)?;
            if !self.database.is_own(time) {
                match read(&row) {
                    Ok(change) => {
                        self.shared.changed_elsewhere(&[change.resource_type]);
                        // Fails only when nobody listens.
                        let _ = self.shared.changes.send(Arc::new(change));
                    }
                    Err(error) => tracing::error!(%error, "a version of another engine cannot be read"),
                }
            }
            self.heard = self.heard.max(time);
        }
        Ok(())
    }

    /// Takes the lock that says that this engine lives; false while a lost session of its own still has it.
    async fn appear(&self, client: &Client) -> Result<bool, Error> {
        take_lock(client, "SELECT pg_try_advisory_lock($1)", self.database.presence_lock(self.database.owner())).await
    }

    /// Gives up the claims of engines that are gone; whoever is woken first takes the work.
    async fn take_over(&self, client: &Client) -> Result<(), Error> {
        for row in client.query(OWNERS, &[]).await? {
            let owner: String = row.try_get(0)?;
            if owner == self.database.owner() {
                continue;
            }
            let lock = self.database.presence_lock(&owner);
            // Held for the length of this statement, so nobody takes this look for a sign of life.
            if !take_lock(client, "SELECT pg_try_advisory_xact_lock($1)", lock).await? {
                continue;
            }
            tracing::warn!(engine = owner, "another engine is gone; its work is taken over");
            let (job, answer) = Job::new(move |tx: &mut Transaction<'_>| tx.release_locks(&owner));
            if self.back_door.submit(job).await.is_err() {
                return Ok(());
            }
            if let Ok(Err(error)) = answer.await {
                tracing::error!(%error, "the claims of an engine that is gone could not be given up yet");
            }
        }
        Ok(())
    }
}

async fn take_lock(client: &Client, sql: &str, lock: i64) -> Result<bool, Error> {
    let statement = client.prepare_typed(sql, &[Type::INT8]).await?;
    client.query_one(&statement, &[&lock]).await?.try_get(0)
}

/// Drives the session and passes notifications on. They are a few bytes each and wait only while one is worked on.
async fn drive(mut wire: Wire, messages: mpsc::UnboundedSender<Heard>) {
    while let Some(Ok(message)) = std::future::poll_fn(|context| wire.poll_message(context)).await {
        if let AsyncMessage::Notification(notification) = message {
            match Heard::parse(notification.payload()) {
                Some(heard) => {
                    let _ = messages.send(heard);
                }
                None => tracing::warn!("a notification of another program on the channel of the store is left out"),
            }
        }
    }
}

impl Heard {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let (owner, time, flags) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let is_whole = parts.next().is_none() && !owner.is_empty() && flags.len() == 4;
        is_whole.then(|| Self {
            owner: owner.to_owned(),
            time,
            changes: flags.contains('c'),
            jobs: flags.contains('j'),
            outbox: flags.contains('o'),
            work: flags.contains('w'),
        })
    }
}

fn read(row: &Row) -> Result<Change, StoreError> {
    let bad = |error: Error| StoreError::BadRow(error.to_string());
    let resource_type: &str = row.try_get(1).map_err(bad)?;
    let resource_type: ResourceType = crate::resources::parse_type(resource_type)?;
    let version: i64 = row.try_get(3).map_err(bad)?;
    let content: Option<&str> = row.try_get(4).map_err(bad)?;
    let resource = content.map(parse_content).transpose()?.map(Arc::new);
    let kind = match (&resource, version) {
        (None, _) => ChangeKind::Deleted,
        (Some(_), 1) => ChangeKind::Created,
        (Some(_), _) => ChangeKind::Updated,
    };
    let id: String = row.try_get(2).map_err(bad)?;
    Ok(Change { resource_type, id, version: u64::try_from(version).unwrap_or(0), kind, resource })
}
