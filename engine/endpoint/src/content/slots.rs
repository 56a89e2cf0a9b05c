//! How many transfers of content run at one time, in all and for one caller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use http::header::RETRY_AFTER;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;
use crate::refusal::{Code, Refusal};

/// The slots of one direction.
#[derive(Debug)]
pub(crate) struct Slots {
    all: Arc<Semaphore>,
    taken: Mutex<HashMap<String, usize>>,
}

/// A transfer that may run; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    slots: Arc<Slots>,
    who: String,
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { all: Arc::new(Semaphore::new(limits::TRANSFERS)), taken: Mutex::default() })
    }

    /// Takes a slot for the caller called `who`; waits a moment for one.
    pub(crate) async fn take(self: &Arc<Self>, who: &str) -> Result<Slot, Refusal> {
        let wait = Arc::clone(&self.all).acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(limits::TRANSFER_WAIT, wait).await else {
            return Err(busy("all transfers of content are in use"));
        };
        {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let own = taken.entry(who.to_owned()).or_default();
            if *own >= limits::TRANSFERS_PER_IDENTITY {
                return Err(busy("the caller has too many transfers of content at one time"));
            }
            *own += 1;
        }
        Ok(Slot { slots: Arc::clone(self), who: who.to_owned(), _permit: permit })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.who) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.remove(&self.who);
            }
        }
    }
}

fn busy(reason: &str) -> Refusal {
    metrics::counter!("schleuse_endpoint_transfers_refused_total").increment(1);
    Refusal::empty(StatusCode::SERVICE_UNAVAILABLE, Code::TooLarge).because(reason).with_header(RETRY_AFTER, "5")
}
