//! A set of conformance resources in memory, with the profiles compiled from them.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use super::profile::CompiledProfile;
use super::{ProfileSource, limits};
use crate::Resource;

type ByUrl = HashMap<String, Vec<Arc<Resource>>>;

/// StructureDefinitions, ValueSets, CodeSystems and Questionnaires by URL and version.
///
/// A clone shares the resources and is cheap, so the endpoint makes one for a transaction that creates conformance
/// resources and drops it, or puts it in the place of the old one, when the transaction ends.
#[derive(Debug, Default)]
pub struct ProfileRegistry {
    structure_definitions: ByUrl,
    value_sets: ByUrl,
    code_systems: ByUrl,
    questionnaires: ByUrl,
    compiled: RwLock<HashMap<String, Arc<CompiledProfile>>>,
}

/// The most compiled profiles that are kept. Canonicals come from outside, but only known ones compile.
const COMPILED: usize = 4 * limits::ISSUES * 10;

impl ProfileRegistry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the resource, or replaces the one with the same URL and version; false if it is none that validation uses or
    /// has no URL.
    pub fn add(&mut self, resource: impl Into<Arc<Resource>>) -> bool {
        let resource = resource.into();
        let Some(url) = resource.str("url").map(str::to_owned) else { return false };
        let Some(table) = self.table_mut(resource.type_name()) else { return false };
        let versions = table.entry(url).or_default();
        versions.retain(|known| known.str("version") != resource.str("version"));
        versions.push(resource);
        versions.sort_by(|a, b| compare_versions(a.str("version"), b.str("version")));
        self.forget();
        true
    }

    /// Removes the resource of this type, URL and version.
    pub fn remove(&mut self, type_name: &str, url: &str, version: Option<&str>) -> bool {
        let Some(versions) = self.table_mut(type_name).and_then(|table| table.get_mut(url)) else { return false };
        let before = versions.len();
        versions.retain(|known| known.str("version") != version);
        let removed = versions.len() < before;
        if removed {
            self.forget();
        }
        removed
    }

    fn table_mut(&mut self, type_name: &str) -> Option<&mut ByUrl> {
        match type_name {
            "StructureDefinition" => Some(&mut self.structure_definitions),
            "ValueSet" => Some(&mut self.value_sets),
            "CodeSystem" => Some(&mut self.code_systems),
            "Questionnaire" => Some(&mut self.questionnaires),
            _ => None,
        }
    }

    fn forget(&mut self) {
        self.compiled = RwLock::default();
    }
}

impl Clone for ProfileRegistry {
    fn clone(&self) -> Self {
        let compiled = self.compiled.read().map(|kept| kept.clone()).unwrap_or_default();
        Self {
            structure_definitions: self.structure_definitions.clone(),
            value_sets: self.value_sets.clone(),
            code_systems: self.code_systems.clone(),
            questionnaires: self.questionnaires.clone(),
            compiled: RwLock::new(compiled),
        }
    }
}

impl ProfileSource for ProfileRegistry {
    fn structure_definition(&self, url: &str, version: Option<&str>) -> Option<Arc<Resource>> {
        find(&self.structure_definitions, url, version)
    }

    fn value_set(&self, url: &str, version: Option<&str>) -> Option<Arc<Resource>> {
        find(&self.value_sets, url, version)
    }

    fn code_system(&self, url: &str, version: Option<&str>) -> Option<Arc<Resource>> {
        find(&self.code_systems, url, version)
    }

    fn questionnaire(&self, url: &str, version: Option<&str>) -> Option<Arc<Resource>> {
        find(&self.questionnaires, url, version)
    }

    fn compiled(&self, canonical: &str) -> Option<Arc<CompiledProfile>> {
        // A poisoned lock means that nothing is kept, which costs time and no correctness.
        self.compiled.read().ok()?.get(canonical).cloned()
    }

    fn keep(&self, canonical: &str, profile: &Arc<CompiledProfile>) {
        if let Ok(mut kept) = self.compiled.write() {
            if kept.len() >= COMPILED {
                kept.clear();
            }
            kept.insert(canonical.to_owned(), Arc::clone(profile));
        }
    }
}

fn find(table: &ByUrl, url: &str, version: Option<&str>) -> Option<Arc<Resource>> {
    let versions = table.get(url)?;
    match version {
        Some(_) => versions.iter().find(|known| known.str("version") == version),
        None => versions.last(),
    }
    .cloned()
}

/// By numbers between dots (`1.10` after `1.9`), then by text; no version comes first.
fn compare_versions(a: Option<&str>, b: Option<&str>) -> std::cmp::Ordering {
    let numbers = |version: &str| version.split('.').map(str::parse::<u64>).collect::<Result<Vec<_>, _>>().ok();
    match (a, b) {
        (Some(a), Some(b)) => match (numbers(a), numbers(b)) {
            (Some(x), Some(y)) => x.cmp(&y).then_with(|| a.cmp(b)),
            (None, Some(_)) => std::cmp::Ordering::Less,
            (Some(_), None) => std::cmp::Ordering::Greater,
            (None, None) => a.cmp(b),
        },
        _ => a.is_some().cmp(&b.is_some()),
    }
}
