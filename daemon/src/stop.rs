//! Reasons to stop and to reload.

use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Resolves when the process is to stop: SIGTERM, SIGINT or, when supervised, the end of standard input. The text is
/// for the log.
pub async fn stopped(supervised: bool) -> std::io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok("SIGTERM"),
            // Ctrl-C reaches the whole process group; a supervised process leaves the decision to its supervisor.
            _ = interrupt.recv() => if !supervised { return Ok("SIGINT") },
            () = standard_input_closed(), if supervised => return Ok("supervisor ended"),
        }
    }
}

async fn standard_input_closed() {
    let mut input = tokio::io::stdin();
    let mut buffer = [0; 64];
    // An error means that nothing more will come, like the end.
    while input.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}

/// SIGHUPs.
pub struct Reloads {
    hangup: Signal,
}

impl Reloads {
    /// Takes SIGHUP over, which would otherwise end the process.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { hangup: signal(SignalKind::hangup())? })
    }

    /// Resolves at the next one.
    pub async fn next(&mut self) {
        if self.hangup.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
