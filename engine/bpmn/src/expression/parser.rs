//! Grammar of the expression language, by recursive descent with a bounded depth.
//!
//! From loosest to tightest: `? :`, `||`, `&&`, `== !=`, `< > <= >=`, `+ -`, `* / %`, `! - empty`, then `.name`,
//! `.name(...)` and `[...]`. The words `or and eq ne lt gt le ge div mod not` are the same operators.

use serde_json::Value;

use super::ExpressionErrorKind as Kind;
use super::Part;
use super::evaluate::Error;
use super::lexer::{self, Lexeme, Located};
use crate::limits;

/// A node of the syntax tree and the position where it begins.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) position: usize,
    pub(super) kind: NodeKind,
}

#[derive(Debug)]
pub(super) enum NodeKind {
    Literal(Value),
    Variable(String),
    Member(Box<Node>, String),
    Index(Box<Node>, Box<Node>),
    Call(Box<Node>, String, Vec<Node>),
    Unary(Unary, Box<Node>),
    Binary(Binary, Box<Node>, Box<Node>),
    Conditional(Box<Node>, Box<Node>, Box<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unary {
    Not,
    Minus,
    Empty,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Binary operators by level, loosest first.
const LEVELS: [&[(&str, Binary)]; 6] = [
    &[("||", Binary::Or), ("or", Binary::Or)],
    &[("&&", Binary::And), ("and", Binary::And)],
    &[("==", Binary::Equal), ("!=", Binary::Unequal), ("eq", Binary::Equal), ("ne", Binary::Unequal)],
    &[
        ("<=", Binary::LessOrEqual),
        (">=", Binary::GreaterOrEqual),
        ("<", Binary::Less),
        (">", Binary::Greater),
        ("le", Binary::LessOrEqual),
        ("ge", Binary::GreaterOrEqual),
        ("lt", Binary::Less),
        ("gt", Binary::Greater),
    ],
    &[("+", Binary::Add), ("-", Binary::Subtract)],
    &[
        ("*", Binary::Multiply),
        ("/", Binary::Divide),
        ("%", Binary::Remainder),
        ("div", Binary::Divide),
        ("mod", Binary::Remainder),
    ],
];

const RESERVED: [&str; 16] = [
    "or",
    "and",
    "eq",
    "ne",
    "le",
    "ge",
    "lt",
    "gt",
    "div",
    "mod",
    "not",
    "empty",
    "true",
    "false",
    "null",
    "instanceof",
];

/// Parses a template into its parts.
pub(super) fn template(text: &str) -> Result<Vec<Part>, Error> {
    if text.len() > limits::EXPRESSION_BYTES {
        return Err(Error { position: 0, kind: Kind::Limit("expression length") });
    }
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut position = 0;
    while let Some(rest) = text.get(position..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("${") || rest.starts_with("#{") {
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            let (lexemes, end) = lexer::lex(text, position.saturating_add(2))?;
            parts.push(Part::Code(Parser { lexemes, next: 0, end: end.saturating_sub(1), depth: 0 }.whole()?));
            position = end;
        } else if let Some(escaped) = ["\\${", "\\#{"].iter().find(|escaped| rest.starts_with(**escaped)) {
            literal.push_str(escaped.trim_start_matches('\\'));
            position = position.saturating_add(escaped.len());
        } else if let Some(character) = rest.chars().next() {
            literal.push(character);
            position = position.saturating_add(character.len_utf8());
        }
    }
    if !literal.is_empty() || parts.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(parts)
}

struct Parser {
    lexemes: Vec<Located>,
    next: usize,
    /// Position of the closing brace.
    end: usize,
    depth: usize,
}

impl Parser {
    fn whole(mut self) -> Result<Node, Error> {
        let node = self.conditional()?;
        match self.lexemes.get(self.next) {
            None => Ok(node),
            Some(extra) => Err(Error::syntax(extra.position, "unexpected text behind the expression")),
        }
    }

    fn conditional(&mut self) -> Result<Node, Error> {
        self.nested(|parser| {
            let condition = parser.binary(0)?;
            if !parser.accept("?") {
                return Ok(condition);
            }
            let then = parser.conditional()?;
            parser.expect(":")?;
            let otherwise = parser.conditional()?;
            let position = condition.position;
            Ok(Node { position, kind: NodeKind::Conditional(condition.into(), then.into(), otherwise.into()) })
        })
    }

    fn binary(&mut self, level: usize) -> Result<Node, Error> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let next_level = level.saturating_add(1);
        let mut left = self.binary(next_level)?;
        let mut length = 0_usize;
        while let Some((_, operator)) = operators.iter().find(|(symbol, _)| self.peek_is(symbol)) {
            let position = self.position();
            self.next = self.next.saturating_add(1);
            // A chain of operators becomes a tree that leans to the left, as deep as it is long.
            length = length.saturating_add(1);
            if length > limits::EXPRESSION_DEPTH {
                return Err(Error { position, kind: Kind::Limit("expression depth") });
            }
            let right = self.binary(next_level)?;
            left = Node { position, kind: NodeKind::Binary(*operator, left.into(), right.into()) };
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Node, Error> {
        let position = self.position();
        let operator = if self.accept("!") || self.accept("not") {
            Unary::Not
        } else if self.accept("-") {
            Unary::Minus
        } else if self.accept("empty") {
            Unary::Empty
        } else {
            return self.postfix();
        };
        self.nested(|parser| Ok(Node { position, kind: NodeKind::Unary(operator, parser.unary()?.into()) }))
    }

    fn postfix(&mut self) -> Result<Node, Error> {
        let mut node = self.primary()?;
        let mut length = 0_usize;
        loop {
            let position = self.position();
            length = length.saturating_add(1);
            if length > limits::EXPRESSION_DEPTH {
                return Err(Error { position, kind: Kind::Limit("expression depth") });
            }
            if self.accept(".") {
                let name = self.name()?;
                node = if self.accept("(") {
                    let arguments = self.arguments()?;
                    Node { position, kind: NodeKind::Call(node.into(), name, arguments) }
                } else {
                    Node { position, kind: NodeKind::Member(node.into(), name) }
                };
            } else if self.accept("[") {
                let index = self.conditional()?;
                self.expect("]")?;
                node = Node { position, kind: NodeKind::Index(node.into(), index.into()) };
            } else {
                return Ok(node);
            }
        }
    }

    fn arguments(&mut self) -> Result<Vec<Node>, Error> {
        let mut arguments = Vec::new();
        if self.accept(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.conditional()?);
            if self.accept(")") {
                return Ok(arguments);
            }
            self.expect(",")?;
        }
    }

    fn primary(&mut self) -> Result<Node, Error> {
        let position = self.position();
        if self.accept("(") {
            let node = self.conditional()?;
            self.expect(")")?;
            return Ok(node);
        }
        let kind = match self.lexemes.get(self.next).map(|located| &located.lexeme) {
            Some(Lexeme::Text(text)) => NodeKind::Literal(Value::String(text.clone())),
            Some(Lexeme::Integer(value)) => NodeKind::Literal(Value::from(*value)),
            Some(Lexeme::Decimal(value)) => NodeKind::Literal(Value::from(*value)),
            Some(Lexeme::Name(name)) => match name.as_str() {
                "true" => NodeKind::Literal(Value::Bool(true)),
                "false" => NodeKind::Literal(Value::Bool(false)),
                "null" => NodeKind::Literal(Value::Null),
                reserved if RESERVED.contains(&reserved) => {
                    return Err(Error::syntax(position, "operator where a value is expected"));
                }
                name => NodeKind::Variable(name.to_owned()),
            },
            Some(Lexeme::Symbol(_)) => return Err(Error::syntax(position, "operator where a value is expected")),
            None => return Err(Error::syntax(position, "expression is incomplete")),
        };
        self.next = self.next.saturating_add(1);
        Ok(Node { position, kind })
    }

    fn name(&mut self) -> Result<String, Error> {
        match self.lexemes.get(self.next).map(|located| &located.lexeme) {
            Some(Lexeme::Name(name)) => {
                let name = name.clone();
                self.next = self.next.saturating_add(1);
                Ok(name)
            }
            _ => Err(Error::syntax(self.position(), "a name is expected")),
        }
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > limits::EXPRESSION_DEPTH {
            return Err(Error { position: self.position(), kind: Kind::Limit("expression depth") });
        }
        let result = parse(self);
        self.depth = self.depth.saturating_sub(1);
        result
    }

    fn peek_is(&self, symbol: &str) -> bool {
        match self.lexemes.get(self.next).map(|located| &located.lexeme) {
            Some(Lexeme::Symbol(found)) => *found == symbol,
            Some(Lexeme::Name(found)) => found == symbol,
            _ => false,
        }
    }

    fn accept(&mut self, symbol: &str) -> bool {
        let found = self.peek_is(symbol);
        if found {
            self.next = self.next.saturating_add(1);
        }
        found
    }

    fn expect(&mut self, symbol: &'static str) -> Result<(), Error> {
        if self.accept(symbol) { Ok(()) } else { Err(Error::syntax(self.position(), &format!("{symbol} is expected"))) }
    }

    fn position(&self) -> usize {
        self.lexemes.get(self.next).map_or(self.end, |located| located.position)
    }
}

// === impl Node ===

impl Node {
    pub(super) fn variable(name: &str) -> Self {
        Self { position: 0, kind: NodeKind::Variable(name.to_owned()) }
    }
}
