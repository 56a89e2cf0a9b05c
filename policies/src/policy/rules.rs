//! `[[rule]]`: who may do what with which types.
//!
//! Rules are independent of their order: a request is permitted if some `allow` applies, no `deny` does, and what every
//! `restrict` that applies demands is met. At load they are sorted by id and laid out in a table with one cell per
//! interaction and type, and in it by whom they are about, so that a decision looks at the few rules that can concern it
//! whatever the number of rules is.

mod conditions;
mod index;
mod read;

use std::net::IpAddr;

use fhir::{Object, ResourceType};

use crate::allow_list::AllowList;
use crate::clock::{TimeWindow, Zone};
use crate::decision::{Context, Origin};
use crate::identifier::{OrganizationIdentifier, Role, RuleId};
use crate::identity::Identity;
use crate::interaction::Interaction;
use crate::network::Network;
use crate::task::TaskView;

pub use conditions::{Count, Demands, Rate};
use index::Index;
pub(super) use read::{RulesDraft, compile};

/// Whether a rule permits or forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Permits, unless a rule denies.
    Allow,
    /// Forbids, whatever other rules allow.
    Deny,
    /// Forbids unless its demands are met; permits nothing by itself.
    Restrict,
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `local-organization`
    LocalOrganization,
    /// `remote-organization`
    RemoteOrganization,
    /// `person`
    Person,
    /// `any`: every known identity.
    Any,
    /// `org:<identifier>`: the organisation, not its persons.
    Organization(OrganizationIdentifier),
    /// `role:<parent>/<role>`: every organisation that has the role in the parent organisation.
    Role(OrganizationIdentifier, Role),
    /// `member:<parent>`: every organisation that has any role in the parent organisation.
    Member(OrganizationIdentifier),
    /// `practitioner:<role>`: every person with the practitioner role.
    Practitioner(Role),
}

/// `when.task`: conditions on the Task in the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskCondition {
    /// Statuses; empty: any.
    pub status: Vec<String>,
    /// `instantiatesCanonical`, exact or with `*` at the end; empty: any.
    pub process: Vec<String>,
    /// Message names; empty: any.
    pub message_name: Vec<String>,
    /// Whether the Task must name a profile.
    pub profile_required: bool,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its id.
    pub id: RuleId,
    /// What it does.
    pub effect: Effect,
    /// Whom it is about; one of them suffices.
    pub subjects: Vec<Subject>,
    /// Interactions, sorted.
    pub interactions: Vec<Interaction>,
    /// Types, sorted; `None`: `*`, every type and what has none.
    pub types: Option<Vec<ResourceType>>,
    /// Conditions on the Task in the body.
    pub task: Option<TaskCondition>,
    /// Profiles of the resource in the body, exact or with `*` at the end; empty: any.
    pub profiles: Vec<String>,
    /// When the rule applies.
    pub time: Option<TimeWindow>,
    /// Networks from which the request must come; empty: any.
    pub networks: Vec<Network>,
    /// What a `restrict` demands.
    pub only: Demands,
}

/// The rules of a policy with their index.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    /// Rules that allow reading of every type without condition; empty if any rule denies or restricts reading.
    read_all: Vec<u16>,
    allow: Index,
    deny: Index,
    restrict: Index,
}

/// A request as rules see it.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) interaction: Interaction,
    pub(crate) resource_type: Option<ResourceType>,
    pub(crate) body: Body<'a>,
    pub(crate) context: &'a Context,
    pub(crate) zone: &'a Zone,
}

/// What is known about the body.
#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    /// It was not read yet: conditions on it are taken as they are most favourable to going on.
    NotYet,
    /// There is none that could be read as a resource.
    None,
    /// The resource.
    Resource(&'a Object),
}

/// Columns of the table: no type, then every type.
const COLUMNS: usize = ResourceType::ALL.len() + 1;

fn cell(interaction: Interaction, resource_type: Option<ResourceType>) -> usize {
    interaction as usize * COLUMNS + resource_type.map_or(0, |resource_type| resource_type as usize + 1)
}

// === impl Subject ===

impl Subject {
    /// Whether the identity is meant.
    #[must_use]
    pub fn matches(&self, identity: &Identity, allow_list: &AllowList) -> bool {
        match (self, identity) {
            (_, Identity::Unknown) => false,
            (Self::Any, _)
            | (Self::LocalOrganization, Identity::Local(_))
            | (Self::RemoteOrganization, Identity::Remote(_))
            | (Self::Person, Identity::Person(_)) => true,
            (Self::Organization(identifier), Identity::Local(caller) | Identity::Remote(caller)) => {
                caller.identifier == *identifier
            }
            (Self::Role(parent, role), Identity::Local(caller) | Identity::Remote(caller)) => {
                allow_list.has_role(&caller.identifier, caller.endpoint.as_ref(), parent, role)
            }
            (Self::Member(parent), Identity::Local(caller) | Identity::Remote(caller)) => {
                allow_list.roles_of(&caller.identifier).any(|(known, _)| known == parent)
            }
            (Self::Practitioner(role), Identity::Person(person)) => person.has_practitioner_role(role),
            (
                Self::LocalOrganization
                | Self::RemoteOrganization
                | Self::Person
                | Self::Organization(_)
                | Self::Role(..)
                | Self::Member(_)
                | Self::Practitioner(_),
                _,
            ) => false,
        }
    }

    /// Whether remote organisations can be meant.
    const fn includes_remote(&self) -> bool {
        matches!(self, Self::RemoteOrganization | Self::Any | Self::Organization(_) | Self::Role(..) | Self::Member(_))
    }

    /// Whether everybody whom `other` means is meant.
    fn covers(&self, other: &Self) -> bool {
        *self == Self::Any
            || self == other
            || matches!((self, other), (Self::Person, Self::Practitioner(_)))
            || matches!((self, other), (Self::Member(parent), Self::Role(of, _)) if parent == of)
    }
}

// === impl TaskCondition ===

impl TaskCondition {
    fn holds(&self, task: &Object) -> bool {
        let view = TaskView::of(task);
        let any = |allowed: &[String], value: Option<&str>| {
            allowed.is_empty()
                || value.is_some_and(|value| allowed.iter().any(|pattern| matches_pattern(pattern, value)))
        };
        any(&self.status, view.status())
            && any(&self.process, view.canonical_text())
            && any(&self.message_name, view.message_name())
            && (!self.profile_required || view.profiles().next().is_some())
    }
}

/// Exact, or everything that begins with what stands before a final `*`.
pub(crate) fn matches_pattern(pattern: &str, value: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => value.starts_with(prefix),
        None => pattern == value,
    }
}

// === impl Rule ===

impl Rule {
    /// Whether the rule has no conditions beyond subject, interaction and type.
    pub(crate) fn is_unconditional(&self) -> bool {
        self.task.is_none() && self.profiles.is_empty() && self.time.is_none() && self.networks.is_empty()
    }

    pub(crate) fn applies(&self, question: &Question<'_>, allow_list: &AllowList) -> bool {
        self.subjects.iter().any(|subject| subject.matches(question.identity, allow_list))
            && self.admits_origin(question.context.origin)
            && self.time.is_none_or(|window| window.contains(question.context.now, question.zone))
            && self.admits_body(question.body)
    }

    fn admits_origin(&self, origin: Origin) -> bool {
        match origin {
            Origin::Address(address) => self.networks.is_empty() || self.contains(address),
            // There is no address: what depends on one is taken as it is most favourable.
            Origin::Engine => self.networks.is_empty() || self.effect == Effect::Allow,
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    pub(crate) fn admits_body(&self, body: Body<'_>) -> bool {
        if self.task.is_none() && self.profiles.is_empty() {
            return true;
        }
        match body {
            Body::NotYet => self.effect == Effect::Allow,
            Body::Resource(resource) => {
                self.task.as_ref().is_none_or(|condition| condition.holds(resource)) && self.admits_profiles(resource)
            }
            // What cannot be looked at is refused: an allow does not apply, a deny and a restriction do.
            Body::None => self.effect != Effect::Allow,
        }
    }

    fn admits_profiles(&self, resource: &Object) -> bool {
        let listed = |profile: &str| self.profiles.iter().any(|pattern| matches_pattern(pattern, profile));
        self.profiles.is_empty() || TaskView::of(resource).profiles().any(listed)
    }

    fn cells(&self) -> impl Iterator<Item = usize> {
        self.interactions.iter().flat_map(move |interaction| {
            let untyped = self.types.is_none() && interaction.applies_to(None);
            let typed = ResourceType::ALL.iter().filter(move |resource_type| {
                self.types.as_ref().is_none_or(|types| types.contains(resource_type))
                    && interaction.applies_to(Some(**resource_type))
            });
            let untyped = untyped.then(|| cell(*interaction, None));
            untyped.into_iter().chain(typed.map(|resource_type| cell(*interaction, Some(*resource_type))))
        })
    }
}

fn read_all(rules: &[Rule]) -> Vec<u16> {
    let reads = |rule: &&Rule| rule.interactions.contains(&Interaction::Read);
    if rules.iter().filter(reads).any(|rule| rule.effect != Effect::Allow) {
        return Vec::new();
    }
    let all = rules.iter().zip(0..=u16::MAX).filter(|(rule, _)| reads(rule));
    all.filter(|(rule, _)| rule.types.is_none() && rule.is_unconditional()).map(|(_, number)| number).collect()
}

// === impl RuleSet ===

impl RuleSet {
    fn new(mut rules: Vec<Rule>) -> Self {
        // The id that is reported must not depend on files and their order.
        rules.sort_by(|left, right| left.id.cmp(&right.id));
        let of = |effect| Index::of(&rules, effect);
        let read_all = read_all(&rules);
        Self { allow: of(Effect::Allow), deny: of(Effect::Deny), restrict: of(Effect::Restrict), read_all, rules }
    }

    /// Whether reading of every type is allowed to the caller, as can be told without looking at each type.
    pub(crate) fn lets_read_everything(&self, identity: &Identity, allow_list: &AllowList) -> bool {
        let mut rules = self.read_all.iter().filter_map(|number| self.rules.get(usize::from(*number)));
        rules.any(|rule| rule.subjects.iter().any(|subject| subject.matches(identity, allow_list)))
    }

    /// Every rule, in order of their ids.
    #[must_use]
    pub fn all(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule that denies, if one does.
    pub(crate) fn denying(&self, question: &Question<'_>, allow_list: &AllowList) -> Option<&Rule> {
        self.first(&self.deny, question, allow_list)
    }

    /// A rule that allows, if one does.
    pub(crate) fn allowing(&self, question: &Question<'_>, allow_list: &AllowList) -> Option<&Rule> {
        self.first(&self.allow, question, allow_list)
    }

    /// Every restriction that applies.
    pub(crate) fn restricting<'r>(
        &'r self,
        question: &'r Question<'_>,
        allow_list: &'r AllowList,
    ) -> impl Iterator<Item = &'r Rule> {
        self.restrict
            .candidates(question, allow_list)
            .filter_map(|number| self.rules.get(usize::from(number)))
            .filter(|rule| rule.applies(question, allow_list))
    }

    /// Every rule about the caller, the interaction and the type, whatever its conditions are.
    pub(crate) fn about<'r>(
        &'r self,
        question: &'r Question<'_>,
        allow_list: &'r AllowList,
    ) -> impl Iterator<Item = &'r Rule> {
        [&self.allow, &self.deny, &self.restrict].into_iter().flat_map(move |index| {
            index
                .about(question, allow_list)
                .filter_map(|number| self.rules.get(usize::from(number)))
                .filter(|rule| rule.subjects.iter().any(|subject| subject.matches(question.identity, allow_list)))
        })
    }

    fn first<'r>(&'r self, index: &'r Index, question: &Question<'_>, allow_list: &AllowList) -> Option<&'r Rule> {
        let applies =
            |number: &u16| self.rules.get(usize::from(*number)).is_some_and(|rule| rule.applies(question, allow_list));
        // The lowest number, whichever list it stands in.
        let found =
            index.lists(question, allow_list).filter_map(|list| list.iter().copied().find(|n| applies(n))).min()?;
        self.rules.get(usize::from(found))
    }
}
