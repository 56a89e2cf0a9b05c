//! Reading of `[[rule]]` tables and the checks over all of them.

use fhir::ResourceType;
use settings::{Item, Reader, Section};

use super::{Effect, Rule, RuleSet, Subject, TaskCondition};
use crate::identifier::Role;
use crate::interaction::{BodyKind, Interaction, ROWS};
use crate::limits;
use crate::policy::draft::{Located, list, quote};
use crate::policy::identity::{networks, rule_id};
use crate::read_access::ORGANIZATION_ROLE;

/// The rules of all files, each with its place.
#[derive(Default)]
pub(in crate::policy) struct RulesDraft {
    rules: Vec<(Located, Rule)>,
}

impl RulesDraft {
    pub(in crate::policy) fn read(&mut self, root: &mut Section<'_>, reader: &mut Reader<'_>, file: usize) {
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
    let subjects = list(table, reader, "subject", "a subject; see the comment of the shipped policy", parse_subject);
    require(table, reader, "subject", subjects.is_some(), REMEDY);
    if let Some(empty) = subjects.as_ref().filter(|item| item.value.is_empty() && !reader.has_errors()) {
        reader.refuse(empty, "is empty, so that the rule is about nobody", REMEDY);
    }
    subjects.map(|item| item.value).unwrap_or_default()
}

fn parse_subject(text: &str) -> Option<Subject> {
    match text {
        "local-organization" => Some(Subject::LocalOrganization),
        "remote-organization" => Some(Subject::RemoteOrganization),
        "person" => Some(Subject::Person),
        "any" => Some(Subject::Any),
        _ => {
            if let Some(identifier) = text.strip_prefix("org:") {
                return Some(Subject::Organization(identifier.parse().ok()?));
            }
            let (parent, role) = text.strip_prefix("role:")?.split_once('/')?;
            let role = if role.contains('|') { role.parse() } else { Role::new(ORGANIZATION_ROLE, role) };
            Some(Subject::Role(parent.parse().ok()?, role.ok()?))
        }
    }
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
pub(in crate::policy) fn compile(draft: RulesDraft, readers: &mut [Reader<'_>]) -> RuleSet {
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
