//! Prepared statements, values on their way to the server, rows on their way back.

use std::collections::HashMap;
use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::Statement;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use crate::sql::{Param, Row};
use crate::{StoreError, limits};

/// The statements that a connection has prepared, by text and by the types of their values: a NULL has none, and which
/// type the server gives it depends on the statement.
#[derive(Default)]
pub(super) struct Statements {
    prepared: HashMap<String, Vec<Prepared>>,
    count: usize,
    clock: u64,
}

struct Prepared {
    types: Vec<Type>,
    statement: Statement,
    used: u64,
}

/// A row of the client library.
pub(super) struct PostgreSqlRow<'r>(pub(super) &'r tokio_postgres::Row);

// === impl Statements ===

impl Statements {
    pub(super) fn get(&mut self, sql: &str, params: &[Param<'_>]) -> Option<Statement> {
        self.clock += 1;
        let fits = |prepared: &&mut Prepared| {
            prepared.types.len() == params.len()
                && prepared.types.iter().zip(params).all(|(known, param)| *known == type_of(param))
        };
        let found = self.prepared.get_mut(sql)?.iter_mut().find(fits)?;
        found.used = self.clock;
        Some(found.statement.clone())
    }

    /// Keeps a statement; the one that was not used for longest goes, and the server forgets it too.
    pub(super) fn keep(&mut self, sql: &str, types: Vec<Type>, statement: Statement) {
        if self.count >= limits::STATEMENTS {
            self.forget_oldest();
        }
        self.count += 1;
        self.prepared.entry(sql.to_owned()).or_default().push(Prepared { types, statement, used: self.clock });
    }

    /// Forgets an eighth at once, so that a stream of new statements does not look for the oldest each time.
    fn forget_oldest(&mut self) {
        let mut used: Vec<u64> = self.prepared.values().flatten().map(|prepared| prepared.used).collect();
        used.sort_unstable();
        let limit = used.get(used.len() / 8).copied().unwrap_or(u64::MAX);
        self.prepared.retain(|_, all| {
            all.retain(|prepared| prepared.used > limit);
            !all.is_empty()
        });
        self.count = self.prepared.values().map(Vec::len).sum();
    }
}

pub(super) fn types_of(params: &[Param<'_>]) -> Vec<Type> {
    params.iter().map(type_of).collect()
}

/// The type is always said, so that the server guesses none: it would take a bare value in a list of results for text.
const fn type_of(param: &Param<'_>) -> Type {
    match param {
        Param::Null => Type::UNKNOWN,
        Param::Integer(_) => Type::INT8,
        Param::Text(_) => Type::TEXT,
        Param::Bytes(_) => Type::BYTEA,
    }
}

// === impl Param ===

impl ToSql for Param<'_> {
    fn to_sql(&self, type_: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Integer(value) => value.to_sql(type_, out),
            // The server stores no NUL. No stored text has one, FHIR excludes it; a search for one must find nothing.
            Self::Text(text) if text.contains('\0') => text.replace('\0', "\u{FFFD}").to_sql(type_, out),
            Self::Text(text) => text.to_sql(type_, out),
            Self::Bytes(bytes) => bytes.to_sql(type_, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl Param<'_> {
    /// The value, independent of what it was borrowed from.
    pub(super) fn to_owned_param(&self) -> Param<'static> {
        match self {
            Self::Null => Param::Null,
            Self::Integer(value) => Param::Integer(*value),
            Self::Text(text) => Param::Text(text.clone().into_owned().into()),
            Self::Bytes(bytes) => Param::Bytes(bytes.clone().into_owned().into()),
        }
    }
}

// === impl PostgreSqlRow ===

impl Row for PostgreSqlRow<'_> {
    fn optional_integer(&self, column: usize) -> Result<Option<i64>, StoreError> {
        let is_short = self.0.columns().get(column).is_some_and(|column| *column.type_() == Type::INT4);
        let value = if is_short {
            self.0.try_get::<_, Option<i32>>(column).map(|value| value.map(i64::from))
        } else {
            self.0.try_get::<_, Option<i64>>(column)
        };
        value.map_err(|error| bad(column, &error))
    }

    fn optional_text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        self.0.try_get(column).map_err(|error| bad(column, &error))
    }

    fn optional_bytes(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        self.0.try_get(column).map_err(|error| bad(column, &error))
    }
}

fn bad(column: usize, error: &tokio_postgres::Error) -> StoreError {
    StoreError::BadRow(format!("column {column}: {error}"))
}
