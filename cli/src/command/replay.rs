//! `schleuse replay`: decisions of the audit log, asked again of a candidate policy or allow-list.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};

use policies::matrix::Side;
use policies::replay::{Replay, Replayed};
use policies::{AllowList, Policy};
use serde::Serialize;
use serde_json::json;

use super::fail;
use crate::arguments::{self, Format};
use crate::local::{Local, LocalError, audit_files, policy_at};
use crate::output::{answer, printable};
use crate::record::Line;

#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error("the audit log cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Bundle(String),
    #[error("name a candidate: --policy, --allow-list or both")]
    NoCandidate,
}

/// Requests of one kind that would be decided otherwise.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Group {
    count: u64,
    /// One of them.
    correlation_id: String,
    last: String,
}

#[derive(Debug, Default)]
struct Outcome {
    decisions: u64,
    /// Not decided by rules alone.
    left_out: u64,
    /// By who, what, was, would be.
    changed: BTreeMap<(String, String, String, String), Group>,
}

pub(super) fn run(arguments: &arguments::Replay, format: Format) -> u8 {
    match replay(arguments) {
        Ok(result) => {
            let changed: u64 = result.changed.values().map(|group| group.count).sum();
            answer(
                format,
                || text(&result, changed),
                || {
                    let of = |((who, what, was, now), group): (&(String, String, String, String), &Group)| {
                        json!({ "who": who, "what": what, "was": was, "would-be": now, "count": group.count,
                        "correlation-id": group.correlation_id, "last": group.last })
                    };
                    json!({ "decisions": result.decisions, "changed": changed, "left-out": result.left_out,
                    "changes": result.changed.iter().map(of).collect::<Vec<_>>() })
                },
            );
            u8::from(changed > 0)
        }
        Err(error) => {
            let code = match &error {
                ReplayError::Local(error) => error.code(),
                ReplayError::NoCandidate => 2,
                ReplayError::Io(_) | ReplayError::Bundle(_) => 1,
            };
            fail(&error, code)
        }
    }
}

fn replay(arguments: &arguments::Replay) -> Result<Outcome, ReplayError> {
    if arguments.policy.is_none() && arguments.allow_list.is_none() {
        return Err(ReplayError::NoCandidate);
    }
    let local = Local::load(&arguments.directory)?;
    let policy: Policy = match &arguments.policy {
        Some(path) => policy_at(path)?,
        None => local.policy.clone(),
    };
    let list: AllowList = match &arguments.allow_list {
        Some(path) => super::allow_list::candidate(local.allow_list()?, path).map_err(ReplayError::Bundle)?,
        None => local.allow_list()?.clone(),
    };
    let mut replay = Replay::new(Side { policy: &policy, allow_list: &list });
    let mut result = Outcome::default();
    for path in audit_files(&local.directory, "gateway")? {
        let mut reader = BufReader::with_capacity(1 << 20, std::fs::File::open(path)?);
        let mut text = String::new();
        while reader.read_line(&mut text)? > 0 {
            if let Some(line) = Line::read(&text) {
                take(&mut replay, &line, &mut result);
            }
            text.clear();
        }
    }
    Ok(result)
}

fn take(replay: &mut Replay<'_>, line: &Line<'_>, result: &mut Outcome) {
    let record = &line.record;
    if !matches!(record.event.as_ref(), "permit" | "deny" | "refuse") {
        return;
    }
    let recorded = line.recorded().filter(|_| line.is_by_rules());
    let Some(recorded) = recorded else {
        result.left_out += 1;
        return;
    };
    result.decisions += 1;
    let was_permitted = record.event == "permit";
    let now = match replay.judge(&recorded) {
        Replayed::Permitted(_) if was_permitted => return,
        Replayed::Refused(..) if !was_permitted => return,
        Replayed::Permitted(rule) => format!("permitted by {rule}"),
        Replayed::Refused(code, Some(rule)) => format!("refused by {rule} ({code})"),
        Replayed::Refused(code, None) => format!("refused ({code})"),
    };
    let was = match (&record.rule, &record.code) {
        (Some(rule), _) if was_permitted => format!("permitted by {rule}"),
        (_, Some(code)) => format!("refused ({code})"),
        _ => "refused".to_owned(),
    };
    let who = record
        .name
        .as_deref()
        .map_or_else(|| format!("certificate {}", record.thumbprint.get(..8).unwrap_or_default()), str::to_owned);
    let mut what = recorded.interaction.to_string();
    if let Some(resource_type) = recorded.resource_type {
        what = format!("{what} {resource_type}");
    }
    if let Some(message) = recorded.task.as_ref().and_then(|task| task.message_name.as_deref()) {
        what = format!("{what} ({message})");
    }
    let group = result.changed.entry((who, what, was, now)).or_default();
    group.count += 1;
    group.correlation_id = record.correlation_id.to_string();
    group.last = line.time.to_string();
}

fn text(result: &Outcome, changed: u64) -> String {
    let mut text = String::new();
    for ((who, what, was, now), group) in &result.changed {
        let line = format!(
            "{}x {who}: {what}: was {was}, would be {now}; last {} {}",
            group.count, group.last, group.correlation_id
        );
        text.push_str(&printable(&line));
        text.push('\n');
    }
    text.push_str(&format!(
        "{changed} of {} decisions would change; {} records were not decided by rules alone and are left out\n",
        result.decisions, result.left_out
    ));
    text
}
