//! Evaluation over JSON values, without loops and with a step budget.
//!
//! Coercions follow JUEL where models rely on them: `==` between a string and another scalar compares texts, `+` adds
//! numbers only, a string that is a number takes part in arithmetic. A structured value stands for a Java object of the
//! reference: `x.name`, `x.getName()` and `x.hasName()` read members, and the accessors of an enumeration
//! (`getValue()`, `name()`, `toString()`) give a scalar itself.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::parser::{Binary, Node, NodeKind, Unary};
use super::{Context, ExpressionError, ExpressionErrorKind as Kind, Part};
use crate::limits;

/// An error at a byte position.
#[derive(Debug)]
pub(super) struct Error {
    pub(super) position: usize,
    pub(super) kind: Kind,
}

type Result<T, E = Error> = std::result::Result<T, E>;

/// Evaluates a template.
pub(super) fn template<'a>(parts: &'a [Part], context: &'a dyn Context) -> Result<Cow<'a, Value>> {
    let mut evaluator = Evaluator { context, steps: 0 };
    if let [Part::Code(node)] = parts {
        return evaluator.value(node);
    }
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(literal) => text.push_str(literal),
            Part::Code(node) => {
                let value = evaluator.value(node)?;
                text.push_str(&to_text(&value).map_err(|kind| node.error(kind))?);
                check_size(&text).map_err(|kind| node.error(kind))?;
            }
        }
    }
    Ok(Cow::Owned(Value::String(text)))
}

/// A value as text: null is empty; lists and objects have none.
pub(super) fn to_text(value: &Value) -> Result<String, Kind> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Array(_) | Value::Object(_) => {
            Err(Kind::Type(format!("{} cannot be written as text", type_name(value))))
        }
    }
}

/// Name of the type of a value, for messages.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

struct Evaluator<'a> {
    context: &'a dyn Context,
    steps: usize,
}

impl<'a> Evaluator<'a> {
    fn value(&mut self, node: &'a Node) -> Result<Cow<'a, Value>> {
        self.steps = self.steps.saturating_add(1);
        if self.steps > limits::EXPRESSION_STEPS {
            return Err(node.error(Kind::Limit("expression steps")));
        }
        match &node.kind {
            NodeKind::Literal(value) => Ok(Cow::Borrowed(value)),
            NodeKind::Variable(name) => match self.context.variable(name) {
                Some(value) => Ok(Cow::Borrowed(value)),
                None => Err(node.error(Kind::UnknownVariable(name.clone()))),
            },
            NodeKind::Member(object, name) => {
                if is_execution(object) {
                    return self.execution_property(node, name);
                }
                let object = self.value(object)?;
                member(object, name).map_err(|kind| node.error(kind))
            }
            NodeKind::Index(object, index) => {
                let object = self.value(object)?;
                let index = self.value(index)?;
                element(object, &index).map_err(|kind| node.error(kind))
            }
            NodeKind::Call(object, method, arguments) => self.call(node, object, method, arguments),
            NodeKind::Unary(operator, operand) => {
                let operand = self.value(operand)?;
                unary(*operator, &operand).map(Cow::Owned).map_err(|kind| node.error(kind))
            }
            NodeKind::Binary(operator, left, right) => self.binary(node, *operator, left, right),
            NodeKind::Conditional(condition, then, otherwise) => {
                let condition = boolean(&*self.value(condition)?).map_err(|kind| condition.error(kind))?;
                self.value(if condition { then } else { otherwise })
            }
        }
    }

    fn binary(&mut self, node: &Node, operator: Binary, left: &'a Node, right: &'a Node) -> Result<Cow<'a, Value>> {
        let first = self.value(left)?;
        if matches!(operator, Binary::And | Binary::Or) {
            let first = boolean(&first).map_err(|kind| left.error(kind))?;
            if first == (operator == Binary::Or) {
                return Ok(Cow::Owned(Value::Bool(first)));
            }
            let second = boolean(&*self.value(right)?).map_err(|kind| right.error(kind))?;
            return Ok(Cow::Owned(Value::Bool(second)));
        }
        let second = self.value(right)?;
        let value = match operator {
            Binary::Equal => Ok(Value::Bool(equal(&first, &second))),
            Binary::Unequal => Ok(Value::Bool(!equal(&first, &second))),
            Binary::Less => compare(&first, &second).map(|order| Value::Bool(order == Ordering::Less)),
            Binary::Greater => compare(&first, &second).map(|order| Value::Bool(order == Ordering::Greater)),
            Binary::LessOrEqual => compare(&first, &second).map(|order| Value::Bool(order != Ordering::Greater)),
            Binary::GreaterOrEqual => compare(&first, &second).map(|order| Value::Bool(order != Ordering::Less)),
            Binary::Or
            | Binary::And
            | Binary::Add
            | Binary::Subtract
            | Binary::Multiply
            | Binary::Divide
            | Binary::Remainder => arithmetic(operator, &first, &second),
        };
        value.map(Cow::Owned).map_err(|kind| node.error(kind))
    }

    fn call(
        &mut self,
        node: &'a Node,
        object: &'a Node,
        method: &str,
        arguments: &'a [Node],
    ) -> Result<Cow<'a, Value>> {
        if is_execution(object) {
            return self.execution_call(node, method, arguments);
        }
        let object = self.value(object)?;
        let mut values = Vec::with_capacity(arguments.len().min(8));
        for argument in arguments {
            values.push(self.value(argument)?);
        }
        method_of(object, method, &values).map_err(|kind| node.error(kind))
    }

    fn execution_property(&self, node: &Node, name: &str) -> Result<Cow<'a, Value>> {
        let text = |text: Option<&str>| Cow::Owned(text.map_or(Value::Null, |text| Value::String(text.to_owned())));
        match name {
            "businessKey" | "processBusinessKey" => Ok(text(self.context.business_key())),
            "processInstanceId" => Ok(text(self.context.instance_id())),
            _ => Err(node.error(Kind::Type(format!("execution has no property {name}")))),
        }
    }

    fn execution_call(&mut self, node: &'a Node, method: &str, arguments: &'a [Node]) -> Result<Cow<'a, Value>> {
        let unknown =
            || node.error(Kind::Type(format!("execution has no method {method} with {} arguments", arguments.len())));
        match arguments {
            [] => match method {
                "getBusinessKey" | "getProcessBusinessKey" => self.execution_property(node, "businessKey"),
                "getProcessInstanceId" => self.execution_property(node, "processInstanceId"),
                _ => Err(unknown()),
            },
            [argument] => {
                let name = to_text(&*self.value(argument)?).map_err(|kind| argument.error(kind))?;
                match method {
                    "hasVariable" => Ok(Cow::Owned(Value::Bool(self.context.variable(&name).is_some()))),
                    "hasVariableLocal" => Ok(Cow::Owned(Value::Bool(self.context.local_variable(&name).is_some()))),
                    "getVariable" => Ok(self.context.variable(&name).map_or(Cow::Owned(Value::Null), Cow::Borrowed)),
                    "getVariableLocal" => {
                        Ok(self.context.local_variable(&name).map_or(Cow::Owned(Value::Null), Cow::Borrowed))
                    }
                    _ => Err(unknown()),
                }
            }
            _ => Err(unknown()),
        }
    }
}

fn is_execution(node: &Node) -> bool {
    matches!(&node.kind, NodeKind::Variable(name) if name == "execution")
}

fn boolean(value: &Value) -> Result<bool, Kind> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") || text.is_empty() => Ok(false),
        Value::Null => Ok(false),
        other => Err(Kind::Type(format!("{} is not a boolean", type_name(other)))),
    }
}

fn unary(operator: Unary, value: &Value) -> Result<Value, Kind> {
    match operator {
        Unary::Not => boolean(value).map(|value| Value::Bool(!value)),
        Unary::Empty => Ok(Value::Bool(is_empty(value))),
        Unary::Minus => arithmetic(Binary::Subtract, &Value::from(0), value),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::Number(left), Value::Number(right)) => compare_numbers(left, right) == Some(Ordering::Equal),
        (Value::Bool(flag), Value::String(text)) | (Value::String(text), Value::Bool(flag)) => {
            text.eq_ignore_ascii_case("true") == *flag
        }
        (Value::Number(number), Value::String(text)) | (Value::String(text), Value::Number(number)) => {
            parse_number(text).is_some_and(|parsed| compare_numbers(number, &parsed) == Some(Ordering::Equal))
        }
        _ => left == right,
    }
}

fn compare(left: &Value, right: &Value) -> Result<Ordering, Kind> {
    if let (Value::String(left), Value::String(right)) = (left, right) {
        return Ok(left.cmp(right));
    }
    compare_numbers(&number(left)?, &number(right)?).ok_or_else(|| Kind::Type("numbers cannot be compared".to_owned()))
}

fn compare_numbers(left: &Number, right: &Number) -> Option<Ordering> {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

fn number(value: &Value) -> Result<Number, Kind> {
    match value {
        Value::Number(number) => Ok(number.clone()),
        Value::Null => Ok(Number::from(0)),
        Value::String(text) => parse_number(text)
            .ok_or_else(|| Kind::Type("a string that is no number cannot be calculated with".to_owned())),
        other => Err(Kind::Type(format!("{} is not a number", type_name(other)))),
    }
}

fn parse_number(text: &str) -> Option<Number> {
    let text = text.trim();
    if let Ok(integer) = text.parse::<i64>() {
        return Some(Number::from(integer));
    }
    Number::from_f64(text.parse().ok()?)
}

fn arithmetic(operator: Binary, left: &Value, right: &Value) -> Result<Value, Kind> {
    let (left, right) = (number(left)?, number(right)?);
    let overflow = || Kind::Type("result of the calculation is out of range".to_owned());
    if let (Some(left), Some(right)) = (left.as_i64(), right.as_i64()) {
        let integer = match operator {
            Binary::Add => Some(left.checked_add(right)),
            Binary::Subtract => Some(left.checked_sub(right)),
            Binary::Multiply => Some(left.checked_mul(right)),
            Binary::Remainder if right != 0 => Some(left.checked_rem(right)),
            // JUEL divides integers as decimals.
            _ => None,
        };
        if let Some(integer) = integer {
            return integer.map(Value::from).ok_or_else(overflow);
        }
    }
    let (left, right) = (left.as_f64().ok_or_else(overflow)?, right.as_f64().ok_or_else(overflow)?);
    let result = match operator {
        Binary::Add => left + right,
        Binary::Subtract => left - right,
        Binary::Multiply => left * right,
        Binary::Divide if right != 0.0 => left / right,
        Binary::Remainder if right != 0.0 => left % right,
        Binary::Divide | Binary::Remainder => return Err(Kind::Type("division by zero".to_owned())),
        _ => return Err(Kind::Type("operator needs numbers".to_owned())),
    };
    Number::from_f64(result).map(Value::Number).ok_or_else(overflow)
}

fn member<'a>(object: Cow<'a, Value>, name: &str) -> Result<Cow<'a, Value>, Kind> {
    let missing = || Kind::UnknownVariable(name.to_owned());
    match object {
        Cow::Borrowed(Value::Object(members)) => members.get(name).map(Cow::Borrowed).ok_or_else(missing),
        Cow::Owned(Value::Object(mut members)) => members.shift_remove(name).map(Cow::Owned).ok_or_else(missing),
        other => Err(Kind::Type(format!("{} has no property {name}", type_name(&other)))),
    }
}

fn element<'a>(object: Cow<'a, Value>, index: &Value) -> Result<Cow<'a, Value>, Kind> {
    if let Value::String(name) = index {
        return member(object, name);
    }
    let position = index.as_u64().and_then(|index| usize::try_from(index).ok());
    let missing = || Kind::Type(format!("no element {index}"));
    match object {
        Cow::Borrowed(Value::Array(list)) => {
            position.and_then(|at| list.get(at)).map(Cow::Borrowed).ok_or_else(missing)
        }
        Cow::Owned(Value::Array(mut list)) => match position {
            Some(at) if at < list.len() => Ok(Cow::Owned(list.swap_remove(at))),
            _ => Err(missing()),
        },
        other => Err(Kind::Type(format!("{} has no elements", type_name(&other)))),
    }
}

fn method_of<'a>(object: Cow<'a, Value>, method: &str, arguments: &[Cow<'_, Value>]) -> Result<Cow<'a, Value>, Kind> {
    let unknown =
        || Kind::Type(format!("{} has no method {method} with {} arguments", type_name(&object), arguments.len()));
    match arguments {
        [] => match (method, &*object) {
            (_, Value::Object(members)) => {
                let name = accessor(members, method).ok_or_else(unknown)?;
                member(object, &name)
            }
            ("getValue" | "toString" | "name" | "getName", Value::String(_) | Value::Number(_) | Value::Bool(_)) => {
                Ok(object)
            }
            ("isEmpty", value) => Ok(Cow::Owned(Value::Bool(is_empty(value)))),
            ("size", Value::Array(list)) => Ok(Cow::Owned(Value::from(list.len()))),
            ("length", Value::String(text)) => Ok(Cow::Owned(Value::from(text.chars().count()))),
            _ => Err(unknown()),
        },
        [argument] => match (method, &*object) {
            ("equals", value) => Ok(Cow::Owned(Value::Bool(value == &**argument))),
            ("contains", Value::Array(list)) => {
                Ok(Cow::Owned(Value::Bool(list.iter().any(|item| equal(item, argument)))))
            }
            ("contains", Value::String(text)) => Ok(Cow::Owned(Value::Bool(text.contains(&to_text(argument)?)))),
            ("get", Value::Array(_) | Value::Object(_)) => element(object, argument),
            _ => Err(unknown()),
        },
        _ => Err(unknown()),
    }
}

/// Member that a zero-argument method reads: the method's own name, or the property behind `get` and `is`.
fn accessor(members: &serde_json::Map<String, Value>, method: &str) -> Option<String> {
    if members.contains_key(method) {
        return Some(method.to_owned());
    }
    let property = method.strip_prefix("get").or_else(|| method.strip_prefix("is"))?;
    let mut characters = property.chars();
    let first = characters.next()?;
    let name: String = first.to_lowercase().chain(characters).collect();
    members.contains_key(&name).then_some(name)
}

fn check_size(text: &str) -> Result<(), Kind> {
    if text.len() > limits::EXPRESSION_RESULT_BYTES { Err(Kind::Limit("size of the result")) } else { Ok(()) }
}

// === impl Error ===

impl Error {
    pub(super) fn syntax(position: usize, text: &str) -> Self {
        Self { position, kind: Kind::Syntax(text.to_owned()) }
    }

    /// The public error, with the position counted in characters from 1.
    pub(super) fn at(self, source: &str) -> ExpressionError {
        let before = source.get(..self.position).unwrap_or(source);
        ExpressionError {
            source_text: source.to_owned(),
            position: before.chars().count().saturating_add(1),
            kind: self.kind,
        }
    }
}

impl Node {
    fn error(&self, kind: Kind) -> Error {
        Error { position: self.position, kind }
    }
}
