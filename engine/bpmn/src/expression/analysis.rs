//! Which variables an expression uses and which values would make a difference: for walks through a model without the
//! steps that give these values.

use std::collections::BTreeMap;

use serde_json::Value;

use super::parser::{Binary, Node, NodeKind, Unary};
use super::{Expression, Part};

/// What is known of a variable from its uses.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Guess {
    /// Values that make a difference.
    pub values: Vec<Value>,
    /// Members that are read.
    pub members: BTreeMap<String, Self>,
    /// Models ask whether it exists.
    pub is_optional: bool,
}

/// Guesses by variable.
pub type Guesses = BTreeMap<String, Guess>;

/// What the place of an expression expects of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Anything that can be written.
    Text,
    /// A condition.
    Boolean,
}

// === impl Guess ===

impl Guess {
    /// Where a text is held against one text only, another one makes the difference; several are all that there are.
    pub(crate) fn complete(&mut self) {
        if let [Value::String(only)] = self.values.as_slice() {
            let other = Value::String(format!("not-{only}"));
            self.values.push(other);
        }
        self.members.values_mut().for_each(Self::complete);
    }
}

impl Expression {
    /// Adds the variables that this expression uses.
    pub fn guess(&self, expected: Expected, guesses: &mut Guesses) {
        for part in self.parts.iter() {
            let Part::Code(node) = part else { continue };
            let values = if expected == Expected::Boolean { booleans() } else { Vec::new() };
            walk(node, &values, guesses);
        }
    }

    /// The members that lead from a variable to this value, e.g. `targets`, `entries`.
    pub fn path(&self) -> Option<Vec<String>> {
        match &*self.parts {
            [Part::Code(node)] => path(node),
            _ => None,
        }
    }
}

fn booleans() -> Vec<Value> {
    vec![Value::Bool(true), Value::Bool(false)]
}

/// Follows an expression down to its variables; `values` are what its own value is held against.
fn walk(node: &Node, values: &[Value], guesses: &mut Guesses) {
    if let Some(path) = path(node) {
        note(&path, values, guesses);
        return;
    }
    match &node.kind {
        NodeKind::Literal(_) | NodeKind::Variable(_) => {}
        NodeKind::Member(object, _) => walk(object, &[], guesses),
        NodeKind::Index(object, index) => {
            walk(object, &[], guesses);
            walk(index, &[], guesses);
        }
        NodeKind::Call(object, method, arguments) => {
            if let (true, Some(name)) = (is_execution(object), argument(arguments)) {
                let guess = guesses.entry(name.to_owned()).or_default();
                guess.is_optional |= method.starts_with("hasVariable");
                return;
            }
            walk(object, &[], guesses);
            for argument in arguments {
                walk(argument, &[], guesses);
            }
        }
        NodeKind::Unary(Unary::Not, operand) => walk(operand, &booleans(), guesses),
        NodeKind::Unary(_, operand) => walk(operand, &[], guesses),
        NodeKind::Binary(operator, left, right) => {
            let (mut of_left, mut of_right) = (Vec::new(), Vec::new());
            match operator {
                Binary::And | Binary::Or => (of_left, of_right) = (booleans(), booleans()),
                _ => {
                    of_left.extend(literal(right).map(around).unwrap_or_default());
                    of_right.extend(literal(left).map(around).unwrap_or_default());
                }
            }
            walk(left, &of_left, guesses);
            walk(right, &of_right, guesses);
        }
        NodeKind::Conditional(condition, then, otherwise) => {
            walk(condition, &booleans(), guesses);
            walk(then, values, guesses);
            walk(otherwise, values, guesses);
        }
    }
}

/// The variable and members that a node reads: `a.b`, `a.getB()`, `execution.getVariable('a')`.
fn path(node: &Node) -> Option<Vec<String>> {
    match &node.kind {
        NodeKind::Variable(name) if name != "execution" => Some(vec![name.clone()]),
        NodeKind::Member(object, name) => {
            let mut path = path(object)?;
            path.push(name.clone());
            Some(path)
        }
        NodeKind::Call(object, method, arguments) if is_execution(object) => {
            let is_read = method == "getVariable" || method == "getVariableLocal";
            argument(arguments).filter(|_| is_read).map(|name| vec![name.to_owned()])
        }
        NodeKind::Call(object, method, arguments) if arguments.is_empty() => {
            let mut path = path(object)?;
            // Accessors of an enumeration give the value itself.
            if !["getValue", "name", "getName", "toString"].contains(&method.as_str()) {
                path.push(method.clone());
            }
            Some(path)
        }
        _ => None,
    }
}

fn note(path: &[String], values: &[Value], guesses: &mut Guesses) {
    let Some((name, members)) = path.split_first() else { return };
    let mut guess = guesses.entry(name.clone()).or_default();
    for member in members {
        guess = guess.members.entry(member.clone()).or_default();
    }
    for value in values {
        if !guess.values.contains(value) {
            guess.values.push(value.clone());
        }
    }
}

fn is_execution(node: &Node) -> bool {
    matches!(&node.kind, NodeKind::Variable(name) if name == "execution")
}

fn argument(arguments: &[Node]) -> Option<&str> {
    match arguments {
        [Node { kind: NodeKind::Literal(Value::String(name)), .. }] => Some(name),
        _ => None,
    }
}

fn literal(node: &Node) -> Option<&Value> {
    match &node.kind {
        NodeKind::Literal(value) => Some(value),
        _ => None,
    }
}

/// The value itself and its neighbours.
fn around(value: &Value) -> Vec<Value> {
    match value {
        Value::Bool(_) => booleans(),
        Value::String(_) => vec![value.clone()],
        Value::Number(number) => match number.as_i64() {
            Some(integer) => vec![
                Value::from(integer),
                Value::from(integer.saturating_add(1)),
                Value::from(integer.saturating_sub(1)),
            ],
            None => vec![value.clone()],
        },
        _ => Vec::new(),
    }
}
