//! The threads that serve connections: each with a runtime of its own.
//!
//! A connection stays on one thread for life, with its requests and the connections to the engine that they use. So one
//! event wakes one thread, and never a second one to share the work with; for short requests that sharing costs more than
//! the work. New connections go to the thread that has the fewest.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// The threads; they end when this is dropped.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    /// Held: its end is the end of the thread.
    _running: oneshot::Sender<()>,
}

/// Counts a connection as long as it lives.
struct Counted(Arc<AtomicUsize>);

/// The number of the thread at hand, from 0; 0 for threads that are no workers.
#[must_use]
pub fn worker_number() -> usize {
    NUMBER.get()
}

// === impl Workers ===

impl Workers {
    /// Starts so many threads, each named by its number.
    pub fn start(name: &str, count: usize) -> io::Result<Self> {
        let workers = (0..count.max(1)).map(|number| Worker::start(name, number)).collect::<io::Result<_>>()?;
        Ok(Self { workers })
    }

    /// Resolves when every thread has had a turn.
    pub async fn turn(&self) {
        for worker in &self.workers {
            // A thread that ended drops the task: then nobody would ever be served there.
            if worker.runtime.spawn(async {}).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Runs a connection on the thread with the fewest; `connection` is called there.
    pub fn serve<F>(&self, connection: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let least = self.workers.iter().min_by_key(|worker| worker.connections.load(Ordering::Acquire));
        let Some(worker) = least else { return };
        worker.connections.fetch_add(1, Ordering::AcqRel);
        let counted = Counted(Arc::clone(&worker.connections));
        worker.runtime.spawn(async move {
            connection().await;
            drop(counted);
        });
    }
}

impl Worker {
    fn start(name: &str, number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (running, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name(format!("{name}-{number}")).spawn(move || {
            NUMBER.set(number);
            let _ = runtime.block_on(ended);
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, connections: Arc::default(), _running: running })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn connections_are_spread_and_each_stays_on_its_thread() {
        let workers = Workers::start("worker", 3).unwrap();
        let (sender, numbers) = mpsc::channel();
        for _ in 0..6 {
            let sender = sender.clone();
            workers.serve(move || async move {
                let before = worker_number();
                tokio::time::sleep(Duration::from_millis(20)).await;
                assert_eq!(tokio::spawn(async { worker_number() }).await.unwrap(), before);
                sender.send(before).unwrap();
            });
        }
        let mut seen: Vec<usize> = (0..6).map(|_| numbers.recv_timeout(Duration::from_secs(10)).unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, [0, 0, 1, 1, 2, 2]);
    }
}
