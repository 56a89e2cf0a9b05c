//! `schleuse allow-list`: what a list would change, bringing it in, and the way back.
//!
//! `diff` works on files alone. `apply` sends the Bundle to the running node as its own organisation, through the gateway
//! like any client, after it kept a Bundle that restores what was there; `rollback` sends that one. Neither may touch the
//! own organisation, and a change that is larger than `[allow-list.max-delta]` needs a word from the person who types it.

use std::path::{Path, PathBuf};

use fhir::{Format as FhirFormat, Object, Resource, Value as FhirValue};
use policies::AllowList;
use policies::change::{self, Difference};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::fail;
use crate::admin::Node;
use crate::arguments::{AllowListApply, AllowListDiff, AllowListRollback, Format};
use crate::local::{Local, LocalError};
use crate::output::{answer, printable};
use crate::own::{Own, OwnError};

#[derive(Debug, thiserror::Error)]
enum ListError {
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error("{0}")]
    Bundle(String),
    #[error(
        "the change is larger than the policy permits ({0}); look at `schleuse allow-list diff`, then add --accept-large-change"
    )]
    Large(String),
    #[error(transparent)]
    Node(#[from] OwnError),
    #[error("{0}: {1}")]
    File(PathBuf, String),
    #[error("nothing was applied yet, so there is no way back to go")]
    NoBackup,
}

impl ListError {
    const fn code(&self) -> u8 {
        match self {
            Self::Local(error) => error.code(),
            Self::Node(error) => error.code(),
            _ => 1,
        }
    }
}

pub(super) async fn diff(arguments: &AllowListDiff, format: Format) -> u8 {
    let prepared = Local::load(&arguments.directory).map_err(ListError::from).and_then(|local| {
        let difference = difference(&local, &arguments.bundle)?;
        Ok((local, difference))
    });
    let (local, difference) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return fail(&error, error.code()),
    };
    let tasks = affected_tasks(&arguments.directory, &difference).await;
    let large = difference.exceeds(&local.policy.allow_list().max_delta);
    answer(
        format,
        || diff_text(&difference, &large, tasks.as_deref()),
        || json!({ "difference": difference, "exceeds": large, "affected-tasks": tasks }),
    );
    u8::from(!difference.is_empty())
}

pub(super) async fn apply(arguments: &AllowListApply, format: Format) -> u8 {
    match bring(arguments).await {
        Ok((difference, backup)) => {
            answer(
                format,
                || {
                    format!(
                        "{}applied; the way back is kept in {}\n",
                        diff_text(&difference, &[], None),
                        backup.display()
                    )
                },
                || json!({ "difference": difference, "backup": backup }),
            );
            0
        }
        Err(error) => fail(&error, error.code()),
    }
}

pub(super) async fn rollback(arguments: &AllowListRollback, format: Format) -> u8 {
    match restore(arguments).await {
        Ok(backup) => {
            answer(format, || format!("restored from {}\n", backup.display()), || json!({ "restored": backup }));
            0
        }
        Err(error) => fail(&error, error.code()),
    }
}

/// The allow-list with a Bundle applied, for `replay`.
pub(super) fn candidate(list: &AllowList, bundle: &Path) -> Result<AllowList, String> {
    let bundle = read_bundle(bundle).map_err(|error| error.to_string())?;
    change::apply(list, &bundle).map_err(|error| error.to_string())
}

fn difference(local: &Local, bundle: &Path) -> Result<Difference, ListError> {
    let list = local.allow_list()?;
    let next = candidate(list, bundle).map_err(ListError::Bundle)?;
    Ok(change::difference(list, &next))
}

fn read_bundle(path: &Path) -> Result<Resource, ListError> {
    let broken = |reason: String| ListError::File(path.to_owned(), reason);
    let bytes = std::fs::read(path).map_err(|error| broken(error.to_string()))?;
    let is_xml = bytes.trim_ascii_start().starts_with(b"<");
    let kind = if is_xml { FhirFormat::Xml } else { FhirFormat::Json };
    fhir::parse(kind, &bytes, &fhir::Limits::default()).map_err(|error| broken(error.to_string()))
}

async fn bring(arguments: &AllowListApply) -> Result<(Difference, PathBuf), ListError> {
    let local = Local::load(&arguments.directory)?;
    let difference = difference(&local, &arguments.bundle)?;
    let large = difference.exceeds(&local.policy.allow_list().max_delta);
    if !large.is_empty() && !arguments.accept_large_change {
        return Err(ListError::Large(large.join("; ")));
    }
    let bundle = read_bundle(&arguments.bundle)?;
    let own = Own::new(&local.settings)?;
    let backup = keep(&local, &inverse(&own, &bundle).await?)?;
    if let Err(error) = own.post("", &bundle).await {
        // Nothing was changed (or it waits for approval), so this way back leads nowhere.
        std::fs::remove_file(&backup).map_err(|problem| ListError::File(backup, problem.to_string()))?;
        return Err(error.into());
    }
    Ok((difference, backup))
}

async fn restore(arguments: &AllowListRollback) -> Result<PathBuf, ListError> {
    let local = Local::load(&arguments.directory)?;
    let folder = backups(&local);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .map_err(|_| ListError::NoBackup)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    let newest = files.pop().ok_or(ListError::NoBackup)?;
    let bundle = read_bundle(&newest)?;
    Own::new(&local.settings)?.post("", &bundle).await?;
    let done = newest.with_extension("json.restored");
    std::fs::rename(&newest, &done).map_err(|error| ListError::File(newest, error.to_string()))?;
    Ok(done)
}

/// The transaction that restores what the Bundle will change.
async fn inverse(own: &Own, bundle: &Resource) -> Result<Resource, ListError> {
    let mut entries = Vec::new();
    for entry in bundle.list("entry") {
        let Some(url) = entry.get("request").and_then(|request| request.str("url")) else { continue };
        let found = own.get(&format!("/{url}")).await?;
        let matches: Vec<&FhirValue> = found.list("entry").iter().filter_map(|entry| entry.get("resource")).collect();
        let (method, url, resource) = match matches.first().and_then(|known| known.as_object()) {
            Some(known) => {
                let mut known = known.clone();
                let target = format!(
                    "{}/{}",
                    known.str("resourceType").unwrap_or_default(),
                    known.str("id").unwrap_or_default()
                );
                if let Some(meta) = known.get_mut("meta").and_then(FhirValue::as_object_mut) {
                    meta.remove("versionId");
                    meta.remove("lastUpdated");
                }
                ("PUT", target, Some(known))
            }
            None => ("DELETE", url.to_owned(), None),
        };
        let request = Object::new().with("method", method).with("url", url.as_str());
        let mut restored = Object::new().with("request", request);
        if let Some(resource) = resource {
            restored = restored.with("resource", resource);
        }
        entries.push(FhirValue::from(restored));
    }
    // What was added last goes first: nothing may be deleted that something else refers to.
    entries.reverse();
    let mut inverse = Resource::new("Bundle");
    inverse.set("type", "transaction");
    inverse.set("entry", entries);
    Ok(inverse)
}

fn backups(local: &Local) -> PathBuf {
    local.directory.data().join("allow-list")
}

fn keep(local: &Local, bundle: &Resource) -> Result<PathBuf, ListError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let folder = backups(local);
    let path = folder.join(format!("{:020}.json", OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000));
    let failed = |error: std::io::Error| ListError::File(path.clone(), error.to_string());
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    std::io::Write::write_all(&mut file, fhir::print(FhirFormat::Json, bundle, true).as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(path)
}

/// Tasks in progress in which an affected organisation takes part; none if the node does not answer.
async fn affected_tasks(directory: &Path, difference: &Difference) -> Option<Vec<Value>> {
    let affected: Vec<&str> = difference.affected().collect();
    let answer = Node::at(directory).get::<Value>("/tasks?status=in-progress&_count=1000").await.ok()?;
    let tasks = answer.get("tasks").and_then(Value::as_array)?;
    let names = |task: &&Value| {
        task.as_object().is_some_and(|task| {
            task.values().any(|value| value.as_str().is_some_and(|value| affected.contains(&value)))
        })
    };
    Some(tasks.iter().filter(names).cloned().collect())
}

fn diff_text(difference: &Difference, large: &[String], tasks: Option<&[Value]>) -> String {
    if difference.is_empty() {
        return "nothing changes\n".to_owned();
    }
    let mut lines: Vec<String> = Vec::new();
    lines.extend(difference.added.iter().map(|name| format!("+ {name} takes part")));
    lines.extend(difference.removed.iter().map(|name| format!("- {name} takes part no longer")));
    for change in &difference.changed {
        let mut say = |sign: char, what: &str, values: &[String]| {
            lines.extend(values.iter().map(|value| format!("{sign} {}: {what} {value}", change.organization)));
        };
        say('+', "certificate", &change.certificates_added);
        say('-', "certificate", &change.certificates_removed);
        say('+', "role", &change.roles_added);
        say('-', "role", &change.roles_removed);
        say('+', "address", &change.addresses_added);
        say('-', "address", &change.addresses_removed);
    }
    for change in &difference.messages {
        let sign = if change.gained { '+' } else { '-' };
        lines.push(format!("{sign} {} may send {} of {}", change.organization, change.message, change.process));
    }
    lines.extend(large.iter().map(|line| format!("! larger than [allow-list.max-delta]: {line}")));
    match tasks {
        Some([]) => lines.push("no running Task is affected".to_owned()),
        Some(tasks) => {
            lines.push(format!("{} running Tasks are affected:", tasks.len()));
            lines.extend(tasks.iter().map(|task| format!("  {task}")));
        }
        None => {}
    }
    lines.iter().map(|line| printable(line) + "\n").collect()
}
