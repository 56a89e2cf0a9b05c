//! Searches whose matches are counted while they are written: all of a type, or those with one status or truth value,
//! in any range of `_lastUpdated`. Their totals are read and their pages found without looking at the other matches.

use fhir::search::{Direction, Filter, FilterValue, Prefix, Query, TokenFilter};

use crate::index::{bounded, column};
use crate::read_access::ReadFilter;
use crate::statement::Statement;
use crate::tally::{self, Population};
use crate::{StoreError, Transaction};

/// Matches before a page above which its beginning is looked up instead of walked to.
const NEAR: u64 = 200;

/// The matches of a counted search.
pub(super) struct Counted<'f> {
    population: Population<'f>,
    walk: Walk,
    /// The walk that begins with what the only reader may see.
    seen: Option<Walk>,
}

/// A way through the matches in the order of time.
struct Walk {
    /// ` FROM … WHERE …`
    rows: Statement,
    time: &'static str,
    /// Forwards and backwards.
    order: [&'static str; 2],
}

/// The search as a counted one, if it is.
pub(super) fn counted<'f>(query: &Query, filter: &'f ReadFilter) -> Option<Counted<'f>> {
    let (mut low, mut high, mut token) = (None, None, None);
    for filter in &query.filters {
        match &filter.value {
            FilterValue::Date { prefix, interval } if filter.parameter.name == "_lastUpdated" => {
                let (from, before) = match prefix {
                    Prefix::Eq => (Some(interval.low), Some(interval.high)),
                    Prefix::Gt => (Some(interval.high), None),
                    Prefix::Ge => (Some(interval.low), None),
                    Prefix::Lt => (None, Some(interval.low)),
                    Prefix::Le => (None, Some(interval.high)),
                    Prefix::Ne => return None,
                };
                low = low.max(from);
                high = match (high, before) {
                    (Some(high), Some(before)) => Some(i64::min(high, before)),
                    (high, before) => high.or(before),
                };
            }
            FilterValue::Token(TokenFilter::Code(code)) if is_counted(filter) && token.is_none() => {
                token = Some((column(query.resource_type, filter.parameter.name), code));
            }
            _ => return None,
        }
    }
    let readers = tally::readers_of(filter, Some(query.resource_type));
    let (subject, mut walk) = match &token {
        None => {
            let mut rows = Statement::new(" FROM resource AS r WHERE r.type = ");
            rows.bind(query.resource_type.as_str());
            (tally::of_type(query.resource_type), Walk { rows, time: "r.last_updated", order: ORDER_OF_RESOURCES })
        }
        Some((column, code)) => {
            // CROSS JOIN makes SQLite walk through the index, in the order of the result.
            let mut rows = Statement::new(
                " FROM token_index AS i CROSS JOIN resource AS r WHERE r.rid = i.rid AND i.parameter = ",
            );
            rows.bind(column.as_str());
            rows.push(" AND i.code = ").bind(bounded(code).as_ref());
            (tally::of_code(column, code), Walk { rows, time: "i.last_updated", order: ORDER_OF_CODES })
        }
    };
    walk.rows.push(" AND r.deleted = 0");
    walk.rows.visible("r.rid", "r.version", readers.clone());
    let population =
        Population { subjects: vec![subject], readers, rows: walk.rows.clone(), time: walk.time, low, high };
    let seen = tally::only_reader(&population).map(|reader| {
        let mut rows = Statement::new(
            " FROM read_access AS a CROSS JOIN resource AS r WHERE r.rid = a.rid AND r.version = a.version
              AND r.deleted = 0 AND a.grantee = ",
        );
        rows.bind(reader.as_str());
        rows.push(" AND r.type = ").bind(query.resource_type.as_str());
        if let Some((column, code)) = &token {
            rows.push(" AND EXISTS (SELECT 1 FROM token_index AS i WHERE i.rid = r.rid AND i.parameter = ");
            rows.bind(column.as_str());
            rows.push(" AND i.code = ").bind(bounded(code).as_ref());
            rows.push(")");
        }
        Walk { rows, time: "a.last_updated", order: ORDER_OF_READERS }
    });
    Some(Counted { population, walk, seen })
}

const ORDER_OF_RESOURCES: [&str; 2] =
    [" ORDER BY r.last_updated, r.id LIMIT ", " ORDER BY r.last_updated DESC, r.id LIMIT "];
const ORDER_OF_CODES: [&str; 2] =
    [" ORDER BY i.last_updated, r.id LIMIT ", " ORDER BY i.last_updated DESC, r.id LIMIT "];
const ORDER_OF_READERS: [&str; 2] =
    [" ORDER BY a.last_updated, r.id LIMIT ", " ORDER BY a.last_updated DESC, r.id LIMIT "];

fn is_counted(filter: &Filter) -> bool {
    !filter.is_negated() && tally::has_counts(filter.parameter)
}

/// Whether the result is in the order of time, and if so whether backwards.
fn order_of(query: &Query) -> Option<bool> {
    match query.sort.as_slice() {
        [] => Some(false),
        [key] if key.parameter.name == "_lastUpdated" => Some(key.direction == Direction::Descending),
        _ => None,
    }
}

impl Transaction<'_> {
    /// How many match.
    pub(super) fn count_matches(&mut self, counted: &Counted<'_>) -> Result<u64, StoreError> {
        self.count_population(&counted.population)
    }

    /// The page in the order of time; `None` if it is asked for in another order, or if so many matches cannot be seen
    /// that walking through them would cost more than fetching those that can.
    pub(super) fn counted_page(
        &mut self,
        query: &Query,
        counted: &Counted<'_>,
        (total, count, offset): (u64, u32, u64),
    ) -> Result<Option<Vec<i64>>, StoreError> {
        let Some(backwards) = order_of(query) else { return Ok(None) };
        let population = &counted.population;
        let walk = match (self.is_mostly_hidden(population, total)?, &counted.seen) {
            (false, _) => &counted.walk,
            (true, Some(seen)) => seen,
            (true, None) => return Ok(None),
        };
        let (low, high) = (population.low, population.high);
        let near = if backwards { high } else { low };
        let start = if offset > NEAR {
            self.locate(population, offset, backwards)?
        } else {
            tally::Start { time: near, skip: offset }
        };
        let (from, before) = if backwards { (low, start.time) } else { (start.time, high) };
        let mut page = Statement::new("SELECT r.rid").with(&walk.rows);
        if let Some(from) = from {
            page.push(" AND ").push(walk.time).push(" >= ").bind(from);
        }
        if let Some(before) = before {
            page.push(" AND ").push(walk.time).push(" < ").bind(before);
        }
        let [forwards, reversed] = walk.order;
        page.push(if backwards { reversed } else { forwards }).bind(i64::from(count));
        page.push(" OFFSET ").bind(i64::try_from(start.skip).unwrap_or(i64::MAX));
        self.rows(page.text(), page.params(), |row| row.integer(0)).map(Some)
    }
}
