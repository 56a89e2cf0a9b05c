//! History: versions and deletions in the order in which they were made.

use fhir::ResourceType;
use time::OffsetDateTime;

use crate::page::PageSpace;
use crate::read_access::ReadFilter;
use crate::resources::{StoredResource, parse_type, stored};
use crate::sql::to_millis;
use crate::statement::Statement;
use crate::tally::{self, Population, Start};
use crate::{StoreError, Transaction, limits};

/// Setting with the time before which replaced versions may be missing.
const FORGOTTEN: &str = "history-forgotten";

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
    /// It is given up with [`StoreError::TooCostly`] when it takes too long.
    pub fn history(&mut self, query: &HistoryQuery, filter: &ReadFilter) -> Result<HistoryPage, StoreError> {
        self.bounded(|tx| tx.page_of_history(query, filter))
    }

    fn page_of_history(&mut self, query: &HistoryQuery, filter: &ReadFilter) -> Result<HistoryPage, StoreError> {
        let size = query.count.min(limits::PAGE);
        let mut from = Statement::new(" FROM resource_version AS v WHERE 1 = 1");
        match &query.scope {
            HistoryScope::System => {}
            HistoryScope::Type(resource_type) => from.push(" AND v.type = ").bind(resource_type.as_str()),
            HistoryScope::Instance(resource_type, id) => {
                let Some(rid) = self.rid(*resource_type, id)? else {
                    return Ok(HistoryPage { count: size, ..HistoryPage::default() });
                };
                from.push(" AND v.rid = ").bind(rid);
            }
        }
        from.visible("v.rid", "v.version", filter.grants());
        if let Some(types) = filter.types() {
            from.push(" AND v.type IN (").bind_all(types.iter().map(|wanted| wanted.as_str()));
            from.push(")");
        }

        // The versions of one resource are few and counted one by one; those of many have counts.
        let counted = self.is_snapshot().then(|| counted(query, filter, &from)).flatten();
        let (low, high) = (query.from.map(to_millis), query.before.map(to_millis));
        let total = match &counted {
            Some(population) => self.count_population(population)?,
            None => {
                let mut count = Statement::new("SELECT COUNT(*)").with(&from);
                between(&mut count, "v.last_updated", low, high);
                self.row(count.text(), count.params(), |row| row.unsigned(0))?.unwrap_or(0)
            }
        };
        let offset = u64::from(query.page.saturating_sub(1)).saturating_mul(u64::from(size));
        if query.page == 0 || size == 0 || offset >= total {
            return Ok(HistoryPage { total, count: size, entries: Vec::new() });
        }
        let start = match &counted {
            Some(population) if offset > 0 => self.locate(population, offset, false)?,
            _ => Start { time: low, skip: offset },
        };
        let mut page = Statement::new("SELECT v.version, v.last_updated, v.content, v.type, v.id");
        let hidden = match &counted {
            Some(population) if self.is_mostly_hidden(population, total)? => tally::only_reader(population),
            _ => None,
        };
        match (hidden, &query.scope) {
            (Some(reader), HistoryScope::Type(resource_type)) => {
                page.push(
                    " FROM read_access AS a CROSS JOIN resource_version AS v WHERE v.rid = a.rid
                      AND v.version = a.version AND a.grantee = ",
                );
                page.bind(reader.as_str());
                page.push(" AND v.type = ").bind(resource_type.as_str());
                between(&mut page, "a.last_updated", start.time, high);
                page.push(" ORDER BY a.last_updated, v.id, v.version LIMIT ").bind(i64::from(size));
            }
            _ => {
                page.append(&from);
                between(&mut page, "v.last_updated", start.time, high);
                page.push(" ORDER BY v.last_updated, v.id, v.version LIMIT ").bind(i64::from(size));
            }
        }
        page.push(" OFFSET ").bind(i64::try_from(start.skip).unwrap_or(i64::MAX));
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

impl Transaction<'_> {
    /// Removes versions that another one has replaced from `from` to before `before`, oldest first, looking at `most` of
    /// them; gives how many went and where to go on. The current version stays, whatever its age, and so does a version that
    /// a Binary names as its security context: it says who may read that.
    pub fn remove_versions(
        &mut self,
        from: Option<OffsetDateTime>,
        before: OffsetDateTime,
        most: u32,
    ) -> Result<(usize, Option<OffsetDateTime>), StoreError> {
        let from = from.map_or(i64::MIN, to_millis);
        let old = self.rows(
            "SELECT v.rid, v.version, v.type, v.last_updated, n.last_updated FROM resource_version AS n
             JOIN resource_version AS v ON v.rid = n.rid AND v.version = n.version - 1
             WHERE n.last_updated >= ?1 AND n.last_updated < ?2 AND NOT EXISTS (SELECT 1 FROM security_context AS s
                 WHERE s.target_type = v.type AND s.target_id = v.id AND s.target_version = v.version)
             ORDER BY n.last_updated, n.id, n.version LIMIT ?3",
            &[from.into(), before.into(), i64::from(most).into()],
            |row| {
                let key = (row.integer(0)?, row.unsigned(1)?);
                Ok((key, parse_type(row.text(2)?)?, row.integer(3)?, row.time(4)?))
            },
        )?;
        for ((rid, version), resource_type, time, _) in &old {
            let readers = std::sync::Arc::new(self.readers(*rid, *version)?);
            self.note_count([tally::of_history(*resource_type)], *time, &readers, -1);
            self.release_content(*rid, *version)?;
            for sql in [
                "DELETE FROM read_access WHERE rid = ?1 AND version = ?2",
                "DELETE FROM security_context WHERE rid = ?1 AND version = ?2",
                "DELETE FROM resource_version WHERE rid = ?1 AND version = ?2",
            ] {
                self.put(sql, &[(*rid).into(), (*version).into()])?;
            }
        }
        // What is missing before this time was removed here, and is not lost.
        if !old.is_empty() && self.history_forgotten()? < to_millis(before) {
            self.set_setting(FORGOTTEN, to_millis(before).to_string().as_bytes())?;
        }
        let next = if old.len() < most as usize { None } else { old.last().map(|(.., replaced)| *replaced) };
        Ok((old.len(), next))
    }
}

impl Transaction<'_> {
    /// Versions that were replaced before this time may have been removed.
    pub(crate) fn history_forgotten(&mut self) -> Result<i64, StoreError> {
        let stored = self.setting(FORGOTTEN)?;
        let time = stored.map(|bytes| std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok()));
        time.map_or(Ok(i64::MIN), |time| time.ok_or_else(|| StoreError::BadRow(format!("setting {FORGOTTEN}"))))
    }
}

/// The versions as they are counted, if they are.
fn counted<'f>(query: &HistoryQuery, filter: &'f ReadFilter, rows: &Statement) -> Option<Population<'f>> {
    let visible = |resource_type: &ResourceType| filter.includes_type(*resource_type);
    let (types, readers) = match &query.scope {
        HistoryScope::Instance(..) => return None,
        HistoryScope::Type(resource_type) => (vec![*resource_type], tally::readers_of(filter, Some(*resource_type))),
        HistoryScope::System => (ResourceType::ALL.to_vec(), tally::readers_of(filter, None)),
    };
    Some(Population {
        subjects: types.into_iter().filter(visible).map(tally::of_history).collect(),
        readers,
        rows: rows.clone(),
        time: "v.last_updated",
        low: query.from.map(to_millis),
        high: query.before.map(to_millis),
    })
}

/// Times from `low` up to but not including `high`.
fn between(statement: &mut Statement, time: &'static str, low: Option<i64>, high: Option<i64>) {
    if let Some(low) = low {
        statement.push(" AND ").push(time).push(" >= ").bind(low);
    }
    if let Some(high) = high {
        statement.push(" AND ").push(time).push(" < ").bind(high);
    }
}
