//! What is withdrawn while the gateway runs: blocked certificates and revocation lists.
//!
//! Both come as files that others write (`schleuse block`, `schleuse-refresh`), and the gateway watches them, because it
//! must not wait for a reload: a policy that is being edited has nothing to do with a stolen key. A change acts on open
//! connections at their next request, and cuts WebSockets. What cannot be read, or would make revoked certificates good
//! again, changes nothing, is tried again and is reported until it is repaired. The watch itself never gives up: if it
//! ends, the gateway ends ([`daemon::Parts`]).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use audit::Log;
use certs::LiveRevocation;
use node::{Settings, blocks};
use policies::policy::RevocationMode;
use policies::{Finding, Severity, Thumbprint};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::listen::TlsState;
use crate::record::Happened;
use crate::reload::{Active, Loaded};

/// Between two looks at `blocks.toml`: what "at once" means.
const BLOCKS_INTERVAL: Duration = Duration::from_millis(200);
/// Looks at `blocks.toml` between two looks at the revocation lists, which come from a refresher every few hours.
const LOOKS_PER_LISTS: u32 = 10;
/// Between two attempts to read what could not be read, each of which reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// Watches the files.
pub(crate) struct Withdrawn {
    settings: Settings,
    blocks: Vec<blocks::Block>,
    seen: Option<Stamp>,
    lists_seen: Vec<(PathBuf, Stamp)>,
    /// When the freshness of a list changes next.
    stale_at: Option<OffsetDateTime>,
    failing: Failing,
}

/// What tells one state of a file from the next: content, and by the second who may read it.
type Stamp = (Option<SystemTime>, (i64, i64), u64);

/// What could not be read, and when that was last reported.
#[derive(Default)]
struct Failing(BTreeMap<&'static str, Instant>);

/// Names in logs and metrics.
const BLOCKS: &str = "blocks";
const LISTS: &str = "revocation-lists";

// === impl Failing ===

impl Failing {
    fn failed(&mut self, what: &'static str, error: &str, now: Instant) {
        tracing::error!(what, error, "what was in force stays in force");
        metrics::counter!("schleuse_withdrawn_failures_total", "what" => what).increment(1);
        metrics::gauge!("schleuse_withdrawn_failing", "what" => what).set(1.0);
        self.0.insert(what, now);
    }

    fn repaired(&mut self, what: &'static str) {
        metrics::gauge!("schleuse_withdrawn_failing", "what" => what).set(0.0);
        if self.0.remove(what).is_some() {
            tracing::info!(what, "repaired and in force");
        }
    }

    /// Whether it is time to try again, and to report again.
    fn is_due(&self, what: &'static str, now: Instant) -> bool {
        self.0.get(what).is_some_and(|reported| now.duration_since(*reported) >= REPORT_INTERVAL)
    }
}

// === impl Withdrawn ===

impl Withdrawn {
    /// Puts the blocks in force; a damaged file refuses the start.
    pub(crate) fn load(settings: &Settings, active: &Active) -> Result<Self, Vec<Finding>> {
        let mut withdrawn = Self {
            settings: settings.clone(),
            seen: stamp(&settings.directory.blocks()),
            blocks: blocks::read(&settings.directory.blocks())?,
            lists_seen: list_stamps(&settings.revocation.lists),
            stale_at: None,
            failing: Failing::default(),
        };
        for what in [BLOCKS, LISTS] {
            withdrawn.failing.repaired(what);
        }
        active.replace_blocks(withdrawn.in_force(OffsetDateTime::now_utc()));
        withdrawn.stale_at = next_change(&active.tls());
        Ok(withdrawn)
    }

    /// Follows the files until told to stop. Ends otherwise only by a defect, and the gateway with it.
    pub(crate) async fn watch(mut self, active: Arc<Active>, audit: Arc<Log>, mut stop: watch::Receiver<bool>) {
        let mut looks = 0_u32;
        loop {
            tokio::select! {
                () = tokio::time::sleep(BLOCKS_INTERVAL) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            looks = looks.wrapping_add(1);
            let with_lists = looks.is_multiple_of(LOOKS_PER_LISTS);
            let (active, audit) = (Arc::clone(&active), Arc::clone(&audit));
            let looked = tokio::task::spawn_blocking(move || {
                self.look_at_blocks(&active, &audit);
                if with_lists {
                    self.look_at_lists(&active, &audit);
                }
                self
            });
            match looked.await {
                Ok(next) => self = next,
                Err(error) => {
                    tracing::error!(%error, "blocks and revocation lists cannot be watched any more");
                    return;
                }
            }
        }
    }

    fn in_force(&self, now: OffsetDateTime) -> BTreeSet<Thumbprint> {
        self.blocks.iter().filter(|block| block.is_in_force(now)).map(|block| block.thumbprint.clone()).collect()
    }

    fn look_at_blocks(&mut self, active: &Active, audit: &Log) {
        let path = self.settings.directory.blocks();
        let (stamp, at) = (stamp(&path), Instant::now());
        if stamp != self.seen || self.failing.is_due(BLOCKS, at) {
            self.seen = stamp;
            match blocks::read(&path) {
                Ok(_) if self.seen.is_none() && !self.blocks.is_empty() => {
                    self.failing.failed(BLOCKS, "the file is gone", at);
                }
                Ok(blocks) => {
                    self.blocks = blocks;
                    self.failing.repaired(BLOCKS);
                }
                Err(findings) => {
                    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
                    self.failing.failed(BLOCKS, &lines.join("; "), at);
                }
            }
        }
        let wanted = self.in_force(OffsetDateTime::now_utc());
        if *active.basis().blocked != wanted {
            let shorts: Vec<&str> = wanted.iter().map(Thumbprint::short).collect();
            let detail = format!("{} certificates: {}", shorts.len(), shorts.join(" "));
            tracing::warn!(blocked = detail, "blocked certificates changed");
            metrics::gauge!("schleuse_blocked_certificates")
                .set(f64::from(u32::try_from(wanted.len()).unwrap_or(u32::MAX)));
            active.replace_blocks(wanted);
            happened(active, audit, "blocks", &detail);
        }
    }

    fn look_at_lists(&mut self, active: &Active, audit: &Log) {
        let tls = active.tls();
        let Some(live) = &tls.trust.revocation else { return };
        let (stamps, at) = (list_stamps(&self.settings.revocation.lists), Instant::now());
        if stamps != self.lists_seen || self.failing.is_due(LISTS, at) {
            self.lists_seen = stamps;
            match self.read_lists(active, &tls, live) {
                Ok(detail) => {
                    active.verify_again();
                    happened(active, audit, LISTS, &detail);
                    self.failing.repaired(LISTS);
                }
                Err(error) => self.failing.failed(LISTS, &error, at),
            }
            self.stale_at = next_change(&tls);
        } else if self.stale_at.is_some_and(|at| at <= OffsetDateTime::now_utc()) {
            tracing::warn!("a revocation list is stale");
            active.verify_again();
            self.stale_at = next_change(&tls);
        }
    }

    fn read_lists(&self, active: &Active, tls: &TlsState, live: &LiveRevocation) -> Result<String, String> {
        let store = &tls.trust.store;
        let basis = active.basis();
        let read = node::read_revocation(&self.settings, &basis.policy, store).map_err(|error| error.to_string())?;
        let Some(next) = read else { return Err("the policy does not ask for lists any more".to_owned()) };
        let lost: Vec<String> = live.current().regressions(&next, store).iter().map(ToString::to_string).collect();
        if !lost.is_empty() {
            return Err(lost.join("; "));
        }
        let names: Vec<String> =
            next.lists().map(|list| format!("{} of {}", list.issuer(), list.this_update())).collect();
        live.replace(next);
        tracing::info!(lists = names.join("; "), "revocation lists in force");
        Ok(names.join("; "))
    }
}

fn happened(active: &Active, audit: &Log, event: &'static str, detail: &str) {
    let basis = active.basis();
    let record = Happened {
        event,
        policy_version: basis.policy.version(),
        detail: Some(crate::record::cut(detail).into_owned()),
    };
    if let Err(error) = audit.append(OffsetDateTime::now_utc(), &record) {
        tracing::error!(%error, event, "audit log cannot be written");
    }
}

fn stamp(path: &std::path::Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok(), (metadata.ctime(), metadata.ctime_nsec()), metadata.len()))
}

fn list_stamps(paths: &[PathBuf]) -> Vec<(PathBuf, Stamp)> {
    let mut stamps = Vec::new();
    for path in paths {
        stamps.extend(stamp(path).map(|stamp| (path.clone(), stamp)));
        let Ok(entries) = std::fs::read_dir(path) else { continue };
        for entry in entries.flatten() {
            stamps.extend(stamp(&entry.path()).map(|stamp| (entry.path(), stamp)));
        }
    }
    stamps.sort();
    stamps
}

fn next_change(tls: &TlsState) -> Option<OffsetDateTime> {
    tls.trust.revocation.as_ref()?.current().next_change(OffsetDateTime::now_utc())
}

/// What a reload would lose of the lists in force.
pub(crate) fn regression(now: &TlsState, next: &TlsState) -> Option<String> {
    let (now, next_lists) = (now.trust.revocation.as_ref()?, next.trust.revocation.as_ref()?);
    let lost = now.current().regressions(&next_lists.current(), &next.trust.store);
    let lines: Vec<String> = lost.iter().map(ToString::to_string).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// E14: in mode `hard` every issuing authority needs a fresh list, else nobody of it gets in.
pub(crate) fn findings(settings: &Settings, loaded: &Loaded, now: OffsetDateTime) -> Vec<Finding> {
    let mut findings = blocks::read(&settings.directory.blocks()).err().unwrap_or_default();
    let trust = &loaded.tls.trust;
    let Some(live) = &trust.revocation else { return findings };
    for authority in live.current().uncovered(&trust.store, now) {
        let text = format!("no fresh revocation list of {} is here [E14]", authority.subject());
        let remedy =
            "name its address under [revocation] sources and start schleuse-refresh, or put the list into crl/";
        let finding = Finding::in_file(node::NODE_TOML, text, remedy);
        let hard = loaded.policy.trust().revocation.mode == RevocationMode::Hard;
        findings.push(if hard { finding } else { Finding { severity: Severity::Warning, ..finding } });
    }
    findings
}

/// The lists in force for people and programs.
pub(crate) fn report(tls: &TlsState) -> Vec<Value> {
    let Some(live) = &tls.trust.revocation else { return Vec::new() };
    let now = OffsetDateTime::now_utc();
    let revocation = live.current();
    let lists = revocation.lists().map(|list| {
        let until = revocation.fresh_until(list);
        json!({
            "issuer": list.issuer().to_string(),
            "entries": list.len(),
            "this-update": list.this_update().unix_timestamp(),
            "fresh-until": until.unix_timestamp(),
            "fresh": until >= now,
        })
    });
    lists.collect()
}

/// Seconds for which each list stays fresh, negative when it is stale.
pub(crate) fn measure(tls: &TlsState) {
    let Some(live) = &tls.trust.revocation else { return };
    let now = OffsetDateTime::now_utc();
    let revocation = live.current();
    for list in revocation.lists() {
        let left = (revocation.fresh_until(list) - now).as_seconds_f64();
        metrics::gauge!("schleuse_revocation_list_fresh_seconds", "issuer" => list.issuer().to_string()).set(left);
    }
    let missing = revocation.uncovered(&tls.trust.store, now).len();
    metrics::gauge!("schleuse_revocation_lists_missing").set(f64::from(u32::try_from(missing).unwrap_or(u32::MAX)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_due_again_until_it_is_repaired() {
        let mut failing = Failing::default();
        let begin = Instant::now();
        assert!(!failing.is_due(BLOCKS, begin));
        failing.failed(BLOCKS, "damaged", begin);
        assert!(!failing.is_due(BLOCKS, begin));
        for round in 1..=3 {
            let later = begin + REPORT_INTERVAL * round;
            assert!(failing.is_due(BLOCKS, later), "round {round}");
            failing.failed(BLOCKS, "still damaged", later);
        }
        assert!(!failing.is_due(LISTS, begin + REPORT_INTERVAL * 9));
        failing.repaired(BLOCKS);
        assert!(!failing.is_due(BLOCKS, begin + REPORT_INTERVAL * 9));
    }

    #[test]
    fn a_file_that_becomes_readable_is_seen_as_changed() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blocks.toml");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
        let before = stamp(&path);
        std::thread::sleep(Duration::from_millis(20));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_ne!(before, stamp(&path));
    }
}
