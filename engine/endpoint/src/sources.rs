//! The resources that the allow-list is built from, kept as they were last committed.
//!
//! A national network has thousands of them, and each change asks for a new list. What has not changed is not read and
//! parsed again: a committed version of a resource never changes, so its version number tells whether it is known.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use fhir::{Resource, ResourceType};
use policies::{AllowList, OrganizationIdentifier};
use store::{StoreError, Transaction};

/// The types.
pub(crate) const ALLOW_LIST_TYPES: &[ResourceType] = &[
    ResourceType::Organization,
    ResourceType::Endpoint,
    ResourceType::OrganizationAffiliation,
    ResourceType::ActivityDefinition,
];

/// Current resources in the order of the store.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    by_id: HashMap<(ResourceType, String), usize>,
    resources: Vec<(u64, Arc<Resource>)>,
}

/// Those of the last look at committed data.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Arc<Sources>>);

// === impl Sources ===

impl Sources {
    /// The sources as the transaction sees them.
    pub(crate) fn changed(&self, tx: &mut Transaction<'_>) -> Result<Self, StoreError> {
        let mut current = Self::default();
        for resource_type in ALLOW_LIST_TYPES {
            for (id, version) in tx.versions(*resource_type)? {
                let key = (*resource_type, id);
                let resource = match self.known(&key, version) {
                    Some(resource) => resource,
                    None => match tx.read(*resource_type, &key.1)?.current() {
                        Some(stored) => stored.resource,
                        None => continue,
                    },
                };
                current.by_id.insert(key, current.resources.len());
                current.resources.push((version, resource));
            }
        }
        Ok(current)
    }

    fn known(&self, key: &(ResourceType, String), version: u64) -> Option<Arc<Resource>> {
        let (known, resource) = self.resources.get(*self.by_id.get(key)?)?;
        (*known == version).then(|| Arc::clone(resource))
    }

    pub(crate) fn allow_list(&self, local: &OrganizationIdentifier, base_url: &str) -> AllowList {
        AllowList::from_resources(self.resources.iter().map(|(_, resource)| resource.as_ref()), local.clone(), base_url)
    }
}

// === impl Kept ===

impl Kept {
    pub(crate) fn kept(&self) -> Arc<Sources> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps what was read from committed data, never from a transaction that may be rolled back.
    pub(crate) fn keep(&self, sources: Sources) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(sources);
    }
}
