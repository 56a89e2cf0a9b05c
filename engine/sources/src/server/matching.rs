//! Whether one resource passes the tests of a criterion: the meaning that the index of a folder has, for a resource that a
//! server gave.

use std::collections::HashSet;

use crate::date::Days;
use crate::folder::extract::{Entry, Extracted};
use crate::folder::key::{self, BOUND, ResourceKey};
use crate::plan::{Bounds, Code};

/// A test whose references are resolved.
pub(super) enum Check {
    Code { element: String, codes: Codes },
    CodeOf { element: String, group: Codes, codes: Codes },
    Quantity { element: String, group: Option<Codes>, unit: String, bounds: Bounds },
    Time { elements: Vec<String>, days: Days },
    Linked { element: String, targets: Targets },
    AnyOf(Vec<Self>),
}

/// Codes in the form that is asked.
pub(super) struct Codes {
    exact: HashSet<(String, String)>,
    /// Codes below which every longer one counts.
    below: Vec<Code>,
}

/// Resources that a test refers to.
#[derive(Default)]
pub(super) struct Targets {
    pub(super) keys: HashSet<ResourceKey>,
    /// `Type/id` of each.
    pub(super) references: Vec<String>,
}

// === impl Codes ===

impl Codes {
    pub(super) fn new(codes: &[Code]) -> Self {
        let (below, exact): (Vec<&Code>, Vec<&Code>) = codes.iter().partition(|code| code.descendants);
        Self {
            exact: exact.into_iter().map(|code| (code.system.clone(), code.code.clone())).collect(),
            below: below.into_iter().cloned().collect(),
        }
    }

    /// The codes, if they can be listed.
    pub(super) fn listed(&self) -> Option<impl Iterator<Item = &(String, String)>> {
        self.below.is_empty().then(|| self.exact.iter())
    }

    fn contain(&self, system: &str, code: &str) -> bool {
        if system == BOUND {
            return self.exact.iter().any(|(_, known)| known == code)
                || self.below.iter().any(|known| code.starts_with(&known.code));
        }
        self.exact.contains(&(system.to_owned(), code.to_owned()))
            || self.below.iter().any(|known| known.system == system && code.starts_with(&known.code))
    }

    /// The same for a code that stands beside a value, which always has its system.
    fn contain_group(&self, system: &str, code: &str) -> bool {
        system != BOUND && self.contain(system, code)
    }
}

// === impl Check ===

impl Check {
    pub(super) fn holds(&self, resource: &Extracted) -> bool {
        match self {
            Self::Code { element, codes } => has(resource, "C", element, |parts, _| match parts {
                [system, code] => codes.contain(system, code),
                _ => false,
            }),
            Self::CodeOf { element, group, codes } => has(resource, "G", element, |parts, _| match parts {
                [beside_system, beside, system, code] => {
                    group.contain_group(beside_system, beside) && codes.contain(system, code)
                }
                _ => false,
            }),
            Self::Quantity { element, group: None, unit, bounds } => {
                has(resource, "Q", element, |parts, entry| parts == [unit.as_str()] && within(entry, *bounds))
            }
            Self::Quantity { element, group: Some(group), unit, bounds } => {
                has(resource, "V", element, |parts, entry| match parts {
                    [found, system, code] => {
                        found == unit && group.contain_group(system, code) && within(entry, *bounds)
                    }
                    _ => false,
                })
            }
            Self::Time { elements, days } => overlaps(resource, elements, *days),
            Self::Linked { element, targets } => has(resource, "R", element, |_, entry| match entry {
                Entry::Reference(target) => targets.keys.contains(target),
                _ => false,
            }),
            Self::AnyOf(checks) => checks.iter().any(|check| check.holds(resource)),
        }
    }
}

/// Whether the element has an entry of this kind with these further parts.
fn has(resource: &Extracted, kind: &str, element: &str, holds: impl Fn(&[&str], &Entry) -> bool) -> bool {
    resource.entries.iter().any(|(name, entry)| {
        let mut parts = key::parts(name);
        parts.next() == Some(kind) && parts.next() == Some(element) && holds(&parts.collect::<Vec<_>>(), entry)
    })
}

fn within(entry: &Entry, bounds: Bounds) -> bool {
    matches!(entry, Entry::Quantity(value) if bounds.contain(*value))
}

/// The first of the elements that is there decides.
fn overlaps(resource: &Extracted, elements: &[String], days: Days) -> bool {
    for element in elements {
        let name = key::days(element);
        let mut found = resource.entries.iter().filter(|(key, _)| *key == name).peekable();
        if found.peek().is_some() {
            return found.any(|(_, entry)| matches!(entry, Entry::Days(found) if found.overlaps(days)));
        }
    }
    false
}
