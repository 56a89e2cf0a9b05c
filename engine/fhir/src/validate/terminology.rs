//! Value sets, expanded from what is stored locally (no terminology server).
//!
//! A value set is expanded once, when a profile that requires it is compiled. Included are listed concepts, whole code
//! systems whose content is complete, and further value sets; excluded are listed concepts. What cannot be expanded
//! (filters, code systems that are not stored or not complete) makes the set incomplete: a code that is not found in it
//! is then unknown instead of wrong, and the validator says that it was not checked.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{ProfileSource, limits, primitive};
use crate::canonical::Canonical;
use crate::definitions::definitions;
use crate::{Resource, Value};

const MEDIA_TYPES: &str = "urn:ietf:bcp:13";

/// The codes of a value set.
#[derive(Debug, Default)]
pub(crate) struct CodeSet {
    /// By system and version.
    groups: HashMap<String, Vec<Group>>,
    has_media_types: bool,
    /// Why codes may be missing.
    incomplete: Option<String>,
    concepts: usize,
}

#[derive(Debug)]
struct Group {
    version: Option<String>,
    codes: HashSet<String>,
}

/// Whether a code belongs to a value set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    Member,
    Foreign,
    /// The set is incomplete, for this reason.
    Unknown(String),
}

impl CodeSet {
    /// Whether the code of the system belongs to the set; without system, whether any system has the code.
    pub(crate) fn membership(&self, system: Option<&str>, version: Option<&str>, code: &str) -> Membership {
        let in_groups = |groups: &Vec<Group>| {
            groups.iter().any(|group| {
                let same = version.is_none() || group.version.is_none() || version == group.version.as_deref();
                same && group.codes.contains(code)
            })
        };
        let found = match system {
            Some(system) => self.groups.get(system).is_some_and(in_groups),
            None => self.groups.values().any(in_groups),
        };
        let is_media_type =
            self.has_media_types && system.is_none_or(|system| system == MEDIA_TYPES) && primitive::is_media_type(code);
        match &self.incomplete {
            _ if found || is_media_type => Membership::Member,
            Some(reason) => Membership::Unknown(reason.clone()),
            None => Membership::Foreign,
        }
    }

    fn add(&mut self, system: &str, version: Option<&str>, codes: HashSet<String>) {
        self.concepts += codes.len();
        if self.concepts > limits::CONCEPTS {
            self.miss(format!("the value set has more than {} codes", limits::CONCEPTS));
            return;
        }
        let group = Group { version: version.map(str::to_owned), codes };
        self.groups.entry(system.to_owned()).or_default().push(group);
    }

    fn remove(&mut self, system: &str, codes: &HashSet<String>) {
        for group in self.groups.get_mut(system).into_iter().flatten() {
            group.codes.retain(|code| !codes.contains(code));
        }
    }

    fn miss(&mut self, reason: String) {
        self.incomplete.get_or_insert(reason);
    }
}

/// Expands the value set; none if it is neither stored nor one of R4 that the tables enumerate.
pub(crate) fn expand(canonical: &str, source: &dyn ProfileSource) -> Option<CodeSet> {
    let mut set = CodeSet::default();
    include_value_set(canonical, source, &mut set, 0).then_some(set)
}

fn include_value_set(canonical: &str, source: &dyn ProfileSource, set: &mut CodeSet, depth: usize) -> bool {
    let Some(Canonical { url, version }) = Canonical::parse(canonical) else { return false };
    let Some(value_set) = source.value_set(&url, version.as_deref()) else {
        return include_r4(canonical, set);
    };
    let Some(compose) = value_set.get("compose") else {
        set.miss(format!("value set {canonical} has no compose"));
        return true;
    };
    for include in compose.list("include") {
        self::include(include, source, set, depth);
    }
    for exclude in compose.list("exclude") {
        match exclude.str("system") {
            Some(system) if exclude.get("filter").is_none() && exclude.get("valueSet").is_none() => {
                set.remove(system, &listed(exclude));
            }
            _ => set.miss(format!("value set {canonical} excludes by rule")),
        }
    }
    true
}

fn include_r4(canonical: &str, set: &mut CodeSet) -> bool {
    let Some(codes) = definitions().codes(canonical) else { return false };
    for (system, codes) in &codes.groups {
        set.add(system, None, codes.iter().map(|code| (*code).to_owned()).collect());
    }
    true
}

fn include(include: &Value, source: &dyn ProfileSource, set: &mut CodeSet, depth: usize) {
    let system = include.str("system");
    let value_sets = include.list("valueSet");
    match system {
        // Both together mean the intersection, several value sets as well.
        Some(system) if !value_sets.is_empty() || value_sets.len() > 1 => {
            set.miss(format!("codes of {system} are restricted by other value sets"));
        }
        Some(system) if include.get("filter").is_some() => {
            set.miss(format!("codes of {system} are selected by filter"))
        }
        Some(system) => include_system(system, include, source, set),
        None if value_sets.len() > 1 => set.miss("an intersection of value sets is included".to_owned()),
        None => {
            for other in value_sets.iter().filter_map(Value::as_str) {
                if depth >= limits::VALUE_SETS {
                    set.miss(format!("value sets include each other more than {} deep", limits::VALUE_SETS));
                } else if !include_value_set(other, source, set, depth + 1) {
                    set.miss(format!("value set {other} is not known"));
                }
            }
        }
    }
}

fn include_system(system: &str, include: &Value, source: &dyn ProfileSource, set: &mut CodeSet) {
    let version = include.str("version");
    let codes = listed(include);
    if !codes.is_empty() {
        set.add(system, version, codes);
        return;
    }
    if system == MEDIA_TYPES {
        set.has_media_types = true;
        return;
    }
    let Some(code_system) = source.code_system(system, version) else {
        let version = version.map_or_else(String::new, |version| format!("|{version}"));
        set.miss(format!("code system {system}{version} is not known"));
        return;
    };
    if code_system.str("content") != Some("complete") {
        set.miss(format!("the content of code system {system} is not complete"));
        return;
    }
    let version = version.or_else(|| code_system.str("version"));
    let codes = concepts(&code_system);
    set.add(system, version, codes);
}

fn listed(include: &Value) -> HashSet<String> {
    include.list("concept").iter().filter_map(|concept| concept.str("code")).map(str::to_owned).collect()
}

/// Every code of the system, whatever its place in the hierarchy.
fn concepts(code_system: &Arc<Resource>) -> HashSet<String> {
    let mut codes = HashSet::new();
    let mut waiting: Vec<&Value> = code_system.list("concept").iter().collect();
    while let Some(concept) = waiting.pop() {
        codes.extend(concept.str("code").map(str::to_owned));
        waiting.extend(concept.list("concept"));
    }
    codes
}
