//! One transaction as the endpoint uses it: who asks, what they may see, and what has changed so far.
//!
//! Single requests and entries of Bundles run the same interactions on a session; the difference is only who opens and
//! commits it. Everything that decides (allow-list, read filter, profiles) comes from the same transaction as the
//! resources that it decides about.

mod create;
mod delete;
mod history;
mod read;
mod rules;
mod search;
mod snapshot;
mod update;

pub(crate) use create::{CreateOptions, Prepared};
pub(crate) use rules::policy_permits;
pub(crate) use search::{Found, version_of};
pub(crate) use snapshot::for_event;
pub(crate) use update::UpdateOptions;

use std::sync::Arc;

use fhir::{Resource, ResourceType};
use policies::{AllowList, Identity};
use store::{Change, ChangeKind, ReadFilter, StoreError, StoredResource, Transaction};

use crate::access::{identify_again, read_filter, shown_filter};
use crate::admit::Caller;
use crate::cache;
use crate::clients::Standing;
use crate::conformance::{Conformance, View};
use crate::content;
use crate::hooks::HandlerError;
use crate::references::clean;
use crate::refusal::{Code, Refusal};
use crate::shared::Shared;

/// A transaction on behalf of a caller.
pub(crate) struct Session<'s, 't> {
    pub(crate) tx: &'s mut Transaction<'t>,
    pub(crate) shared: &'s Shared,
    pub(crate) caller: &'s Caller,
    /// Who the caller is by the allow-list of this transaction.
    pub(crate) identity: Arc<Identity>,
    allow_list: Arc<AllowList>,
    /// The allow-list before this transaction.
    before: Arc<AllowList>,
    /// Changes seen when the allow-list was built.
    allow_list_at: usize,
    pub(crate) profiles: View,
    /// Changes that `profiles` has taken in.
    profiles_at: usize,
    filter: Arc<ReadFilter>,
    /// What the request at hand uses up when it is accepted.
    charges: Vec<policies::Charge>,
    effects: Effects,
}

/// What must happen after the commit.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// Held until the commit is known, see [`cache`].
    allow_list: Option<cache::Change<AllowList>>,
    conformance: Option<cache::Change<Conformance>>,
    pub(crate) task_taken: bool,
}

/// Values of committed data, noted before the transaction begins.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    pub(crate) allow_list: Arc<AllowList>,
    pub(crate) conformance: Arc<Conformance>,
}

/// Whether the transaction writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// On a snapshot that began after [`Noted`] was taken: what was noted may be older by a moment and is used.
    Read,
    /// One after the other: what was noted is used only if nothing has changed since.
    Write,
}

impl Effects {
    /// Whether the allow-list was changed.
    pub(crate) const fn allow_list_changed(&self) -> bool {
        self.allow_list.is_some()
    }
}

impl<'s, 't> Session<'s, 't> {
    /// Opens a session; refused if the caller is no longer who the permit says.
    pub(crate) fn open(
        tx: &'s mut Transaction<'t>,
        shared: &'s Shared,
        caller: &'s Caller,
        noted: &Noted,
        mode: Mode,
    ) -> Result<Self, Refusal> {
        let (allow_list, conformance) = match mode {
            Mode::Read => (Arc::clone(&noted.allow_list), Arc::clone(&noted.conformance)),
            Mode::Write => {
                let allow_list = match shared.allow_list.get(shared.allow_list.generation()) {
                    Some(kept) => kept,
                    None => shared.build_allow_list(tx)?,
                };
                let conformance = match shared.conformance.get(shared.conformance.generation()) {
                    Some(kept) => kept,
                    None => Arc::new(Conformance::load(tx)?),
                };
                (allow_list, conformance)
            }
        };
        let Standing { identity, filter } = if caller.is_internal {
            Standing { identity: Arc::clone(&caller.identity), filter: Arc::new(ReadFilter::everything()) }
        } else {
            caller.standing(&allow_list).ok_or_else(|| {
                Refusal::empty(http::StatusCode::FORBIDDEN, Code::IdentityUnknown)
                    .because("identity of the permit is not on the allow-list")
            })?
        };
        Ok(Self {
            tx,
            shared,
            caller,
            identity,
            before: Arc::clone(&allow_list),
            allow_list,
            allow_list_at: 0,
            profiles: View::new(conformance),
            profiles_at: 0,
            filter,
            charges: Vec::new(),
            effects: Effects::default(),
        })
    }

    /// Ends the session; what is returned must be kept until the commit is known.
    pub(crate) fn finish(mut self) -> Result<Effects, Refusal> {
        self.note_changes();
        self.protect_own_organization()?;
        self.govern_allow_list()?;
        Ok(self.effects)
    }

    /// Refuses what would leave the node without the organisation, the endpoint or the certificate in whose name it
    /// acts: nobody could put that right from outside, because nobody would be local any more.
    fn protect_own_organization(&mut self) -> Result<(), Refusal> {
        let before = Arc::clone(&self.before);
        let own = before.organization(before.local()).map(|organization| organization.id.as_str());
        let endpoint = before.local_endpoint().cloned();
        let own_endpoint = before.endpoints().iter().find(|known| endpoint.as_ref() == Some(&known.identifier));
        let own_endpoint = own_endpoint.map(|endpoint| endpoint.id.as_str());
        let concerns_own = self.tx.changes().iter().any(|change| {
            let id = Some(change.id.as_str());
            (change.resource_type == ResourceType::Organization && id == own)
                || (change.resource_type == ResourceType::Endpoint && id == own_endpoint)
        });
        if !concerns_own {
            return Ok(());
        }
        let after = self.fresh_allow_list()?;
        let thumbprints = |list: &AllowList| list.organization(list.local()).map(|own| own.thumbprints.clone());
        let problem = match (thumbprints(&before), thumbprints(&after)) {
            (Some(_), None) => "the organization of this node would no longer be active",
            (Some(old), Some(new)) if !old.is_empty() && !old.iter().any(|known| new.contains(known)) => {
                "the organization of this node would lose every certificate that it has"
            }
            _ if endpoint.is_some() && after.local_endpoint() != endpoint.as_ref() => {
                "the endpoint of this node would no longer be active"
            }
            _ if self.caller_is_lost(&after) => "the caller's own certificate would no longer be known",
            _ => return Ok(()),
        };
        Err(Refusal::own_organization(problem))
    }

    fn caller_is_lost(&self, after: &AllowList) -> bool {
        let is_own_organization = matches!(*self.identity, Identity::Local(_)) && !self.caller.is_internal;
        is_own_organization && identify_again(&self.identity, after, &self.caller.policy).is_none()
    }

    /// The allow-list before this transaction.
    pub(crate) fn before_changes(&self) -> Arc<AllowList> {
        Arc::clone(&self.before)
    }

    /// What the caller may read.
    pub(crate) fn filter(&self) -> &ReadFilter {
        &self.filter
    }

    /// The allow-list as it was when the transaction began: by it the caller is judged.
    pub(crate) const fn allow_list(&self) -> &Arc<AllowList> {
        &self.allow_list
    }

    /// What a decision about the caller depends on besides rules and lists. The size of a body was judged by the gateway.
    fn context(&self) -> policies::Context {
        policies::Context { now: self.tx.now(), origin: self.caller.origin, body_bytes: None }
    }

    /// What may stand in an answer.
    fn shown_filter(&self) -> ReadFilter {
        if self.caller.is_internal {
            return ReadFilter::clone(&self.filter);
        }
        let context = self.context();
        shown_filter(&self.filter, &self.identity, &self.allow_list, &self.caller.policy, &context)
    }

    /// The allow-list with what this transaction has changed. It is built from every organisation, so only what depends
    /// on the changes asks for it; a Bundle that brings a whole network must not build it for each entry.
    pub(crate) fn fresh_allow_list(&mut self) -> Result<Arc<AllowList>, StoreError> {
        let changes = self.tx.changes();
        let is_changed = changes
            .get(self.allow_list_at..)
            .is_some_and(|new| new.iter().any(|change| Shared::is_source(change.resource_type).0));
        let count = changes.len();
        if is_changed {
            self.allow_list = self.shared.build_allow_list(self.tx)?;
            if !self.caller.is_internal {
                self.filter = Arc::new(read_filter(&self.identity, &self.allow_list));
            }
        }
        self.allow_list_at = count;
        Ok(Arc::clone(&self.allow_list))
    }

    /// Tells the caches and the view of the profiles what was written since the last call. To be called after every
    /// write, and in any case before the transaction ends.
    pub(crate) fn note_changes(&mut self) {
        let new: Vec<Change> = self.tx.changes().get(self.profiles_at..).unwrap_or_default().to_vec();
        self.profiles_at += new.len();
        for change in new {
            let (is_allow_list, is_conformance) = Shared::is_source(change.resource_type);
            if is_allow_list && self.effects.allow_list.is_none() {
                self.effects.allow_list = Some(cache::Change::begin(&self.shared.allow_list));
            }
            if is_conformance {
                if self.effects.conformance.is_none() {
                    self.effects.conformance = Some(cache::Change::begin(&self.shared.conformance));
                }
                let resource = match change.kind {
                    ChangeKind::Created | ChangeKind::Updated => change.resource,
                    ChangeKind::Deleted | ChangeKind::PermanentlyDeleted => None,
                };
                self.profiles.change(change.resource_type, &change.id, resource);
            }
        }
    }

    /// Whether the caller may read a version.
    pub(crate) fn may_read(&mut self, resource_type: ResourceType, id: &str, version: u64) -> Result<bool, StoreError> {
        if !self.caller.is_internal && !self.identity.has_dsf_role(policies::DsfOperation::Read, Some(resource_type)) {
            return Ok(false);
        }
        self.tx.is_readable(resource_type, id, version, &self.filter)
    }

    /// A stored version as the caller is shown it; a stand-in holds the place of its content.
    pub(crate) fn shown(&mut self, stored: &StoredResource) -> Result<Resource, Refusal> {
        self.shown_alone(stored.clone())
    }

    /// As [`Self::shown`], for a version that nobody else needs: its tree is not copied.
    pub(crate) fn shown_alone(&mut self, stored: StoredResource) -> Result<Resource, Refusal> {
        let StoredResource { resource_type, id, version, resource, .. } = stored;
        let mut resource = clean(Arc::unwrap_or_clone(resource));
        if resource_type != ResourceType::Binary {
            return Ok(resource);
        }
        if let Some(content) = self.tx.content(&id, version)? {
            // The engine's own requests are answered with trees.
            let data = match self.caller.is_internal {
                true => content::whole(self.tx, &content)?,
                false => self.caller.contents.stand_in(content),
            };
            resource.set("data", data);
        }
        Ok(resource)
    }

    /// Offers a Task that was just stored to the process engine.
    pub(crate) fn offer_task(&mut self, task: &Resource) -> Result<(), Refusal> {
        if task.type_name() != "Task" || task.str("status") != Some("requested") {
            return Ok(());
        }
        self.shared.tasks.task_created(self.tx, task).map_err(not_taken)?;
        self.effects.task_taken = true;
        Ok(())
    }

    /// Offers a QuestionnaireResponse that was just updated to the process engine.
    pub(crate) fn offer_answer(&mut self, response: &Resource) -> Result<(), Refusal> {
        let is_answer = response.type_name() == "QuestionnaireResponse"
            && matches!(response.str("status"), Some("completed" | "stopped"));
        if !is_answer {
            return Ok(());
        }
        self.shared.tasks.answered(self.tx, response).map_err(not_taken)?;
        self.effects.task_taken = true;
        Ok(())
    }
}

fn not_taken(error: HandlerError) -> Refusal {
    match error {
        HandlerError::Refused(reason) => Refusal::answer_refused(reason),
        HandlerError::Store(_) | HandlerError::Other(_) => {
            tracing::error!(%error, "what was accepted cannot be taken over");
            Refusal::store(error.to_string())
        }
    }
}
