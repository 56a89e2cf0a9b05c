//! The routes of `/engine-rest/external-task` and what they do: Operaton's external-task REST interface, as far as workers
//! use it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Method, StatusCode};
use processes::external::{ExternalError, ExternalTask, FetchOrder, FetchTopic, Report, Worker};
use processes::{ProcessError, Runtime};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use store::processes::{ExternalFetch, WorkItem};
use store::{Store, Transaction};
use time::OffsetDateTime;
use tokio::sync::watch;

use super::limits;
use super::values::{TypedValues, typed, writes};

/// What a request is answered with: a status and JSON, or no body.
pub(super) type Answer = (StatusCode, Option<Value>);

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum RestError {
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Task(#[from] ExternalError),
    #[error("there is no such resource")]
    NotFound,
    #[error("the node cannot record requests")]
    Unrecorded,
    #[error("too many workers wait for tasks; ask again later")]
    Busy,
}

/// What the routes work on.
pub(super) struct Rest {
    pub(super) runtime: Arc<Runtime>,
    pub(super) store: Store,
    pub(super) stop: watch::Receiver<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FetchAndLock {
    worker_id: String,
    max_tasks: u32,
    /// Whether priority decides between topics.
    #[serde(default)]
    use_priority: bool,
    #[serde(default)]
    async_response_timeout: Option<u64>,
    #[serde(default)]
    topics: Vec<TopicRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TopicRequest {
    topic_name: String,
    lock_duration: u64,
    #[serde(default)]
    variables: Option<BTreeSet<String>>,
    #[serde(default)]
    local_variables: bool,
    #[serde(default)]
    business_key: Option<String>,
    #[serde(default)]
    process_definition_id: Option<String>,
    #[serde(default)]
    process_definition_id_in: Option<Vec<String>>,
    #[serde(default)]
    process_definition_key: Option<String>,
    #[serde(default)]
    process_definition_key_in: Option<Vec<String>>,
    #[serde(default)]
    process_definition_version_tag: Option<String>,
    #[serde(default)]
    process_variables: Option<Map<String, Value>>,
    #[serde(default)]
    tenant_id_in: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Complete {
    worker_id: String,
    #[serde(default)]
    variables: Option<TypedValues>,
    #[serde(default)]
    local_variables: Option<TypedValues>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    worker_id: String,
    #[serde(default)]
    error_message: Option<String>,
    #[serde(default)]
    error_details: Option<String>,
    #[serde(default)]
    retries: Option<i64>,
    #[serde(default)]
    retry_timeout: Option<i64>,
    #[serde(default)]
    variables: Option<TypedValues>,
    #[serde(default)]
    local_variables: Option<TypedValues>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BpmnError {
    worker_id: String,
    error_code: String,
    #[serde(default)]
    error_message: Option<String>,
    #[serde(default)]
    variables: Option<TypedValues>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExtendLock {
    worker_id: String,
    new_duration: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lock {
    worker_id: String,
    lock_duration: u64,
}

// === impl RestError ===

impl RestError {
    /// As Operaton answers it.
    pub(super) fn answer(&self) -> Answer {
        let (status, kind) = match self {
            Self::Invalid(_) | Self::Task(ExternalError::NotHeld { .. } | ExternalError::Bad(_)) => {
                (StatusCode::BAD_REQUEST, "InvalidRequestException")
            }
            Self::Task(ExternalError::Missing(_)) | Self::NotFound => (StatusCode::NOT_FOUND, "RestException"),
            Self::Busy => (StatusCode::TOO_MANY_REQUESTS, "RestException"),
            Self::Unrecorded => (StatusCode::SERVICE_UNAVAILABLE, "RestException"),
            Self::Task(ExternalError::Process(error)) => {
                tracing::error!(%error, "a worker's request could not be carried out");
                let text = json!({ "type": "RestException", "message": "the node could not store it; try again" });
                return (StatusCode::INTERNAL_SERVER_ERROR, Some(text));
            }
        };
        (status, Some(json!({ "type": kind, "message": self.to_string() })))
    }
}

impl From<ProcessError> for RestError {
    fn from(error: ProcessError) -> Self {
        Self::Task(error.into())
    }
}

// === impl Rest ===

impl Rest {
    /// Answers a request for a path below `/engine-rest`.
    pub(super) async fn route(
        &self,
        method: &Method,
        path: &str,
        body: &[u8],
        topics: &Arc<BTreeSet<String>>,
    ) -> Result<Answer, RestError> {
        let parts: Vec<&str> = path.split('/').collect();
        match (method.as_str(), parts.as_slice()) {
            ("POST", ["external-task", "fetchAndLock"]) => self.fetch_and_lock(read(body)?, topics).await,
            ("POST", ["external-task", id, action]) if is_id(id) => self.act(id, action, body, topics).await,
            ("GET", ["external-task", id]) if is_id(id) => {
                let item = self.item(id, topics).await?;
                Ok((StatusCode::OK, Some(plain(&item))))
            }
            ("GET", ["external-task", id, "errorDetails"]) if is_id(id) => {
                let item = self.item(id, topics).await?;
                Ok((StatusCode::OK, Some(Value::String(item.failure_details.unwrap_or_default()))))
            }
            _ => Err(RestError::NotFound),
        }
    }

    async fn item(&self, id: &str, topics: &Arc<BTreeSet<String>>) -> Result<WorkItem, RestError> {
        let worker = Worker { id: String::new(), topics: Arc::clone(topics) };
        let id = id.to_owned();
        let found = self.store.write(move |tx| Runtime::external_item(tx, &worker, &id));
        Ok(found.await?)
    }

    async fn act(
        &self,
        id: &str,
        action: &str,
        body: &[u8],
        topics: &Arc<BTreeSet<String>>,
    ) -> Result<Answer, RestError> {
        let worker = |name: String| check_worker(name).map(|id| Worker { id, topics: Arc::clone(topics) });
        let invalid = RestError::Invalid;
        match action {
            "complete" => {
                let sent: Complete = read(body)?;
                let variables = writes(sent.variables.unwrap_or_default(), sent.local_variables.unwrap_or_default());
                let variables = variables.map_err(invalid)?;
                self.report(id, worker(sent.worker_id)?, Report::Completed { variables }).await
            }
            "failure" => {
                let sent: Failure = read(body)?;
                let retries = u32::try_from(sent.retries.unwrap_or(0));
                let pause = u64::try_from(sent.retry_timeout.unwrap_or(0));
                let (Ok(retries), Ok(pause)) = (retries, pause) else {
                    return Err(invalid("retries and retryTimeout must not be negative".to_owned()));
                };
                let variables = writes(sent.variables.unwrap_or_default(), sent.local_variables.unwrap_or_default());
                let report = Report::Failed {
                    message: sent.error_message.unwrap_or_else(|| "the worker gave no reason".to_owned()),
                    details: sent.error_details,
                    retries,
                    pause: milliseconds(pause, "retryTimeout")?,
                    variables: variables.map_err(invalid)?,
                };
                self.report(id, worker(sent.worker_id)?, report).await
            }
            "bpmnError" => {
                let sent: BpmnError = read(body)?;
                if sent.error_code.is_empty() {
                    return Err(invalid("errorCode is null".to_owned()));
                }
                let variables = writes(sent.variables.unwrap_or_default(), TypedValues::new()).map_err(invalid)?;
                let report = Report::Error { code: sent.error_code, message: sent.error_message, variables };
                self.report(id, worker(sent.worker_id)?, report).await
            }
            "extendLock" => {
                let sent: ExtendLock = read(body)?;
                let (worker, lock) = (worker(sent.worker_id)?, lock_duration(sent.new_duration)?);
                self.change(id, move |tx, id| Runtime::extend_external(tx, &worker, id, lock)).await
            }
            "lock" => {
                let sent: Lock = read(body)?;
                let (worker, lock) = (worker(sent.worker_id)?, lock_duration(sent.lock_duration)?);
                self.change(id, move |tx, id| Runtime::lock_external(tx, &worker, id, lock)).await
            }
            "unlock" => {
                let worker = Worker { id: String::new(), topics: Arc::clone(topics) };
                self.change(id, move |tx, id| Runtime::unlock_external(tx, &worker, id)).await
            }
            _ => Err(RestError::NotFound),
        }
    }

    async fn report(&self, id: &str, worker: Worker, report: Report) -> Result<Answer, RestError> {
        let runtime = Arc::clone(&self.runtime);
        self.change(id, move |tx, id| runtime.report_external(tx, &worker, id, report)).await
    }

    async fn change(
        &self,
        id: &str,
        work: impl FnOnce(&mut Transaction<'_>, &str) -> Result<(), ExternalError> + Send + 'static,
    ) -> Result<Answer, RestError> {
        let id = id.to_owned();
        self.store.write(move |tx| work(tx, &id)).await?;
        Ok((StatusCode::NO_CONTENT, None))
    }

    /// Fetches what there is; if that is nothing, waits for it as long as the worker asks, but not for ever.
    async fn fetch_and_lock(&self, sent: FetchAndLock, topics: &Arc<BTreeSet<String>>) -> Result<Answer, RestError> {
        let wait = Duration::from_millis(sent.async_response_timeout.unwrap_or(0)).min(limits::LONGEST_WAIT);
        let until = tokio::time::Instant::now() + wait;
        let most = sent.max_tasks.min(limits::TASKS_AT_ONCE);
        let worker = Worker { id: check_worker(sent.worker_id)?, topics: Arc::clone(topics) };
        let wanted = wanted(sent.topics)?;
        let order = if sent.use_priority { FetchOrder::Priority } else { FetchOrder::Topics };
        let mut wake = self.store.watch_work();
        let mut stop = self.stop.clone();
        loop {
            wake.borrow_and_update();
            let asked = wanted.clone();
            let (now, next) = self
                .store
                .read(move |tx| Ok::<_, ProcessError>((tx.now(), Runtime::next_external(tx, &asked)?)))
                .await?;
            if next.is_some_and(|next| next <= now) && most > 0 {
                let (runtime, worker, wanted) = (Arc::clone(&self.runtime), worker.clone(), wanted.clone());
                let fetch = move |tx: &mut Transaction<'_>| runtime.fetch_external(tx, &worker, &wanted, order, most);
                let tasks = self.store.write(fetch).await?;
                if !tasks.is_empty() {
                    return Ok((StatusCode::OK, Some(Value::Array(tasks.iter().map(locked).collect()))));
                }
            }
            // Filters may leave out what is there, so the next look is not at once.
            let due = next.map_or(limits::LONGEST_WAIT, |next| Duration::try_from(next - now).unwrap_or_default());
            let look = tokio::time::Instant::now() + due.max(limits::SHORTEST_PAUSE);
            tokio::select! {
                () = tokio::time::sleep_until(look.min(until)) => {}
                changed = wake.changed() => if changed.is_err() { break },
                _ = stop.wait_for(|stop| *stop) => break,
            }
            if tokio::time::Instant::now() >= until {
                break;
            }
        }
        Ok((StatusCode::OK, Some(json!([]))))
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, RestError> {
    serde_json::from_slice(body).map_err(|error| RestError::Invalid(format!("Cannot read the request: {error}")))
}

/// Ids are made by the node; anything else is none of them.
fn is_id(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') && !text.is_empty()
}

fn check_worker(name: String) -> Result<String, RestError> {
    if name.is_empty() || name.len() > limits::NAME_BYTES {
        let text = format!("workerId must have 1 to {} bytes", limits::NAME_BYTES);
        return Err(RestError::Invalid(text));
    }
    Ok(name)
}

fn milliseconds(value: u64, name: &str) -> Result<time::Duration, RestError> {
    let millis = i64::try_from(value).ok().filter(|millis| *millis <= limits::LONGEST_LOCK.whole_milliseconds() as i64);
    millis
        .map(time::Duration::milliseconds)
        .ok_or_else(|| RestError::Invalid(format!("{name} is longer than {} days", limits::LONGEST_LOCK.whole_days())))
}

fn lock_duration(value: u64) -> Result<time::Duration, RestError> {
    if value == 0 {
        return Err(RestError::Invalid("lockDuration is not greater than 0".to_owned()));
    }
    milliseconds(value, "lockDuration")
}

/// The topics with their filters: one entry for each combination. What is asked for that nothing here could answer is
/// refused, never left out.
fn wanted(topics: Vec<TopicRequest>) -> Result<Vec<FetchTopic>, RestError> {
    let mut wanted = Vec::new();
    for topic in topics {
        let lock = lock_duration(topic.lock_duration)?;
        if topic.topic_name.is_empty() || topic.topic_name.len() > limits::NAME_BYTES {
            return Err(RestError::Invalid(format!("topicName must have 1 to {} bytes", limits::NAME_BYTES)));
        }
        let refused = [
            ("processDefinitionId", topic.process_definition_id.is_some()),
            ("processDefinitionIdIn", topic.process_definition_id_in.is_some_and(|list| !list.is_empty())),
            ("processVariables", topic.process_variables.is_some_and(|filter| !filter.is_empty())),
            ("tenantIdIn", topic.tenant_id_in.is_some_and(|list| !list.is_empty())),
        ];
        if let Some((name, _)) = refused.iter().find(|(_, is_there)| *is_there) {
            let text = format!("the filter {name} is not known here; use processDefinitionKey or businessKey");
            return Err(RestError::Invalid(text));
        }
        let mut keys: Vec<Option<String>> =
            topic.process_definition_key_in.unwrap_or_default().into_iter().map(Some).collect();
        if keys.is_empty() {
            keys.push(topic.process_definition_key);
        }
        for process_key in keys {
            wanted.push(FetchTopic {
                fetch: ExternalFetch {
                    topic: topic.topic_name.clone(),
                    business_key: topic.business_key.clone(),
                    process_key,
                    version_tag: topic.process_definition_version_tag.clone(),
                },
                lock,
                variables: topic.variables.clone(),
                is_local: topic.local_variables,
            });
        }
        if wanted.len() > limits::TOPICS {
            return Err(RestError::Invalid(format!("more than {} topics and filters", limits::TOPICS)));
        }
    }
    Ok(wanted)
}

/// Operaton's form of a time.
fn instant(time: OffsetDateTime) -> String {
    let text = fhir::date::format_instant(time);
    match text.strip_suffix('Z') {
        Some(text) => format!("{text}+0000"),
        None => text,
    }
}

/// A task without its variables.
fn plain(item: &WorkItem) -> Value {
    json!({
        "activityId": item.element,
        "activityInstanceId": item.id,
        "createTime": instant(item.created),
        "errorMessage": item.failure,
        "id": item.id,
        "lockExpirationTime": item.locked_by.as_ref().map(|_| instant(item.locked_until)),
        "processDefinitionKey": item.process_key,
        "processDefinitionVersionTag": item.version_tag,
        "processInstanceId": item.instance,
        "retries": item.retries,
        "suspended": false,
        "workerId": item.locked_by,
        "topicName": item.topic,
        "tenantId": null,
        "priority": item.priority,
        "businessKey": item.business_key,
    })
}

/// A task as it is handed to a worker.
fn locked(task: &ExternalTask) -> Value {
    let mut shown = plain(&task.item);
    if let Some(members) = shown.as_object_mut() {
        let variables: Map<String, Value> = task
            .variables
            .iter()
            .map(|(name, value)| (name.clone(), serde_json::to_value(typed(value)).unwrap_or_default()))
            .collect();
        members.insert("errorDetails".to_owned(), json!(task.item.failure_details));
        members.insert("executionId".to_owned(), json!(format!("{}:{}", task.item.instance, task.execution)));
        members.insert("processDefinitionId".to_owned(), json!(task.definition));
        members.insert("variables".to_owned(), Value::Object(variables));
        members.insert("extensionProperties".to_owned(), json!(task.fields));
    }
    shown
}
