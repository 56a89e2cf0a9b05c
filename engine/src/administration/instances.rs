//! Commands about instances: what they do, what they wait for, their history, and what an operator does with them.

use bpmn::VariableWrite;
use hyper::Method;
use processes::OperateError;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use store::StoreError;
use store::processes::{Instance, InstanceEvent, InstanceList, InstanceState, WorkItem, WorkItemList};
use time::OffsetDateTime;

use super::{Administration, CommandError};

/// Instances or events of one answer.
const PAGE: u32 = 1_000;
/// Characters of a variable that are shown.
const VALUE_TEXT: usize = 200;

/// `POST /instances/ID/cancel` and `/resolve`
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    variables: Map<String, Value>,
}

impl From<OperateError> for CommandError {
    fn from(error: OperateError) -> Self {
        match error {
            OperateError::Process(processes::ProcessError::Store(error)) => Self::Store(error),
            OperateError::Process(other) => Self::Refused(other.to_string()),
            other => Self::Usage(other.to_string()),
        }
    }
}

impl Administration {
    /// `state=`, `process=`, `count=`
    pub(super) async fn list_instances(&self, query: &str) -> Result<Value, CommandError> {
        let mut list = InstanceList { ended: Some(false), limit: PAGE, ..InstanceList::default() };
        let mut state = None;
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "state" if value == "all" => list.ended = None,
                "state" => {
                    let found = InstanceState::ALL.iter().find(|state| state.as_str() == value);
                    let found = *found.ok_or_else(|| CommandError::Usage(format!("{value} is no state")))?;
                    list.ended = Some(found.has_ended());
                    state = Some(found);
                }
                "process" => list.process_key = Some(value.to_owned()),
                _ => return Err(CommandError::Usage(format!("{name} is not known"))),
            }
        }
        let (instances, is_cut) = self
            .store
            .read(move |tx| {
                let (mut found, mut list) = (Vec::new(), list);
                loop {
                    let page = tx.instances(&list)?;
                    let Some(last) = page.last() else { return Ok::<_, StoreError>((found, false)) };
                    list.after = Some((last.created, last.id.clone()));
                    found.extend(page.into_iter().filter(|row| state.is_none_or(|state| row.state == state)));
                    if found.len() >= PAGE as usize {
                        return Ok((found, true));
                    }
                }
            })
            .await?;
        let instances: Vec<Value> = instances.iter().map(summary).collect();
        Ok(json!({ "instances": instances, "more": is_cut }))
    }

    pub(super) async fn list_incidents(&self) -> Result<Value, CommandError> {
        let list = WorkItemList { is_exhausted: Some(true), limit: PAGE, ..WorkItemList::default() };
        let items = self.store.read(move |tx| tx.work_items(&list)).await?;
        let incidents: Vec<Value> = items.iter().map(work).collect();
        Ok(json!({ "incidents": incidents }))
    }

    /// `/instances/ID`, `/instances/ID/history`, and the changes.
    pub(super) async fn instance(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        body: &[u8],
    ) -> Result<Value, CommandError> {
        let rest = path.strip_prefix("/instances/").unwrap_or_default();
        let (id, action) = rest.split_once('/').unwrap_or((rest, ""));
        match (method, action) {
            (&Method::GET, "") => self.show_instance(id).await,
            (&Method::GET, "history") => self.history(id, query).await,
            (&Method::POST, "cancel" | "retry" | "resolve") => self.change(id, action, body).await,
            _ => Err(CommandError::Unknown),
        }
    }

    async fn show_instance(&self, id: &str) -> Result<Value, CommandError> {
        let wanted = id.to_owned();
        let found = self
            .store
            .read(move |tx| {
                let Some(row) = tx.instance(&wanted)? else { return Ok::<_, StoreError>(None) };
                Ok(Some((row, tx.work_of(&wanted)?, tx.jobs_of(&wanted)?, tx.outbox_of(&wanted)?)))
            })
            .await?;
        let unknown = || CommandError::Usage(format!("there is no instance {id}; `schleuse instance list` shows them"));
        let (row, items, jobs, messages) = found.ok_or_else(unknown)?;
        let mut shown = summary(&row);
        let state: Option<bpmn::Instance> = serde_json::from_slice(&row.data).ok();
        let waits = state.as_ref().map(waits).unwrap_or_default();
        let variables: Map<String, Value> = state
            .as_ref()
            .map(|state| state.root_variables().to_map())
            .unwrap_or_default()
            .iter()
            .map(|(name, value)| (name.clone(), Value::String(short(value))))
            .collect();
        let jobs: Vec<Value> = jobs
            .iter()
            .map(|job| json!({ "id": job.id, "due": instant(job.due), "retries": job.retries, "failure": job.failure }))
            .collect();
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| json!({ "to": message.target_organization, "attempts": message.attempts, "failure": message.failure }))
            .collect();
        let items: Vec<Value> = items.iter().map(work).collect();
        if let Some(members) = shown.as_object_mut() {
            members.insert("waits".to_owned(), Value::Array(waits));
            members.insert("work".to_owned(), Value::Array(items));
            members.insert("jobs".to_owned(), Value::Array(jobs));
            members.insert("messages".to_owned(), Value::Array(messages));
            members.insert("variables".to_owned(), Value::Object(variables));
        }
        Ok(shown)
    }

    async fn history(&self, id: &str, query: &str) -> Result<Value, CommandError> {
        let from = query.strip_prefix("from=").unwrap_or("0");
        let from: u64 = from.parse().map_err(|_| CommandError::Usage(format!("{from} is no number")))?;
        let wanted = id.to_owned();
        let found = self
            .store
            .read(move |tx| Ok::<_, StoreError>((tx.instance(&wanted)?, tx.instance_events(&wanted, from, PAGE)?)))
            .await?;
        if found.0.is_none() {
            return Err(CommandError::Usage(format!("there is no instance {id}")));
        }
        let next = found.1.last().filter(|_| found.1.len() == PAGE as usize).map(|last| last.position + 1);
        let events: Vec<Value> = found.1.iter().map(event).collect();
        Ok(json!({ "events": events, "next": next }))
    }

    async fn change(&self, id: &str, action: &str, body: &[u8]) -> Result<Value, CommandError> {
        let change: Change = match body.is_empty() {
            true => Change::default(),
            false => serde_json::from_slice(body).map_err(|error| CommandError::Usage(error.to_string()))?,
        };
        let (processes, wanted, action) = (std::sync::Arc::clone(&self.processes), id.to_owned(), action.to_owned());
        let done = self.store.write(move |tx| match action.as_str() {
            "cancel" => {
                let reason = change.reason.filter(|reason| !reason.trim().is_empty());
                let reason = reason.unwrap_or_else(|| "cancelled by an operator".to_owned());
                processes.cancel_instance(tx, &wanted, &reason).map(|()| 1)
            }
            "retry" => processes.retry_instance(tx, &wanted),
            _ => {
                let writes: Vec<VariableWrite> =
                    change.variables.into_iter().map(|(name, value)| VariableWrite::set(name, value)).collect();
                processes.resolve_instance(tx, &wanted, &writes)
            }
        });
        let count = done.await?;
        let wanted = id.to_owned();
        let row = self.store.read(move |tx| tx.instance(&wanted)).await?;
        Ok(json!({ "changed": count, "instance": row.as_ref().map(summary) }))
    }
}

fn instant(time: OffsetDateTime) -> String {
    fhir::date::format_instant(time)
}

fn summary(row: &Instance) -> Value {
    json!({
        "id": row.id,
        "process": row.process_key,
        "version": row.version_tag,
        "business-key": row.business_key,
        "state": row.state.as_str(),
        "started": instant(row.created),
        "changed": instant(row.updated),
    })
}

fn work(item: &WorkItem) -> Value {
    json!({
        "id": item.id,
        "instance": item.instance,
        "process": format!("{}|{}", item.process_key, item.version_tag),
        "element": item.element,
        "kind": item.kind.as_str(),
        "topic": item.topic,
        "begun": item.attempts,
        "retries": item.retries,
        "due": instant(item.due),
        "worker": item.locked_by,
        "progress": item.progress,
        "failure": item.failure,
        "details": item.failure_details,
    })
}

/// Where the tokens are and what each waits for.
fn waits(state: &bpmn::Instance) -> Vec<Value> {
    let waits = state.tokens().map(|token| {
        let kind = serde_json::to_value(token.state).unwrap_or_default();
        json!({ "element": &*token.element, "waits-for": kind })
    });
    waits.collect()
}

/// An event of the log as it can be stepped through; long values are cut.
fn event(entry: &InstanceEvent) -> Value {
    let mut told: Value = serde_json::from_slice(&entry.data).unwrap_or_default();
    if let Some(members) = told.as_object_mut() {
        if let Some(value) = members.get_mut("value") {
            *value = Value::String(short(value));
        }
        members.remove("variables");
    }
    json!({ "position": entry.position, "time": instant(entry.time), "event": told })
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(VALUE_TEXT) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
