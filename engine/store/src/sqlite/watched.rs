//! A connection that tells what its statements cost, for tests: how each is planned, and how many steps of SQLite's
//! virtual machine it takes, which grow with the rows that are visited and not with the machine.

use rusqlite::StatementStatus;

use super::{SqliteRow, translate};
use crate::StoreError;
use crate::sql::{Control, Dialect, Param, Row, Sql};

pub(crate) struct Watched {
    connection: rusqlite::Connection,
    /// Steps since the last look.
    steps: i64,
    /// Plans of the statements since the last look.
    plans: Vec<String>,
}

impl Watched {
    pub(crate) fn open(path: &std::path::Path) -> Self {
        Self { connection: rusqlite::Connection::open(path).unwrap(), steps: 0, plans: Vec::new() }
    }

    /// Steps and plans since the last look.
    pub(crate) fn take(&mut self) -> (i64, Vec<String>) {
        (std::mem::take(&mut self.steps), std::mem::take(&mut self.plans))
    }

    fn plan(&self, sql: &str, params: &[Param<'_>]) -> Result<String, StoreError> {
        let explain = format!("EXPLAIN QUERY PLAN {sql}");
        let mut statement = self.connection.prepare(&explain).map_err(|error| translate(&error))?;
        for (index, param) in params.iter().enumerate() {
            statement.raw_bind_parameter(index + 1, param).map_err(|error| translate(&error))?;
        }
        let mut rows = statement.raw_query();
        let mut lines = String::new();
        while let Some(row) = rows.next().map_err(|error| translate(&error))? {
            let detail: String = row.get(3).map_err(|error| translate(&error))?;
            lines.push_str(&format!("{detail}\n"));
        }
        Ok(format!("{lines}of {sql}"))
    }
}

impl Sql for Watched {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn execute(&mut self, _: &str, _: &[Param<'_>]) -> Result<usize, StoreError> {
        Err(StoreError::ReadOnly)
    }

    fn control(&mut self, _: Control) -> Result<(), StoreError> {
        Err(StoreError::ReadOnly)
    }

    fn query(
        &mut self,
        sql: &str,
        params: &[Param<'_>],
        row: &mut dyn FnMut(&dyn Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.plans.push(self.plan(sql, params)?);
        let mut statement = self.connection.prepare_cached(sql).map_err(|error| translate(&error))?;
        for (index, param) in params.iter().enumerate() {
            statement.raw_bind_parameter(index + 1, param).map_err(|error| translate(&error))?;
        }
        statement.reset_status(StatementStatus::VmStep);
        {
            let mut rows = statement.raw_query();
            while let Some(next) = rows.next().map_err(|error| translate(&error))? {
                row(&SqliteRow(next))?;
            }
        }
        self.steps += i64::from(statement.reset_status(StatementStatus::VmStep));
        Ok(())
    }
}
