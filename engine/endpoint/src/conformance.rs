//! The profiles, value sets and code systems by which resources are validated, as they are stored.
//!
//! [`Conformance`] holds all current ones and is kept in a [`crate::cache::Cache`]; a transaction that stores or deletes
//! some looks at them through a [`View`], so that a Bundle can bring a profile and a resource that follows it
//! (`fhir-api` 3.2).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use fhir::validate::{ProfileRegistry, ProfileSource as _};
use fhir::{Resource, ResourceType, Value};
use store::{StoreError, Transaction};

use crate::terms;

/// The types that are held.
pub(crate) const TYPES: &[ResourceType] = &[
    ResourceType::StructureDefinition,
    ResourceType::ValueSet,
    ResourceType::CodeSystem,
    ResourceType::Questionnaire,
    ResourceType::NamingSystem,
];

/// Current conformance resources, and the profiles compiled from them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conformance {
    registry: ProfileRegistry,
    by_id: HashMap<(ResourceType, String), Arc<Resource>>,
    /// Systems whose identifiers are resolved: every write asks for those of its references.
    checked_systems: HashSet<String>,
}

/// What a transaction sees: what was committed, and what it has changed itself.
#[derive(Debug)]
pub(crate) struct View {
    /// Shared until the first change.
    state: Arc<Conformance>,
}

// === impl Conformance ===

impl Conformance {
    pub(crate) fn load(tx: &mut Transaction<'_>) -> Result<Self, StoreError> {
        let mut conformance = Self::default();
        for resource_type in TYPES {
            for stored in tx.all(*resource_type)? {
                conformance.set(*resource_type, stored.id, Some(stored.resource));
            }
        }
        Ok(conformance)
    }

    fn set(&mut self, resource_type: ResourceType, id: String, resource: Option<Arc<Resource>>) {
        let key = (resource_type, id);
        if let Some(old) = self.by_id.remove(&key)
            && let Some(url) = old.str("url")
        {
            self.registry.remove(resource_type.as_str(), url, old.str("version"));
        }
        if let Some(resource) = resource {
            self.registry.add(Arc::clone(&resource));
            self.by_id.insert(key, resource);
        }
        if resource_type == ResourceType::NamingSystem {
            let naming_systems = self.by_id.iter().filter(|((found, _), _)| *found == ResourceType::NamingSystem);
            let systems = naming_systems.flat_map(|(_, naming_system)| checked_systems(naming_system));
            self.checked_systems = systems.map(str::to_owned).collect();
        }
    }

    /// Profiles of resources that may be named in `meta.profile`, by type, for the capability statement.
    pub(crate) fn supported_profiles(&self) -> BTreeMap<String, Vec<String>> {
        let mut profiles: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for ((resource_type, _), definition) in &self.by_id {
            let Some(url) = definition.str("url").filter(|url| !url.contains("hl7.org")) else { continue };
            let is_profile = *resource_type == ResourceType::StructureDefinition
                && definition.get("abstract").and_then(Value::as_bool) != Some(true)
                && matches!(definition.str("status"), Some("active" | "draft"))
                && definition.str("kind") == Some("resource");
            if let Some(type_name) = definition.str("type").filter(|_| is_profile) {
                let canonical = match definition.str("version") {
                    Some(version) => format!("{url}|{version}"),
                    None => url.to_owned(),
                };
                profiles.entry(type_name.to_owned()).or_default().push(canonical);
            }
        }
        for canonicals in profiles.values_mut() {
            canonicals.sort();
            canonicals.dedup();
        }
        profiles
    }
}

// === impl View ===

impl View {
    pub(crate) const fn new(committed: Arc<Conformance>) -> Self {
        Self { state: committed }
    }

    /// Whether the transaction has changed nothing and sees exactly this.
    pub(crate) fn is_exactly(&self, conformance: &Arc<Conformance>) -> bool {
        Arc::ptr_eq(&self.state, conformance)
    }

    /// Takes a new version; `None` for a deletion.
    pub(crate) fn change(&mut self, resource_type: ResourceType, id: &str, resource: Option<Arc<Resource>>) {
        Arc::make_mut(&mut self.state).set(resource_type, id.to_owned(), resource);
    }

    /// The source of profiles for validation.
    pub(crate) fn registry(&self) -> &ProfileRegistry {
        &self.state.registry
    }

    /// Whether logical references with identifiers of this system are resolved.
    pub(crate) fn is_checked_system(&self, system: &str) -> bool {
        self.state.checked_systems.contains(system)
    }

    /// How many current resources have the url, and the version if one is named.
    pub(crate) fn count(&self, resource_type: ResourceType, url: &str, version: Option<&str>) -> usize {
        let is_meant = |resource: &&Arc<Resource>| {
            resource.str("url") == Some(url) && (version.is_none() || resource.str("version") == version)
        };
        self.of_type(resource_type).filter(is_meant).count()
    }

    /// Whether a stored code system has the code.
    pub(crate) fn has_code(&self, system: &str, code: &str) -> bool {
        self.state.registry.code_system(system, None).is_some_and(|found| has_concept(found.list("concept"), code))
    }

    fn of_type(&self, resource_type: ResourceType) -> impl Iterator<Item = &Arc<Resource>> {
        let of_type = self.state.by_id.iter().filter(move |((found, _), _)| *found == resource_type);
        of_type.map(|(_, resource)| resource)
    }
}

// The depth of a tree is bounded where it is parsed.
fn has_concept(concepts: &[Value], code: &str) -> bool {
    concepts.iter().any(|concept| concept.str("code") == Some(code) || has_concept(concept.list("concept"), code))
}

/// Systems whose logical references a NamingSystem says are to be checked.
fn checked_systems(naming_system: &Resource) -> impl Iterator<Item = &str> {
    let is_in_force = matches!(naming_system.str("status"), Some("draft" | "active"));
    let is_flag = |extension: &Value| {
        extension.str("url") == Some(terms::CHECK_LOGICAL_REFERENCE)
            && extension.get("valueBoolean").and_then(Value::as_bool) == Some(true)
    };
    let ids = naming_system.list("uniqueId").iter().filter(move |_| is_in_force);
    ids.filter(move |id| id.list("modifierExtension").iter().any(is_flag)).filter_map(|id| id.str("value"))
}
