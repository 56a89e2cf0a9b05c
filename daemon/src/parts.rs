//! The tasks that a service consists of, each with a name.
//!
//! A part that ends by itself has failed, by a panic or because it gave up. A service that limped on without it would lose
//! work, or let through what the part withdraws, and nobody would notice; so the service ends and is started again.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinHandle;

/// Time that the parts have to finish what they are doing.
const STOP_TIME: Duration = Duration::from_secs(10);

/// The running tasks.
#[derive(Default)]
pub struct Parts {
    running: Vec<(&'static str, JoinHandle<()>)>,
}

// === impl Parts ===

impl Parts {
    /// Starts one.
    pub fn start(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.running.push((name, tokio::spawn(work)));
    }

    /// Resolves when one has ended, normally or by a panic; never while all run.
    pub async fn first_ended(&mut self) -> &'static str {
        std::future::poll_fn(|context| {
            let mut running = self.running.iter_mut();
            let ended = running.find_map(|(name, task)| Pin::new(task).poll(context).is_ready().then_some(*name));
            let Some(ended) = ended else { return Poll::Pending };
            self.running.retain(|(name, _)| *name != ended);
            Poll::Ready(ended)
        })
        .await
    }

    /// Waits for those that end by themselves when told to, and ends the others.
    pub async fn finish(self, endless: &[&str]) {
        let deadline = tokio::time::Instant::now() + STOP_TIME;
        for (name, task) in self.running {
            if endless.contains(&name) {
                task.abort();
            } else if tokio::time::timeout_at(deadline, task).await.is_err() {
                tracing::warn!(name, "did not stop in time");
            }
        }
    }
}

#[cfg(test)]
mod tests;
