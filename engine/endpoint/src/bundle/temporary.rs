//! Temporary ids of a Bundle and what they stand for.

use std::collections::{HashMap, HashSet};

use fhir::{Resource, ResourceType};
use store::{Change, ChangeKind};

use super::plan::{Command, Entry};
use crate::references::rewrite::{Place, conditional, rewrite};
use crate::refusal::Refusal;
use crate::session::Session;

/// `urn:uuid:…` to type and id.
#[derive(Debug, Default)]
pub(crate) struct TemporaryIds {
    ids: HashMap<String, (ResourceType, String)>,
    /// Changes that were looked at by [`TemporaryIds::replace_deleted`].
    seen: usize,
}

impl TemporaryIds {
    /// Gives every temporary id a new id, or that of the resource that its condition matches. Entries with the same
    /// condition get the same id, because the later one will find what the earlier one creates.
    pub(crate) fn assign<'e>(
        session: &mut Session<'_, '_>,
        entries: impl Iterator<Item = &'e Entry>,
    ) -> Result<Self, Refusal> {
        let mut ids = HashMap::new();
        let mut by_condition: HashMap<(ResourceType, String), String> = HashMap::new();
        for entry in entries {
            let Some(temporary_id) = &entry.temporary_id else { continue };
            let Some(resource_type) = entry.request.as_ref().and_then(|request| request.resource_type()) else {
                continue;
            };
            let condition = match &entry.command {
                Command::Create { if_none_exist: Some(criteria), .. } => {
                    Some(criteria.trim().trim_start_matches('?').to_owned())
                }
                Command::ConditionalUpdate { .. } => entry.request.as_ref().map(|request| request.raw_query()),
                _ => None,
            };
            let id = match condition.filter(|criteria| !criteria.is_empty()) {
                None => new_id(),
                Some(criteria) => {
                    let key = (resource_type, criteria);
                    match by_condition.get(&key) {
                        Some(id) => id.clone(),
                        None => {
                            // A condition that cannot be judged is refused when the entry is run.
                            let found = session.match_for_caller(resource_type, &key.1).ok().flatten();
                            let id = found.map_or_else(new_id, |version| version.id);
                            by_condition.insert(key, id.clone());
                            id
                        }
                    }
                }
            };
            ids.insert(temporary_id.clone(), (resource_type, id));
        }
        Ok(Self { ids, seen: 0 })
    }

    /// What a temporary id stands for.
    pub(crate) fn get(&self, temporary_id: &str) -> Option<(ResourceType, &str)> {
        self.ids.get(temporary_id).map(|(resource_type, id)| (*resource_type, id.as_str()))
    }

    /// Gives a new id to what stood for a resource that the Bundle has deleted: it will be created anew.
    pub(crate) fn replace_deleted(&mut self, changes: &[Change]) {
        let new = changes.get(self.seen..).unwrap_or_default();
        self.seen = changes.len();
        let deleted: HashSet<(ResourceType, &str)> = new
            .iter()
            .filter(|change| change.kind == ChangeKind::Deleted)
            .map(|change| (change.resource_type, change.id.as_str()))
            .collect();
        if deleted.is_empty() {
            return;
        }
        let mut renewed: HashMap<(ResourceType, String), String> = HashMap::new();
        for (resource_type, id) in self.ids.values_mut() {
            if deleted.contains(&(*resource_type, id.as_str())) {
                let new = renewed.entry((*resource_type, id.clone())).or_insert_with(new_id);
                *id = new.clone();
            }
        }
    }

    /// Replaces temporary and conditional references by literal ones.
    pub(crate) fn rewrite(&self, session: &mut Session<'_, '_>, resource: Resource) -> Result<Resource, Refusal> {
        let base_url = session.shared.base_url.clone();
        let mut refusal = None;
        let rewritten = rewrite(resource, &mut |place, text| {
            let target = match self.target(session, text) {
                Ok(target) => target?,
                Err(error) => {
                    refusal.get_or_insert(error);
                    return None;
                }
            };
            Some(match place {
                Place::Reference => target,
                Place::Url => format!("{base_url}/{target}"),
            })
        });
        match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(rewritten),
        }
    }

    /// `Type/id` of a temporary or conditional reference; `None` for every other text.
    fn target(&self, session: &mut Session<'_, '_>, text: &str) -> Result<Option<String>, Refusal> {
        if text.starts_with("urn:uuid:") {
            let Some((resource_type, id)) = self.get(text) else {
                return Err(Refusal::reference("Unknown reference, no entry of the Bundle has this temporary id"));
            };
            return Ok(Some(format!("{resource_type}/{id}")));
        }
        let Some((resource_type, criteria)) = conditional(text) else { return Ok(None) };
        match session.match_for_caller(resource_type, criteria) {
            Ok(Some(version)) => Ok(Some(format!("{resource_type}/{}", version.id))),
            Ok(None) | Err(_) => {
                Err(Refusal::reference(format!("Reference target by condition of type {resource_type} not found")))
            }
        }
    }
}

fn new_id() -> String {
    store::new_id()
}
