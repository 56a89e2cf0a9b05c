//! One form for all phrasings of a question, so that noise and budget do not depend on the words.
//!
//! A definition can be written in many ways that mean the same: criteria in another order, repeated, with their codes
//! apart or together, a code beside one that includes it, a range of one number, an age in months, a condition that another
//! one implies. Whoever gets new noise for each of them averages it away. Here the plan (what a definition means for
//! resources) is brought to a normal form, in which what is implied is left out:
//!
//! - codes as a set, without those that are below another one; bounds and times by what they let in;
//! - criteria of which one must hold joined, if they differ in their codes only;
//! - criteria and groups left out that others imply (absorption).
//!
//! The form may take two questions for one that differ on some days or records; the noise follows from the count as well,
//! so they share it only where they have the same count. Taking one question for two is what it must avoid as far as it can,
//! and cannot wholly: what is the same only for the records of a site (a code that nobody has) stays another question. That
//! is what the budget of questions is for (`docs/decisions/054-*`). Ages count to a fixed day here, because a question
//! must not become another one over night.

use std::collections::{BTreeMap, BTreeSet};

use time::{Date, Month};

use crate::ccdl::Definition;
use crate::limits;
use crate::mapping::Mapping;
use crate::plan::{Bounds, Code, Plan, Rows, Test};
use crate::privacy::Fingerprint;

/// Stands for the codes of the criterion itself.
const OWN_CODES: &str = "$";

type Codes = BTreeSet<Code>;
/// Criteria of a group.
type Group = BTreeSet<Criterion>;

/// A criterion in normal form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Criterion {
    resource_type: String,
    codes: Codes,
    tests: BTreeSet<String>,
}

/// How the criteria of a group are joined.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Join {
    /// One must hold.
    Any,
    /// All must hold.
    All,
}

/// What a definition asks, if the mapping knows all of it.
pub(crate) fn fingerprint(definition: &Definition, mapping: &Mapping) -> Option<Fingerprint> {
    let day = Date::from_calendar_date(2000, Month::January, 1).ok()?;
    let plan = mapping.plan(definition, day).ok()?;
    Some(Fingerprint::of_text(&form(&plan)))
}

fn form(plan: &Plan) -> String {
    let is_compared = is_compared(plan);
    let groups = |groups: &[Vec<Rows>], join: Join| {
        let groups: BTreeSet<Group> = groups.iter().map(|group| join.group(group, is_compared)).collect();
        let is_implied =
            |group: &Group| is_compared && groups.iter().any(|other| other != group && join.implies(other, group));
        let kept = groups.iter().filter(|group| !is_implied(group));
        set(kept.map(|group| set(group.iter().map(Criterion::text))))
    };
    format!("plan 1 +{}-{}", groups(&plan.inclusion, Join::Any), groups(&plan.exclusion, Join::All))
}

/// Whether there is time to compare every criterion with every other one, code by code.
fn is_compared(plan: &Plan) -> bool {
    let criteria = || plan.inclusion.iter().chain(&plan.exclusion).flatten();
    let codes: usize = criteria().map(|rows| rows.tests.first().map(own_codes).unwrap_or_default().len()).sum();
    codes.saturating_mul(criteria().count()) <= limits::COMPARED_CODES
}

// === impl Join ===

impl Join {
    fn group(self, rows: &[Rows], is_compared: bool) -> Group {
        let mut criteria: Group = rows.iter().map(Criterion::of).collect();
        if self == Self::Any {
            let mut joined: BTreeMap<(String, BTreeSet<String>), Codes> = BTreeMap::new();
            for Criterion { resource_type, codes, tests } in criteria {
                joined.entry((resource_type, tests)).or_default().extend(codes);
            }
            let criterion =
                |((resource_type, tests), codes)| Criterion { resource_type, codes: without_covered(&codes), tests };
            criteria = joined.into_iter().map(criterion).collect();
        }
        let is_implied = |criterion: &Criterion| {
            is_compared && criteria.iter().any(|other| other != criterion && self.leaves_out(criterion, other))
        };
        criteria.iter().filter(|criterion| !is_implied(criterion)).cloned().collect()
    }

    /// Whether a criterion says nothing beside another one: of two of which one must hold the narrower, of two that must
    /// both hold the wider.
    fn leaves_out(self, criterion: &Criterion, other: &Criterion) -> bool {
        match self {
            Self::Any => other.includes(criterion),
            Self::All => criterion.includes(other),
        }
    }

    /// Whether a group says nothing beside another one: (a or b) beside (a), and as an exclusion (a and b) beside (a).
    fn implies(self, other: &Group, group: &Group) -> bool {
        let is_in = |one: &Criterion| {
            group.iter().any(|criterion| match self {
                Self::Any => criterion.includes(one),
                Self::All => one.includes(criterion),
            })
        };
        other.iter().all(is_in)
    }
}

// === impl Criterion ===

impl Criterion {
    fn of(rows: &Rows) -> Self {
        let codes = without_covered(&rows.tests.first().map(own_codes).unwrap_or_default().iter().cloned().collect());
        let tests = rows.tests.iter().map(|test| text_of(test, &codes)).collect();
        Self { resource_type: rows.resource_type.clone(), codes, tests }
    }

    /// Whether every resource that passes the other one passes this one.
    fn includes(&self, other: &Self) -> bool {
        self.resource_type == other.resource_type
            && self.tests.is_subset(&other.tests)
            && self.codes.is_empty() == other.codes.is_empty()
            && other.codes.iter().all(|code| cover(&self.codes, code))
    }

    fn text(&self) -> String {
        let parts =
            [self.resource_type.clone(), set(self.codes.iter().map(code_text)), set(self.tests.iter().cloned())];
        parts.iter().map(|part| format!("{}:{part}", part.len())).collect()
    }
}

/// The codes of a criterion stand in its first test.
fn own_codes(test: &Test) -> &[Code] {
    match test {
        Test::Code { codes, .. } => codes,
        Test::AnyOf(tests) => tests.first().map(own_codes).unwrap_or_default(),
        _ => &[],
    }
}

fn text_of(test: &Test, own: &Codes) -> String {
    let codes = |codes: &[Code]| match without_covered(&codes.iter().cloned().collect()) {
        codes if codes == *own && !codes.is_empty() => OWN_CODES.to_owned(),
        codes => set(codes.iter().map(code_text)),
    };
    match test {
        Test::Code { element, codes: of } => format!("code {element} {}", codes(of)),
        Test::CodeOf { element, group, codes: of } => format!("value {element} {} {}", codes(group), codes(of)),
        Test::Quantity { element, group, unit, bounds } => {
            format!("quantity {element} {} {}:{unit} {}", codes(group), unit.len(), bounds_text(*bounds))
        }
        Test::Time { elements, days } => format!("time {} {} {}", elements.join(","), days.first, days.last),
        Test::Linked { element, rows } => {
            let linked = Criterion::of(rows);
            // The resource behind the reference may be what has the codes of the criterion.
            let text = if linked.codes == *own && !own.is_empty() {
                let tests: Vec<String> = rows.tests.iter().map(|test| text_of(test, own)).collect();
                format!("{} {}", linked.resource_type, set(tests.into_iter()))
            } else {
                linked.text()
            };
            format!("link {element} {text}")
        }
        Test::AnyOf(tests) => {
            let mut texts = BTreeSet::new();
            add_alternatives(tests, own, &mut texts);
            match texts.len() {
                1 => texts.pop_first().unwrap_or_default(),
                _ => format!("any {}", set(texts.into_iter())),
            }
        }
    }
}

fn add_alternatives(tests: &[Test], own: &Codes, texts: &mut BTreeSet<String>) {
    for test in tests {
        match test {
            Test::AnyOf(inner) => add_alternatives(inner, own, texts),
            other => {
                texts.insert(text_of(other, own));
            }
        }
    }
}

/// By what they let in: a range of one number is that number.
fn bounds_text(bounds: Bounds) -> String {
    // Zero has a sign that does not count.
    let number = |value: f64| if value == 0.0 { 0.0 } else { value };
    match bounds {
        Bounds::Above(bound) => format!(">{}", number(bound)),
        Bounds::AtLeast(bound) => format!(">={}", number(bound)),
        Bounds::Below(bound) => format!("<{}", number(bound)),
        Bounds::AtMost(bound) => format!("<={}", number(bound)),
        Bounds::Equal(bound) => format!("={}", number(bound)),
        Bounds::Other(bound) => format!("!{}", number(bound)),
        Bounds::Between(low, high) if low == high => format!("={}", number(low)),
        Bounds::Between(low, high) => format!("{}..{}", number(low), number(high)),
    }
}

fn without_covered(codes: &Codes) -> Codes {
    let kept = codes.iter().filter(|code| !wider(code).any(|wide| wide != **code && codes.contains(&wide)));
    kept.cloned().collect()
}

/// Whether one of the codes is this one or includes it.
fn cover(codes: &Codes, code: &Code) -> bool {
    codes.contains(code) || wider(code).any(|wide| codes.contains(&wide))
}

/// Every code with what is below it that includes this one: all that it begins with.
fn wider(code: &Code) -> impl Iterator<Item = Code> {
    let ends = code.code.char_indices().map(|(at, character)| at + character.len_utf8());
    let beginnings = ends.filter_map(|end| code.code.get(..end));
    beginnings.map(|text| Code { system: code.system.clone(), code: text.to_owned(), descendants: true })
}

fn code_text(code: &Code) -> String {
    format!("{}:{}|{}{}", code.system.len(), code.system, code.code, if code.descendants { "*" } else { "" })
}

/// Texts in order, each once and with its length, so that no two sets have the same form.
fn set(texts: impl Iterator<Item = String>) -> String {
    let texts: BTreeSet<String> = texts.collect();
    let joined: String = texts.iter().map(|text| format!("{}:{text}", text.len())).collect();
    format!("{{{joined}}}")
}

#[cfg(test)]
mod tests;
