//! Reading of `[[rule]]` tables and the checks over all of them.

use std::time::Duration;

use fhir::ResourceType;
use settings::{Item, Reader, Section};

use super::{Count, Demands, Effect, Rate, Rule, RuleSet, Subject, TaskCondition};
use crate::clock::{DAY, Period, TimeWindow};
use crate::identifier::{PRACTITIONER_ROLE, Role, RuleId};
use crate::interaction::{BodyKind, Interaction, ROWS};
use crate::limits;
use crate::policy::draft::{Located, list, quote};
use crate::policy::identity::{networks, rule_id};
use crate::policy::review;
use crate::read_access::ORGANIZATION_ROLE;

/// The rules of all files, each with its place.
#[derive(Default)]
pub(in crate::policy) struct RulesDraft {
    rules: Vec<(Located, Rule)>,
    /// Stamps of single rules.
    pub(in crate::policy) reviewed: Vec<(usize, RuleId, time::Date)>,
}

impl RulesDraft {
    pub(in crate::policy) fn read(&mut self, root: &mut Section<'_>, reader: &mut Reader<'_>, file: usize) {
        for mut table in root.sections(reader, "rule") {
            let reviewed = review::read(&mut table, reader);
            let rule = read_rule(&mut table, reader, file);
            let stamp = rule.as_ref().zip(reviewed).map(|((_, rule), date)| (file, rule.id.clone(), date));
            self.reviewed.extend(stamp);
            table.finish(reader);
            self.rules.extend(rule);
        }
    }
}

fn read_rule(table: &mut Section<'_>, reader: &mut Reader<'_>, file: usize) -> Option<(Located, Rule)> {
    let id = rule_id(table, reader);
    let effects = [("allow", Effect::Allow), ("deny", Effect::Deny), ("restrict", Effect::Restrict)];
    let effect = table.choice(reader, "effect", &effects);
    let remedy = "write effect = \"allow\", \"deny\" or \"restrict\"";
    require(table, reader, "effect", effect.is_some(), remedy);
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
    let mut when = table.section(reader, "when");
    let task = read_task_condition(&mut when, reader, &interactions, types.as_ref());
    let profiles = read_profiles(&mut when, reader, &interactions);
    let time = read_window(&mut when, reader);
    when.finish(reader);
    let networks = networks(table, reader);
    let effect = effect.map(|item| item.value);
    let only = read_demands(table, reader, effect, &interactions);
    table.string(reader, "description");
    let id = id?;
    let place = Located::of(file, &id);
    let effect = effect?;
    let types = types?;
    Some((place, Rule { id: id.value, effect, subjects, interactions, types, task, profiles, time, networks, only }))
}

/// `time = { days = ["mon-fri"], from = "07:00", to = "19:00" }`
fn read_window(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<TimeWindow> {
    let mut table = section.section(reader, "time");
    if !table.is_present() {
        return None;
    }
    let expected = "a day or days such as \"mon\" or \"mon-fri\"";
    let days = list(&mut table, reader, "days", expected, parse_days);
    let from = clock_time(&mut table, reader, "from");
    let to = clock_time(&mut table, reader, "to");
    let window = TimeWindow {
        days: days.map_or([true; 7], |item| {
            let mut all = [false; 7];
            for days in item.value {
                all.iter_mut().zip(days).for_each(|(on, day)| *on |= day);
            }
            all
        }),
        from: from.unwrap_or(0),
        to: to.unwrap_or(DAY),
    };
    if window.from == window.to || window.from == DAY {
        reader.error(&table.span(), table.path(), "is an empty span of the day", "write from and to that differ");
    }
    if !window.days.contains(&true) && !reader.has_errors() {
        reader.error(&table.span(), &table.key("days"), "is empty", "list days, or leave the key out");
    }
    table.finish(reader);
    Some(window)
}

/// `mon`, or `mon-fri`; a range may run over the end of the week.
fn parse_days(text: &str) -> Option<[bool; 7]> {
    let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let position = |name: &str| names.iter().position(|known| *known == name);
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (position(first)?, position(last)?),
        None => (position(text)?, position(text)?),
    };
    let mut days = [false; 7];
    let mut day = first;
    loop {
        *days.get_mut(day)? = true;
        if day == last {
            return Some(days);
        }
        day = (day + 1) % 7;
    }
}

/// `"07:00"` as minute of the day; `"24:00"` is its end.
fn clock_time(table: &mut Section<'_>, reader: &mut Reader<'_>, name: &'static str) -> Option<u16> {
    let item = table.string(reader, name)?;
    let parsed = item.value.split_once(':').and_then(|(hour, minute)| {
        let two = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        if !two(hour) || !two(minute) {
            return None;
        }
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        let minutes = hour * 60 + minute;
        (minute < 60 && minutes <= DAY).then_some(minutes)
    });
    if parsed.is_none() {
        reader.refuse(&item, "is no time of the day", "write hours and minutes such as \"07:00\"");
    }
    parsed
}

/// `only = { time, networks, size, rate, count }` of a `restrict`.
fn read_demands(
    table: &mut Section<'_>,
    reader: &mut Reader<'_>,
    effect: Option<Effect>,
    interactions: &[Interaction],
) -> Demands {
    let mut only = table.section(reader, "only");
    let demands = Demands {
        time: read_window(&mut only, reader),
        networks: networks(&mut only, reader),
        size: only.size(reader, "size").map(|item| item.value),
        rate: read_rate(&mut only, reader),
        count: read_count(&mut only, reader, interactions),
    };
    let place = (table.span(), table.key("only"));
    match effect {
        Some(Effect::Restrict) if demands.is_empty() && !reader.has_errors() => {
            let remedy = "write only.time, only.count, only.rate, only.size or only.networks";
            reader.error(&place.0, &place.1, "is missing, so that the restriction demands nothing", remedy);
        }
        Some(Effect::Allow | Effect::Deny) if only.is_present() => {
            let remedy =
                "write effect = \"restrict\", and a rule with effect = \"allow\" beside it if none allows this yet";
            reader.error(&only.span(), only.path(), "stands in a rule that is no restriction", remedy);
        }
        _ => {}
    }
    only.finish(reader);
    demands
}

/// `"10/min"`
fn read_rate(only: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<Rate> {
    let item = only.string(reader, "rate")?;
    let parsed = item.value.split_once('/').and_then(|(number, unit)| {
        let seconds = match unit {
            "s" => 1,
            "min" => 60,
            "h" => 3600,
            _ => return None,
        };
        let most = number.parse().ok().filter(|most| (1..=1_000_000).contains(most))?;
        Some(Rate { most, span: Duration::from_secs(seconds) })
    });
    if parsed.is_none() {
        reader.refuse(&item, "is not a rate", "write requests per second, minute or hour such as \"10/min\"");
    }
    parsed
}

/// `count = { most = 50, per = "day" }`
fn read_count(only: &mut Section<'_>, reader: &mut Reader<'_>, interactions: &[Interaction]) -> Option<Count> {
    let mut table = only.section(reader, "count");
    if !table.is_present() {
        return None;
    }
    let most = table.integer(reader, "most", 0..1_000_000_001);
    let per = table.choice(reader, "per", &Period::WORDS);
    require(&table, reader, "most", most.is_some(), "write how many are accepted, such as most = 50");
    require(&table, reader, "per", per.is_some(), "write per = \"hour\", \"day\", \"week\" or \"month\"");
    if interactions.iter().any(|interaction| *interaction != Interaction::Create) {
        let remedy = "match only the operation create in this rule; for others limit the rate";
        reader.error(&table.span(), table.path(), "counts what is not accepted by a transaction", remedy);
    }
    table.finish(reader);
    Some(Count { most: u64::try_from(most?.value).ok()?, per: per?.value })
}

/// `when.profile`
fn read_profiles(when: &mut Section<'_>, reader: &mut Reader<'_>, interactions: &[Interaction]) -> Vec<String> {
    let expected = "a canonical of a profile, with \"*\" at most at its end";
    let Some(item) = list(when, reader, "profile", expected, pattern) else { return Vec::new() };
    if item.value.is_empty() {
        reader.refuse(&item, "is empty", "list profiles, or leave the key out");
    }
    if !interactions.iter().all(has_body) {
        let remedy = "match only create or update in this rule";
        reader.refuse(&item, "is a condition on a resource, but the rule matches requests without one", remedy);
    }
    item.value
}

fn pattern(text: &str) -> Option<String> {
    let body = text.strip_suffix('*').unwrap_or(text);
    (!text.is_empty() && !body.contains('*')).then(|| text.to_owned())
}

fn has_body(interaction: &Interaction) -> bool {
    ROWS.iter().any(|row| row.interaction == *interaction && row.body == BodyKind::Resource)
}

/// Reports a key that is missing; one that is there and wrong was reported already.
fn require(table: &Section<'_>, reader: &mut Reader<'_>, name: &str, found: bool, remedy: &str) {
    if !found && !table.names().iter().any(|key| key.value == name) {
        reader.error(&table.span(), &table.key(name), "is missing", remedy);
    }
}

fn read_subjects(table: &mut Section<'_>, reader: &mut Reader<'_>) -> Vec<Subject> {
    const REMEDY: &str = "write \"local-organization\", \"remote-organization\", \"person\", \"any\", \"org:<identifier>\", \"role:<parent>/<role>\", \"member:<parent>\" or \"practitioner:<role>\"";
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
            if let Some(parent) = text.strip_prefix("member:") {
                return Some(Subject::Member(parent.parse().ok()?));
            }
            if let Some(role) = text.strip_prefix("practitioner:") {
                let role = if role.contains('|') { role.parse() } else { Role::new(PRACTITIONER_ROLE, role) };
                return Some(Subject::Practitioner(role.ok()?));
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
    when: &mut Section<'_>,
    reader: &mut Reader<'_>,
    interactions: &[Interaction],
    types: Option<&Option<Vec<ResourceType>>>,
) -> Option<TaskCondition> {
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
    condition
}

fn read_patterns(task: &mut Section<'_>, reader: &mut Reader<'_>) -> Vec<String> {
    let expected = "a canonical of a process, with \"*\" at most at its end";
    let patterns = list(task, reader, "process", expected, pattern);
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
