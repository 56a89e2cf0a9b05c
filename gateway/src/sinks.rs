//! Sinks of the audit log, as the refresher tells about them.
//!
//! The gateway has no way out, so another process sends its records. Here is watched whether that happens: a sink that has
//! taken nothing of what waits for it for `sink-patience`, or of which the refresher shows no sign of life for as long, is
//! dead. Under `dead-sink = "refuse-writes"` nothing that changes something is served until it lives again; the records
//! wait in the audit files either way. A request reads one flag.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use audit::Log;
use node::{Directory, SinkState, SinkStateError};
use policies::policy::{AuditSink, DeadSink};
use serde::Serialize;
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::record::Happened;
use crate::reload::Active;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// How it stands with one sink, for people and programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SinkReport {
    sink: String,
    /// Whether it takes records, or nothing waits.
    alive: bool,
    /// Why it takes none.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Records that it has taken.
    records: u64,
    /// Records that were removed before it could take them.
    missing: u64,
    /// Seconds for which records have been waiting.
    waiting_seconds: f64,
}

/// Watches the states.
pub(crate) struct Sinks {
    directory: Directory,
    seen: BTreeMap<AuditSink, Seen>,
}

/// A state, when it was renewed last and since when the same record waits, by a clock that nobody sets.
struct Seen {
    stamp: Option<(SystemTime, u64)>,
    renewed: Instant,
    waiting: Option<(OffsetDateTime, Instant)>,
    state: Result<SinkState, SinkStateError>,
    was_alive: bool,
}

// === impl Sinks ===

impl Sinks {
    pub(crate) const fn new(directory: Directory) -> Self {
        Self { directory, seen: BTreeMap::new() }
    }

    /// Looks until told to stop. Ends otherwise only by a defect, and the gateway with it.
    pub(crate) async fn watch(mut self, active: Arc<Active>, audit: Arc<Log>, mut stop: watch::Receiver<bool>) {
        loop {
            let (of, to) = (Arc::clone(&active), Arc::clone(&audit));
            let looked = tokio::task::spawn_blocking(move || {
                self.look(&of, &to, Instant::now());
                self
            });
            match looked.await {
                Ok(next) => self = next,
                Err(error) => {
                    tracing::error!(%error, "audit sinks cannot be watched any more");
                    return;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    fn look(&mut self, active: &Active, audit: &Log, now: Instant) {
        let basis = active.basis();
        let wanted = basis.policy.audit();
        self.seen.retain(|sink, _| wanted.sink.contains(sink));
        let mut reports = Vec::with_capacity(wanted.sink.len());
        for sink in &wanted.sink {
            let path = SinkState::path(&self.directory, sink);
            let seen = self.seen.entry(sink.clone()).or_insert_with(|| Seen::new(now));
            seen.look(&path, now);
            let report = seen.report(sink, wanted.sink_patience, now);
            if report.alive != seen.was_alive {
                seen.was_alive = report.alive;
                let error = report.error.as_deref().unwrap_or_default();
                if report.alive {
                    tracing::info!(sink = report.sink, "the audit sink lives again");
                } else {
                    tracing::error!(sink = report.sink, error, "the audit sink is dead");
                    metrics::counter!("schleuse_audit_sink_deaths_total", "sink" => report.sink.clone()).increment(1);
                }
                let word = if report.alive { "lives again" } else { "is dead" };
                let detail = crate::record::cut(&format!("{} {word} {error}", report.sink)).trim().to_owned();
                let (event, policy_version) = ("audit-sink", basis.policy.version());
                let record = Happened { event, policy_version, detail: Some(detail) };
                if let Err(error) = audit.append(OffsetDateTime::now_utc(), &record) {
                    tracing::error!(%error, event, "audit log cannot be written");
                }
            }
            report.measure();
            reports.push(report);
        }
        let refuse = wanted.dead_sink == DeadSink::RefuseWrites && reports.iter().any(|report| !report.alive);
        active.set_sinks(reports, refuse);
    }
}

// === impl Seen ===

impl Seen {
    const fn new(now: Instant) -> Self {
        let state = Err(SinkStateError::Missing);
        Self { stamp: None, renewed: now, waiting: None, state, was_alive: true }
    }

    fn look(&mut self, path: &Path, now: Instant) {
        let stamp = std::fs::metadata(path).ok().and_then(|file| Some((file.modified().ok()?, file.len())));
        if stamp != self.stamp {
            let state = SinkState::read(path);
            // A damaged state is no sign of life.
            if let Ok(state) = &state {
                self.renewed = now;
                let known = |since| self.waiting.filter(|(known, _)| *known == since).unwrap_or((since, now));
                self.waiting = state.waiting_since.map(known);
            }
            (self.stamp, self.state) = (stamp, state);
        }
    }

    fn report(&self, sink: &AuditSink, patience: Duration, now: Instant) -> SinkReport {
        let clock = OffsetDateTime::now_utc();
        let is_silent = now.saturating_duration_since(self.renewed) > patience;
        let (records, missing, waiting, stuck, said) = match &self.state {
            Ok(state) => {
                let waiting = state.waiting_since.map_or(0.0, |since| (clock - since).as_seconds_f64().max(0.0));
                // The wall clock knows of the time before this process, the other one is not set back.
                let watched = self.waiting.map_or(Duration::ZERO, |(_, since)| now.saturating_duration_since(since));
                let stuck = state.is_stuck(patience, clock) || watched > patience;
                let waiting = waiting.max(watched.as_secs_f64());
                (state.records, state.missing, waiting, stuck, state.last_error.clone())
            }
            Err(error) => (0, 0, 0.0, false, Some(error.to_string())),
        };
        let silent = || format!("the refresher has shown no sign of life for {} s", patience.as_secs());
        let slow = || format!("has taken nothing for {} s", patience.as_secs());
        let error = match (is_silent, stuck) {
            (true, _) => Some(silent()),
            (false, true) => Some(said.unwrap_or_else(slow)),
            (false, false) => said.filter(|_| waiting > 0.0),
        };
        let alive = !is_silent && !stuck;
        SinkReport { sink: sink.to_string(), alive, error, records, missing, waiting_seconds: waiting }
    }
}

// === impl SinkReport ===

impl SinkReport {
    fn measure(&self) {
        let sink = || self.sink.clone();
        metrics::gauge!("schleuse_audit_sink_alive", "sink" => sink()).set(if self.alive { 1.0 } else { 0.0 });
        metrics::gauge!("schleuse_audit_sink_waiting_seconds", "sink" => sink()).set(self.waiting_seconds);
        metrics::counter!("schleuse_audit_sink_records_total", "sink" => sink()).absolute(self.records);
        metrics::counter!("schleuse_audit_sink_missing_total", "sink" => sink()).absolute(self.missing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn state(waiting: Option<i64>) -> SinkState {
        let since = |seconds| OffsetDateTime::now_utc() - time::Duration::seconds(seconds);
        SinkState { waiting_since: waiting.map(since), ..SinkState::default() }
    }

    #[test]
    fn a_sink_is_dead_when_it_takes_nothing_or_when_nobody_tells_about_it() {
        let folder = tempfile::tempdir().unwrap();
        let sink = AuditSink::parse("journald").unwrap();
        let path = folder.path().join("sink.json");
        let begin = Instant::now();
        let mut seen = Seen::new(begin);
        let mut alive = |after: Duration| {
            seen.look(&path, begin + after);
            seen.report(&sink, PATIENCE, begin + after).alive
        };
        let write = |state: &SinkState| std::fs::write(&path, serde_json::to_string(state).unwrap()).unwrap();
        // The refresher may still be starting.
        assert!(alive(PATIENCE));
        assert!(!alive(PATIENCE * 2), "a state that never came");
        write(&state(None));
        assert!(alive(PATIENCE * 3));
        assert!(!alive(PATIENCE * 5), "a state that is not renewed");
        write(&state(Some(10)));
        assert!(alive(PATIENCE * 6), "records wait, but not for long");
        write(&state(Some(3600)));
        assert!(!alive(PATIENCE * 7), "records wait for long");
        std::fs::write(&path, "{").unwrap();
        assert!(!alive(PATIENCE * 9), "a damaged state");
        std::fs::remove_file(&path).unwrap();
        assert!(!alive(PATIENCE * 10));
        write(&state(None));
        assert!(alive(PATIENCE * 11), "and it lives again");
    }

    #[test]
    fn a_clock_that_is_set_back_hides_no_dead_sink() {
        let folder = tempfile::tempdir().unwrap();
        let sink = AuditSink::parse("journald").unwrap();
        let path = folder.path().join("sink.json");
        let begin = Instant::now();
        let mut seen = Seen::new(begin);
        let since = OffsetDateTime::now_utc() + time::Duration::hours(1);
        let mut alive = |after: Duration, since, records| {
            let state = SinkState { waiting_since: Some(since), records, ..SinkState::default() };
            // Of another length each time, so that no two look alike where the clock of files is coarse.
            let text = serde_json::to_string(&state).unwrap() + &" ".repeat(after.as_secs() as usize / 10);
            std::fs::write(&path, text).unwrap();
            seen.look(&path, begin + after);
            seen.report(&sink, PATIENCE, begin + after).alive
        };
        assert!(alive(PATIENCE / 2, since, 0));
        assert!(alive(PATIENCE, since, 0));
        assert!(!alive(PATIENCE * 2, since, 0), "the same record waits for longer than the patience");
        assert!(alive(PATIENCE * 5 / 2, since + time::Duration::SECOND, 1), "it was taken, another one waits");
    }
}
