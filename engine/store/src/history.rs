//! History: versions and deletions in the order in which they were made.

use fhir::ResourceType;
use time::OffsetDateTime;

use crate::page::PageSpace;
use crate::read_access::ReadFilter;
use crate::resources::{StoredResource, parse_type, stored};
use crate::sql::to_millis;
use crate::statement::Statement;
use crate::{StoreError, Transaction, limits};

/// Whose history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryScope {
    /// Of every resource.
    System,
    /// Of every resource of a type.
    Type(ResourceType),
    /// Of one resource.
    Instance(ResourceType, String),
}

/// Which part of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Whose.
    pub scope: HistoryScope,
    /// Only versions made at or after this time (`_since`, `_at=ge…`); all given bounds apply.
    pub from: Option<OffsetDateTime>,
    /// Only versions made before this time (`_at=lt…`; for `le` pass the next millisecond).
    pub before: Option<OffsetDateTime>,
    /// Page, from 1; 0 asks for the total alone.
    pub page: u32,
    /// Entries on a page; 0 asks for the total alone.
    pub count: u32,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The type.
    pub resource_type: ResourceType,
    /// The id.
    pub id: String,
    /// The version.
    pub version: u64,
    /// When it was made.
    pub last_updated: OffsetDateTime,
    /// The version; `None` for a deletion.
    pub resource: Option<StoredResource>,
}

/// A page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryPage {
    /// Entries of all pages that the filter lets be seen.
    pub total: u64,
    /// Entries that a page has at most: what was asked for, within [`limits::PAGE`]. Links must name it.
    pub count: u32,
    /// Entries of this page.
    pub entries: Vec<HistoryEntry>,
}

impl Transaction<'_> {
    /// A page of the history, oldest entry first, as far as the filter lets it be seen.
    pub fn history(&mut self, query: &HistoryQuery, filter: &ReadFilter) -> Result<HistoryPage, StoreError> {
        let mut from = Statement::new(" FROM resource_version AS v WHERE 1 = 1");
        match &query.scope {
            HistoryScope::System => {}
            HistoryScope::Type(resource_type) => from.push(" AND v.type = ").bind(resource_type.as_str()),
            HistoryScope::Instance(resource_type, id) => {
                let Some(rid) = self.rid(*resource_type, id)? else {
                    return Ok(HistoryPage { count: query.count.min(limits::PAGE), ..HistoryPage::default() });
                };
                from.push(" AND v.rid = ").bind(rid);
            }
        }
        if let Some(time) = query.from {
            from.push(" AND v.last_updated >= ").bind(to_millis(time));
        }
        if let Some(time) = query.before {
            from.push(" AND v.last_updated < ").bind(to_millis(time));
        }
        from.visible("v.rid", "v.version", filter.grants());
        if let Some(types) = filter.types() {
            from.push(" AND v.type IN (").bind_all(types.iter().map(|wanted| wanted.as_str()));
            from.push(")");
        }

        let count = Statement::new("SELECT COUNT(*)").with(&from);
        let total = self.row(count.text(), count.params(), |row| row.unsigned(0))?.unwrap_or(0);
        let size = query.count.min(limits::PAGE);
        if query.page == 0 || size == 0 {
            return Ok(HistoryPage { total, count: size, entries: Vec::new() });
        }
        let offset = u64::from(query.page - 1).saturating_mul(u64::from(size));
        let mut page = Statement::new("SELECT v.version, v.last_updated, v.content, v.type, v.id").with(&from);
        page.push(" ORDER BY v.last_updated, v.id, v.version LIMIT ").bind(i64::from(size));
        page.push(" OFFSET ").bind(i64::try_from(offset).unwrap_or(i64::MAX));
        let mut space = PageSpace::new();
        let entries = self.rows(page.text(), page.params(), |row| {
            space.take(row.optional_text(2)?.unwrap_or_default())?;
            let resource_type = parse_type(row.text(3)?)?;
            let id = row.string(4)?;
            let resource = row.optional_text(2)?.is_some().then(|| stored(row, resource_type, &id)).transpose()?;
            Ok(HistoryEntry { resource_type, version: row.unsigned(0)?, last_updated: row.time(1)?, id, resource })
        })?;
        Ok(HistoryPage { total, count: size, entries })
    }
}
