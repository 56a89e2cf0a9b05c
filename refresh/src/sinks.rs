//! Sends the records of the audit log to the sinks that the policy names, because the gateway has no way out.
//!
//! Each sink has a `Shipper` of its own, so that a dead one holds up no other. It follows the audit files of both
//! processes behind a mark that is on disk, sends what stands there, and moves the mark only when the sink has shown that
//! it took everything; so each record arrives at least once, whatever is killed in between. What waits stays in the files:
//! memory is bounded by one batch. How it stands is told in `refresh/` ([`node::SinkState`]), by which the gateway decides
//! whether writes are still served.

mod journal;
mod message;
mod syslog;

use std::path::{Path, PathBuf};
use std::time::Duration;

use audit::{Followed, Follower, Mark};
use node::{Settings, SinkState, SinkStateError};
use policies::policy::AuditSink;
use time::OffsetDateTime;
use tokio::task::JoinHandle;

use journal::Journal;
use message::Message;
use syslog::Receiver;

/// The chains of a node, named as their processes.
const CHAINS: [&str; 2] = ["gateway", "engine"];
/// Bytes of one batch, which is sent again as a whole if its end is not confirmed.
const BATCH: usize = 256 * 1024;
/// Bytes to which a batch shrinks while a sink fails or is slow: a few records.
const SMALLEST_BATCH: usize = 4 * 1024;
/// A batch that takes longer was too large for this sink.
const SLOW: Duration = Duration::from_secs(10);
/// Between two looks at the files.
const LOOK: Duration = Duration::from_millis(500);
/// Wait after the first failure, doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Longest wait between two attempts; the patience of the policy if that is shorter.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Why a batch is not known to have arrived.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeliveryError {
    /// Certificates or trusted authorities cannot be used.
    #[error("{0}; see [syslog] in node.toml")]
    Files(String),
    /// Nobody answers there.
    #[error("cannot be connected to: {0}")]
    Connect(std::io::Error),
    /// No agreement on TLS: the receiver is not whom we trust, or does not trust us.
    #[error("no TLS connection: {0}")]
    Handshake(std::io::Error),
    /// The connection ended with an error.
    #[error("takes no records: {0}")]
    Send(std::io::Error),
    /// Nothing happens.
    #[error("{0} took longer than {1:?}")]
    Timeout(&'static str, Duration),
}

/// What is to be sent where.
#[derive(Clone, Debug)]
pub struct Plan {
    settings: Settings,
    sinks: Vec<AuditSink>,
    patience: Duration,
}

/// The running shippers; dropped, they end, and what was not confirmed is sent by the next ones.
#[derive(Debug)]
pub struct Shipping(Vec<JoinHandle<()>>);

/// Sends to one sink.
pub(crate) struct Shipper {
    chains: Vec<Follower>,
    host: String,
    target: Target,
    report: Report,
    batch: usize,
    pause: Duration,
    longest_pause: Duration,
}

enum Target {
    Journal(Journal),
    Receiver(Box<Receiver>),
}

/// The state of a sink and its file.
struct Report {
    state: SinkState,
    path: PathBuf,
    heartbeat: Duration,
}

// === impl Plan ===

impl Plan {
    /// What this policy wants.
    #[must_use]
    pub fn new(settings: &Settings, policy: &policies::Policy) -> Self {
        let audit = policy.audit();
        Self { settings: settings.clone(), sinks: audit.sink.clone(), patience: audit.sink_patience }
    }

    /// Whether there is anything to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sinks.is_empty()
    }

    /// The ports of the receivers.
    pub fn ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.sinks.iter().filter_map(|sink| match sink {
            AuditSink::TlsSyslog { port, .. } => Some(*port),
            AuditSink::Journald { .. } => None,
        })
    }

    /// What keeps a receiver from being reached, as far as files tell.
    pub fn problems(&self) -> Vec<String> {
        let wants_tls = self.sinks.iter().any(|sink| matches!(sink, AuditSink::TlsSyslog { .. }));
        let problem = wants_tls.then(|| syslog::tls(&self.settings).err()).flatten();
        problem.map(|error| error.to_string()).into_iter().collect()
    }

    /// Starts a shipper for each sink.
    #[must_use]
    pub fn start(&self) -> Shipping {
        let shippers = self.sinks.iter().map(|sink| Shipper::new(&self.settings, sink, self.patience));
        Shipping(shippers.map(|shipper| tokio::spawn(shipper.run())).collect())
    }
}

// === impl Shipping ===

impl Shipping {
    /// Resolves when a shipper has ended, which only a defect makes it do.
    pub async fn ended(&mut self) {
        use std::future::Future as _;
        std::future::poll_fn(|context| {
            let ended = self.0.iter_mut().any(|task| std::pin::Pin::new(task).poll(context).is_ready());
            if ended { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

impl Drop for Shipping {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

// === impl Shipper ===

impl Shipper {
    pub(crate) fn new(settings: &Settings, sink: &AuditSink, patience: Duration) -> Self {
        let path = SinkState::path(&settings.directory, sink);
        let known = SinkState::read(&path).unwrap_or_else(|error| {
            if !matches!(error, SinkStateError::Missing) {
                tracing::error!(%sink, %error, "it is not known what the sink has taken: it gets every record again");
            }
            SinkState::default()
        });
        let state = SinkState { sink: sink.to_string(), ..known };
        let mark = |name: &str| state.delivered.get(name).cloned().unwrap_or_default();
        let audit = settings.directory.audit();
        let chains = CHAINS.map(|name| Follower::new(audit.join(format!("{name}.log")), mark(name)));
        let target = match sink {
            AuditSink::Journald { socket } => Target::Journal(Journal::new(socket.clone())),
            AuditSink::TlsSyslog { host, port } => {
                Target::Receiver(Box::new(Receiver::new(host.clone(), *port, settings.clone(), patience)))
            }
        };
        Self {
            chains: chains.into(),
            host: settings.base_url.host().to_owned(),
            target,
            report: Report { state, path, heartbeat: node::sinks::heartbeat(patience) },
            batch: BATCH,
            pause: FIRST_PAUSE,
            longest_pause: LONGEST_PAUSE.min(patience),
        }
    }

    async fn run(mut self) {
        loop {
            let pause = self.round().await;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.report.beat() => {}
            }
        }
    }

    /// Sends what waits, at most one batch; says how long to rest.
    pub(crate) async fn round(&mut self) -> Duration {
        let records = match self.waiting() {
            Ok(records) => records,
            Err(error) => return self.failed(&error.to_string()),
        };
        if records.is_empty() {
            self.report.state.waiting_since = None;
            self.report.keep(false);
            return LOOK;
        }
        self.report.state.waiting_since.get_or_insert_with(OffsetDateTime::now_utc);
        let messages: Vec<Message<'_>> = records
            .iter()
            .filter_map(|(chain, record)| Some(Message::new(CHAINS.get(*chain)?, &self.host, record)))
            .collect();
        let begun = tokio::time::Instant::now();
        let delivered = tokio::select! {
            delivered = self.target.deliver(&messages) => delivered,
            () = self.report.beat() => return LOOK,
        };
        match delivered {
            Ok(()) => {
                let size: usize = records.iter().map(|(_, record)| record.line.len()).sum();
                let is_slow = begun.elapsed() > SLOW;
                self.batch = if is_slow { self.batch / 2 } else { self.batch.saturating_mul(2) };
                self.batch = self.batch.clamp(SMALLEST_BATCH, BATCH);
                let is_full = size.saturating_mul(CHAINS.len()) >= self.batch / 2;
                self.delivered(&records);
                // A connection for each batch: a little patience makes fewer of them.
                if is_full { Duration::ZERO } else { LOOK }
            }
            Err(error) => self.failed(&error.to_string()),
        }
    }

    /// What waits, of each chain its part of a batch.
    fn waiting(&mut self) -> Result<Vec<(usize, Followed)>, audit::FollowError> {
        let mut records = Vec::new();
        let part = self.batch / CHAINS.len();
        for (index, chain) in self.chains.iter_mut().enumerate() {
            records.extend(chain.next(part)?.into_iter().map(|record| (index, record)));
        }
        Ok(records)
    }

    fn delivered(&mut self, records: &[(usize, Followed)]) {
        let Report { state, .. } = &mut self.report;
        if state.last_error.take().is_some() {
            tracing::info!(sink = state.sink, "the audit sink takes records again");
        }
        for (index, record) in records {
            state.records = state.records.saturating_add(1);
            if record.missing > 0 {
                state.missing = state.missing.saturating_add(record.missing);
                let (missing, before) = (record.missing, record.mark.sequence);
                tracing::error!(
                    sink = state.sink,
                    missing,
                    before,
                    "records were removed before the audit sink had them"
                );
            }
            let (Some(chain), Some(name)) = (self.chains.get_mut(*index), CHAINS.get(*index)) else { continue };
            chain.confirm(&record.mark);
            state.delivered.insert((*name).to_owned(), Mark::clone(&record.mark));
        }
        (state.waiting_since, state.last_success) = (None, Some(OffsetDateTime::now_utc()));
        self.pause = FIRST_PAUSE;
        self.report.keep(true);
    }

    fn failed(&mut self, error: &str) -> Duration {
        let Report { state, .. } = &mut self.report;
        if state.last_error.as_deref() != Some(error) {
            tracing::warn!(sink = state.sink, error, "the audit sink takes nothing; records wait in the audit files");
        }
        state.last_error = Some(error.to_owned());
        state.waiting_since.get_or_insert_with(OffsetDateTime::now_utc);
        self.report.keep(false);
        self.batch = (self.batch / 2).max(SMALLEST_BATCH);
        let pause = self.pause;
        self.pause = self.pause.saturating_mul(2).min(self.longest_pause);
        pause
    }
}

// === impl Target ===

impl Target {
    /// Returns only when the sink has everything.
    async fn deliver(&mut self, messages: &[Message<'_>]) -> Result<(), DeliveryError> {
        match self {
            Self::Journal(journal) => journal.deliver(messages).await,
            Self::Receiver(receiver) => receiver.deliver(messages).await,
        }
    }
}

// === impl Report ===

impl Report {
    /// Shows again and again that somebody looks after the sink; never ends.
    async fn beat(&self) {
        loop {
            tokio::time::sleep(self.heartbeat).await;
            self.keep(false);
        }
    }

    /// A mark must be on disk; a sign of life need not.
    fn keep(&self, durable: bool) {
        let written = serde_json::to_vec_pretty(&self.state).map_err(std::io::Error::other);
        let written = written.and_then(|text| crate::replace(Path::new(&self.path), &text, durable));
        if let Err(error) = written {
            tracing::error!(%error, path = %self.path.display(), "the state of an audit sink cannot be written");
        }
    }
}

#[cfg(test)]
mod tests;
