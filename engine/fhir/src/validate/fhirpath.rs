//! FHIRPath, as far as invariants of profiles need it (FHIRPath N1, HL7 R4 section 2.9).
//!
//! An expression is compiled once with its profile and evaluated on every matching element. Everything that the
//! invariants of R4 and of the published process plug-ins use is here except what needs other resources or terminology
//! (`resolve`, `memberOf`, `conformsTo`, `htmlChecks`). An expression outside this subset is not guessed at: compiling or
//! evaluating it answers [`Unsupported`](EvaluationError::Unsupported), and the validator reports the invariant as not
//! checked.
//!
//! Trees carry no types. A choice element (`valueString`) is reached by its stem (`value`) and knows its type by its
//! suffix; where `is`, `as` or `ofType` meets a node whose type is not known that way, evaluation stops as unsupported.

mod evaluate;
mod functions;
mod lexer;
mod node;
mod parser;

use std::cell::Cell;

use crate::Object;
#[cfg(test)]
use crate::Value;

pub(crate) use node::{Collection, Item, Node};

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Expression {
    root: Ast,
}

/// Where an expression is evaluated.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// The resource that contains the element, `%resource`.
    pub(crate) resource: &'a Object,
    /// The resource that contains that one, or itself; `%rootResource`.
    pub(crate) root: &'a Object,
    /// The element.
    pub(crate) focus: Node<'a>,
    /// What the validation may still spend.
    pub(crate) budget: &'a Cell<usize>,
}

/// The expression cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExpressionError {
    #[error("expression has more than {0} bytes")]
    TooLong(usize),
    #[error("expression is nested more than {0} deep")]
    TooDeep(usize),
    #[error("unexpected {found} at byte {position}")]
    Syntax { found: String, position: usize },
    #[error("{0} is not supported")]
    Unsupported(String),
}

/// The expression cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EvaluationError {
    #[error("{0} is not supported")]
    Unsupported(String),
    #[error("evaluation touches more than {0} nodes")]
    TooCostly(usize),
}

#[derive(Debug)]
enum Ast {
    Literal(Literal),
    This,
    Variable(Variable),
    Member(Option<Box<Self>>, String),
    Call {
        target: Option<Box<Self>>,
        function: functions::Function,
        arguments: Vec<Self>,
        regex: Option<Box<regex::Regex>>,
    },
    Index(Box<Self>, Box<Self>),
    Binary(Operator, Box<Self>, Box<Self>),
    Negate(Box<Self>),
    Type {
        operand: Box<Self>,
        test: TypeTest,
        name: String,
    },
}

#[derive(Debug)]
enum Literal {
    Empty,
    Boolean(bool),
    Text(String),
    Number(crate::Number),
    Date(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Variable {
    Resource,
    RootResource,
    Context,
    Ucum,
    Index,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TypeTest {
    Is,
    As,
    OfType,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Implies,
    Or,
    Xor,
    And,
    In,
    Contains,
    Equal,
    NotEqual,
    Equivalent,
    NotEquivalent,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Union,
    Add,
    Subtract,
    Concatenate,
    Multiply,
}

impl Expression {
    /// Compiles the text.
    pub(crate) fn compile(text: &str) -> Result<Self, ExpressionError> {
        parser::parse(text).map(|root| Self { root })
    }

    /// Evaluates to a collection.
    pub(crate) fn evaluate<'a>(&'a self, scope: Scope<'a>) -> Result<Collection<'a>, EvaluationError> {
        evaluate::Evaluator::new(scope).run(&self.root)
    }

    /// The boolean that the expression says; none if it evaluates to nothing.
    pub(crate) fn decide(&self, scope: Scope<'_>) -> Result<Option<bool>, EvaluationError> {
        Ok(evaluate::truth(&self.evaluate(scope)?))
    }

    /// Whether the expression holds; nothing counts as `false`, as it does for the reference server.
    pub(crate) fn holds(&self, scope: Scope<'_>) -> Result<bool, EvaluationError> {
        Ok(self.decide(scope)?.unwrap_or(false))
    }
}

impl<'a> Scope<'a> {
    /// The resource itself as the element.
    #[cfg(test)]
    pub(crate) fn of(resource: &'a Object, value: &'a Value, budget: &'a Cell<usize>) -> Self {
        Self { resource, root: resource, focus: Node::plain(value), budget }
    }
}

#[cfg(test)]
mod tests;
