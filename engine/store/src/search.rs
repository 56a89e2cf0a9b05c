//! Search: `fhir::search::Query` as SQL over the index tables.
//!
//! Each filter is a condition on the rows of a resource in one index table (`conditions`); it says in SQL what
//! `fhir::search::FilterValue::matches` says in Rust, and the tests compare the two. What the read filter hides is hidden
//! in the same statement, so totals and pages are exact.
//!
//! A statement is planned by looking: the rows of each condition are counted up to a small number. If one condition has
//! few, they are fetched first and the others are checked on them; if all have many, resources are taken in the order of
//! the result and each is checked. Either way the work of a page does not grow with the store, but the exact total has to
//! look at every match. The searches that match much of a large store are counted beforehand (`counted`): all of a type,
//! or those with a status, within any range of time.

mod conditions;
mod counted;
mod includes;

use fhir::ResourceType;
use fhir::search::{Direction, Filter, Kind, Query, SortKey};

use crate::index::column;
use crate::page::PageSpace;
use crate::read_access::ReadFilter;
use crate::resources::{StoredResource, stored};
use crate::statement::Statement;
use crate::{StoreError, Transaction, limits};

use conditions::{Condition, condition};

/// Rows of a condition that are "few". A condition below the first number is taken at once; only if there is none, it is
/// worth counting up to the second, above which the order of the result is walked through instead.
const FEW: &[i64] = &[500, 50_000];

/// The outcome of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchResult {
    /// Matches of all pages that the filter lets be seen.
    pub total: u64,
    /// Matches that a page has at most: what was asked for, within [`limits::PAGE`]. Links must name it.
    pub count: u32,
    /// The matches of this page.
    pub matches: Vec<StoredResource>,
    /// What was asked to be included with this page, as far as the filter lets it be seen.
    pub includes: Vec<StoredResource>,
}

impl Transaction<'_> {
    /// Searches. What stands in `query.errors` is the caller's business: it is left out here.
    /// It is given up with [`StoreError::TooCostly`] when it takes too long.
    pub fn search(&mut self, query: &Query, filter: &ReadFilter) -> Result<SearchResult, StoreError> {
        self.bounded(|tx| tx.find(query, filter))
    }

    pub(crate) fn find(&mut self, query: &Query, filter: &ReadFilter) -> Result<SearchResult, StoreError> {
        let count = query.count.min(limits::PAGE);
        let nothing = SearchResult { count, ..SearchResult::default() };
        if !filter.includes_type(query.resource_type) {
            return Ok(nothing);
        }
        let offset = u64::from(query.page.saturating_sub(1)).saturating_mul(u64::from(count));
        // A writing transaction sees what is not counted yet.
        let counted = self.is_snapshot().then(|| counted::counted(query, filter)).flatten();
        let (total, from) = match &counted {
            Some(counted) => (self.count_matches(counted)?, None),
            None => {
                let from = self.plan(query.resource_type, &query.filters, filter, FEW)?;
                let total = Statement::new("SELECT COUNT(*)").with(&from);
                (self.row(total.text(), total.params(), |row| row.unsigned(0))?.unwrap_or(0), Some(from))
            }
        };
        if query.is_count_only() || offset >= total {
            return Ok(SearchResult { total, ..nothing });
        }
        let walked = match &counted {
            Some(counted) => self.counted_page(query, counted, (total, count, offset))?,
            None => None,
        };
        let rids = match (walked, from) {
            (Some(rids), _) => rids,
            (None, Some(from)) => self.page(query, &from, count, offset)?,
            (None, None) => {
                let from = self.plan(query.resource_type, &query.filters, filter, FEW)?;
                self.page(query, &from, count, offset)?
            }
        };
        let mut space = PageSpace::new();
        let matches = self.load(query.resource_type, &rids, &mut space)?;
        let includes = self.includes(query, &rids, &matches, filter, &mut space)?;
        Ok(SearchResult { total, count, matches, includes })
    }

    /// The ids of all matches, at most `limit`: for conditional interactions, which only ask whether there is none, one
    /// or more.
    pub fn search_ids(&mut self, query: &Query, filter: &ReadFilter, limit: u32) -> Result<Vec<String>, StoreError> {
        if !filter.includes_type(query.resource_type) {
            return Ok(Vec::new());
        }
        self.bounded(|tx| tx.find_ids(query, filter, limit))
    }

    fn find_ids(&mut self, query: &Query, filter: &ReadFilter, limit: u32) -> Result<Vec<String>, StoreError> {
        let from = self.plan(query.resource_type, &query.filters, filter, FEW)?;
        let mut ids = Statement::new("SELECT r.id").with(&from);
        ids.push(" ORDER BY r.last_updated, r.id LIMIT ").bind(i64::from(limit.min(limits::PAGE)));
        self.rows(ids.text(), ids.params(), |row| row.string(0))
    }

    /// ` FROM resource AS r WHERE …`: the matches that can be seen.
    fn plan(
        &mut self,
        resource_type: ResourceType,
        filters: &[Filter],
        filter: &ReadFilter,
        few: &[i64],
    ) -> Result<Statement, StoreError> {
        let conditions =
            filters.iter().map(|filter| condition(resource_type, filter)).collect::<Result<Vec<_>, _>>()?;
        let first = self.first_condition(resource_type, &conditions, filter, few)?;

        // CROSS JOIN makes SQLite begin with the few rows instead of walking through the order of the result.
        let mut from = Statement::default();
        match &first {
            Some(rows) => {
                from.push(" FROM (SELECT DISTINCT x.rid FROM (").append(rows);
                from.push(") AS x) AS few CROSS JOIN resource AS r WHERE r.rid = few.rid AND r.type = ");
            }
            None => {
                from.push(" FROM resource AS r WHERE r.type = ");
            }
        }
        from.bind(resource_type.as_str());
        from.push(" AND r.deleted = 0");
        for condition in &conditions {
            from.push(" AND ").append(&condition.check);
        }
        from.visible("r.rid", "r.version", filter.grants_for(resource_type));
        Ok(from)
    }

    /// The rows to begin with, if some condition has few.
    fn first_condition(
        &mut self,
        resource_type: ResourceType,
        conditions: &[Condition],
        filter: &ReadFilter,
        few: &[i64],
    ) -> Result<Option<Statement>, StoreError> {
        let mut candidates: Vec<Statement> = conditions.iter().filter_map(|condition| condition.rows.clone()).collect();
        if let Some(grants) = filter.grants_for(resource_type) {
            let mut rows = Statement::new("SELECT i.rid FROM read_access AS i WHERE i.grantee IN (");
            rows.bind_all(grants.into_iter().map(|grant| grant.as_str()));
            rows.push(")");
            candidates.push(rows);
        }
        for most in few {
            let mut best = (*most, None);
            for (index, rows) in candidates.iter().enumerate() {
                let mut count = Statement::new("SELECT COUNT(*) FROM (").with(rows);
                count.push(" LIMIT ").bind(best.0);
                count.push(") AS few");
                let found = self.row(count.text(), count.params(), |row| row.integer(0))?.unwrap_or(0);
                if found < best.0 {
                    best = (found, Some(index));
                }
            }
            if let Some(index) = best.1 {
                return Ok(Some(candidates.swap_remove(index)));
            }
        }
        Ok(None)
    }

    fn page(&mut self, query: &Query, from: &Statement, count: u32, offset: u64) -> Result<Vec<i64>, StoreError> {
        let mut page = Statement::new("SELECT r.rid").with(from);
        page.push(" ORDER BY ");
        for key in &query.sort {
            sort_key(&mut page, query.resource_type, key);
            page.push(match key.direction {
                Direction::Ascending => " ASC, ",
                Direction::Descending => " DESC, ",
            });
        }
        page.push("r.last_updated, r.id LIMIT ").bind(i64::from(count));
        page.push(" OFFSET ").bind(i64::try_from(offset).unwrap_or(i64::MAX));
        self.rows(page.text(), page.params(), |row| row.integer(0))
    }

    /// The current versions of the resources, in the given order.
    fn load(
        &mut self,
        resource_type: ResourceType,
        rids: &[i64],
        space: &mut PageSpace,
    ) -> Result<Vec<StoredResource>, StoreError> {
        let mut all = Vec::with_capacity(rids.len());
        for rid in rids {
            let found = self.row(
                "SELECT v.version, v.last_updated, v.content, r.id FROM resource AS r
                 JOIN resource_version AS v ON v.rid = r.rid AND v.version = r.version WHERE r.rid = ?1",
                &[(*rid).into()],
                |row| {
                    space.take(row.text(2)?)?;
                    stored(row, resource_type, row.text(3)?)
                },
            )?;
            all.extend(found);
        }
        Ok(all)
    }
}

/// The value by which a key sorts: the smallest of several ascending, the largest descending, a missing one first.
fn sort_key(statement: &mut Statement, resource_type: ResourceType, key: &SortKey) {
    let ascending = key.direction == Direction::Ascending;
    let value = match (key.parameter.name, key.parameter.kind, ascending) {
        ("_id", ..) => {
            statement.push("r.id");
            return;
        }
        ("_lastUpdated", ..) => {
            statement.push("r.last_updated");
            return;
        }
        (_, Kind::Code | Kind::Concept | Kind::Identifier | Kind::Boolean | Kind::Id, true) => {
            "COALESCE((SELECT MIN(i.code) FROM token_index AS i WHERE i.rid = r.rid AND i.parameter = "
        }
        (_, Kind::Code | Kind::Concept | Kind::Identifier | Kind::Boolean | Kind::Id, false) => {
            "COALESCE((SELECT MAX(i.code) FROM token_index AS i WHERE i.rid = r.rid AND i.parameter = "
        }
        (_, Kind::String, true) => {
            "COALESCE((SELECT MIN(i.folded) FROM string_index AS i WHERE i.rid = r.rid AND i.parameter = "
        }
        (_, Kind::String, false) => {
            "COALESCE((SELECT MAX(i.folded) FROM string_index AS i WHERE i.rid = r.rid AND i.parameter = "
        }
        (_, Kind::Uri | Kind::CanonicalUrl | Kind::Canonical, true) => {
            "COALESCE((SELECT MIN(i.value) FROM uri_index AS i WHERE i.rid = r.rid AND i.parameter = "
        }
        (_, Kind::Uri | Kind::CanonicalUrl | Kind::Canonical, false) => {
            "COALESCE((SELECT MAX(i.value) FROM uri_index AS i WHERE i.rid = r.rid AND i.parameter = "
        }
        (_, Kind::Date, true) => {
            "COALESCE((SELECT MIN(i.low) FROM date_index AS i WHERE i.rid = r.rid AND i.parameter = "
        }
        (_, Kind::Date, false) => {
            "COALESCE((SELECT MAX(i.high) FROM date_index AS i WHERE i.rid = r.rid AND i.parameter = "
        }
        (_, Kind::Reference, true) => {
            "COALESCE((SELECT MIN(i.target_id) FROM reference_index AS i WHERE i.rid = r.rid AND i.parameter = "
        }
        (_, Kind::Reference, false) => {
            "COALESCE((SELECT MAX(i.target_id) FROM reference_index AS i WHERE i.rid = r.rid AND i.parameter = "
        }
    };
    statement.push(value).bind(column(resource_type, key.parameter.name));
    statement.push(match key.parameter.kind {
        Kind::Date => "), -9223372036854775807)",
        _ => "), '')",
    });
}

#[cfg(test)]
mod tests;
