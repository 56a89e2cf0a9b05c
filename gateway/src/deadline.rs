//! A deadline that is moved with every request and almost never reached.
//!
//! Moving it costs a comparison. The timer below is only touched when the new deadline is earlier than what it waits for,
//! or when it fires and finds that the deadline was moved on: once in the length of the deadline instead of twice per
//! request.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A moment that may be moved.
#[derive(Debug)]
pub(crate) struct Deadline {
    at: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

// === impl Deadline ===

impl Deadline {
    /// Reached in `after`.
    pub(crate) fn new(after: Duration) -> Self {
        let at = Instant::now() + after;
        Self { at: Some(at), timer: Box::pin(tokio::time::sleep_until(at)) }
    }

    /// Moves it to `after` from now.
    pub(crate) fn set(&mut self, after: Duration) {
        self.at = Some(Instant::now() + after);
    }

    /// Never reached, until it is set again.
    pub(crate) const fn clear(&mut self) {
        self.at = None;
    }

    /// Whether it is set.
    pub(crate) const fn is_set(&self) -> bool {
        self.at.is_some()
    }

    /// Ready once it is reached.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        if at < self.timer.deadline() {
            self.timer.as_mut().reset(at);
        }
        loop {
            ready!(self.timer.as_mut().poll(context));
            if self.timer.deadline() >= at {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn reached(deadline: &mut Deadline, within: Duration) -> bool {
        tokio::time::timeout(within, std::future::poll_fn(|context| deadline.poll(context))).await.is_ok()
    }

    #[tokio::test]
    async fn a_moved_deadline_is_reached_when_it_says_and_not_when_the_timer_fires() {
        let (soon, later) = (Duration::from_millis(20), Duration::from_secs(60));
        let mut deadline = Deadline::new(soon);
        deadline.set(later);
        assert!(!reached(&mut deadline, 5 * soon).await, "the timer fired, the deadline was moved");
        // Earlier than what the timer waits for by now.
        deadline.set(soon);
        assert!(reached(&mut deadline, later).await);
        deadline.set(soon);
        deadline.clear();
        assert!(!deadline.is_set() && !reached(&mut deadline, 5 * soon).await);
    }
}
