//! Value sets, expanded from what is stored locally (no terminology server).
//!
//! A value set is expanded once, when a profile that requires it is compiled. Included and excluded are listed concepts,
//! code systems whose content is complete, parts of these that filters select ([`filter`]), further value sets, and what
//! these have in common. What cannot be expanded (code systems that are not stored or not complete, filters on what only a
//! terminology server knows) makes the set incomplete: a code that is not found in it is then unknown instead of wrong, and
//! the validator says that it was not checked.

mod filter;

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

    /// Takes everything out that the other set has.
    fn remove(&mut self, other: &Self) {
        for (system, groups) in &other.groups {
            for group in self.groups.get_mut(system).into_iter().flatten() {
                group.codes.retain(|code| !groups.iter().any(|other| other.codes.contains(code)));
            }
        }
        self.has_media_types &= !other.has_media_types;
        if let Some(reason) = &other.incomplete {
            self.miss(reason.clone());
        }
    }

    /// Adds everything that the other set has.
    fn unite(&mut self, other: Self) {
        for (system, groups) in other.groups {
            for group in groups {
                self.add(&system, group.version.as_deref(), group.codes);
            }
        }
        self.has_media_types |= other.has_media_types;
        if let Some(reason) = other.incomplete {
            self.miss(reason);
        }
    }

    /// Keeps only what the other set has too.
    fn intersect(&mut self, other: &Self) {
        if self.has_media_types {
            let of_others = other.groups.get(MEDIA_TYPES).into_iter().flatten();
            let listed: HashSet<String> = of_others.flat_map(|group| group.codes.iter().cloned()).collect();
            self.has_media_types = other.has_media_types;
            self.add(MEDIA_TYPES, None, listed);
        }
        for (system, groups) in &mut self.groups {
            for group in groups {
                let version = group.version.clone();
                group.codes.retain(|code| {
                    other.membership(Some(system.as_str()), version.as_deref(), code) == Membership::Member
                });
            }
        }
        if let Some(reason) = &other.incomplete {
            self.miss(reason.clone());
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
        return expansion(canonical, &value_set, set);
    };
    for include in compose.list("include") {
        set.unite(part(include, source, depth));
    }
    for exclude in compose.list("exclude") {
        set.remove(&part(exclude, source, depth));
    }
    true
}

/// A value set that comes with nothing but its expansion.
fn expansion(canonical: &str, value_set: &Resource, set: &mut CodeSet) -> bool {
    let contains = value_set.get("expansion").map_or(&[][..], |expansion| expansion.list("contains"));
    if contains.is_empty() {
        set.miss(format!("value set {canonical} has no compose"));
    }
    let mut waiting: Vec<&Value> = contains.iter().collect();
    while let Some(concept) = waiting.pop() {
        waiting.extend(concept.list("contains"));
        let is_abstract = concept.get("abstract").and_then(Value::as_bool) == Some(true);
        if let (Some(system), Some(code), false) = (concept.str("system"), concept.str("code"), is_abstract) {
            set.add(system, concept.str("version"), HashSet::from([code.to_owned()]));
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

/// What one include or exclude names: codes of a system, what several value sets have in common, or both at once.
fn part(include: &Value, source: &dyn ProfileSource, depth: usize) -> CodeSet {
    let mut part = None;
    if let Some(system) = include.str("system") {
        let mut codes = CodeSet::default();
        include_system(system, include, source, &mut codes);
        part = Some(codes);
    }
    for other in include.list("valueSet").iter().filter_map(Value::as_str) {
        let mut codes = CodeSet::default();
        if depth >= limits::VALUE_SETS {
            codes.miss(format!("value sets include each other more than {} deep", limits::VALUE_SETS));
        } else if !include_value_set(other, source, &mut codes, depth + 1) {
            codes.miss(format!("value set {other} is not known"));
        }
        part = Some(match part {
            Some(mut known) => {
                known.intersect(&codes);
                known
            }
            None => codes,
        });
    }
    part.unwrap_or_else(|| {
        let mut nothing = CodeSet::default();
        nothing.miss("a part of the value set names nothing".to_owned());
        nothing
    })
}

fn include_system(system: &str, include: &Value, source: &dyn ProfileSource, set: &mut CodeSet) {
    let version = include.str("version");
    let codes = listed(include);
    if !codes.is_empty() {
        set.add(system, version, codes);
        return;
    }
    let filters = include.list("filter");
    if system == MEDIA_TYPES && filters.is_empty() {
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
    if filters.is_empty() {
        set.add(system, version, concepts(&code_system));
        return;
    }
    match filter::select(&code_system, filters) {
        Ok(codes) => set.add(system, version, codes),
        Err(reason) => set.miss(format!("codes of {system} are selected by {reason}")),
    }
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
