//! Metrics of requests, with handles that are looked up once: a look-up by labels for each request costs more than the
//! decision itself.
//!
//! A time series appears when its first request does.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Histogram};
use policies::Interaction;

/// First digit of the status; none for a client that got no answer.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// What happens to a request.
const DECISIONS: [&str; 2] = ["refuse", "permit"];

/// Handles of all series.
#[derive(Debug)]
pub(crate) struct Meters {
    decision: OnceLock<Histogram>,
    /// By interaction, in the order of the enum.
    requests: Vec<Meter>,
    /// Requests of which the interaction never became known.
    unknown: Meter,
}

struct Meter {
    interaction: &'static str,
    seconds: OnceLock<Histogram>,
    counts: [[OnceLock<Counter>; CLASSES.len()]; DECISIONS.len()],
}

// === impl Meters ===

impl Default for Meters {
    fn default() -> Self {
        let mut known: Vec<Interaction> = Interaction::ALL.to_vec();
        known.sort_unstable_by_key(|interaction| *interaction as usize);
        let requests = known.iter().map(|interaction| Meter::new(interaction.as_str())).collect();
        Self { decision: OnceLock::new(), requests, unknown: Meter::new("none") }
    }
}

impl Meters {
    /// Time that a decision took.
    pub(crate) fn decision(&self, took: Duration) {
        self.decision.get_or_init(|| metrics::histogram!("schleuse_decision_seconds")).record(took);
    }

    /// A request that ended.
    pub(crate) fn request(&self, interaction: Option<Interaction>, permitted: bool, status: u16, took: Duration) {
        let meter = interaction.and_then(|interaction| self.requests.get(interaction as usize));
        meter.unwrap_or(&self.unknown).count(permitted, status, took);
    }
}

// === impl Meter ===

impl Meter {
    fn new(interaction: &'static str) -> Self {
        Self { interaction, seconds: OnceLock::new(), counts: Default::default() }
    }

    fn count(&self, permitted: bool, status: u16, took: Duration) {
        let interaction = self.interaction;
        let class = usize::from(status / 100);
        let class = if class < CLASSES.len() { class } else { 0 };
        let of_decision = self.counts.get(usize::from(permitted)).zip(DECISIONS.get(usize::from(permitted)));
        let series =
            of_decision.and_then(|(counts, decision)| Some((counts.get(class)?, decision, CLASSES.get(class)?)));
        if let Some((count, decision, class)) = series {
            let register = || {
                let labels = [("interaction", interaction), ("decision", *decision), ("status", *class)];
                metrics::counter!("schleuse_gateway_requests_total", &labels)
            };
            count.get_or_init(register).increment(1);
        }
        let register = || metrics::histogram!("schleuse_gateway_request_seconds", "interaction" => interaction);
        self.seconds.get_or_init(register).record(took);
    }
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meter").field("interaction", &self.interaction).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interaction_has_its_own_meter() {
        let meters = Meters::default();
        for interaction in Interaction::ALL {
            assert_eq!(meters.requests[*interaction as usize].interaction, interaction.as_str());
        }
        for status in [0, 99, 100, 204, 599, 600, u16::MAX] {
            meters.request(None, true, status, Duration::ZERO);
        }
    }
}
