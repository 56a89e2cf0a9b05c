//! `_include` and `_revinclude`: the resources on the other end of references, each once and only if it may be seen.

use std::collections::BTreeSet;

use fhir::Canonical;
use fhir::ResourceType;
use fhir::search::{Include, Kind, Query};

use crate::index::{bounded, column};
use crate::page::PageSpace;
use crate::read_access::ReadFilter;
use crate::resources::{StoredResource, stored};
use crate::statement::Statement;
use crate::{StoreError, Transaction, limits};

/// Values bound to one statement; SQLite takes 32766, a statement of this size is quick to prepare.
const BATCH: usize = 500;

impl Transaction<'_> {
    /// What is included with a page of matches.
    pub(super) fn includes(
        &mut self,
        query: &Query,
        rids: &[i64],
        matches: &[StoredResource],
        filter: &ReadFilter,
        space: &mut PageSpace,
    ) -> Result<Vec<StoredResource>, StoreError> {
        let mut found = Included { known: rids.iter().copied().collect(), all: Vec::new(), space };
        for include in &query.include {
            for batch in rids.chunks(BATCH) {
                if include.parameter.kind == Kind::Canonical {
                    self.include_canonical(include, batch, filter, &mut found)?;
                } else {
                    self.include_references(include, batch, filter, &mut found)?;
                }
            }
        }
        for include in &query.revinclude {
            for batch in matches.chunks(BATCH) {
                self.include_referring(include, query.resource_type, batch, filter, &mut found)?;
            }
        }
        Ok(found.all)
    }

    fn include_references(
        &mut self,
        include: &Include,
        rids: &[i64],
        filter: &ReadFilter,
        found: &mut Included<'_>,
    ) -> Result<(), StoreError> {
        for target in &include.targets {
            let mut rows = Statement::new(
                "r.rid IN (SELECT t.rid FROM reference_index AS i
                    JOIN resource AS t ON t.type = i.target_type AND t.id = i.target_id WHERE i.parameter = ",
            );
            rows.bind(column(include.source, include.parameter.name));
            rows.push(" AND i.target_type = ").bind(target.as_str());
            rows.push(" AND i.rid IN (");
            rows.bind_all(rids.iter().copied());
            rows.push("))");
            self.add_included(*target, &rows, filter, found)?;
        }
        Ok(())
    }

    /// A canonical includes the version that it names, or every version if it names none.
    fn include_canonical(
        &mut self,
        include: &Include,
        rids: &[i64],
        filter: &ReadFilter,
        found: &mut Included<'_>,
    ) -> Result<(), StoreError> {
        let mut values = Statement::new("SELECT DISTINCT i.value FROM uri_index AS i WHERE i.parameter = ");
        values.bind(column(include.source, include.parameter.name));
        values.push(" AND i.rid IN (");
        values.bind_all(rids.iter().copied());
        values.push(") ORDER BY i.value LIMIT ").bind(i64::try_from(limits::INCLUDES).unwrap_or(i64::MAX));
        let values = self.rows(values.text(), values.params(), |row| row.string(0))?;
        for Canonical { url, version } in values.iter().filter_map(|value| Canonical::parse(value)) {
            for target in &include.targets {
                let mut rows = Statement::new("r.rid IN (SELECT i.rid FROM uri_index AS i WHERE i.parameter = ");
                rows.bind(column(*target, "url"));
                rows.push(" AND i.value = ").bind(bounded(&url).as_ref());
                if let Some(version) = &version {
                    rows.push(" AND i.version = ").bind(bounded(version).as_ref());
                }
                rows.push(")");
                self.add_included(*target, &rows, filter, found)?;
            }
        }
        Ok(())
    }

    fn include_referring(
        &mut self,
        include: &Include,
        searched: ResourceType,
        matches: &[StoredResource],
        filter: &ReadFilter,
        found: &mut Included<'_>,
    ) -> Result<(), StoreError> {
        let mut rows = Statement::new("r.rid IN (SELECT i.rid FROM reference_index AS i WHERE i.parameter = ");
        rows.bind(column(include.source, include.parameter.name));
        rows.push(" AND i.target_type = ").bind(searched.as_str());
        rows.push(" AND i.target_id IN (");
        rows.bind_all(matches.iter().map(|matched| bounded(&matched.id).into_owned()));
        rows.push("))");
        self.add_included(include.source, &rows, filter, found)
    }

    fn add_included(
        &mut self,
        resource_type: ResourceType,
        condition: &Statement,
        filter: &ReadFilter,
        found: &mut Included<'_>,
    ) -> Result<(), StoreError> {
        let left = limits::INCLUDES.saturating_sub(found.all.len());
        if !filter.includes_type(resource_type) || left == 0 {
            return Ok(());
        }
        let mut select = Statement::new(
            "SELECT v.version, v.last_updated, v.content, r.id, r.rid FROM resource AS r
             JOIN resource_version AS v ON v.rid = r.rid AND v.version = r.version WHERE r.type = ",
        );
        select.bind(resource_type.as_str());
        select.push(" AND r.deleted = 0 AND ").append(condition);
        select.visible("r.rid", "r.version", filter.grants_for(resource_type));
        select.push(" ORDER BY r.last_updated, r.id LIMIT ").bind(i64::try_from(left).unwrap_or(i64::MAX));
        let new = self.rows(select.text(), select.params(), |row| {
            if !found.known.insert(row.integer(4)?) {
                return Ok(None);
            }
            found.space.take(row.text(2)?)?;
            stored(row, resource_type, row.text(3)?).map(Some)
        })?;
        found.all.extend(new.into_iter().flatten());
        Ok(())
    }
}

/// What was included so far.
struct Included<'s> {
    /// The matches and what was included.
    known: BTreeSet<i64>,
    all: Vec<StoredResource>,
    space: &'s mut PageSpace,
}
