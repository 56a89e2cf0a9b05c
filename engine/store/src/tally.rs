//! Counts that are kept while resources are written, so that an exact total costs no walk over the matches and a far
//! page is found without reading the pages before it.
//!
//! Counted are the current resources of a type, those with each status or truth value, and the versions of a type; each
//! by its readers and by its time, in buckets of a second and coarser ones above, 256 to one. A count over a range of
//! time adds at most 2 x 255 buckets of each level, and looks at single rows only within the first and the last second.
//!
//! Transactions note what they change ([`Entry`]); the notes of all that share a commit are added up and written once,
//! in the order of their keys, as the last statements before the commit. So hundreds of creates write a counter once,
//! and engines that share a database never wait for each other's counters in a circle. Until then the counters are
//! behind what the transaction sees, which is why only reads use them.

mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fhir::ResourceType;
use fhir::search::{Kind, SearchParameter};

use crate::index::bounded;
use crate::read_access::{Grant, ReadFilter};
use crate::statement::Statement;
use crate::{StoreError, Transaction};

/// Bits of milliseconds that a bucket of each level spans: 1 s, 4 min, 19 h, 198 days.
const LEVELS: [u32; 4] = [10, 18, 26, 34];
/// The level of the one bucket that holds all times.
const WHOLE: u32 = 62;
/// Bits between two levels.
const STEP: u32 = 8;

/// A change of a count.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    subject: String,
    time: i64,
    readers: Arc<BTreeSet<Grant>>,
    by: i64,
}

/// What is counted in a query: subjects, who may see them, and the rows themselves for the seconds at the ends.
pub(crate) struct Population<'p> {
    pub(crate) subjects: Vec<String>,
    /// `None` sees all.
    pub(crate) readers: Option<Vec<&'p Grant>>,
    /// ` FROM … WHERE …` of the rows, without bounds of time.
    pub(crate) rows: Statement,
    /// The column of their time.
    pub(crate) time: &'static str,
    /// Times from `low` up to but not including `high`.
    pub(crate) low: Option<i64>,
    pub(crate) high: Option<i64>,
}

/// Up to so many rows of others are passed for each one that can be seen.
const OTHERS: u64 = 4;

/// Where a page begins: rows from (or, backwards, before) a time on, without the first `skip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) time: Option<i64>,
    pub(crate) skip: u64,
}

/// Buckets of one level, the last one not included.
type Buckets = (u32, i64, i64);

/// Current resources of the type.
pub(crate) fn of_type(resource_type: ResourceType) -> String {
    resource_type.as_str().to_owned()
}

/// Current resources with a code.
pub(crate) fn of_code(column: &str, code: &str) -> String {
    format!("{column}={}", bounded(code))
}

/// Versions of the type.
pub(crate) fn of_history(resource_type: ResourceType) -> String {
    format!("{resource_type}/_history")
}

/// Whether there is a count for each code of the parameter: those with few codes.
pub(crate) fn has_counts(parameter: &SearchParameter) -> bool {
    parameter.kind == Kind::Boolean || (parameter.kind == Kind::Code && parameter.name == "status")
}

// === impl Transaction: noting and writing ===

impl Transaction<'_> {
    /// Notes that so many of each subject came or went.
    pub(crate) fn note_count(
        &mut self,
        subjects: impl IntoIterator<Item = String>,
        time: i64,
        readers: &Arc<BTreeSet<Grant>>,
        by: i64,
    ) {
        let entries = subjects.into_iter().map(|subject| Entry { subject, time, readers: Arc::clone(readers), by });
        self.effects().tally.extend(entries);
    }

    /// Writes what was noted. To be called once, before the commit.
    pub(crate) fn write_counts(&mut self, noted: Vec<Entry>) -> Result<(), StoreError> {
        let mut audiences: BTreeMap<Arc<BTreeSet<Grant>>, i64> = BTreeMap::new();
        for entry in &noted {
            audiences.entry(Arc::clone(&entry.readers)).or_default();
        }
        for (readers, id) in &mut audiences {
            *id = self.audience(readers)?;
        }
        let mut counts: BTreeMap<(String, u32, i64, i64), i64> = BTreeMap::new();
        for entry in noted {
            let audience = audiences.get(&entry.readers).copied().unwrap_or_default();
            for level in LEVELS {
                *counts.entry((entry.subject.clone(), level, entry.time >> level, audience)).or_default() += entry.by;
            }
            *counts.entry((entry.subject, WHOLE, entry.time >> WHOLE, audience)).or_default() += entry.by;
        }
        for ((subject, level, bucket, audience), by) in &counts {
            if *by == 0 {
                continue;
            }
            let key = [subject.into(), (*level).into(), (*bucket).into(), (*audience).into(), (*by).into()];
            self.put(
                "INSERT INTO tally (subject, level, bucket, audience, count) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (subject, level, bucket, audience) DO UPDATE SET count = tally.count + excluded.count",
                &key,
            )?;
            if *by < 0 {
                self.put(
                    "DELETE FROM tally
                     WHERE subject = ?1 AND level = ?2 AND bucket = ?3 AND audience = ?4 AND count = 0",
                    key.get(..4).unwrap_or_default(),
                )?;
            }
        }
        Ok(())
    }

    /// Forgets every count, before all are made anew.
    pub(crate) fn forget_counts(&mut self) -> Result<(), StoreError> {
        for sql in ["DELETE FROM tally", "DELETE FROM audience_grant", "DELETE FROM audience"] {
            self.put(sql, &[])?;
        }
        Ok(())
    }

    fn audience(&mut self, readers: &BTreeSet<Grant>) -> Result<i64, StoreError> {
        // With their lengths, so that no two sets give the same text.
        let text: Vec<String> =
            readers.iter().map(|grant| format!("{}:{}", grant.as_str().len(), grant.as_str())).collect();
        let text = text.join(" ");
        let key = bounded(&text);
        let find = "SELECT id FROM audience WHERE readers = ?1";
        let known = self.row(find, &[key.as_ref().into()], |row| row.integer(0))?;
        if let Some(known) = known {
            return Ok(known);
        }
        let made = self.returning(
            "INSERT INTO audience (readers) VALUES (?1) ON CONFLICT (readers) DO NOTHING RETURNING id",
            &[key.as_ref().into()],
            |row| row.integer(0),
        )?;
        let Some(id) = made.first().copied() else {
            // Another engine made it since.
            let made = self.row(find, &[key.as_ref().into()], |row| row.integer(0))?;
            return made.ok_or_else(|| StoreError::BadRow("an audience is missing".to_owned()));
        };
        for grant in readers {
            self.put(
                "INSERT INTO audience_grant (grantee, audience) VALUES (?1, ?2)",
                &[grant.as_str().into(), id.into()],
            )?;
        }
        Ok(id)
    }
}

// === impl Transaction: reading ===

impl Transaction<'_> {
    /// How many there are.
    pub(crate) fn count_population(&mut self, population: &Population<'_>) -> Result<u64, StoreError> {
        self.count_between(population, population.low, population.high)
    }

    /// Whether so few of all can be seen that it is better to begin with what can be seen than to walk through all.
    pub(crate) fn is_mostly_hidden(&mut self, population: &Population<'_>, seen: u64) -> Result<bool, StoreError> {
        if population.readers.is_none() {
            return Ok(false);
        }
        let (ranges, _) = ranges(population.low, population.high);
        Ok(self.count_buckets(&population.subjects, None, &ranges)? / OTHERS > seen)
    }

    fn count_between(
        &mut self,
        population: &Population<'_>,
        low: Option<i64>,
        high: Option<i64>,
    ) -> Result<u64, StoreError> {
        let (ranges, edges) = ranges(low, high);
        let mut count = self.count_buckets(&population.subjects, population.readers.as_deref(), &ranges)?;
        for (low, high) in edges {
            let mut rows = Statement::new("SELECT COUNT(*)").with(&population.rows);
            rows.push(" AND ").push(population.time).push(" >= ").bind(low);
            rows.push(" AND ").push(population.time).push(" < ").bind(high);
            count += self.row(rows.text(), rows.params(), |row| row.unsigned(0))?.unwrap_or(0);
        }
        Ok(count)
    }

    fn count_buckets(
        &mut self,
        subjects: &[String],
        readers: Option<&[&Grant]>,
        ranges: &[Buckets],
    ) -> Result<u64, StoreError> {
        let mut total = 0;
        for (level, from, to) in ranges {
            let mut sum = Statement::new("SELECT CAST(COALESCE(SUM(t.count), 0) AS BIGINT)");
            buckets(&mut sum, subjects, readers, (*level, *from, *to));
            total += self.row(sum.text(), sum.params(), |row| row.unsigned(0))?.unwrap_or(0);
        }
        Ok(total)
    }

    /// Where the row with this number is, counted from 0 in the order of time, or backwards from the end.
    pub(crate) fn locate(
        &mut self,
        population: &Population<'_>,
        number: u64,
        backwards: bool,
    ) -> Result<Start, StoreError> {
        let bound = if backwards { population.high } else { population.low };
        // Those that lie before the bound are counted as well, so that whole buckets can be.
        let outside = match (bound, backwards) {
            (None, _) => 0,
            (Some(low), false) => self.count_between(population, None, Some(low))?,
            (Some(high), true) => self.count_between(population, Some(high), None)?,
        };
        let wanted = outside.saturating_add(number);
        let (mut from, mut to, mut passed) = (i64::MIN, i64::MAX, 0);
        for level in LEVELS.into_iter().rev() {
            let mut sums = Statement::new("SELECT t.bucket, CAST(SUM(t.count) AS BIGINT)");
            buckets(&mut sums, &population.subjects, population.readers.as_deref(), (level, from, to));
            sums.push(if backwards {
                " GROUP BY t.bucket ORDER BY t.bucket DESC"
            } else {
                " GROUP BY t.bucket ORDER BY t.bucket"
            });
            let sums = self.rows(sums.text(), sums.params(), |row| Ok((row.integer(0)?, row.unsigned(1)?)))?;
            let mut bucket = None;
            for (here, count) in sums {
                if passed + count > wanted {
                    bucket = Some(here);
                    break;
                }
                passed += count;
            }
            let Some(bucket) = bucket else { return Ok(Start { time: bound, skip: number }) };
            if level == LEVELS[0] {
                let time = if backwards { (bucket + 1) << level } else { bucket << level };
                let is_outside = bound.is_some_and(|bound| if backwards { time > bound } else { time < bound });
                return Ok(if is_outside {
                    Start { time: bound, skip: wanted - passed.max(outside) }
                } else {
                    Start { time: Some(time), skip: wanted - passed }
                });
            }
            (from, to) = (bucket << STEP, (bucket + 1) << STEP);
        }
        Ok(Start { time: bound, skip: number })
    }
}

/// ` FROM tally AS t WHERE …`
fn buckets(statement: &mut Statement, subjects: &[String], readers: Option<&[&Grant]>, (level, from, to): Buckets) {
    statement.push(" FROM tally AS t WHERE t.subject IN (");
    statement.bind_all(subjects.iter().map(String::as_str));
    statement.push(") AND t.level = ").bind(i64::from(level));
    statement.push(" AND t.bucket >= ").bind(from);
    statement.push(" AND t.bucket < ").bind(to);
    if let Some(readers) = readers {
        statement.push(" AND t.audience IN (SELECT g.audience FROM audience_grant AS g WHERE g.grantee IN (");
        statement.bind_all(readers.iter().map(|grant| grant.as_str()));
        statement.push("))");
    }
}

/// The one reader, for whom an index has everything in the order of time.
pub(crate) fn only_reader<'p>(population: &Population<'p>) -> Option<&'p Grant> {
    match population.readers.as_deref() {
        Some([only]) => Some(only),
        _ => None,
    }
}

/// The buckets that make up a range of time, and what remains of seconds at its ends.
fn ranges(low: Option<i64>, high: Option<i64>) -> (Vec<Buckets>, Vec<(i64, i64)>) {
    let second = LEVELS[0];
    if low.is_none() && high.is_none() {
        return (vec![(WHOLE, i64::MIN, i64::MAX)], Vec::new());
    }
    let up = |time: i64, level: u32| (time >> level) + i64::from(time & ((1 << level) - 1) != 0);
    let mut from = low.map_or(i64::MIN >> second, |low| up(low, second));
    let mut to = high.map_or(i64::MAX >> second, |high| high >> second);
    if from > to {
        // Within one second.
        return (Vec::new(), low.zip(high).filter(|(low, high)| low < high).into_iter().collect());
    }
    let first = low.map(|low| (low, from << second));
    let last = high.map(|high| (to << second, high));
    let edges = first.into_iter().chain(last).filter(|(low, high)| low < high).collect();
    let mut all = Vec::new();
    for level in LEVELS {
        let is_last = LEVELS.last() == Some(&level);
        let (above, below) = (up(from, STEP), to >> STEP);
        if is_last || above >= below {
            all.push((level, from, to));
            break;
        }
        all.push((level, from, above << STEP));
        all.push((level, below << STEP, to));
        (from, to) = (above, below);
    }
    all.retain(|(_, from, to)| from < to);
    (all, edges)
}

/// Readers by whom counts of the type are told apart; `None` sees all.
pub(crate) fn readers_of(filter: &ReadFilter, resource_type: Option<ResourceType>) -> Option<Vec<&Grant>> {
    match resource_type {
        Some(resource_type) => filter.grants_for(resource_type),
        None => filter.grants().map(|grants| grants.iter().collect()),
    }
}

#[cfg(test)]
mod tests;
