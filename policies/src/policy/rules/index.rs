//! Where the rules are that can concern a request.
//!
//! One cell per interaction and type; in it the rules about kinds of callers, about single organisations, and about
//! members of a consortium each have their own list. A decision looks at the lists of its caller only.

use std::collections::HashMap;

use super::{Effect, Question, Rule, Subject, cell};
use crate::allow_list::AllowList;
use crate::identifier::OrganizationIdentifier;
use crate::identity::Identity;

/// The rules of one effect.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    cells: Vec<Cell>,
    /// Whether any rule is about members of a consortium: else nobody needs to look up the roles of a caller.
    has_parents: bool,
}

#[derive(Clone, Debug, Default)]
struct Cell {
    local: Vec<u16>,
    remote: Vec<u16>,
    person: Vec<u16>,
    organizations: HashMap<OrganizationIdentifier, Vec<u16>>,
    parents: HashMap<OrganizationIdentifier, Vec<u16>>,
}

// === impl Index ===

impl Index {
    pub(super) fn of(rules: &[Rule], effect: Effect) -> Self {
        let mut index = Self::default();
        for (number, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.effect == effect) {
            let Ok(number) = u16::try_from(number) else { break };
            for position in rule.cells() {
                if index.cells.len() <= position {
                    index.cells.resize_with(position + 1, Cell::default);
                }
                let Some(cell) = index.cells.get_mut(position) else { continue };
                for subject in &rule.subjects {
                    index.has_parents |= matches!(subject, Subject::Role(..) | Subject::Member(_));
                    cell.add(subject, number);
                }
            }
        }
        index
    }

    /// The lists in which rules about the caller stand; a rule may stand in several.
    pub(super) fn lists<'i>(
        &'i self,
        question: &'i Question<'_>,
        allow_list: &'i AllowList,
    ) -> impl Iterator<Item = &'i [u16]> {
        let cell = self.cells.get(cell(question.interaction, question.resource_type));
        let caller = match question.identity {
            Identity::Local(caller) | Identity::Remote(caller) => Some(&caller.identifier),
            Identity::Person(_) | Identity::Unknown => None,
        };
        let by_kind = cell.map(|cell| match question.identity {
            Identity::Local(_) => cell.local.as_slice(),
            Identity::Remote(_) => cell.remote.as_slice(),
            Identity::Person(_) => cell.person.as_slice(),
            Identity::Unknown => &[],
        });
        let organizations = cell.map(|cell| &cell.organizations).filter(|known| !known.is_empty());
        let by_organization = organizations.and_then(|known| known.get(caller?)).map(Vec::as_slice);
        let parents = cell.map(|cell| &cell.parents).filter(|known| self.has_parents && !known.is_empty());
        let by_parent = parents.zip(caller).into_iter().flat_map(move |(parents, caller)| {
            allow_list.roles_of(caller).filter_map(|(parent, _)| parents.get(parent)).map(Vec::as_slice)
        });
        by_kind.into_iter().chain(by_organization).chain(by_parent)
    }

    /// The rules about the caller, each once.
    pub(super) fn candidates(&self, question: &Question<'_>, allow_list: &AllowList) -> impl Iterator<Item = u16> {
        let mut numbers: Vec<u16> = Vec::new();
        for list in self.lists(question, allow_list) {
            numbers.extend_from_slice(list);
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter()
    }
}

impl Cell {
    fn add(&mut self, subject: &Subject, number: u16) {
        let put = |list: &mut Vec<u16>| {
            if list.last() != Some(&number) {
                list.push(number);
            }
        };
        match subject {
            Subject::LocalOrganization => put(&mut self.local),
            Subject::RemoteOrganization => put(&mut self.remote),
            Subject::Person | Subject::Practitioner(_) => put(&mut self.person),
            Subject::Any => {
                put(&mut self.local);
                put(&mut self.remote);
                put(&mut self.person);
            }
            Subject::Organization(organization) => put(self.organizations.entry(organization.clone()).or_default()),
            Subject::Role(parent, _) | Subject::Member(parent) => {
                put(self.parents.entry(parent.clone()).or_default());
            }
        }
    }
}
