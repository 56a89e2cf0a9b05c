//! The allow-list as the engine pushes it, and its last good copy on disk.
//!
//! The gateway connects to the engine's snapshot socket, says who it is, puts every snapshot in force and only then
//! acknowledges it. The copy lets a restarted gateway know its partners before the engine is back; requests are answered
//! 503 until the link is up all the same, because nobody would take them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::Log;
use link::frame::{self, FrameError, FromEngine, FromGateway};
use link::{Snapshot, SnapshotError};
use tokio::net::UnixStream;
use tokio::sync::{Notify, watch};

use crate::limits::{ENGINE_START, SNAPSHOT_RECONNECT};
use crate::record::Happened;
use crate::reload::Active;

/// Why a connection to the engine ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("snapshot socket cannot be reached: {0}")]
    Connect(std::io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("engine is of build {0}, this gateway of build {build}; start both from one release", build = link::BUILD)]
    Refused(String),
    #[error("allow-list of version {0} came after a newer one")]
    Older(u64),
    #[error("allow-list is not put in force without its record: {0}")]
    Audit(#[from] audit::LogError),
    #[error("engine closed the connection")]
    Closed,
}

/// What the link to the engine needs.
pub struct Link {
    /// What snapshots replace.
    pub active: Arc<Active>,
    /// Where that is recorded.
    pub audit: Arc<Log>,
    /// The engine's socket.
    pub socket: PathBuf,
    /// The last good copy.
    pub copy: PathBuf,
    /// Told when the engine has put other policies in force.
    pub reload: Arc<Notify>,
}

// === impl Link ===

impl Link {
    /// Keeps the link to the engine until told to stop.
    pub async fn follow(self, mut stop: watch::Receiver<bool>) {
        let (first, longest) = SNAPSHOT_RECONNECT;
        let mut pause = first;
        let mut reported = false;
        let started = Instant::now();
        loop {
            let error = tokio::select! {
                error = self.session(&mut pause) => error,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let was_up = self.active.is_link_up();
            self.active.set_link(false);
            // At a start the engine may come a moment later; that is no fault. Then one line when the link is lost or does
            // not come up, not one per attempt.
            reported &= !was_up;
            let is_start = matches!(error, LinkError::Connect(_)) && !was_up && started.elapsed() < ENGINE_START;
            if reported || is_start {
                tracing::debug!(%error, "link to the engine is down");
            } else {
                tracing::warn!(%error, "link to the engine is down");
                reported = true;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            // Whoever starts the node waits for this.
            if !is_start {
                pause = pause.saturating_mul(2).min(longest);
            }
        }
    }

    /// One connection; returns why it ended.
    async fn session(&self, pause: &mut Duration) -> LinkError {
        match self.serve(pause).await {
            Ok(()) => LinkError::Closed,
            Err(error) => error,
        }
    }

    async fn serve(&self, pause: &mut Duration) -> Result<(), LinkError> {
        let mut newest = 0;
        let mut stream = UnixStream::connect(&self.socket).await.map_err(LinkError::Connect)?;
        frame::write(&mut stream, &FromGateway::Hello { build: link::BUILD.to_owned() }).await?;
        while let Some(message) = frame::read::<FromEngine>(&mut stream).await? {
            match message {
                FromEngine::Refused { build } => return Err(LinkError::Refused(build)),
                FromEngine::Reload => self.reload.notify_one(),
                FromEngine::Snapshot(snapshot) => {
                    let snapshot = snapshot.verified()?;
                    let version = snapshot.version();
                    // Within a connection versions grow. A new connection may begin lower: the engine was restored.
                    if version < std::mem::replace(&mut newest, version) {
                        return Err(LinkError::Older(version));
                    }
                    record(&self.active, &self.audit, &snapshot)?;
                    let json = snapshot.to_json()?;
                    self.active.replace_snapshot(snapshot);
                    self.active.set_link(true);
                    *pause = SNAPSHOT_RECONNECT.0;
                    frame::write(&mut stream, &FromGateway::Acknowledged { version }).await?;
                    tracing::info!(version, "allow-list in force");
                    keep(&self.copy, json).await;
                }
            }
        }
        Ok(())
    }
}

/// Records by which list is decided from here on, if it is another one.
fn record(active: &Active, audit: &Log, snapshot: &Snapshot) -> Result<(), LinkError> {
    let basis = active.basis();
    if basis.snapshot.as_ref().is_some_and(|known| known.digest() == snapshot.digest()) {
        return Ok(());
    }
    let before = basis.snapshot.as_ref().map_or(0, |known| known.version());
    let detail = format!("version {} after {before}, digest {}", snapshot.version(), snapshot.digest());
    let record = Happened { event: "allow-list", policy_version: basis.policy.version(), detail: Some(detail) };
    audit.append(time::OffsetDateTime::now_utc(), &record)?;
    Ok(())
}

/// Replaces the copy on disk. Without it the gateway works; it only knows nobody after its next start.
async fn keep(copy: &Path, json: Vec<u8>) {
    let target = copy.to_owned();
    let written = tokio::task::spawn_blocking(move || write_atomically(&target, &json)).await;
    match written {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, path = %copy.display(), "copy of the allow-list cannot be written"),
        Err(error) => tracing::warn!(%error, "copy of the allow-list was not written"),
    }
}

fn write_atomically(target: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let temporary = target.with_extension("json.new");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, target)
}

/// The copy of the last run; none when there is none or it is damaged.
#[must_use]
pub fn last_good(copy: &Path) -> Option<Snapshot> {
    let bytes = match std::fs::read(copy) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, path = %copy.display(), "copy of the allow-list cannot be read");
            return None;
        }
    };
    match Snapshot::from_json(&bytes) {
        Ok(snapshot) => Some(snapshot),
        Err(error) => {
            tracing::warn!(%error, path = %copy.display(), "copy of the allow-list is not usable");
            None
        }
    }
}
