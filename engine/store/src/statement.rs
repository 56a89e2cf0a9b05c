//! A statement that is put together from fixed fragments and bound values.
//!
//! `push` takes only `&'static str`, so a value from outside cannot become text of the statement.

use std::borrow::Cow;

use crate::Param;
use crate::read_access::Grant;

/// SQL text with the values of its placeholders.
#[derive(Clone, Debug, Default)]
pub(crate) struct Statement {
    parts: Vec<Part>,
    text: String,
    params: Vec<Param<'static>>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(&'static str),
    Value(Param<'static>),
}

impl Statement {
    pub(crate) fn new(text: &'static str) -> Self {
        let mut statement = Self::default();
        statement.push(text);
        statement
    }

    /// Appends a fixed fragment.
    pub(crate) fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self.parts.push(Part::Text(text));
        self
    }

    /// Appends a placeholder for the value.
    pub(crate) fn bind(&mut self, value: impl Into<Owned>) {
        let Owned(value) = value.into();
        self.params.push(value.clone());
        self.text.push('?');
        self.text.push_str(&self.params.len().to_string());
        self.parts.push(Part::Value(value));
    }

    /// Appends placeholders separated by commas; for no values one that equals nothing.
    pub(crate) fn bind_all<T: Into<Owned>>(&mut self, values: impl IntoIterator<Item = T>) {
        let mut first = true;
        for value in values {
            if !first {
                self.push(", ");
            }
            first = false;
            self.bind(value);
        }
        if first {
            self.push("NULL");
        }
    }

    /// Appends another statement, its placeholders numbered on.
    pub(crate) fn append(&mut self, other: &Self) -> &mut Self {
        for part in &other.parts {
            match part {
                Part::Text(text) => {
                    self.push(text);
                }
                Part::Value(value) => self.bind(Owned(value.clone())),
            }
        }
        self
    }

    /// [`Statement::append`], by value.
    pub(crate) fn with(mut self, other: &Self) -> Self {
        self.append(other);
        self
    }

    /// Appends ` AND …`: one of the grants is a grant of the version; `None` is no condition.
    pub(crate) fn visible<'g>(
        &mut self,
        rid: &'static str,
        version: &'static str,
        grants: Option<impl IntoIterator<Item = &'g Grant>>,
    ) {
        let Some(grants) = grants else { return };
        self.push(" AND EXISTS (SELECT 1 FROM read_access AS a WHERE a.rid = ").push(rid);
        self.push(" AND a.version = ").push(version).push(" AND a.grantee IN (");
        self.bind_all(grants.into_iter().map(Grant::as_str));
        self.push("))");
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn params(&self) -> &[Param<'static>] {
        &self.params
    }
}

/// A value that outlives the statement's builder.
pub(crate) struct Owned(Param<'static>);

impl From<i64> for Owned {
    fn from(value: i64) -> Self {
        Self(Param::Integer(value))
    }
}

impl From<&str> for Owned {
    fn from(value: &str) -> Self {
        Self(Param::Text(Cow::Owned(value.to_owned())))
    }
}

impl From<String> for Owned {
    fn from(value: String) -> Self {
        Self(Param::Text(Cow::Owned(value)))
    }
}
