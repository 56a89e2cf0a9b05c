//! Commands about processes: which are installed and in which state, which were refused, loading plug-ins again.

use std::collections::BTreeMap;

use processes::{Definition, Origin, ProcessState, Refused, task::ProcessName};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Administration, CommandError};
use crate::bootstrap::BootstrapError;
use crate::plug_ins::{OrderError, Why};

/// `POST /processes/state`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// `key|version`, or the canonical of its ActivityDefinition.
    process: String,
    state: State,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Active,
    Retired,
    Excluded,
}

impl From<OrderError> for CommandError {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::Unknown(..) => Self::Usage(error.to_string()),
            OrderError::Store(error) | OrderError::Load(BootstrapError::Store(error)) => Self::Store(error),
            OrderError::Load(error) => refused(&error),
        }
    }
}

fn refused(error: &BootstrapError) -> CommandError {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    CommandError::Refused(format!("{error}{cause}"))
}

impl Administration {
    pub(super) async fn list_processes(&self) -> Result<Value, CommandError> {
        let catalogue = self.processes.catalogue();
        let ordered = self.plug_ins.ordered(&catalogue).await?;
        let running = self.running().await?;
        let canonicals = self.canonicals().await?;
        let processes = catalogue.installed().into_iter().map(|definition| {
            let name = definition.name();
            let origin = catalogue.origin(&name.0, &name.1);
            summary(&definition, origin, ordered.get(&name), canonicals.get(&name), running.get(&name))
        });
        let processes: Vec<Value> = processes.map(Value::Object).collect();
        let refused: Vec<Value> = catalogue.refused().iter().map(refused_text).collect();
        Ok(json!({ "processes": processes, "refused": refused }))
    }

    /// `/processes/KEY|VERSION`, the bar as it is or as `%7C`.
    pub(super) async fn show_process(&self, path: &str) -> Result<Value, CommandError> {
        let wanted = path.strip_prefix("/processes/").unwrap_or_default().replace("%7C", "|").replace("%7c", "|");
        let name = read_name(&wanted)?;
        let catalogue = self.processes.catalogue();
        let found = catalogue.installed().into_iter().find(|definition| definition.name() == name);
        let definition =
            found.ok_or_else(|| CommandError::from(OrderError::Unknown(name.0.clone(), name.1.clone())))?;
        let ordered = self.plug_ins.ordered(&catalogue).await?;
        let (running, canonicals) = (self.running().await?, self.canonicals().await?);
        let origin = catalogue.origin(&name.0, &name.1);
        let mut shown = summary(&definition, origin, ordered.get(&name), canonicals.get(&name), running.get(&name));
        let steps = definition.process().into_iter().flat_map(bpmn::Process::implementations);
        let steps: Vec<Value> = steps
            .filter_map(|(node, implementation)| {
                let by = match implementation {
                    bpmn::model::Implementation::Class { class, .. } => match catalogue.topic_of(class) {
                        Some(topic) => format!("{class}, by workers of topic {topic}"),
                        None => class.clone(),
                    },
                    bpmn::model::Implementation::External { topic, .. } => {
                        format!("workers of topic {}", topic.source())
                    }
                    bpmn::model::Implementation::Expression { .. } => return None,
                };
                Some(json!({ "element": &*node.id, "name": node.name, "by": by }))
            })
            .collect();
        let resources: Vec<Value> = catalogue
            .publications(&ordered)
            .iter()
            .filter(|publication| {
                origin
                    .is_some_and(|origin| origin.package == publication.package && origin.plugin == publication.plugin)
            })
            .flat_map(|publication| &publication.resources)
            .map(|published| {
                let resource = &published.resource;
                json!({
                    "type": resource.type_name(),
                    "url": resource.str("url").or_else(|| resource.list("identifier").first()?.str("value")),
                    "version": resource.str("version"),
                    "state": published.state.as_str(),
                })
            })
            .collect();
        shown.insert("steps".to_owned(), Value::Array(steps));
        shown.insert("resources".to_owned(), Value::Array(resources));
        shown.insert("digest".to_owned(), Value::String(definition.digest.clone()));
        Ok(Value::Object(shown))
    }

    /// Reads the folder of plug-ins again.
    pub(super) async fn load_plug_ins(&self) -> Result<Value, CommandError> {
        self.plug_ins.load(Why::Ordered).await.map_err(|error| match error {
            BootstrapError::Store(error) => CommandError::Store(error),
            other => refused(&other),
        })?;
        self.list_processes().await
    }

    /// Orders the state of a process.
    pub(super) async fn order_state(&self, body: &[u8]) -> Result<Value, CommandError> {
        let order: Order = serde_json::from_slice(body).map_err(|error| CommandError::Usage(error.to_string()))?;
        let name = read_name(&order.process)?;
        let state = match order.state {
            State::Active => ProcessState::Active,
            State::Retired => ProcessState::Retired,
            State::Excluded => ProcessState::Excluded,
        };
        self.plug_ins.order(&name, state).await?;
        self.list_processes().await
    }

    /// Running instances by process.
    async fn running(&self) -> Result<BTreeMap<(String, String), u64>, CommandError> {
        let mut running: BTreeMap<(String, String), u64> = BTreeMap::new();
        for (key, version, state, count) in self.store.read(|tx| tx.count_instances()).await? {
            if !state.has_ended() {
                *running.entry((key, version)).or_default() += count;
            }
        }
        Ok(running)
    }

    /// The canonicals of ActivityDefinitions in use, by process.
    async fn canonicals(&self) -> Result<BTreeMap<(String, String), String>, CommandError> {
        let allow_list = self.endpoint.allow_list().await?;
        let known = allow_list.processes().iter().filter_map(|known| {
            let canonical = format!("{}|{}", known.url, known.version);
            let name = ProcessName::parse(&canonical)?;
            Some(((name.key, name.version), canonical))
        });
        Ok(known.collect())
    }
}

fn read_name(text: &str) -> Result<(String, String), CommandError> {
    if let Some(name) = ProcessName::parse(text) {
        return Ok((name.key, name.version));
    }
    match text.split_once('|') {
        Some((key, version)) if !key.is_empty() && !version.is_empty() => Ok((key.to_owned(), version.to_owned())),
        _ => Err(CommandError::Usage(format!(
            "{text} is no process; write KEY|VERSION, such as dsfdev_ping|1.0, or the canonical that `schleuse process list` shows"
        ))),
    }
}

fn summary(
    definition: &Definition,
    origin: Option<&Origin>,
    ordered: Option<&ProcessState>,
    canonical: Option<&String>,
    running: Option<&u64>,
) -> Map<String, Value> {
    let messages: Vec<String> = definition
        .process()
        .map(|process| process.message_starts().into_iter().map(|(_, name)| name).collect())
        .unwrap_or_default();
    let own = match origin {
        Some(origin) if origin.is_draft => ProcessState::Draft,
        _ => ProcessState::Active,
    };
    let shown = json!({
        "process": canonical,
        "key": definition.key,
        "version": definition.version,
        "state": ordered.copied().unwrap_or(own).as_str(),
        "plug-in": origin.map(|origin| origin.plugin),
        "plug-in-version": origin.map(|origin| origin.plugin_version.as_str()),
        "package": origin.and_then(|origin| origin.package.as_ref()).map(|package| package.display().to_string()),
        "file": origin.and_then(|origin| origin.file.as_deref()),
        "messages": messages,
        "running": running.copied().unwrap_or(0),
    });
    match shown {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn refused_text(refused: &Refused) -> Value {
    json!({
        "package": refused.source.display().to_string(),
        "file": refused.file,
        "whole": refused.whole,
        "reason": refused.reason,
    })
}
