//! What a policy says about the whole finite space of callers, interactions and types.
//!
//! [`Outlook`] is the answer for one caller and one cell before anything of a concrete request is known: refused whatever
//! it says, or permitted under the conditions that are named. Two policies (or one policy with two allow-lists) differ
//! exactly where an outlook differs; that is what `schleuse matrix` and `schleuse diff` print. The answer comes from the
//! rules that the decision itself looks at, so it cannot drift from it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use fhir::ResourceType;
use serde::Serialize;
use time::OffsetDateTime;

use crate::allow_list::AllowList;
use crate::decision::{Context, Origin};
use crate::identity::{Identity, OrganizationIdentity, PersonIdentity};
use crate::interaction::{DsfOperation, Interaction};
use crate::policy::rules::{Body, Question, TaskCondition};
use crate::policy::{Effect, Policy, Rule};

/// Who might ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// As it is printed.
    pub name: String,
    /// The identity.
    pub identity: Identity,
}

/// What might be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// The interaction.
    pub interaction: Interaction,
    /// The type; none for what has none.
    pub resource_type: Option<ResourceType>,
}

/// The answer as far as it does not depend on the concrete request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outlook {
    /// Refused, whatever the request says.
    Refused,
    /// Permitted under these conditions.
    Permitted(Conditions),
}

/// Conditions on a request. Everything empty: permitted in any case, as far as the policy goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Conditions {
    /// One of these must hold; empty: nothing is asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<String>,
    /// None of these may hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub none_of: Vec<String>,
    /// All of these hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub all_of: Vec<String>,
}

/// Cells of some callers in which two policies differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// Who.
    pub callers: Vec<String>,
    /// What, as `create Task`.
    pub cells: Vec<String>,
    /// Before.
    pub before: Outlook,
    /// After.
    pub after: Outlook,
}

/// One policy with one allow-list.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The allow-list.
    pub allow_list: &'a AllowList,
}

// === impl Cell ===

impl Cell {
    /// Every cell of the table of interactions.
    pub fn all() -> impl Iterator<Item = Self> {
        Interaction::ALL.iter().flat_map(|interaction| {
            let types = std::iter::once(None).chain(ResourceType::ALL.iter().copied().map(Some));
            types
                .filter(|resource_type| interaction.applies_to(*resource_type))
                .map(|resource_type| Self { interaction: *interaction, resource_type })
        })
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.resource_type {
            Some(resource_type) => write!(f, "{} {resource_type}", self.interaction),
            None => self.interaction.fmt(f),
        }
    }
}

// === impl Conditions ===

impl Conditions {
    fn in_order(&mut self) {
        for list in [&mut self.one_of, &mut self.none_of, &mut self.all_of] {
            list.sort();
            list.dedup();
        }
    }
}

// === impl Caller ===

impl Caller {
    /// Everybody whom allow-list and policy know: active organisations with a certificate, and persons.
    #[must_use]
    pub fn all(side: Side<'_>) -> Vec<Self> {
        let mut callers = Vec::new();
        for organization in side.allow_list.organizations().iter().filter(|organization| organization.active) {
            let Some(thumbprint) = organization.thumbprints.first() else { continue };
            let identity = side.allow_list.identify(thumbprint, None, side.policy);
            if identity.organization() == Some(&organization.identifier) {
                callers.push(Self { name: identity.name(), identity });
            }
        }
        for person in &side.policy.identity().people {
            let Some(thumbprint) = person.thumbprints.first() else { continue };
            let email = person.emails.first().map(String::as_str);
            let identity = side.allow_list.identify(thumbprint, email, side.policy);
            if identity != Identity::Unknown {
                callers.push(Self { name: format!("person:{}", person.id), identity });
            }
        }
        callers
    }

    /// One of each kind, of nobody in particular: for a policy without an allow-list at hand.
    #[must_use]
    pub fn kinds(side: Side<'_>) -> Vec<Self> {
        let Ok(thumbprint) = "0".repeat(128).parse::<crate::Thumbprint>() else { return Vec::new() };
        let local = side.allow_list.local().clone();
        let organization =
            |identifier| OrganizationIdentity { identifier, endpoint: None, thumbprint: thumbprint.clone() };
        let all = |operation| crate::identity::DsfRole { operation, types: Vec::new() };
        let person = PersonIdentity {
            organization: local.clone(),
            endpoint: None,
            identifier: match "person@example.org".parse() {
                Ok(identifier) => identifier,
                Err(_) => return Vec::new(),
            },
            thumbprint: thumbprint.clone(),
            dsf_roles: DsfOperation::ALL.iter().copied().map(all).collect(),
            practitioner_roles: Vec::new(),
            granted_by: Vec::new(),
        };
        let named = |name: &str, identity| Self { name: name.to_owned(), identity };
        let mut callers = vec![
            named("local-organization", Identity::Local(organization(local))),
            named("person", Identity::Person(person)),
        ];
        if let Ok(other) = "any-other.example".parse() {
            callers.push(named("remote-organization", Identity::Remote(organization(other))));
        }
        callers
    }
}

/// What the side says about the caller and the cell.
#[must_use]
pub fn outlook(side: Side<'_>, caller: &Identity, cell: Cell) -> Outlook {
    let of_cell = outlook_of(side, caller, cell);
    if !cell.interaction.shows_stored() {
        return of_cell;
    }
    let reading = outlook_of(side, caller, Cell { interaction: Interaction::Read, ..cell });
    let (Outlook::Permitted(mut both), Outlook::Permitted(reading)) = (of_cell, reading) else {
        return Outlook::Refused;
    };
    if both.one_of != reading.one_of && !reading.one_of.is_empty() {
        both.all_of.push(format!("to be read only if {}", reading.one_of.join(", or ")));
    }
    both.none_of.extend(reading.none_of);
    both.all_of.extend(reading.all_of);
    both.in_order();
    Outlook::Permitted(both)
}

/// What the rules about the cell alone say.
fn outlook_of(side: Side<'_>, caller: &Identity, cell: Cell) -> Outlook {
    let granted = match cell.interaction {
        Interaction::PermanentDelete => [DsfOperation::PermanentDelete, DsfOperation::Delete]
            .iter()
            .all(|operation| caller.has_dsf_role(*operation, cell.resource_type)),
        interaction => {
            interaction.dsf_operation().is_none_or(|operation| caller.has_dsf_role(operation, cell.resource_type))
        }
    };
    if !granted || *caller == Identity::Unknown {
        return Outlook::Refused;
    }
    let context = Context { now: OffsetDateTime::UNIX_EPOCH, origin: Origin::Engine, body_bytes: None };
    let question = Question {
        identity: caller,
        interaction: cell.interaction,
        resource_type: cell.resource_type,
        body: Body::NotYet,
        context: &context,
        zone: side.policy.zone(),
    };
    let mut conditions = Conditions::default();
    let mut any = false;
    for rule in side.policy.rules().about(&question, side.allow_list) {
        let when = condition(rule);
        match (rule.effect, when) {
            (Effect::Allow, None) => {
                any = true;
                conditions.one_of = vec![String::new()];
            }
            (Effect::Allow, Some(when)) => {
                any = true;
                if conditions.one_of != [""] {
                    conditions.one_of.push(when);
                }
            }
            (Effect::Deny, None) => return Outlook::Refused,
            (Effect::Deny, Some(when)) => conditions.none_of.push(when),
            (Effect::Restrict, when) => {
                let when = when.map_or(String::new(), |when| format!("if {when}: "));
                conditions.all_of.push(format!("{when}{}", demands(rule)));
            }
        }
    }
    if !any {
        return Outlook::Refused;
    }
    if conditions.one_of == [""] {
        conditions.one_of.clear();
    }
    conditions.in_order();
    Outlook::Permitted(conditions)
}

/// Where both sides differ; callers and cells with the same difference are told together.
#[must_use]
pub fn diff(before: Side<'_>, after: Side<'_>) -> Vec<Change> {
    let mut callers: BTreeMap<String, (Identity, Identity)> = BTreeMap::new();
    for caller in Caller::all(before).into_iter().chain(Caller::kinds(before)) {
        callers.insert(caller.name, (caller.identity, Identity::Unknown));
    }
    for caller in Caller::all(after).into_iter().chain(Caller::kinds(after)) {
        callers.entry(caller.name).or_insert((Identity::Unknown, Identity::Unknown)).1 = caller.identity;
    }
    let mut found: BTreeMap<(Outlook, Outlook, Vec<String>), Vec<String>> = BTreeMap::new();
    for (name, (old, new)) in &callers {
        let mut of_caller: BTreeMap<(Outlook, Outlook), Vec<String>> = BTreeMap::new();
        for cell in Cell::all() {
            let (was, is) = (outlook(before, old, cell), outlook(after, new, cell));
            if was != is {
                of_caller.entry((was, is)).or_default().push(cell.to_string());
            }
        }
        for ((was, is), cells) in of_caller {
            found.entry((was, is, cells)).or_default().push(name.clone());
        }
    }
    found.into_iter().map(|((before, after, cells), callers)| Change { callers, cells, before, after }).collect()
}

/// The conditions of a rule in words; none if it has none.
fn condition(rule: &Rule) -> Option<String> {
    let mut words = Vec::new();
    if let Some(task) = &rule.task {
        task_condition(task, &mut words);
    }
    if !rule.profiles.is_empty() {
        words.push(format!("profile {}", rule.profiles.join(" or ")));
    }
    if let Some(window) = rule.time {
        words.push(format!("at {window}"));
    }
    if !rule.networks.is_empty() {
        words.push(format!("from {}", networks(&rule.networks)));
    }
    (!words.is_empty()).then(|| words.join(", "))
}

fn task_condition(task: &TaskCondition, words: &mut Vec<String>) {
    for (name, values) in [("status", &task.status), ("process", &task.process), ("message", &task.message_name)] {
        if !values.is_empty() {
            words.push(format!("{name} {}", values.join(" or ")));
        }
    }
    if task.profile_required {
        words.push("a profile".to_owned());
    }
}

/// What a restriction demands, in words.
fn demands(rule: &Rule) -> String {
    let only = &rule.only;
    let mut words = String::from("only");
    if let Some(window) = only.time {
        let _ = write!(words, " at {window}");
    }
    if !only.networks.is_empty() {
        let _ = write!(words, " from {}", networks(&only.networks));
    }
    if let Some(size) = only.size {
        let _ = write!(words, " up to {size} bytes");
    }
    if let Some(rate) = only.rate {
        let _ = write!(words, " {} in {} s", rate.most, rate.span.as_secs());
    }
    if let Some(count) = only.count {
        let _ = write!(words, " {} a {}", count.most, count.per.as_str());
    }
    words
}

fn networks(networks: &[crate::network::Network]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

impl std::fmt::Display for Outlook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self::Permitted(conditions) = self else { return f.write_str("refused") };
        f.write_str("permitted")?;
        if !conditions.one_of.is_empty() {
            write!(f, " if {}", conditions.one_of.join(", or "))?;
        }
        if !conditions.none_of.is_empty() {
            write!(f, " unless {}", conditions.none_of.join(", or "))?;
        }
        if !conditions.all_of.is_empty() {
            write!(f, "; {}", conditions.all_of.join("; "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
