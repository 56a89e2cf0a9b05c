//! Changes of the allow-list that wait for approval (`[allow-list] approval` of the policy).
//!
//! It does not matter who changes an Organization, an Endpoint or an OrganizationAffiliation, nor how: at the end of each
//! transaction [`crate::session`] looks at what was written. A change that needs approval undoes the transaction and is
//! kept as it would have been stored, version by version, under the digest of exactly that; the caller is told the digest.
//! Who signs, and how many, is decided by the engine; here a change is kept, shown, dropped, and carried out if nothing that
//! it touches has changed meanwhile.
//!
//! The node's own Organization and Endpoint are written by the node itself at its start ([`ListChanges::OwnNode`]); that
//! needs no approval and may touch nothing else.

use std::sync::Arc;

use fhir::{Format, Resource, ResourceType};
use policies::AllowList;
use policies::change::{self, Difference};
use policies::policy::Approval;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use store::{Change, ChangeKind, Found, StoreError, Transaction};

use crate::refusal::Refusal;
use crate::session::Session;
use crate::{limits, references};

/// Name of the stored value.
const SETTING: &str = "pending-allow-list-changes";

/// What a caller may do to the allow-list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListChanges {
    /// What the policy permits.
    Governed,
    /// What the policy permits, and only after approval.
    Held,
    /// Write the node's own Organization and Endpoint.
    OwnNode,
    /// Everything: it was approved.
    Approved,
}

/// A change that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PendingChange {
    /// SHA-256 of [`PendingChange::content`].
    pub digest: String,
    /// Who asked for it.
    pub by: String,
    /// When, in RFC 3339.
    pub since: String,
    /// What it does, in order.
    pub steps: Vec<Step>,
    /// Approvals so far, in the form of whoever judges them.
    pub approvals: Vec<String>,
}

/// One resource of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Step {
    /// What happens to it.
    pub kind: StepKind,
    /// Type.
    pub resource_type: String,
    /// Id.
    pub id: String,
    /// The version that it has before; 0 for one that is new.
    pub version: u64,
    /// What is stored, as JSON; none for a deletion.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub resource: Option<String>,
}

/// What happens to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// It is new.
    Create,
    /// It gets another version.
    Update,
    /// It is marked deleted.
    Delete,
    /// It goes for good.
    PermanentDelete,
}

/// What becomes of a change after one more approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The approvals so far, in the form of whoever judges them.
    pub approvals: Vec<String>,
    /// Whether they are enough, and the change is carried out.
    pub carry_out: bool,
}

/// Why an approved change was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Nothing of that digest waits.
    #[error("no change with this digest waits")]
    Unknown,
    /// It is not what its digest says.
    #[error("the stored change does not match its digest; reject it")]
    Damaged,
    /// What it touches is not as it was.
    #[error("{0} has changed since; reject this change and have it sent again")]
    Stale(String),
    /// The endpoint refuses it now.
    #[error("refused: {0}")]
    Refused(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl StepKind ===

impl StepKind {
    const fn of(kind: ChangeKind) -> Self {
        match kind {
            ChangeKind::Created => Self::Create,
            ChangeKind::Updated => Self::Update,
            ChangeKind::Deleted => Self::Delete,
            ChangeKind::PermanentlyDeleted => Self::PermanentDelete,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::PermanentDelete => "permanent-delete",
        }
    }
}

// === impl PendingChange ===

impl PendingChange {
    /// Keeps what a transaction has written.
    pub(crate) fn of(changes: &[Change], by: &str, now: time::OffsetDateTime) -> Self {
        let steps = changes.iter().map(Step::of).collect();
        let since = fhir::date::format_instant(now);
        let mut pending = Self { digest: String::new(), by: by.to_owned(), since, steps, approvals: Vec::new() };
        pending.digest = pending.digest_now();
        pending
    }

    /// What the digest is about: every step with its version and the SHA-256 of what is stored.
    #[must_use]
    pub fn content(&self) -> String {
        let line = |step: &Step| {
            let Step { kind, resource_type, id, version, resource } = step;
            let content = resource.as_deref().map_or_else(|| "-".to_owned(), |text| hex(text.as_bytes()));
            format!("{} {resource_type}/{id} {version} {content}\n", kind.word())
        };
        self.steps.iter().map(line).collect()
    }

    /// The digest of the steps as they are.
    #[must_use]
    pub fn digest_now(&self) -> String {
        hex(self.content().as_bytes())
    }
}

// === impl Step ===

impl Step {
    fn of(change: &Change) -> Self {
        let kind = StepKind::of(change.kind);
        // What the store adds to `meta` is not part of what is approved.
        let resource =
            change.resource.as_deref().map(|resource| fhir::print(Format::Json, &without_version(resource), false));
        let version = match kind {
            StepKind::Create => 0,
            StepKind::Update | StepKind::Delete => change.version.saturating_sub(1),
            StepKind::PermanentDelete => change.version,
        };
        Self { kind, resource_type: change.resource_type.as_str().to_owned(), id: change.id.clone(), version, resource }
    }

    fn name(&self) -> String {
        format!("{}/{}", self.resource_type, self.id)
    }
}

fn without_version(resource: &Resource) -> Resource {
    let mut resource = resource.clone();
    if let Some(mut meta) = resource.get("meta").and_then(fhir::Value::as_object).cloned() {
        meta.remove("versionId");
        meta.remove("lastUpdated");
        resource.set("meta", meta);
    }
    resource
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a type belongs to what approval is about.
const fn is_governed(resource_type: ResourceType) -> bool {
    matches!(resource_type, ResourceType::Organization | ResourceType::Endpoint | ResourceType::OrganizationAffiliation)
}

// === at the end of a transaction ===

impl Session<'_, '_> {
    /// Refuses changes of the allow-list that the policy does not let through as they are.
    pub(crate) fn govern_allow_list(&mut self) -> Result<(), Refusal> {
        let (governed, others): (Vec<Change>, Vec<Change>) =
            self.tx.changes().iter().cloned().partition(|change| is_governed(change.resource_type));
        if governed.is_empty() || self.caller.list_changes == ListChanges::Approved {
            return Ok(());
        }
        let before = self.before_changes();
        if self.caller.list_changes == ListChanges::OwnNode {
            let after = self.fresh_allow_list()?;
            let own = [own_ids(&before), own_ids(&after)].concat();
            return match governed.iter().find(|change| !own.contains(&change.id)) {
                None => Ok(()),
                Some(change) => {
                    let reason = format!("{}/{} is not the node's own", change.resource_type, change.id);
                    Err(Refusal::forbidden("update", reason))
                }
            };
        }
        let policy = self.shared.policies.active();
        let section = policy.allow_list();
        if section.protect_self {
            let after = self.fresh_allow_list()?;
            let difference: Difference = change::difference(&before, &after);
            if difference.affected().any(|name| name == before.local().as_str()) {
                return Err(Refusal::own_organization("only the node itself changes it [allow-list.protect-self]"));
            }
        }
        let needs_approval = section.approval != Approval::None || self.caller.list_changes == ListChanges::Held;
        if !needs_approval {
            return Ok(());
        }
        if !others.is_empty() {
            return Err(Refusal::approval_alone());
        }
        Err(Refusal::approval(PendingChange::of(&governed, &self.identity.name(), self.tx.now())))
    }

    /// Writes what was approved. The references of a change may lead from one of its resources to another, so they are
    /// looked at when all are there.
    pub(crate) fn carry_out(&mut self, pending: &PendingChange) -> Result<(), ApplyError> {
        let mut written = Vec::new();
        for step in &pending.steps {
            let stale = || ApplyError::Stale(step.name());
            let resource_type: ResourceType = step.resource_type.parse().map_err(|_| stale())?;
            let version = match self.tx.read(resource_type, &step.id)? {
                Found::Current(stored) => stored.version,
                Found::Deleted { version, .. } if step.kind == StepKind::PermanentDelete => version,
                Found::Deleted { .. } => return Err(stale()),
                Found::Missing => 0,
            };
            if version != step.version {
                return Err(stale());
            }
            let resource = match &step.resource {
                None => None,
                Some(text) => Some(
                    fhir::parse(Format::Json, text.as_bytes(), &fhir::Limits::default())
                        .map_err(|error| ApplyError::Refused(error.to_string()))?,
                ),
            };
            match (step.kind, resource) {
                (StepKind::Create, Some(resource)) => written.push(self.tx.create(resource, &step.id)?.resource),
                (StepKind::Update, Some(resource)) => {
                    written.push(self.tx.update(resource, &step.id, Some(version))?.resource);
                }
                (StepKind::Delete, None) => drop(self.tx.delete(resource_type, &step.id)?),
                (StepKind::PermanentDelete, None) => self.tx.delete_permanently(resource_type, &step.id)?,
                _ => return Err(stale()),
            }
            self.note_changes();
        }
        for resource in written {
            let resource = references::clean((*resource).clone());
            self.check_references(&resource, None).map_err(|refusal| ApplyError::Refused(text_of(&refusal)))?;
        }
        Ok(())
    }
}

/// Ids of the own organisation and its endpoint.
fn own_ids(list: &AllowList) -> Vec<String> {
    let own = list.organization(list.local()).map(|organization| organization.id.to_string());
    let identifier = list.local_endpoint();
    let endpoint = list.endpoints().iter().find(|known| Some(&known.identifier) == identifier);
    own.into_iter().chain(endpoint.map(|endpoint| endpoint.id.to_string())).collect()
}

pub(crate) fn text_of(refusal: &Refusal) -> String {
    let texts: Vec<&str> = refusal.issues.iter().map(|issue| issue.diagnostics.as_str()).collect();
    if texts.is_empty() { refusal.to_string() } else { texts.join("; ") }
}

// === what waits ===

/// Every change that waits, oldest first.
pub(crate) fn all(tx: &mut Transaction<'_>) -> Result<Vec<PendingChange>, StoreError> {
    let Some(bytes) = tx.setting(SETTING)? else { return Ok(Vec::new()) };
    serde_json::from_slice(&bytes).map_err(|error| StoreError::Corrupted(format!("setting {SETTING}: {error}")))
}

/// Keeps a change; whether there was room for it.
pub(crate) fn keep(tx: &mut Transaction<'_>, pending: &PendingChange) -> Result<bool, StoreError> {
    let mut waiting = all(tx)?;
    if waiting.iter().any(|known| known.digest == pending.digest) {
        return Ok(true);
    }
    waiting.push(pending.clone());
    let text = serde_json::to_vec(&waiting).unwrap_or_default();
    if waiting.len() > limits::PENDING_CHANGES || text.len() > limits::PENDING_BYTES {
        return Ok(false);
    }
    tx.set_setting(SETTING, &text)?;
    Ok(true)
}

/// Replaces a change that waits, or with none removes it; whether it was there.
pub(crate) fn replace(tx: &mut Transaction<'_>, digest: &str, with: Option<PendingChange>) -> Result<bool, StoreError> {
    let mut waiting = all(tx)?;
    let Some(position) = waiting.iter().position(|known| known.digest == digest) else { return Ok(false) };
    match with {
        Some(changed) => {
            if let Some(known) = waiting.get_mut(position) {
                *known = changed;
            }
        }
        None => drop(waiting.remove(position)),
    }
    tx.set_setting(SETTING, &serde_json::to_vec(&waiting).unwrap_or_default())?;
    Ok(true)
}

/// Who waits for the answer learns the digest; that the change is kept is not part of the refused transaction.
pub(crate) async fn keep_refused(shared: &crate::shared::Shared, refusal: Refusal) -> Refusal {
    let Some(pending) = refusal.pending.clone() else { return refusal };
    let kept: Result<bool, StoreError> = shared.store.write(move |tx| keep(tx, &pending)).await;
    match kept {
        Ok(true) => refusal,
        Ok(false) => Refusal::approval_full(),
        Err(error) => error.into(),
    }
}

/// As a shared value of the refusal.
pub(crate) type Pending = Arc<PendingChange>;
