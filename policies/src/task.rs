//! The rules of Tasks: who may create, read, change and delete them (`access-and-edge` 2.7, `fhir-api` 6.4).
//!
//! A Task is how one organisation starts or continues a process at another; creating one with status `requested` is the
//! only thing that a remote organisation can write. Starting a draft means creating a new Task, so `draft` never becomes
//! `requested`. All functions judge trees of the stored or sent resource and the allow-list, nothing else.

mod view;

use std::fmt;

use fhir::{Object, Value};

use crate::allow_list::AllowList;
use crate::identifier::{ORGANIZATION_IDENTIFIER, OrganizationIdentifier, PractitionerIdentifier};
use crate::identity::Identity;
use crate::process_authorization::{self, AuthorizationError, Message};

use view::has_code;
pub use view::{BPMN_MESSAGE, ProcessCanonical, TaskView};

/// The status of a Task that DSF uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskStatus {
    /// A template that a person can start.
    Draft,
    /// Sent, not yet taken up.
    Requested,
    /// A process instance works on it.
    InProgress,
    /// Done.
    Completed,
    /// Ended with an error.
    Failed,
}

/// Why a Task is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// Only local organisation and administrators do this.
    #[error("only the local organization or an administrator may do this")]
    NotLocal,
    /// The caller is unknown.
    #[error("caller is unknown")]
    UnknownCaller,
    /// New Tasks are draft or requested.
    #[error("status of a new task is neither draft nor requested")]
    Status,
    /// A requested Task has no task identifier, a draft has exactly one.
    #[error("task identifier is missing, repeated or not allowed")]
    TaskIdentifier,
    /// The requester is not the caller (or, in a draft, not the local organisation).
    #[error("requester is not the caller")]
    Requester,
    /// There is not exactly one recipient, or it is not the local organisation.
    #[error("recipient is not exactly the local organization")]
    Recipient,
    /// `instantiatesCanonical` is no canonical of a process.
    #[error("instantiatesCanonical is not the canonical of a process with version")]
    InstantiatesCanonical,
    /// There is not exactly one message name.
    #[error("input message-name is missing, repeated or blank")]
    MessageName,
    /// A new Task has no output.
    #[error("output is not allowed")]
    Output,
    /// The process is not authorised.
    #[error(transparent)]
    Authorization(#[from] AuthorizationError),
    /// No such transition of status.
    #[error("transition of status is not allowed")]
    Transition,
    /// Something changed that must stay.
    #[error("{0} must not change")]
    Changed(&'static str),
}

/// Which Tasks an identity finds, as data for a query (`fhir-api` 6.4, "Search/history filter").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskFilter {
    /// Tasks whose recipient is the organisation.
    Recipient(OrganizationIdentifier),
    /// Tasks whose requester is the organisation.
    Requester(OrganizationIdentifier),
    /// Tasks that the person requested, and drafts whose recipient is the organisation.
    PersonOrDraft {
        /// The person.
        person: PractitionerIdentifier,
        /// The recipient of drafts.
        recipient: OrganizationIdentifier,
    },
    /// None.
    Nothing,
}

/// Whether the identity may create the Task.
///
/// That a draft's task identifier is unused is left to the store.
pub fn check_create(task: &Object, identity: &Identity, allow_list: &AllowList) -> Result<TaskStatus, TaskError> {
    let view = TaskView::of(task);
    match TaskStatus::parse(view.status()) {
        Some(TaskStatus::Draft) => check_draft(view, identity, allow_list).map(|()| TaskStatus::Draft),
        Some(TaskStatus::Requested) => check_requested(view, identity, allow_list).map(|()| TaskStatus::Requested),
        _ => Err(TaskError::Status),
    }
}

fn check_draft(view: TaskView<'_>, identity: &Identity, allow_list: &AllowList) -> Result<(), TaskError> {
    if !identity.is_local_organization_or_admin() {
        return Err(TaskError::NotLocal);
    }
    let mut identifiers = view.task_identifiers();
    if identifiers.next().is_none_or(str::is_empty) || identifiers.next().is_some() {
        return Err(TaskError::TaskIdentifier);
    }
    if view.requester_organization(allow_list).as_ref() != Some(allow_list.local()) {
        return Err(TaskError::Requester);
    }
    check_common(view, allow_list).map(drop)
}

fn check_requested(view: TaskView<'_>, identity: &Identity, allow_list: &AllowList) -> Result<(), TaskError> {
    if view.task_identifiers().next().is_some() {
        return Err(TaskError::TaskIdentifier);
    }
    let is_caller = match identity {
        Identity::Local(caller) | Identity::Remote(caller) => {
            view.requester_identifier(ORGANIZATION_IDENTIFIER) == Some(caller.identifier.as_str())
                && view.requester_organization(allow_list).as_ref() == Some(&caller.identifier)
        }
        Identity::Person(person) => view.is_requested_by_person(&person.identifier),
        Identity::Unknown => return Err(TaskError::UnknownCaller),
    };
    if !is_caller {
        return Err(TaskError::Requester);
    }
    let (canonical, name) = check_common(view, allow_list)?;
    let profiles: Vec<&str> = view.profiles().collect();
    let message = Message { url: canonical.url, version: canonical.version, name, profiles: &profiles };
    process_authorization::authorize(&message, identity, allow_list)?;
    Ok(())
}

/// What drafts and requested Tasks share.
fn check_common<'a>(view: TaskView<'a>, allow_list: &AllowList) -> Result<(ProcessCanonical<'a>, &'a str), TaskError> {
    if !view.is_received_by_local(allow_list) {
        return Err(TaskError::Recipient);
    }
    let canonical = view.canonical().ok_or(TaskError::InstantiatesCanonical)?;
    let name = view.message_name().ok_or(TaskError::MessageName)?;
    if view.has_output() {
        return Err(TaskError::Output);
    }
    Ok((canonical, name))
}

/// Whether the identity may replace the stored Task `old` by `new`.
pub fn check_update(old: &Object, new: &Object, identity: &Identity, allow_list: &AllowList) -> Result<(), TaskError> {
    if !identity.is_local_organization_or_admin() {
        return Err(TaskError::NotLocal);
    }
    let (before, after) = (TaskView::of(old), TaskView::of(new));
    let (Some(from), Some(to)) = (TaskStatus::parse(before.status()), TaskStatus::parse(after.status())) else {
        return Err(TaskError::Transition);
    };
    use TaskStatus::{Completed, Draft, Failed, InProgress, Requested};
    match (from, to) {
        (Draft, Draft) => {
            check_draft(after, identity, allow_list)?;
            let same = before.task_identifiers().eq(after.task_identifiers());
            if same { Ok(()) } else { Err(TaskError::Changed("task identifier")) }
        }
        (Requested, InProgress) => {
            check_unchanged(before, after, BusinessKey::MayBeAdded)?;
            if after.has_output() {
                return Err(TaskError::Output);
            }
            check_recipient(after, allow_list)
        }
        (InProgress, InProgress | Completed) => {
            check_unchanged(before, after, BusinessKey::Fixed)?;
            check_recipient(after, allow_list)
        }
        // A Task that cannot be worked on must be able to end, whatever became of its process.
        (Requested, Failed) => check_unchanged(before, after, BusinessKey::MayBeAdded),
        (InProgress, Failed) => check_unchanged(before, after, BusinessKey::MayBeAdded),
        _ => Err(TaskError::Transition),
    }
}

/// Whether the identity may delete the stored Task.
pub fn check_delete(old: &Object, identity: &Identity) -> Result<(), TaskError> {
    if !identity.is_local_organization_or_admin() {
        return Err(TaskError::NotLocal);
    }
    match TaskStatus::parse(TaskView::of(old).status()) {
        Some(TaskStatus::Draft) => Ok(()),
        _ => Err(TaskError::Transition),
    }
}

/// Whether the identity may read the stored Task. The DSF role READ is judged elsewhere.
#[must_use]
pub fn may_read(task: &Object, identity: &Identity, allow_list: &AllowList) -> bool {
    let view = TaskView::of(task);
    let received = || view.is_received_by_local(allow_list);
    match identity {
        Identity::Local(caller) => {
            allow_list.is_active(&caller.identifier)
                && (received() || view.requester_organization(allow_list).as_ref() == Some(&caller.identifier))
        }
        Identity::Remote(caller) => {
            allow_list.is_active(&caller.identifier)
                && view.requester_organization(allow_list).as_ref() == Some(&caller.identifier)
        }
        Identity::Person(person) if person.is_admin() => received(),
        Identity::Person(person) => {
            view.is_requested_by_person(&person.identifier) || (view.status() == Some("draft") && received())
        }
        Identity::Unknown => false,
    }
}

fn check_recipient(view: TaskView<'_>, allow_list: &AllowList) -> Result<(), TaskError> {
    let canonical = view.canonical().ok_or(TaskError::InstantiatesCanonical)?;
    let name = view.message_name().ok_or(TaskError::MessageName)?;
    let profiles: Vec<&str> = view.profiles().collect();
    let message = Message { url: canonical.url, version: canonical.version, name, profiles: &profiles };
    process_authorization::authorize_recipient(&message, allow_list)?;
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BusinessKey {
    Fixed,
    MayBeAdded,
}

fn check_unchanged(before: TaskView<'_>, after: TaskView<'_>, business_key: BusinessKey) -> Result<(), TaskError> {
    for name in ["requester", "restriction", "instantiatesCanonical"] {
        let same = match name {
            // The literal reference that the server resolved is hidden from whoever sends the Task back.
            "requester" => same_reference(before.tree.get(name), after.tree.get(name)),
            "restriction" => same_restriction(before.tree.get(name), after.tree.get(name)),
            _ => before.tree.get(name) == after.tree.get(name),
        };
        if !same {
            return Err(TaskError::Changed(name));
        }
    }
    if before.task_identifiers().ne(after.task_identifiers()) {
        return Err(TaskError::Changed("task identifier"));
    }
    let is_business_key = |input: &&Value| has_code(input, "business-key");
    let (old, new) = (before.tree.list("input"), after.tree.list("input"));
    let may_add = business_key == BusinessKey::MayBeAdded
        && !old.iter().any(|input| is_business_key(&input))
        && new.iter().filter(is_business_key).count() == 1;
    let same = |input: &&Value| !(may_add && is_business_key(input));
    let kept: Vec<&Value> = new.iter().filter(same).collect();
    if kept.len() == old.len() && kept.iter().zip(old).all(|(new, old)| same_input(old, new)) {
        Ok(())
    } else {
        Err(TaskError::Changed("input"))
    }
}

/// Equal but for a literal `reference` beside an identifier, which is stored and never shown.
fn same_reference(old: Option<&Value>, new: Option<&Value>) -> bool {
    match (old.and_then(Value::as_object), new.and_then(Value::as_object)) {
        (Some(old), Some(new)) if old.get("identifier").is_some() && new.get("reference").is_none() => {
            let mut shown = old.clone();
            shown.remove("reference");
            same_members(&shown, new)
        }
        _ => old == new,
    }
}

fn same_restriction(old: Option<&Value>, new: Option<&Value>) -> bool {
    let (Some(old), Some(new)) = (old.and_then(Value::as_object), new.and_then(Value::as_object)) else {
        return old == new;
    };
    let (before, after) = (old.list("recipient"), new.list("recipient"));
    let rest = |object: &Object| {
        let mut rest = object.clone();
        rest.remove("recipient");
        rest
    };
    same_members(&rest(old), &rest(new))
        && before.len() == after.len()
        && before.iter().zip(after).all(|(old, new)| same_reference(Some(old), Some(new)))
}

fn same_input(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return old == new };
    old.len() == new.len()
        && old.iter().all(|(name, value)| match name {
            "valueReference" => same_reference(Some(value), new.get(name)),
            _ => new.get(name) == Some(value),
        })
}

/// Equal whatever the order of members.
fn same_members(old: &Object, new: &Object) -> bool {
    old.len() == new.len() && old.iter().all(|(name, value)| new.get(name) == Some(value))
}

// === impl TaskStatus ===

impl TaskStatus {
    fn parse(text: Option<&str>) -> Option<Self> {
        match text? {
            "draft" => Some(Self::Draft),
            "requested" => Some(Self::Requested),
            "in-progress" => Some(Self::InProgress),
            "completed" => Some(Self::Completed),
            "failed" => Some(Self::Failed),
            _ => None,
        }
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Draft => "draft",
            Self::Requested => "requested",
            Self::InProgress => "in-progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
        })
    }
}

// === impl TaskFilter ===

impl TaskFilter {
    /// The Tasks that the identity finds in searches and histories.
    #[must_use]
    pub fn of(identity: &Identity, allow_list: &AllowList) -> Self {
        if !identity.organization().is_some_and(|organization| allow_list.is_active(organization)) {
            return Self::Nothing;
        }
        match identity {
            Identity::Local(caller) => Self::Recipient(caller.identifier.clone()),
            Identity::Remote(caller) => Self::Requester(caller.identifier.clone()),
            Identity::Person(person) if person.is_admin() => Self::Recipient(person.organization.clone()),
            Identity::Person(person) => {
                Self::PersonOrDraft { person: person.identifier.clone(), recipient: person.organization.clone() }
            }
            Identity::Unknown => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
