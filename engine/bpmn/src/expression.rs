//! The expression language: the part of JUEL that models in the field use, and nothing that reaches further.
//!
//! A text is a template of literal parts and `${...}` or `#{...}` expressions. A template that is exactly one expression
//! gives its value, any other gives a string. Variables are looked up through the scopes of the execution; `execution`
//! offers `hasVariable`, `getVariable` and a few more. Values are JSON: there are no beans, no reflection, no scripts.
//! Length, depth, steps and result are bounded; every error names the position in the text.

pub mod analysis;
mod evaluate;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::execution::instance::Variables;

/// A parsed template.
#[derive(Debug, Clone)]
pub struct Expression {
    source: Arc<str>,
    parts: Arc<[Part]>,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Code(parser::Node),
}

/// Why a text is no expression, or could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expression {source_text:?}, position {position}: {kind}")]
pub struct ExpressionError {
    /// The whole text.
    pub source_text: String,
    /// Position of the offending part, in characters from 1.
    pub position: usize,
    /// What is wrong.
    pub kind: ExpressionErrorKind,
}

/// Kinds of error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpressionErrorKind {
    /// The text does not follow the grammar.
    #[error("{0}")]
    Syntax(String),
    /// An unknown variable was used.
    #[error("unknown property used in expression: {0}")]
    UnknownVariable(String),
    /// An operation does not fit its values.
    #[error("{0}")]
    Type(String),
    /// A bound was reached.
    #[error("limit reached: {0}")]
    Limit(&'static str),
}

/// What an expression can see of an execution.
pub trait Context {
    /// A variable, searched outwards.
    fn variable(&self, name: &str) -> Option<&Value>;
    /// A variable of the local scope only.
    fn local_variable(&self, name: &str) -> Option<&Value>;
    /// Business key of the instance.
    fn business_key(&self) -> Option<&str>;
    /// Id of the instance.
    fn instance_id(&self) -> Option<&str>;
}

// === impl Expression ===

impl Expression {
    /// Parses a template.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let parts = parser::template(text).map_err(|error| error.at(text))?;
        Ok(Self { source: text.into(), parts: parts.into() })
    }

    /// A template of literal text, whatever it holds.
    pub fn literal(text: &str) -> Self {
        Self { source: text.into(), parts: Arc::new([Part::Text(text.to_owned())]) }
    }

    /// An expression that is a variable of this name, whatever the name holds.
    pub fn variable(name: &str) -> Self {
        Self { source: name.into(), parts: Arc::new([Part::Code(parser::Node::variable(name))]) }
    }

    /// The text as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text, if no part needs evaluation.
    pub fn constant(&self) -> Option<String> {
        let mut text = String::new();
        for part in self.parts.iter() {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Code(_) => return None,
            }
        }
        Some(text)
    }

    /// `true` for a template that is exactly one expression.
    pub fn is_single(&self) -> bool {
        matches!(&*self.parts, [Part::Code(_)])
    }

    /// Evaluates to a value.
    pub fn evaluate(&self, context: &dyn Context) -> Result<Value, ExpressionError> {
        self.value(context).map(Cow::into_owned)
    }

    /// Evaluates to a value, borrowed from a variable where possible.
    pub fn value<'a>(&'a self, context: &'a dyn Context) -> Result<Cow<'a, Value>, ExpressionError> {
        evaluate::template(&self.parts, context).map_err(|error| error.at(&self.source))
    }

    /// Evaluates to a string; numbers and booleans are written out, null is empty.
    pub fn text(&self, context: &dyn Context) -> Result<String, ExpressionError> {
        let value = self.value(context)?;
        evaluate::to_text(&value).map_err(|kind| evaluate::Error { position: 0, kind }.at(&self.source))
    }

    /// Evaluates a condition, which must give a boolean.
    pub fn condition(&self, context: &dyn Context) -> Result<bool, ExpressionError> {
        match &*self.value(context)? {
            Value::Bool(value) => Ok(*value),
            other => {
                let kind = ExpressionErrorKind::Type(format!(
                    "condition gives {} instead of a boolean",
                    evaluate::type_name(other)
                ));
                Err(evaluate::Error { position: 0, kind }.at(&self.source))
            }
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.source)
    }
}

// === impl Context ===

impl Context for Variables<'_> {
    fn variable(&self, name: &str) -> Option<&Value> {
        self.get(name)
    }

    fn local_variable(&self, name: &str) -> Option<&Value> {
        self.get_local(name)
    }

    fn business_key(&self) -> Option<&str> {
        Variables::business_key(self)
    }

    fn instance_id(&self) -> Option<&str> {
        Variables::instance_id(self)
    }
}
