//! Comparison of the counts with what they count, for administrators and tests. It looks at every row.

use std::collections::BTreeMap;

use fhir::ResourceType;

use super::{LEVELS, WHOLE, of_history, of_type};
use crate::verify::Verified;
use crate::{StoreError, Transaction};

impl Transaction<'_> {
    /// Compares the counts of each type with its resources and versions: all of them on every level, and those that each
    /// grant lets be seen; and the times beside codes with those of the resources.
    pub fn verify_counts(&mut self) -> Result<Verified, StoreError> {
        let mut problems = Vec::new();
        for resource_type in ResourceType::ALL {
            let name = resource_type.as_str();
            let current = "SELECT COUNT(*) FROM resource WHERE type = ?1 AND deleted = 0";
            let current_of_grant = "SELECT a.grantee, COUNT(*) FROM resource AS r
                 JOIN read_access AS a ON a.rid = r.rid AND a.version = r.version
                 WHERE r.type = ?1 AND r.deleted = 0 GROUP BY a.grantee";
            let versions = "SELECT COUNT(*) FROM resource_version WHERE type = ?1";
            let versions_of_grant = "SELECT a.grantee, COUNT(*) FROM resource_version AS v
                 JOIN read_access AS a ON a.rid = v.rid AND a.version = v.version
                 WHERE v.type = ?1 GROUP BY a.grantee";
            for (subject, all, of_grant) in [
                (of_type(*resource_type), current, current_of_grant),
                (of_history(*resource_type), versions, versions_of_grant),
            ] {
                let expected = self.row(all, &[name.into()], |row| row.unsigned(0))?.unwrap_or(0);
                for level in LEVELS.into_iter().chain([WHOLE]) {
                    let counted = self.row(
                        "SELECT CAST(COALESCE(SUM(count), 0) AS BIGINT) FROM tally WHERE subject = ?1 AND level = ?2",
                        &[subject.as_str().into(), level.into()],
                        |row| row.unsigned(0),
                    )?;
                    if counted != Some(expected) {
                        let counted = counted.unwrap_or(0);
                        problems
                            .push(format!("{subject}: {counted} are counted on level {level}, there are {expected}"));
                    }
                }
                let expected: BTreeMap<String, u64> = self
                    .rows(of_grant, &[name.into()], |row| Ok((row.string(0)?, row.unsigned(1)?)))?
                    .into_iter()
                    .collect();
                let counted: BTreeMap<String, u64> = self
                    .rows(
                        "SELECT g.grantee, CAST(SUM(t.count) AS BIGINT) FROM tally AS t
                         JOIN audience_grant AS g ON g.audience = t.audience
                         WHERE t.subject = ?1 AND t.level = ?2 GROUP BY g.grantee",
                        &[subject.as_str().into(), WHOLE.into()],
                        |row| Ok((row.string(0)?, row.unsigned(1)?)),
                    )?
                    .into_iter()
                    .collect();
                if counted != expected {
                    problems.push(format!("{subject}: the counts by readers are not those of the resources"));
                }
            }
        }
        for (table, sql) in [
            (
                "token_index",
                "SELECT COUNT(*) FROM token_index AS i JOIN resource AS r ON r.rid = i.rid
                 WHERE i.last_updated <> r.last_updated",
            ),
            (
                "read_access",
                "SELECT COUNT(*) FROM read_access AS a
                 JOIN resource_version AS v ON v.rid = a.rid AND v.version = a.version
                 WHERE a.last_updated <> v.last_updated",
            ),
        ] {
            let astray = self.row(sql, &[], |row| row.unsigned(0))?;
            if let Some(astray) = astray.filter(|astray| *astray > 0) {
                problems.push(format!("{table}: {astray} rows have another time than their resource"));
            }
        }
        Ok(Verified { problems, ..Verified::default() })
    }
}
