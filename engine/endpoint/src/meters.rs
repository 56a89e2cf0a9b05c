//! Metrics of requests, with handles that are looked up once: a look-up by labels for each request costs a good part of
//! a small read.
//!
//! A time series appears when its first request does.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use metrics::{Counter, Histogram};
use policies::interaction::Interaction;

/// Handles of all series that have appeared, by interaction and status: there are few of either.
#[derive(Default)]
pub(crate) struct Meters {
    series: RwLock<HashMap<(Interaction, u16), (Counter, Histogram)>>,
}

// === impl Meters ===

impl Meters {
    /// A request that was answered.
    pub(crate) fn answered(&self, interaction: Interaction, status: u16, took: Duration) {
        let key = (interaction, status);
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let (count, seconds) = known.unwrap_or_else(|| {
            let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
            series.entry(key).or_insert_with(|| register(interaction, status)).clone()
        });
        count.increment(1);
        seconds.record(took.as_secs_f64());
    }
}

fn register(interaction: Interaction, status: u16) -> (Counter, Histogram) {
    let interaction = interaction.as_str();
    let count = metrics::counter!(
        "schleuse_endpoint_requests_total", "interaction" => interaction, "status" => status.to_string()
    );
    (count, metrics::histogram!("schleuse_endpoint_request_seconds", "interaction" => interaction))
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}
