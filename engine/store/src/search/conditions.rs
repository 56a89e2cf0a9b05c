//! One filter as SQL.

use fhir::ResourceType;
use fhir::date::Interval;
use fhir::search::{Filter, FilterValue, Prefix, ReferenceFilter, StringComparison, TokenFilter};

use crate::index::{bounded, column};
use crate::statement::Statement;
use crate::{StoreError, limits};

/// A filter in the two forms that a plan needs.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    /// A condition on the resource `r`.
    pub(super) check: Statement,
    /// The `rid`s of all resources that fulfil it, if an index gives them.
    pub(super) rows: Option<Statement>,
}

/// Puts the filter into SQL.
pub(super) fn condition(resource_type: ResourceType, filter: &Filter) -> Result<Condition, StoreError> {
    let parameter = column(resource_type, filter.parameter.name);
    match &filter.value {
        FilterValue::Id(id) => {
            let mut check = Statement::new("r.id = ");
            check.bind(id.as_str());
            let mut rows = Statement::new("SELECT i.rid FROM resource AS i WHERE i.type = ");
            rows.bind(resource_type.as_str());
            rows.push(" AND i.id = ").bind(id.as_str());
            Ok(Condition { check, rows: Some(rows) })
        }
        FilterValue::Date { prefix, interval } if filter.parameter.name == "_lastUpdated" => {
            Ok(last_updated(resource_type, *prefix, *interval))
        }
        FilterValue::Reference(ReferenceFilter::Identifier(identifier)) => {
            Ok(reference_by_identifier(filter, &parameter, identifier))
        }
        value => {
            let (table, entry) = entry(value)?;
            Ok(indexed(filter.is_negated(), table, &parameter, &entry))
        }
    }
}

/// The table of a kind of value as the start of a `SELECT`.
#[derive(Clone, Copy)]
enum Table {
    Token,
    String,
    Uri,
    Date,
    Reference,
}

impl Table {
    const fn select_rid(self) -> &'static str {
        match self {
            Self::Token => "SELECT i.rid FROM token_index AS i WHERE i.parameter = ",
            Self::String => "SELECT i.rid FROM string_index AS i WHERE i.parameter = ",
            Self::Uri => "SELECT i.rid FROM uri_index AS i WHERE i.parameter = ",
            Self::Date => "SELECT i.rid FROM date_index AS i WHERE i.parameter = ",
            Self::Reference => "SELECT i.rid FROM reference_index AS i WHERE i.parameter = ",
        }
    }
}

/// Some row of the resource (or, negated, none) is one that `entry` describes.
fn indexed(negated: bool, table: Table, parameter: &str, entry: &Statement) -> Condition {
    let mut rows = Statement::new(table.select_rid());
    rows.bind(parameter);
    rows.push(" AND ").append(entry);
    let mut check = Statement::new(if negated { "NOT EXISTS (" } else { "EXISTS (" });
    check.append(&rows).push(" AND i.rid = r.rid)");
    Condition { check, rows: (!negated).then_some(rows) }
}

/// The condition on a row `i` of the table.
fn entry(value: &FilterValue) -> Result<(Table, Statement), StoreError> {
    let mut entry = Statement::default();
    let table = match value {
        FilterValue::Token(token) => {
            token_entry(&mut entry, token, "i.code = ", "i.system = ");
            Table::Token
        }
        FilterValue::String { text, folded, comparison } => {
            string_entry(&mut entry, text, folded, *comparison);
            Table::String
        }
        FilterValue::Uri { uri, version, below } => {
            if *below {
                starts_with(&mut entry, "i.value >= ", " AND i.value < ", uri);
            } else {
                entry.push("i.value = ").bind(bounded(uri).as_ref());
            }
            if let Some(version) = version {
                entry.push(" AND i.version = ").bind(bounded(version).as_ref());
            }
            Table::Uri
        }
        FilterValue::Canonical(start) => {
            starts_with(&mut entry, "i.value >= ", " AND i.value < ", start);
            Table::Uri
        }
        FilterValue::Date { prefix, interval } => {
            date_entry(&mut entry, *prefix, *interval);
            Table::Date
        }
        FilterValue::Reference(reference) => {
            reference_entry(&mut entry, reference)?;
            Table::Reference
        }
        FilterValue::Id(_) => return Err(StoreError::Unsearchable("an id is not indexed".to_owned())),
    };
    Ok((table, entry))
}

fn token_entry(entry: &mut Statement, token: &TokenFilter, code_is: &'static str, system_is: &'static str) {
    match token {
        TokenFilter::Code(code) => entry.push(code_is).bind(bounded(code).as_ref()),
        TokenFilter::Coding { system, code } => {
            entry.push(code_is).bind(bounded(code).as_ref());
            entry.push(" AND ").push(system_is).bind(bounded(system).as_ref());
        }
        TokenFilter::WithoutSystem(code) => {
            entry.push(code_is).bind(bounded(code).as_ref());
            entry.push(" AND ").push(system_is).push("''");
        }
        TokenFilter::System(system) => entry.push(system_is).bind(bounded(system).as_ref()),
    }
}

fn string_entry(entry: &mut Statement, text: &str, folded: &str, comparison: StringComparison) {
    match comparison {
        StringComparison::StartsWith => starts_with(entry, "i.folded >= ", " AND i.folded < ", folded),
        StringComparison::Exact => {
            // The folded text leads through the index.
            entry.push("i.folded = ").bind(bounded(folded).as_ref());
            entry.push(" AND i.exact = ").bind(bounded(text).as_ref());
        }
        // What is kept of a text cannot contain more than is kept.
        StringComparison::Contains if folded.len() > limits::INDEXED_BYTES => {
            entry.push("1 = 0");
        }
        StringComparison::Contains => {
            let mut pattern = String::from("%");
            for character in folded.chars() {
                if matches!(character, '%' | '_' | '\\') {
                    pattern.push('\\');
                }
                pattern.push(character);
            }
            pattern.push('%');
            entry.push("i.folded LIKE ").bind(pattern);
            entry.push(" ESCAPE '\\'");
        }
    }
}

/// A beginning, as a range in the order of bytes.
fn starts_with(entry: &mut Statement, from: &'static str, before: &'static str, start: &str) {
    let start = bounded(start);
    entry.push(from).bind(start.as_ref());
    if let Some(end) = after_all_with(&start) {
        entry.push(before).bind(end);
    }
}

/// The smallest text that is greater than every text with this beginning.
pub(super) fn after_all_with(start: &str) -> Option<String> {
    let mut end = start.to_owned();
    while let Some(last) = end.pop() {
        // Skips the gap of the surrogates.
        if let Some(next) = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

/// `fhir::search::Prefix` says what the comparisons mean; `ge` and `le` are simplified with `low <= high`.
fn date_entry(entry: &mut Statement, prefix: Prefix, Interval { low, high }: Interval) {
    match prefix {
        Prefix::Eq => {
            entry.push("i.low >= ").bind(low);
            // Follows from the next condition, and closes the range in the index.
            entry.push(" AND i.low <= ").bind(high);
            entry.push(" AND i.high <= ").bind(high);
        }
        Prefix::Ne => {
            entry.push("(i.low < ").bind(low);
            entry.push(" OR i.high > ").bind(high);
            entry.push(")");
        }
        Prefix::Gt => entry.push("i.high > ").bind(high),
        Prefix::Lt => entry.push("i.low < ").bind(low),
        Prefix::Ge => {
            entry.push("(i.high > ").bind(high);
            entry.push(" OR i.low >= ").bind(low);
            entry.push(")");
        }
        Prefix::Le => {
            entry.push("(i.low < ").bind(low);
            entry.push(" OR i.high <= ").bind(high);
            entry.push(")");
        }
    }
}

/// `_lastUpdated` stands in the row of the resource and is one millisecond, `[t, t + 1)`.
fn last_updated(resource_type: ResourceType, prefix: Prefix, Interval { low, high }: Interval) -> Condition {
    let mut rows = Statement::new("SELECT i.rid FROM resource AS i WHERE i.type = ");
    rows.bind(resource_type.as_str());
    rows.push(" AND i.deleted = 0 AND ");
    let mut check = Statement::default();
    let mut both = |parts: [&'static str; 2], value: i64| {
        let [on_check, on_rows] = parts;
        check.push(on_check).bind(value);
        rows.push(on_rows).bind(value);
    };
    match prefix {
        Prefix::Eq => {
            both(["(r.last_updated >= ", "i.last_updated >= "], low);
            both([" AND r.last_updated < ", " AND i.last_updated < "], high);
        }
        Prefix::Ne => {
            both(["(r.last_updated < ", "(i.last_updated < "], low);
            both([" OR r.last_updated >= ", " OR i.last_updated >= "], high);
            rows.push(")");
        }
        Prefix::Gt => both(["(r.last_updated >= ", "i.last_updated >= "], high),
        Prefix::Ge => both(["(r.last_updated >= ", "i.last_updated >= "], low),
        Prefix::Lt => both(["(r.last_updated < ", "i.last_updated < "], low),
        Prefix::Le => both(["(r.last_updated < ", "i.last_updated < "], high),
    }
    check.push(")");
    Condition { check, rows: Some(rows) }
}

fn reference_entry(entry: &mut Statement, reference: &ReferenceFilter) -> Result<(), StoreError> {
    match reference {
        ReferenceFilter::Id(id) => entry.push("i.target_id = ").bind(bounded(id).as_ref()),
        ReferenceFilter::Literal(literal) => {
            entry.push("i.target_id = ").bind(bounded(&literal.id).as_ref());
            entry.push(" AND i.target_type = ").bind(bounded(&literal.type_name).as_ref());
        }
        ReferenceFilter::Url(url) => entry.push("i.url = ").bind(bounded(url).as_ref()),
        ReferenceFilter::Identifier(_) => {
            return Err(StoreError::Unsearchable("an identifier needs the target".to_owned()));
        }
    }
    Ok(())
}

/// `:identifier` means the identifier of the reference itself, or of the current resource that it points to.
fn reference_by_identifier(filter: &Filter, parameter: &str, identifier: &TokenFilter) -> Condition {
    let mut rows = Statement::new("SELECT i.rid FROM reference_index AS i WHERE i.parameter = ");
    rows.bind(parameter);
    rows.push(" AND ");
    token_entry(&mut rows, identifier, "i.identifier_value = ", "i.identifier_system = ");
    // `system|` must not mean references without identifier, whose parts are empty.
    rows.push(" AND i.identifier_value <> ''");
    rows.push(
        " UNION SELECT i.rid FROM token_index AS k JOIN resource AS t ON t.rid = k.rid AND t.deleted = 0
          JOIN reference_index AS i ON i.target_id = t.id AND i.target_type = t.type WHERE i.parameter = ",
    );
    rows.bind(parameter);
    rows.push(" AND k.parameter IN (");
    rows.bind_all(filter.parameter.targets.iter().map(|target| column(*target, "identifier")));
    rows.push(") AND ");
    token_entry(&mut rows, identifier, "k.code = ", "k.system = ");
    let mut check = Statement::new("r.rid IN (");
    check.append(&rows).push(")");
    Condition { check, rows: Some(rows) }
}
