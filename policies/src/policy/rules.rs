//! `[[rule]]`: who may do what with which types.
//!
//! Rules are independent of their order: a request is permitted if some `allow` applies and no `deny` does. At load they
//! are sorted by id and laid out in a table with one cell per interaction and type, so that a decision looks at the few
//! rules of its cell whatever the number of rules is.

use std::net::IpAddr;

use fhir::{Object, ResourceType};
use settings::{Item, Reader, Section};

use super::draft::{Located, list, quote};
use super::identity::{networks, rule_id};
use crate::allow_list::AllowList;
use crate::decision::Origin;
use crate::identifier::{OrganizationIdentifier, Role, RuleId};
use crate::identity::Identity;
use crate::interaction::{BodyKind, Interaction, ROWS};
use crate::limits;
use crate::network::Network;
use crate::read_access::ORGANIZATION_ROLE;
use crate::task::TaskView;

/// Whether a rule permits or forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Permits, unless a rule denies.
    Allow,
    /// Forbids, whatever other rules allow.
    Deny,
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
    /// Networks from which the request must come; empty: any.
    pub networks: Vec<Network>,
}

/// The rules of a policy with their index.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    allow: Vec<Vec<u16>>,
    deny: Vec<Vec<u16>>,
}

#[derive(Default)]
pub(super) struct RulesDraft {
    rules: Vec<(Located, Rule)>,
}

/// A request as rules see it.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) interaction: Interaction,
    pub(crate) resource_type: Option<ResourceType>,
    pub(crate) body: Body<'a>,
    pub(crate) origin: Origin,
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
    fn parse(text: &str) -> Option<Self> {
        match text {
            "local-organization" => Some(Self::LocalOrganization),
            "remote-organization" => Some(Self::RemoteOrganization),
            "person" => Some(Self::Person),
            "any" => Some(Self::Any),
            _ => {
                if let Some(identifier) = text.strip_prefix("org:") {
                    return Some(Self::Organization(identifier.parse().ok()?));
                }
                let (parent, role) = text.strip_prefix("role:")?.split_once('/')?;
                let role = if role.contains('|') { role.parse() } else { Role::new(ORGANIZATION_ROLE, role) };
                Some(Self::Role(parent.parse().ok()?, role.ok()?))
            }
        }
    }

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
            (
                Self::LocalOrganization
                | Self::RemoteOrganization
                | Self::Person
                | Self::Organization(_)
                | Self::Role(..),
                _,
            ) => false,
        }
    }

    /// Whether remote organisations can be meant.
    const fn includes_remote(&self) -> bool {
        matches!(self, Self::RemoteOrganization | Self::Any | Self::Organization(_) | Self::Role(..))
    }

    /// Whether everybody whom `other` means is meant.
    fn covers(&self, other: &Self) -> bool {
        *self == Self::Any || self == other
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
    fn is_unconditional(&self) -> bool {
        self.task.is_none() && self.networks.is_empty()
    }

    fn applies(&self, question: &Question<'_>, allow_list: &AllowList) -> bool {
        self.subjects.iter().any(|subject| subject.matches(question.identity, allow_list))
            && self.admits_origin(question.origin)
            && self.admits_body(question.body)
    }

    fn admits_origin(&self, origin: Origin) -> bool {
        match origin {
            Origin::Address(address) => self.networks.is_empty() || self.contains(address),
            // The gateway judged the address; a deny that depends on it was applied there.
            Origin::JudgedByGateway => self.networks.is_empty() || self.effect == Effect::Allow,
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    fn admits_body(&self, body: Body<'_>) -> bool {
        match (&self.task, body) {
            (None, _) => true,
            (Some(_), Body::NotYet) => self.effect == Effect::Allow,
            (Some(condition), Body::Resource(task)) => condition.holds(task),
            (Some(_), Body::None) => self.effect == Effect::Deny,
        }
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

// === impl RuleSet ===

impl RuleSet {
    fn new(mut rules: Vec<Rule>) -> Self {
        // The id that is reported must not depend on files and their order.
        rules.sort_by(|left, right| left.id.cmp(&right.id));
        let mut set = Self {
            allow: vec![Vec::new(); Interaction::ALL.len() * COLUMNS],
            deny: vec![Vec::new(); Interaction::ALL.len() * COLUMNS],
            rules: Vec::new(),
        };
        for (number, rule) in rules.iter().enumerate() {
            let Ok(number) = u16::try_from(number) else { break };
            let table = match rule.effect {
                Effect::Allow => &mut set.allow,
                Effect::Deny => &mut set.deny,
            };
            for position in rule.cells() {
                if let Some(cell) = table.get_mut(position) {
                    cell.push(number);
                }
            }
        }
        set.rules = rules;
        set
    }

    /// Every rule, in order of their ids.
    #[must_use]
    pub fn all(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule that denies, if one does.
    pub(crate) fn denying(&self, question: &Question<'_>, allow_list: &AllowList) -> Option<&Rule> {
        Self::first(&self.deny, &self.rules, question, allow_list)
    }

    /// A rule that allows, if one does.
    pub(crate) fn allowing(&self, question: &Question<'_>, allow_list: &AllowList) -> Option<&Rule> {
        Self::first(&self.allow, &self.rules, question, allow_list)
    }

    fn first<'r>(
        table: &[Vec<u16>],
        rules: &'r [Rule],
        question: &Question<'_>,
        allow_list: &AllowList,
    ) -> Option<&'r Rule> {
        table
            .get(cell(question.interaction, question.resource_type))?
            .iter()
            .filter_map(|number| rules.get(usize::from(*number)))
            .find(|rule| rule.applies(question, allow_list))
    }
}

// === reading ===

impl RulesDraft {
    pub(super) fn read(&mut self, root: &mut Section<'_>, reader: &mut Reader<'_>, file: usize) {
        for mut table in root.sections(reader, "rule") {
            let rule = read_rule(&mut table, reader, file);
            table.finish(reader);
            self.rules.extend(rule);
        }
    }
}

fn read_rule(table: &mut Section<'_>, reader: &mut Reader<'_>, file: usize) -> Option<(Located, Rule)> {
    let id = rule_id(table, reader);
    let effect = table.choice(reader, "effect", &[("allow", Effect::Allow), ("deny", Effect::Deny)]);
    require(table, reader, "effect", effect.is_some(), "write effect = \"allow\" or \"deny\"");
    let subjects = read_subjects(table, reader);
    let mut section = table.section(reader, "match");
    if !section.is_present() {
        reader.error(
            &table.span(),
            &table.key("match"),
            "is missing",
            "write match = { operations = [...], types = [...] }",
        );
    }
    let interactions = read_operations(&mut section, reader);
    let types = read_types(&mut section, reader, &interactions);
    section.finish(reader);
    let task = read_task_condition(table, reader, &interactions, types.as_ref());
    let networks = networks(table, reader);
    table.string(reader, "description");
    let id = id?;
    let place = Located::of(file, &id);
    Some((place, Rule { id: id.value, effect: effect?.value, subjects, interactions, types: types?, task, networks }))
}

/// Reports a key that is missing; one that is there and wrong was reported already.
fn require(table: &Section<'_>, reader: &mut Reader<'_>, name: &str, found: bool, remedy: &str) {
    if !found && !table.names().iter().any(|key| key.value == name) {
        reader.error(&table.span(), &table.key(name), "is missing", remedy);
    }
}

fn read_subjects(table: &mut Section<'_>, reader: &mut Reader<'_>) -> Vec<Subject> {
    const REMEDY: &str = "write \"local-organization\", \"remote-organization\", \"person\", \"any\", \"org:<identifier>\" or \"role:<parent>/<role>\"";
    let subjects = list(table, reader, "subject", "a subject; see the comment of the shipped policy", Subject::parse);
    require(table, reader, "subject", subjects.is_some(), REMEDY);
    if let Some(empty) = subjects.as_ref().filter(|item| item.value.is_empty() && !reader.has_errors()) {
        reader.refuse(empty, "is empty, so that the rule is about nobody", REMEDY);
    }
    subjects.map(|item| item.value).unwrap_or_default()
}

fn read_operations(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Vec<Interaction> {
    let words = section.strings(reader, "operations");
    if section.is_present() {
        require(section, reader, "operations", words.is_some(), "list operations, or [\"*\"]");
    }
    let mut interactions = Vec::new();
    for word in words.unwrap_or_default() {
        let before = interactions.len();
        interactions.extend(Interaction::covered_by(&word.value));
        if interactions.len() == before {
            let known: Vec<&str> = Interaction::ALL.iter().map(|known| known.as_str()).collect();
            let remedy = format!("write \"*\", \"history\" or one of {}", known.join(", "));
            reader.refuse(&word, format!("\"{}\" is no operation", quote(&word.value)), remedy);
        }
    }
    if interactions.is_empty() && section.is_present() && !reader.has_errors() {
        reader.error(&section.span(), &section.key("operations"), "is empty", "list operations, or [\"*\"]");
    }
    interactions.sort_unstable();
    interactions.dedup();
    interactions
}

/// `Some(None)` is `*`.
fn read_types(
    section: &mut Section<'_>,
    reader: &mut Reader<'_>,
    interactions: &[Interaction],
) -> Option<Option<Vec<ResourceType>>> {
    let Some(words) = section.strings(reader, "types") else {
        if interactions.iter().all(|interaction| interaction.is_untyped()) {
            return Some(None);
        }
        require(section, reader, "types", false, "list resource types, or [\"*\"]");
        return None;
    };
    if words.iter().any(|word| word.value == "*") {
        if let Some(other) = words.iter().find(|word| word.value != "*") {
            reader.refuse(other, "stands beside \"*\"", "keep either \"*\" or the types");
        }
        return Some(None);
    }
    let mut types = Vec::new();
    for word in &words {
        match word.value.parse::<ResourceType>() {
            Ok(resource_type) => types.push(resource_type),
            Err(_) => {
                let known: Vec<&str> = ResourceType::ALL.iter().map(|known| known.as_str()).collect();
                let remedy = format!("write \"*\" or one of {}", known.join(", "));
                reader.refuse(word, format!("\"{}\" is no resource type", quote(&word.value)), remedy);
            }
        }
    }
    if types.is_empty() && !reader.has_errors() {
        reader.error(&section.span(), &section.key("types"), "is empty", "list resource types, or [\"*\"]");
    }
    let untyped = interactions.iter().find(|interaction| interaction.is_untyped());
    if let Some(untyped) = untyped.filter(|_| interactions.len() < Interaction::ALL.len()) {
        let text = format!("does not cover {untyped}, which has no resource type");
        reader.warn(&section.span(), &section.key("types"), text, "write a rule of its own for it, or types = [\"*\"]");
    }
    types.sort_unstable();
    types.dedup();
    Some(Some(types))
}

fn read_task_condition(
    table: &mut Section<'_>,
    reader: &mut Reader<'_>,
    interactions: &[Interaction],
    types: Option<&Option<Vec<ResourceType>>>,
) -> Option<TaskCondition> {
    let mut when = table.section(reader, "when");
    let mut task = when.section(reader, "task");
    let condition = task.is_present().then(|| {
        let words = |item: Option<Vec<Item<String>>>| -> Vec<String> {
            item.unwrap_or_default().into_iter().map(|item| item.value).collect()
        };
        TaskCondition {
            status: list(&mut task, reader, "status", "a Task status", |text| {
                ["draft", "requested", "in-progress", "completed", "failed"].contains(&text).then(|| text.to_owned())
            })
            .map(|item| item.value)
            .unwrap_or_default(),
            process: read_patterns(&mut task, reader),
            message_name: words(task.strings(reader, "message-name")),
            profile_required: task.boolean(reader, "profile-required").is_some_and(|item| item.value),
        }
    });
    if condition.is_some() {
        let has_body = |interaction: &Interaction| {
            ROWS.iter().any(|row| row.interaction == *interaction && row.body == BodyKind::Resource)
        };
        let only_tasks = types.is_some_and(|types| types.as_deref() == Some(&[ResourceType::Task][..]));
        if !only_tasks || !interactions.iter().all(has_body) {
            let remedy = "match only create or update of the type Task in this rule";
            reader.error(
                &task.span(),
                task.path(),
                "has a condition on Tasks, but matches requests without a Task",
                remedy,
            );
        }
    }
    task.finish(reader);
    when.finish(reader);
    condition
}

fn read_patterns(task: &mut Section<'_>, reader: &mut Reader<'_>) -> Vec<String> {
    let expected = "a canonical of a process, with \"*\" at most at its end";
    let patterns = list(task, reader, "process", expected, |text| {
        let body = text.strip_suffix('*').unwrap_or(text);
        (!text.is_empty() && !body.contains('*')).then(|| text.to_owned())
    });
    patterns.map(|item| item.value).unwrap_or_default()
}

// === checks over all rules ===

/// Checks the rules of all files together and lays out the table.
pub(super) fn compile(draft: RulesDraft, readers: &mut [Reader<'_>]) -> RuleSet {
    let rules = draft.rules;
    for (index, (place, rule)) in rules.iter().enumerate() {
        let Some(reader) = readers.get_mut(place.file) else { continue };
        if rules.iter().take(index).any(|(_, other)| other.id == rule.id) {
            let text = format!("the id \"{}\" is used twice", rule.id);
            reader.error(&place.span, &place.key, text, "give each rule its own id");
        }
        check_ceiling(place, rule, reader);
        let shadow = |(_, other): &&(Located, Rule)| rule.effect == Effect::Allow && is_shadowed(rule, other);
        if let Some((_, other)) = rules.iter().find(shadow) {
            let text = format!("never applies, because the rule \"{}\" denies all of it", other.id);
            reader.error(&place.span, &place.key, text, "remove one of the two rules");
        }
    }
    if rules.len() > limits::RULES
        && let Some(reader) = readers.first_mut()
    {
        reader.error(
            &(0..0),
            "rule",
            format!("there are {} rules, more than {}", rules.len(), limits::RULES),
            "join rules",
        );
    }
    let set = RuleSet::new(rules.into_iter().map(|(_, rule)| rule).collect());
    if set.rules.is_empty()
        && let Some(reader) = readers.first_mut()
    {
        reader.warn(&(0..0), "rule", "there is no rule, so that every request is denied", "add the shipped rules.toml");
    }
    set
}

/// No rule gives remote organisations more than DSF does: the engine would refuse it anyway, and whoever reads the
/// policy must not believe otherwise.
fn check_ceiling(place: &Located, rule: &Rule, reader: &mut Reader<'_>) {
    if rule.effect != Effect::Allow || !rule.subjects.iter().any(Subject::includes_remote) {
        return;
    }
    let exceeds = |interaction: &&Interaction| match **interaction {
        Interaction::Create => rule.types.as_deref() != Some(&[ResourceType::Task][..]),
        interaction => interaction.is_write() || interaction == Interaction::Websocket,
    };
    if let Some(interaction) = rule.interactions.iter().find(exceeds) {
        let text = format!("allows {interaction} to remote organisations, who may create Tasks and nothing else");
        let remedy = "name \"local-organization\" or \"person\" as subject, or remove the operation";
        reader.error(&place.span, &place.key, text, remedy);
    }
}

fn is_shadowed(rule: &Rule, deny: &Rule) -> bool {
    deny.effect == Effect::Deny
        && deny.is_unconditional()
        && rule.subjects.iter().all(|subject| deny.subjects.iter().any(|denied| denied.covers(subject)))
        && !rule.interactions.is_empty()
        && {
            let denied: std::collections::BTreeSet<usize> = deny.cells().collect();
            rule.cells().all(|cell| denied.contains(&cell))
        }
}
