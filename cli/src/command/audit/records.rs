//! `schleuse audit search` and `schleuse audit export`: records of both chains, joined and in the order of their times.
//!
//! Reads what `verify` verifies, and verifies nothing itself. Records hold no content of resources, so neither does what
//! comes out here.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use node::Directory;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::fail;
use crate::arguments::{AuditExport, AuditFilter, AuditSearch, ExportForm, Format};
use crate::local::audit_files;
use crate::output::{answer, printable};

/// The chains of a node.
const CHAINS: [&str; 2] = ["gateway", "engine"];
/// System of event names in exported AuditEvents.
const EVENTS: &str = "http://schleuse.example/fhir/CodeSystem/audit-event";
const ORGANIZATION_IDENTIFIER: &str = "http://dsf.dev/sid/organization-identifier";

#[derive(Debug, thiserror::Error)]
enum RecordError {
    #[error("{0} is no time; write it as 2026-01-31T18:00:00Z")]
    Time(String),
    #[error("{} cannot be read: {}; name the directory of a node", .0.display(), .1)]
    Read(PathBuf, std::io::Error),
    #[error("{}, line {line}: not a record; run `schleuse audit verify`", .path.display())]
    Form { path: PathBuf, line: usize },
    #[error("{} cannot be written: {}", .0.display(), .1)]
    Write(PathBuf, std::io::Error),
    #[error("standard output cannot be written: {0}")]
    Output(std::io::Error),
}

impl RecordError {
    const fn code(&self) -> u8 {
        match self {
            Self::Time(_) => 2,
            _ => 1,
        }
    }
}

/// One record of one chain.
struct Found {
    chain: &'static str,
    time: String,
    line: Value,
}

/// What is looked for, with its times read.
struct Filter<'f> {
    wanted: &'f AuditFilter,
    since: Option<OffsetDateTime>,
    until: Option<OffsetDateTime>,
}

// === impl Filter ===

impl<'f> Filter<'f> {
    fn new(wanted: &'f AuditFilter) -> Result<Self, RecordError> {
        let read = |text: &Option<String>| {
            let parse = |text: &String| OffsetDateTime::parse(text, &Rfc3339);
            text.as_ref().map(|text| parse(text).map_err(|_| RecordError::Time(printable(text)))).transpose()
        };
        Ok(Self { wanted, since: read(&wanted.since)?, until: read(&wanted.until)? })
    }

    fn takes(&self, line: &Value) -> bool {
        let record = line.get("record");
        let word = |name: &str| record.and_then(|record| record.get(name)).and_then(Value::as_str);
        let is = |wanted: &Option<String>, names: &[&str]| {
            wanted.as_deref().is_none_or(|wanted| names.iter().any(|name| word(name) == Some(wanted)))
        };
        let begins = |wanted: &Option<String>, name: &str| {
            wanted.as_deref().is_none_or(|wanted| word(name).is_some_and(|found| found.starts_with(wanted)))
        };
        let at =
            || line.get("time").and_then(Value::as_str).and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        is(&self.wanted.correlation_id, &["correlation-id"])
            && is(&self.wanted.name, &["name", "identity"])
            && begins(&self.wanted.thumbprint, "thumbprint")
            && is(&self.wanted.event, &["event"])
            && is(&self.wanted.code, &["code"])
            && is(&self.wanted.rule, &["rule"])
            && is(&self.wanted.resource_type, &["resource-type"])
            && self.since.is_none_or(|since| at().is_some_and(|at| at >= since))
            && self.until.is_none_or(|until| at().is_some_and(|at| at < until))
    }
}

pub(in crate::command) fn search(arguments: &AuditSearch, format: Format) -> u8 {
    match collect(&arguments.directory, &arguments.filter, arguments.limit) {
        Ok(found) => {
            let text = || found.iter().map(|found| line_text(found) + "\n").collect::<String>();
            let all = || json!({ "records": found.iter().map(with_chain).collect::<Vec<_>>() });
            answer(format, || if found.is_empty() { "no record\n".to_owned() } else { text() }, all);
            u8::from(found.is_empty())
        }
        Err(error) => fail(&error, error.code()),
    }
}

pub(in crate::command) fn export(arguments: &AuditExport) -> u8 {
    match write_export(arguments) {
        Ok(()) => 0,
        Err(error) => fail(&error, error.code()),
    }
}

fn write_export(arguments: &AuditExport) -> Result<(), RecordError> {
    let found = collect(&arguments.directory, &arguments.filter, usize::MAX)?;
    let mut text = String::new();
    for found in &found {
        let line = match arguments.form {
            ExportForm::JsonLines => with_chain(found),
            ExportForm::Fhir => audit_event(found),
        };
        text.push_str(&line.to_string());
        text.push('\n');
    }
    match &arguments.output {
        Some(path) => std::fs::write(path, text).map_err(|error| RecordError::Write(path.clone(), error)),
        None => std::io::stdout().lock().write_all(text.as_bytes()).map_err(RecordError::Output),
    }
}

/// The newest `limit` records that are wanted, oldest first.
fn collect(directory: &Path, filter: &AuditFilter, limit: usize) -> Result<Vec<Found>, RecordError> {
    let filter = Filter::new(filter)?;
    let node = Directory::new(directory);
    let mut all = Vec::new();
    for chain in CHAINS {
        let files = audit_files(&node, chain).map_err(|error| RecordError::Read(node.audit(), error))?;
        let mut of_chain = std::collections::VecDeque::new();
        for path in files {
            read_file(&path, chain, &filter, &mut |found| {
                of_chain.push_back(found);
                if of_chain.len() > limit {
                    of_chain.pop_front();
                }
            })?;
        }
        all.extend(of_chain);
    }
    // Times have one form, so that their texts are in order when they are.
    all.sort_by(|one, other| one.time.cmp(&other.time));
    let surplus = all.len().saturating_sub(limit);
    all.drain(..surplus);
    Ok(all)
}

fn read_file(
    path: &Path,
    chain: &'static str,
    filter: &Filter<'_>,
    take: &mut dyn FnMut(Found),
) -> Result<(), RecordError> {
    let failed = |error| RecordError::Read(path.to_owned(), error);
    let mut reader = BufReader::new(std::fs::File::open(path).map_err(failed)?);
    let mut text = String::new();
    let mut number = 0;
    loop {
        text.clear();
        if reader.read_line(&mut text).map_err(failed)? == 0 {
            return Ok(());
        }
        number += 1;
        // A line without its end is being written.
        if !text.ends_with('\n') {
            return Ok(());
        }
        let form = || RecordError::Form { path: path.to_owned(), line: number };
        let line: Value = serde_json::from_str(&text).map_err(|_| form())?;
        if filter.takes(&line) {
            let time = line.get("time").and_then(Value::as_str).ok_or_else(form)?.to_owned();
            take(Found { chain, time, line });
        }
    }
}

fn with_chain(found: &Found) -> Value {
    let mut line = found.line.clone();
    if let Some(members) = line.as_object_mut() {
        members.insert("chain".to_owned(), json!(found.chain));
    }
    line
}

fn line_text(found: &Found) -> String {
    let mut text = format!("{} {}", found.time, found.chain);
    if let Some(record) = found.line.get("record").and_then(Value::as_object) {
        for (name, value) in record.iter().filter(|(_, value)| !value.is_null()) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text.push_str(&format!(" {name}={}", printable(&value)));
        }
    }
    text
}

/// A record as FHIR R4 AuditEvent. Persons appear by the name that the node gives them (organisation and identifier), never
/// by the subject of their certificate.
fn audit_event(found: &Found) -> Value {
    let null = Value::Null;
    let record = found.line.get("record").unwrap_or(&null);
    let word = |name: &str| record.get(name).and_then(Value::as_str);
    let interaction = word("interaction").unwrap_or_default();
    let action = match interaction {
        "create" => "C",
        "read" | "vread" | "head" | "search" | "metadata" | "snapshot" => "R",
        text if text.starts_with("history") => "R",
        "update" | "conditional-update" => "U",
        "delete" | "conditional-delete" | "permanent-delete" => "D",
        _ => "E",
    };
    let event = word("event").unwrap_or_default();
    let status = record.get("status").and_then(Value::as_u64);
    let is_refused =
        matches!(event, "deny" | "refuse" | "failed" | "reload-failed") || status.is_some_and(|code| code >= 400);
    let name = word("name").or_else(|| word("identity")).unwrap_or("schleuse");
    let organization = name.split('/').next().unwrap_or(name);
    let mut agent = json!({
        "who": { "identifier": { "system": ORGANIZATION_IDENTIFIER, "value": organization } },
        "requestor": true,
    });
    if let (Some(members), Some((_, person))) = (agent.as_object_mut(), name.split_once('/')) {
        members.insert("altId".to_owned(), json!(person));
    }
    if let (Some(members), Some(address)) = (agent.as_object_mut(), word("address").filter(|text| !text.is_empty())) {
        members.insert("network".to_owned(), json!({ "address": address, "type": "2" }));
    }
    let details: Vec<Value> =
        ["correlation-id", "thumbprint", "rule", "code", "policy-version", "target", "command", "detail"]
            .iter()
            .filter_map(|name| {
                Some(json!({ "type": name, "valueString": word(name).filter(|text| !text.is_empty())? }))
            })
            .chain([json!({ "type": "hash", "valueString": found.line.get("hash") })])
            .collect();
    let mut entity = json!({ "detail": details });
    if let (Some(members), Some(kind), Some(id)) = (entity.as_object_mut(), word("resource-type"), word("id")) {
        members.insert("what".to_owned(), json!({ "reference": format!("{kind}/{id}") }));
    }
    let mut resource = json!({
        "resourceType": "AuditEvent",
        "type": { "system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest" },
        "subtype": [{ "system": EVENTS, "code": event }],
        "action": action,
        "recorded": found.time,
        "outcome": if is_refused { "8" } else { "0" },
        "agent": [agent],
        "source": { "observer": { "display": format!("schleuse-{}", found.chain) } },
        "entity": [entity],
    });
    if let (Some(members), Some(reason)) = (resource.as_object_mut(), word("code")) {
        members.insert("outcomeDesc".to_owned(), json!(reason));
    }
    resource
}
