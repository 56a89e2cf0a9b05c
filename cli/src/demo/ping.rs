//! The demonstration: the portal pings every site by a Task, exactly as an administrator of a DSF node does, and the
//! outputs of that Task become a table. Wire identity: DSF ping-pong 1.0.

use std::collections::BTreeMap;
use std::time::Duration;

use fhir::{Object, Resource, Value};
use tokio::time::Instant;

use super::network::{Network, Site};
use super::partner::{Partner, PartnerError};

const PROCESS: &str = "http://dsf.dev/bpe/Process/ping|1.0";
const PROFILE: &str = "http://dsf.dev/fhir/StructureDefinition/task-start-ping|1.0";
const BPMN_MESSAGE: &str = "http://dsf.dev/fhir/CodeSystem/bpmn-message";
const ORGANIZATION_IDENTIFIER: &str = "http://dsf.dev/sid/organization-identifier";
const PING_STATUS_EXTENSION: &str = "http://dsf.dev/fhir/StructureDefinition/extension-ping-status";
/// The process itself waits 20 s for a pong; the rest is for machines under load.
const LONGEST_RUN: Duration = Duration::from_secs(90);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What the ping of one site gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    /// Code of DSF's ping-status.
    pub(crate) status: String,
    /// Time from sending the ping to the pong, if the process recorded it.
    pub(crate) round_trip: Option<String>,
    /// Why there was no pong.
    pub(crate) error: Option<String>,
}

/// Why the demonstration gave no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PingError {
    #[error(transparent)]
    Partner(#[from] PartnerError),
    #[error("the node did not say where it put the Task")]
    NoLocation,
    #[error("the ping Task ended as {status}: {reason}")]
    Failed { status: String, reason: String },
    #[error("the ping Task was still {status} after {seconds} s", seconds = LONGEST_RUN.as_secs())]
    Unfinished { status: String },
}

impl Reply {
    /// Whether the site answered the ping.
    pub(crate) fn is_answered(&self) -> bool {
        self.status == "pong-received"
    }
}

/// Starts the ping process at the portal and waits for its end; answers by organisation identifier.
pub(crate) async fn run(partner: &Partner, network: &Network) -> Result<BTreeMap<String, Reply>, PingError> {
    let Some(portal) = network.sites.first() else { return Ok(BTreeMap::new()) };
    let answer = partner.post(portal, "/Task", &start_task(portal)).await?;
    let location = answer.location.ok_or(PingError::NoLocation)?;
    let url = location.split_once("/_history/").map_or(location.as_str(), |(url, _)| url);
    let path = url.strip_prefix(portal.base_url().as_str()).ok_or(PingError::NoLocation)?;
    let deadline = Instant::now() + LONGEST_RUN;
    loop {
        let task = partner.get(portal, path).await?.resource;
        let status = task.as_ref().and_then(|task| task.str("status")).unwrap_or_default();
        match (&task, status) {
            (Some(task), "completed") => return Ok(replies(task)),
            (Some(task), "failed") => {
                return Err(PingError::Failed { status: status.to_owned(), reason: failure(task) });
            }
            _ if Instant::now() > deadline => return Err(PingError::Unfinished { status: status.to_owned() }),
            _ => tokio::time::sleep(POLL_INTERVAL).await,
        }
    }
}

fn start_task(portal: &Site) -> Resource {
    let organization = Object::new().with("type", "Organization").with(
        "identifier",
        Object::new().with("system", ORGANIZATION_IDENTIFIER).with("value", portal.organization_identifier()),
    );
    let message_type = Object::new()
        .with("coding", vec![Object::new().with("system", BPMN_MESSAGE).with("code", "message-name").into()]);
    let mut task = Resource::new("Task");
    task.set("meta", Object::new().with("profile", vec![Value::from(PROFILE)]));
    task.set("instantiatesCanonical", PROCESS);
    task.set("status", "requested");
    task.set("intent", "order");
    task.set("authoredOn", fhir::date::format_instant(time::OffsetDateTime::now_utc()));
    task.set("requester", organization.clone());
    task.set("restriction", Object::new().with("recipient", vec![organization.into()]));
    task.push("input", Object::new().with("type", message_type).with("valueString", "startPing"));
    task
}

fn replies(task: &Resource) -> BTreeMap<String, Reply> {
    let mut replies = BTreeMap::new();
    for output in task.list("output") {
        let Some(status) = output.get("valueCoding").and_then(|coding| coding.str("code")) else { continue };
        let Some(details) =
            output.list("extension").iter().find(|extension| extension.str("url") == Some(PING_STATUS_EXTENSION))
        else {
            continue;
        };
        let child = |name: &str| {
            details.list("extension").iter().find(|extension| {
                extension.str("url").is_some_and(|url| url == name || url.ends_with(&format!("/{name}")))
            })
        };
        let organization =
            child("organization-identifier").and_then(|child| child.get("valueIdentifier")?.str("value"));
        let reply = Reply {
            status: status.to_owned(),
            round_trip: child("extension-ping-round-trip").and_then(round_trip),
            error: child("error-message").and_then(|child| child.str("valueString")).map(str::to_owned),
        };
        replies.insert(organization.unwrap_or_default().to_owned(), reply);
    }
    replies
}

fn round_trip(extension: &Value) -> Option<String> {
    let duration = extension.get("valueDuration")?;
    let Some(Value::Number(value)) = duration.get("value") else { return None };
    Some(format!("{value} {}", duration.str("code")?))
}

fn failure(task: &Resource) -> String {
    let reasons: Vec<_> = task.list("output").iter().filter_map(|output| output.str("valueString")).collect();
    if reasons.is_empty() { "no reason given".to_owned() } else { reasons.join("; ") }
}
