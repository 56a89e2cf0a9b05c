//! The commands.

use fhir::{Format, Object, Resource, ResourceType, Value as Tree};
use processes::{task, terms};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{ReadFilter, StoreError};
use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::{Administration, CommandError};

/// Resources that one command compares: some tenths of a second.
const CHECKED_AT_ONCE: u32 = 500;

/// `POST /tasks`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StartTask {
    /// `instantiatesCanonical` with version.
    process: String,
    message: String,
    #[serde(default)]
    inputs: Vec<Input>,
}

/// A further input: a text, or a reference to a resource of a node.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    system: String,
    code: String,
    value: Option<String>,
    reference: Option<String>,
}

impl Administration {
    pub(super) async fn status(&self) -> Result<Value, CommandError> {
        let counts = |tx: &mut store::Transaction<'_>| {
            Ok::<_, StoreError>((tx.count_resources()?, tx.count_instances()?, tx.count_outbox()?))
        };
        let (resources, instances, outbox) = self.store.read(counts).await?;
        let instances: Vec<Value> = instances
            .iter()
            .map(|(process, version, state, count)| json!({ "process": process, "version": version, "state": state.as_str(), "count": count }))
            .collect();
        let resources: serde_json::Map<String, Value> =
            resources.iter().map(|(resource_type, count)| (resource_type.as_str().to_owned(), json!(count))).collect();
        use endpoint::AllowListPublisher as _;
        Ok(json!({
            "organization-identifier": self.identity.organization().map(ToString::to_string),
            "base-url": self.base_url,
            "version": env!("CARGO_PKG_VERSION"),
            "confinement": crate::confinement::in_force(),
            "uptime-seconds": self.started.elapsed().as_secs(),
            "gateways-connected": self.snapshots.gateways(),
            "policy-version": self.policies.active().version(),
            "allow-list-version": self.snapshots.version(),
            "client-certificate-days-left": self.client_certificate.load().days_left(OffsetDateTime::now_utc()),
            "messages-waiting": outbox,
            "instances": instances,
            "resources": resources,
        }))
    }

    /// Reads policies and certificates again, then has the gateways do so.
    pub(super) async fn reload(&self) -> Result<Value, CommandError> {
        let gone = || CommandError::Refused("the node is stopping".to_owned());
        let (answer, answered) = oneshot::channel();
        self.reload.send(answer).await.map_err(|_| gone())?;
        let version = answered.await.map_err(|_| gone())?.map_err(CommandError::Refused)?;
        Ok(json!({ "policy-version": version }))
    }

    pub(super) async fn list_tasks(&self, query: &str) -> Result<Value, CommandError> {
        let query = fhir::search::parse_query(ResourceType::Task, &format!("_sort=-_lastUpdated&{query}"));
        if let Some(errors) = query.diagnostics() {
            return Err(CommandError::Usage(errors));
        }
        let found = self.store.read(move |tx| tx.search(&query, &ReadFilter::everything())).await?;
        let tasks: Vec<Value> = found.matches.iter().map(|stored| summary(&stored.resource)).collect();
        Ok(json!({ "total": found.total, "tasks": tasks }))
    }

    pub(super) async fn show_task(&self, id: &str) -> Result<Value, CommandError> {
        let wanted = id.to_owned();
        let found = self.store.read(move |tx| tx.read(ResourceType::Task, &wanted)).await?.current();
        let task = found.ok_or_else(|| CommandError::Usage(format!("there is no Task {id}")))?;
        let mut shown = summary(&task.resource);
        let printed = fhir::print(Format::Json, &task.resource, false);
        if let (Some(members), Ok(resource)) = (shown.as_object_mut(), serde_json::from_str::<Value>(&printed)) {
            members.insert("resource".to_owned(), resource);
        }
        Ok(shown)
    }

    /// Compares a portion of the store's indexes with the content, `after=N` being where the one before ended; the first
    /// portion looks at the content of Binaries and at the counts too.
    pub(super) async fn check_store(&self, query: &str) -> Result<Value, CommandError> {
        let after = query.strip_prefix("after=").unwrap_or("0");
        let after: i64 = after.parse().map_err(|_| CommandError::Usage(format!("{after} is no number")))?;
        let verify = move |tx: &mut store::Transaction<'_>| {
            let mut verified = tx.verify_resources(after, CHECKED_AT_ONCE)?;
            if after == 0 {
                verified.problems.extend(tx.verify_contents()?.problems);
                verified.problems.extend(tx.verify_counts()?.problems);
            }
            Ok::<_, StoreError>(verified)
        };
        let verified = self.store.read(verify).await?;
        Ok(json!({
            "resources": verified.resources,
            "versions": verified.versions,
            "problems": verified.problems,
            "next": verified.next,
        }))
    }

    /// Creates a Task as the node's own organisation, through the rules and the validation of the endpoint.
    pub(super) async fn start_task(&self, body: &[u8]) -> Result<Value, CommandError> {
        let command: StartTask =
            serde_json::from_slice(body).map_err(|error| CommandError::Usage(error.to_string()))?;
        let profile = self.profile_of(&command).await?;
        let task = self.build_task(&command, &profile);
        let answer = self.endpoint.execute_local(self.identity.clone(), task).await;
        let answer =
            answer.map_err(|error| CommandError::Refused(format!("the Task was refused: {}", error.diagnostics)))?;
        let task = answer.resource.ok_or_else(|| CommandError::Refused("the endpoint gave no Task".to_owned()))?;
        Ok(summary(&task))
    }

    /// The task profile that the process's ActivityDefinition names for the message.
    async fn profile_of(&self, command: &StartTask) -> Result<String, CommandError> {
        let allow_list = self.endpoint.allow_list().await?;
        let definition =
            allow_list.processes().iter().find(|known| format!("{}|{}", known.url, known.version) == command.process);
        let definition = definition.ok_or_else(|| {
            CommandError::Usage(format!(
                "process {} is not installed; `schleuse process list` shows those that are",
                command.process
            ))
        })?;
        let messages = definition.messages.iter();
        let message = messages.clone().find(|known| known.message_name == command.message);
        message.map(|known| known.task_profile.clone()).ok_or_else(|| {
            let names: Vec<_> = messages.map(|known| known.message_name.as_str()).collect();
            CommandError::Usage(format!(
                "process {} takes no message {}, but {}",
                command.process,
                command.message,
                names.join(", ")
            ))
        })
    }

    fn build_task(&self, command: &StartTask, profile: &str) -> Resource {
        let organization = self.identity.organization().map(ToString::to_string).unwrap_or_default();
        let reference = task::organization_reference(&organization);
        let mut built = Resource::new("Task");
        built.set("meta", Object::new().with("profile", vec![Tree::from(profile)]));
        built.set("instantiatesCanonical", command.process.as_str());
        built.set("status", "requested");
        built.set("intent", "order");
        built.set("authoredOn", fhir::date::format_instant(OffsetDateTime::now_utc()));
        built.set("requester", reference.clone());
        built.set("restriction", Object::new().with("recipient", vec![reference.into()]));
        built.push("input", task::string_parameter(terms::BPMN_MESSAGE, terms::MESSAGE_NAME, &command.message));
        for input in &command.inputs {
            let mut parameter = task::parameter(&input.system, &input.code);
            if let Some(value) = &input.value {
                parameter.set("valueString", value.as_str());
            }
            if let Some(reference) = &input.reference {
                parameter.set("valueReference", Object::new().with("reference", reference.as_str()));
            }
            built.push("input", parameter);
        }
        built
    }
}

/// What a list shows of a Task: nothing of its inputs, and of its outputs only why it failed.
fn summary(task: &Resource) -> Value {
    let error = task.list("output").iter().find(|output| {
        output.get("type").is_some_and(|kind| {
            kind.list("coding").iter().any(|coding| {
                coding.str("system") == Some(terms::BPMN_MESSAGE) && coding.str("code") == Some(terms::ERROR)
            })
        })
    });
    json!({
        "id": task.id(),
        "status": task.str("status"),
        "process": task.str("instantiatesCanonical"),
        "message": task::message_input(task, terms::MESSAGE_NAME),
        "business-key": task::message_input(task, terms::BUSINESS_KEY),
        "requester": task.get("requester").and_then(|requester| requester.get("identifier")?.str("value")),
        "last-updated": task.get("meta").and_then(|meta| meta.str("lastUpdated")),
        "error": error.and_then(|output| output.str("valueString")),
    })
}
