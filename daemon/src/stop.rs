//! Reasons to stop and to reload.

use std::io::Read as _;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Resolves when the process is to stop: SIGTERM, SIGINT or, when supervised, the end of standard input. The text is
/// for the log.
pub async fn stopped(supervised: bool) -> std::io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let closed = standard_input_closed();
    tokio::pin!(closed);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok("SIGTERM"),
            // Ctrl-C reaches the whole process group; a supervised process leaves the decision to its supervisor.
            _ = interrupt.recv() => if !supervised { return Ok("SIGINT") },
            () = &mut closed, if supervised => return Ok("supervisor ended"),
        }
    }
}

/// Reads on a thread of its own, which nobody waits for at the end; a runtime's own reader would hold up its shutdown
/// until the input closes.
async fn standard_input_closed() {
    let (closed, waiting) = tokio::sync::oneshot::channel();
    let reader = std::thread::Builder::new().name("lifeline".to_owned()).spawn(move || {
        let mut buffer = [0; 64];
        // An error means that nothing more will come, like the end.
        while std::io::stdin().lock().read(&mut buffer).is_ok_and(|count| count > 0) {}
        let _ = closed.send(());
    });
    // Without the thread the supervisor's death could not be noticed: stop rather than outlive it.
    if reader.is_ok() {
        let _ = waiting.await;
    }
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
