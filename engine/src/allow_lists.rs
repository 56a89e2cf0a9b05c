//! What the processes of the allow-list need from this node: the way to a partner's list, the judgement, and the way in.
//!
//! A list is judged twice, when it is fetched and when it is brought in: the own list may change in between, and so may the
//! policy. What is brought in is fetched again by its version and must have the digest of what was judged. It is one
//! transaction even if the Bundle is a batch, so that half a list is never in force, and it goes through the endpoint like
//! any other change: there approval and `protect-self` hold.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use client::{Client, Method, Request};
use endpoint::{Endpoint, PolicyHistory};
use fhir::{Format, Resource};
use link::CorrelationId;
use policies::Identity;
use policies::change::{self, Difference, OwnRoles};
use policies::policy::Approval;
use processes::allow_list::{Judged, Lists, Outcome, Source};
use processes::{BoxFuture, WorkError};
use sha2::{Digest as _, Sha256};
use store::{Store, StoreError};

use crate::feasibility::failed;

/// Name of the stored value: digest of a list, digest of the change under which it waits.
const SETTING: &str = "allow-lists-waiting";

/// Lists of partners, for the own node.
pub(crate) struct PartnerLists {
    /// Accepts only pinned server certificates, if there are pins.
    pub(crate) client: Client,
    pub(crate) policies: Arc<PolicyHistory>,
    store: Store,
    /// The endpoint is made after the processes.
    door: OnceLock<(Endpoint, Identity)>,
}

/// A list that may be brought in, and what it would change.
struct Acceptable {
    bundle: Resource,
    difference: Difference,
}

impl PartnerLists {
    pub(crate) fn new(client: Client, policies: Arc<PolicyHistory>, store: Store) -> Self {
        Self { client, policies, store, door: OnceLock::new() }
    }

    /// Opens the way in.
    pub(crate) fn open(&self, endpoint: Endpoint, identity: Identity) {
        // A second one would be the same.
        let _ = self.door.set((endpoint, identity));
    }

    fn door(&self) -> Result<&(Endpoint, Identity), WorkError> {
        self.door.get().ok_or_else(|| WorkError::retry("the node is starting"))
    }

    /// Fetches a Bundle; its source has the version that was read.
    async fn fetch(&self, source: &Source) -> Result<(Source, Resource), WorkError> {
        let path = match &source.version {
            Some(version) => format!("Bundle/{}/_history/{version}", source.id),
            None => format!("Bundle/{}", source.id),
        };
        let id = CorrelationId::random().to_string();
        let request = Request::new(Method::Get, &source.base_url, &path, &id);
        let answer = self.client.request(request).await.map_err(|error| failed(&error))?;
        let bundle = answer.resource().map_err(|error| failed(&error))?;
        if bundle.type_name() != "Bundle" {
            return Err(WorkError::failed(format!("{} gave no Bundle", source.url())));
        }
        let version = bundle.version_id().map(|version| version.to_string());
        let version = source.version.clone().or(version);
        Ok((Source { version, ..source.clone() }, bundle))
    }

    /// The objections to a Bundle, or what may be brought in.
    async fn examine(&self, bundle: Resource) -> Result<Result<Acceptable, Vec<String>>, WorkError> {
        let policy = self.policies.active();
        let section = policy.allow_list();
        let mut objections = Vec::new();
        if !section.has_required_identifier(&bundle) {
            objections.push(format!("the Bundle has not the identifier {}", section.require_identifier));
        }
        let (endpoint, _) = self.door()?;
        let list = endpoint.allow_list().await?;
        // Whoever keeps the list of a network says which roles its members have, unless the policy keeps the own ones.
        let own_roles = if section.protect_self { OwnRoles::Kept } else { OwnRoles::Given };
        match change::apply_as(&list, &bundle, own_roles) {
            Ok(next) if objections.is_empty() => {
                return Ok(Ok(Acceptable { bundle, difference: change::difference(&list, &next) }));
            }
            Ok(_) => {}
            Err(error) => objections.push(error.to_string()),
        }
        Ok(Err(objections))
    }

    async fn judge(&self, source: Source) -> Result<Judged, WorkError> {
        if !self.policies.active().allow_list().permits_source(&source.url()) {
            let text = format!("{} is not among the sources that [allow-list] of the policy names", source.url());
            return Err(WorkError::failed(text));
        }
        let (source, bundle) = self.fetch(&source).await?;
        let digest = digest(&bundle);
        let objections = self.examine(bundle).await?.err().unwrap_or_default();
        Ok(Judged { source, digest, objections })
    }

    async fn bring_in(&self, judged: Judged) -> Result<Outcome, WorkError> {
        let (source, bundle) = self.fetch(&judged.source).await?;
        if digest(&bundle) != judged.digest {
            return Err(WorkError::failed(format!("{} has changed since it was judged; start again", source.url())));
        }
        let Acceptable { mut bundle, difference } = match self.examine(bundle).await? {
            Ok(acceptable) => acceptable,
            Err(objections) => return Err(WorkError::failed(objections.join("; "))),
        };
        bundle.set("type", "transaction");
        bundle.remove("identifier");
        let policy = self.policies.active();
        let section = policy.allow_list();
        let large = difference.exceeds(&section.max_delta);
        if difference.is_empty() && section.approval != Approval::None {
            return Ok(Outcome::Unchanged);
        }
        let summary = summary(&difference, &large);
        if let Some(change) = self.waiting(&judged.digest).await? {
            return Ok(Outcome::Waiting { change, summary });
        }
        let (endpoint, identity) = self.door()?;
        let carried_out = match large.is_empty() {
            true => endpoint.execute_local(identity.clone(), bundle).await,
            false => endpoint.execute_for_approval(identity.clone(), bundle).await,
        };
        match carried_out {
            Ok(_) => Ok(Outcome::Applied { summary }),
            Err(error) => match error.pending().map(str::to_owned) {
                Some(change) => {
                    self.remember(judged.digest, change.clone()).await?;
                    Ok(Outcome::Waiting { change, summary })
                }
                None if error.status >= 500 => Err(WorkError::retry(error.diagnostics)),
                None => Err(WorkError::failed(error.diagnostics)),
            },
        }
    }
}

impl PartnerLists {
    /// The change under which the same list waits already. What is new in a list gets new ids each time, so it would wait
    /// once more with every download.
    async fn waiting(&self, list: &str) -> Result<Option<String>, WorkError> {
        let pending = self.door()?.0.pending_changes().await?;
        let mut known = self.store.read(read_waiting).await?;
        Ok(known.remove(list).filter(|change| pending.iter().any(|pending| pending.digest == *change)))
    }

    /// Keeps under which change a list waits, and forgets those that wait no more.
    async fn remember(&self, list: String, change: String) -> Result<(), WorkError> {
        let pending = self.door()?.0.pending_changes().await?;
        let remember = move |tx: &mut store::Transaction<'_>| {
            let mut known = read_waiting(tx)?;
            known.retain(|_, change| pending.iter().any(|pending| pending.digest == *change));
            known.insert(list, change);
            tx.set_setting(SETTING, &serde_json::to_vec(&known).unwrap_or_default())
        };
        Ok(self.store.write(remember).await?)
    }
}

/// What cannot be read waits once more at worst.
fn read_waiting(tx: &mut store::Transaction<'_>) -> Result<BTreeMap<String, String>, StoreError> {
    let stored = tx.setting(SETTING)?;
    Ok(stored.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
}

impl Lists for PartnerLists {
    fn judge(&self, source: Source) -> BoxFuture<'_, Result<Judged, WorkError>> {
        Box::pin(self.judge(source))
    }

    fn bring_in(&self, judged: Judged) -> BoxFuture<'_, Result<Outcome, WorkError>> {
        Box::pin(self.bring_in(judged))
    }
}

/// Over what is brought in; what a server writes into `meta` of the Bundle itself is not.
fn digest(bundle: &Resource) -> String {
    let mut content = bundle.clone();
    content.remove("meta");
    let text = fhir::print(Format::Json, &content, false);
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn summary(difference: &Difference, large: &[String]) -> String {
    let mut text = format!(
        "{} organizations added, {} removed, {} changed",
        difference.added.len(),
        difference.removed.len(),
        difference.changed.len()
    );
    if !large.is_empty() {
        text.push_str(&format!(", larger than [allow-list.max-delta] permits ({})", large.join("; ")));
    }
    text
}
