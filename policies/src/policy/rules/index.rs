//! Where the rules are that can concern a request.
//!
//! One cell per interaction and type; in it the rules about kinds of callers, about single organisations, and about
//! members of a consortium each have their own list. A decision looks at the lists of its caller only, and in them, when
//! the Task is known, at no rule that names other processes: what it costs does not grow with the rules.

use std::collections::HashMap;
use std::vec::IntoIter;

use super::{Body, Effect, Question, Rule, Subject, TaskCondition, cell};
use crate::allow_list::AllowList;
use crate::identifier::OrganizationIdentifier;
use crate::identity::Identity;
use crate::task::TaskView;

/// The rules of one effect.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    cells: Vec<Cell>,
    /// Whether any rule is about members of a consortium: else nobody needs to look up the roles of a caller.
    has_parents: bool,
    /// Whether a condition on a body that was not read yet may hold.
    is_hopeful: bool,
}

#[derive(Clone, Debug, Default)]
struct Cell {
    local: List,
    remote: List,
    person: List,
    organizations: HashMap<OrganizationIdentifier, List>,
    parents: HashMap<OrganizationIdentifier, List>,
}

/// Numbers of rules, in order.
#[derive(Clone, Debug, Default)]
struct List {
    all: Vec<u16>,
    /// Those without a condition on the body.
    bodyless: Vec<u16>,
    /// Those that are not in `by_process`.
    plain: Vec<u16>,
    /// Those that name processes, by url.
    by_process: HashMap<String, Vec<u16>>,
}

/// Which rules of a list are looked at.
#[derive(Clone, Copy)]
enum Choice<'q> {
    All,
    Bodyless,
    /// What a Task of this process can meet.
    Process(Option<&'q str>),
}

// === impl List ===

impl List {
    fn add(&mut self, number: u16, rule: &Rule) {
        let put = |list: &mut Vec<u16>| {
            if list.last() != Some(&number) {
                list.push(number);
            }
        };
        put(&mut self.all);
        if rule.task.is_none() && rule.profiles.is_empty() {
            put(&mut self.bodyless);
        }
        match rule.task.as_ref().and_then(urls_of) {
            Some(urls) => {
                urls.into_iter().for_each(|url| put(self.by_process.entry(url).or_default()));
            }
            _ => put(&mut self.plain),
        }
    }

    fn chosen(&self, choice: Choice<'_>) -> [&[u16]; 2] {
        match choice {
            Choice::All => [&self.all, &[]],
            Choice::Bodyless => [&self.bodyless, &[]],
            Choice::Process(url) => {
                let named = url.and_then(|url| self.by_process.get(url)).map_or(&[][..], Vec::as_slice);
                [&self.plain, named]
            }
        }
    }
}

/// The urls of the processes that a condition names; none if it is to be looked at for every Task.
fn urls_of(condition: &TaskCondition) -> Option<Vec<String>> {
    let urls: Vec<String> = condition.process.iter().map(|pattern| url_of(pattern)).collect::<Option<_>>()?;
    (!urls.is_empty()).then_some(urls)
}

/// The url that every canonical has which the pattern matches; none if there are several.
fn url_of(pattern: &str) -> Option<String> {
    match (pattern.split_once('|'), pattern.ends_with('*')) {
        (Some((url, _)), _) => Some(url.to_owned()),
        (None, false) => Some(pattern.to_owned()),
        (None, true) => None,
    }
}

// === impl Index ===

impl Index {
    pub(super) fn of(rules: &[Rule], effect: Effect) -> Self {
        let mut index = Self { is_hopeful: effect == Effect::Allow, ..Self::default() };
        for (number, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.effect == effect) {
            let Ok(number) = u16::try_from(number) else { break };
            for position in rule.cells() {
                if index.cells.len() <= position {
                    index.cells.resize_with(position + 1, Cell::default);
                }
                let Some(cell) = index.cells.get_mut(position) else { continue };
                for subject in &rule.subjects {
                    index.has_parents |= matches!(subject, Subject::Role(..) | Subject::Member(_));
                    cell.add(subject, number, rule);
                }
            }
        }
        index
    }

    /// The lists in which rules about the caller stand that can apply; a rule may stand in several.
    pub(super) fn lists<'i>(
        &'i self,
        question: &'i Question<'_>,
        allow_list: &'i AllowList,
    ) -> impl Iterator<Item = &'i [u16]> {
        self.chosen(question, allow_list, self.choice(question.body))
    }

    /// Rules about the caller that can apply, each once.
    pub(super) fn candidates(&self, question: &Question<'_>, allow_list: &AllowList) -> IntoIter<u16> {
        in_order(self.lists(question, allow_list))
    }

    /// Rules about the caller whatever the body is, each once.
    pub(super) fn about(&self, question: &Question<'_>, allow_list: &AllowList) -> IntoIter<u16> {
        in_order(self.chosen(question, allow_list, Choice::All))
    }

    fn choice<'q>(&self, body: Body<'q>) -> Choice<'q> {
        match body {
            Body::Resource(resource) => {
                let canonical = TaskView::of(resource).canonical_text();
                Choice::Process(canonical.map(|text| text.split_once('|').map_or(text, |(url, _)| url)))
            }
            Body::NotYet if !self.is_hopeful => Choice::Bodyless,
            Body::NotYet | Body::None => Choice::All,
        }
    }

    fn chosen<'i>(
        &'i self,
        question: &'i Question<'_>,
        allow_list: &'i AllowList,
        choice: Choice<'i>,
    ) -> impl Iterator<Item = &'i [u16]> {
        let cell = self.cells.get(cell(question.interaction, question.resource_type));
        let caller = match question.identity {
            Identity::Local(caller) | Identity::Remote(caller) => Some(&caller.identifier),
            Identity::Person(_) | Identity::Unknown => None,
        };
        let by_kind = cell.and_then(|cell| match question.identity {
            Identity::Local(_) => Some(&cell.local),
            Identity::Remote(_) => Some(&cell.remote),
            Identity::Person(_) => Some(&cell.person),
            Identity::Unknown => None,
        });
        let organizations = cell.map(|cell| &cell.organizations).filter(|known| !known.is_empty());
        let by_organization = organizations.and_then(|known| known.get(caller?));
        let parents = cell.map(|cell| &cell.parents).filter(|known| self.has_parents && !known.is_empty());
        let by_parent = parents.zip(caller).into_iter().flat_map(move |(parents, caller)| {
            allow_list.roles_of(caller).filter_map(|(parent, _)| parents.get(parent))
        });
        by_kind.into_iter().chain(by_organization).chain(by_parent).flat_map(move |list| list.chosen(choice))
    }
}

fn in_order<'i>(lists: impl Iterator<Item = &'i [u16]>) -> IntoIter<u16> {
    let mut numbers: Vec<u16> = Vec::new();
    for list in lists {
        numbers.extend_from_slice(list);
    }
    numbers.sort_unstable();
    numbers.dedup();
    numbers.into_iter()
}

impl Cell {
    fn add(&mut self, subject: &Subject, number: u16, rule: &Rule) {
        match subject {
            Subject::LocalOrganization => self.local.add(number, rule),
            Subject::RemoteOrganization => self.remote.add(number, rule),
            Subject::Person | Subject::Practitioner(_) => self.person.add(number, rule),
            Subject::Any => {
                for list in [&mut self.local, &mut self.remote, &mut self.person] {
                    list.add(number, rule);
                }
            }
            Subject::Organization(organization) => {
                self.organizations.entry(organization.clone()).or_default().add(number, rule);
            }
            Subject::Role(parent, _) | Subject::Member(parent) => {
                self.parents.entry(parent.clone()).or_default().add(number, rule);
            }
        }
    }
}
