//! Evaluation of expressions: paths, operators, three-valued logic.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;

use super::functions;
use super::node::{Collection, Item, Node};
use super::{Ast, EvaluationError, Literal, Operator, Scope, TypeTest, Variable};
use crate::validate::limits;
use crate::{Object, Value};

/// One evaluation, with the nodes it has touched.
pub(super) struct Evaluator<'a> {
    scope: Scope<'a>,
    steps: usize,
}

/// `$this` and `$index`.
#[derive(Clone)]
pub(super) struct Frame<'a> {
    pub(super) this: Item<'a>,
    pub(super) index: usize,
}

/// The boolean of a collection: none if it is empty; a collection that holds anything but one boolean counts as true.
pub(super) fn truth(collection: &Collection<'_>) -> Option<bool> {
    match collection.as_slice() {
        [] => None,
        [only] => Some(only.boolean().unwrap_or(true)),
        _ => Some(true),
    }
}

pub(super) fn boolean<'a>(value: bool) -> Collection<'a> {
    vec![Item::Boolean(value)]
}

impl<'a> Evaluator<'a> {
    pub(super) const fn new(scope: Scope<'a>) -> Self {
        Self { scope, steps: 0 }
    }

    pub(super) fn run(&mut self, ast: &'a Ast) -> Result<Collection<'a>, EvaluationError> {
        let frame = Frame { this: Item::Node(self.scope.focus), index: 0 };
        self.evaluate(ast, &frame)
    }

    pub(super) fn spend(&mut self, nodes: usize) -> Result<(), EvaluationError> {
        self.steps = self.steps.saturating_add(nodes);
        let left = self.scope.budget.get();
        self.scope.budget.set(left.saturating_sub(nodes));
        if self.steps > limits::EVALUATION_STEPS {
            return Err(EvaluationError::TooCostly(limits::EVALUATION_STEPS));
        }
        if nodes > left {
            return Err(EvaluationError::TooCostly(limits::BUDGET));
        }
        Ok(())
    }

    pub(super) fn evaluate(&mut self, ast: &'a Ast, frame: &Frame<'a>) -> Result<Collection<'a>, EvaluationError> {
        self.spend(1)?;
        match ast {
            Ast::Literal(literal) => Ok(literal_items(literal)),
            Ast::This => Ok(vec![frame.this.clone()]),
            Ast::Variable(variable) => self.variable(*variable, frame),
            Ast::Member(target, name) => self.member(target.as_deref(), name, frame),
            Ast::Call { target, function, arguments, regex } => {
                let input = match target {
                    Some(target) => self.evaluate(target, frame)?,
                    None => vec![frame.this.clone()],
                };
                functions::call(self, *function, input, arguments, regex.as_deref(), frame)
            }
            Ast::Index(target, index) => {
                let items = self.evaluate(target, frame)?;
                let index = self.evaluate(index, frame)?;
                let index = index.first().and_then(Item::number).and_then(|text| text.parse::<usize>().ok());
                Ok(index.and_then(|index| items.into_iter().nth(index)).into_iter().collect())
            }
            Ast::Binary(operator, left, right) => self.binary(*operator, left, right, frame),
            Ast::Negate(operand) => {
                let items = self.evaluate(operand, frame)?;
                match items.first().and_then(Item::number) {
                    Some(text) => Ok(vec![Item::Number(Cow::Owned(
                        text.strip_prefix('-').map_or_else(|| format!("-{text}"), str::to_owned),
                    ))]),
                    None => Ok(Collection::new()),
                }
            }
            Ast::Type { operand, test, name } => {
                let items = self.evaluate(operand, frame)?;
                type_test(*test, name, items)
            }
        }
    }

    fn variable(&self, variable: Variable, frame: &Frame<'a>) -> Result<Collection<'a>, EvaluationError> {
        let item = match variable {
            Variable::Context => Item::Node(self.scope.focus),
            Variable::Ucum => Item::Text(Cow::Borrowed("http://unitsofmeasure.org")),
            Variable::Index => Item::count(frame.index),
            Variable::Resource => Item::Node(Node::resource(self.scope.resource)),
            Variable::RootResource => Item::Node(Node::resource(self.scope.root)),
        };
        Ok(vec![item])
    }

    fn member(
        &mut self,
        target: Option<&'a Ast>,
        name: &str,
        frame: &Frame<'a>,
    ) -> Result<Collection<'a>, EvaluationError> {
        let items = match target {
            Some(target) => self.evaluate(target, frame)?,
            None => {
                // A path may begin with the type of the resource that it starts from.
                if let Item::Node(node) = &frame.this
                    && node.object().and_then(|object| object.str("resourceType")) == Some(name)
                {
                    return Ok(vec![frame.this.clone()]);
                }
                vec![frame.this.clone()]
            }
        };
        let mut found = Collection::new();
        for item in items {
            if let Some(node) = item.node() {
                found.extend(node.members(name).into_iter().map(Item::Node));
            } else if name == "value" {
                found.push(item);
            }
        }
        self.spend(found.len())?;
        Ok(found)
    }

    fn binary(
        &mut self,
        operator: Operator,
        left: &'a Ast,
        right: &'a Ast,
        frame: &Frame<'a>,
    ) -> Result<Collection<'a>, EvaluationError> {
        use Operator as O;
        let first = self.evaluate(left, frame)?;
        if let O::And | O::Or | O::Implies = operator {
            // The right side is not looked at when the left side settles the matter.
            match (operator, truth(&first)) {
                (O::And, Some(false)) => return Ok(boolean(false)),
                (O::Or, Some(true)) | (O::Implies, Some(false)) => return Ok(boolean(true)),
                _ => {}
            }
        }
        let second = self.evaluate(right, frame)?;
        self.spend(first.len() + second.len())?;
        Ok(match operator {
            O::And => logic(and(truth(&first), truth(&second))),
            O::Or => logic(or(truth(&first), truth(&second))),
            O::Implies => logic(or(truth(&first).map(|value| !value), truth(&second))),
            O::Xor => logic(truth(&first).zip(truth(&second)).map(|(a, b)| a != b)),
            O::In => membership(&first, &second),
            O::Contains => membership(&second, &first),
            O::Equal => logic(collections_equal(&first, &second)),
            O::NotEqual => logic(collections_equal(&first, &second).map(|equal| !equal)),
            O::Equivalent => boolean(equivalent(&first, &second)),
            O::NotEquivalent => boolean(!equivalent(&first, &second)),
            O::Less => comparison(&first, &second, Ordering::is_lt),
            O::LessOrEqual => comparison(&first, &second, Ordering::is_le),
            O::Greater => comparison(&first, &second, Ordering::is_gt),
            O::GreaterOrEqual => comparison(&first, &second, Ordering::is_ge),
            O::Union => {
                let mut all = first;
                all.extend(second);
                self.distinct(all)?
            }
            O::Concatenate => concatenation(&first, &second),
            O::Add if first.iter().chain(&second).any(|item| item.text().is_some()) => {
                if first.is_empty() || second.is_empty() { Vec::new() } else { concatenation(&first, &second) }
            }
            O::Add => arithmetic(&first, &second, i64::checked_add)?,
            O::Subtract => arithmetic(&first, &second, i64::checked_sub)?,
            O::Multiply => arithmetic(&first, &second, i64::checked_mul)?,
        })
    }

    /// Without duplicates, in order. Comparing other than texts is quadratic, so the comparisons are counted.
    pub(super) fn distinct(&mut self, items: Collection<'a>) -> Result<Collection<'a>, EvaluationError> {
        self.spend(items.len())?;
        let mut texts = HashSet::new();
        let mut others = Collection::new();
        let mut kept = Collection::new();
        for item in items {
            let is_new = match item.text() {
                Some(text) => texts.insert(text.to_owned()),
                None => {
                    self.spend(others.len())?;
                    let is_new = !others.iter().any(|other| items_equal(other, &item));
                    if is_new {
                        others.push(item.clone());
                    }
                    is_new
                }
            };
            if is_new {
                kept.push(item);
            }
        }
        Ok(kept)
    }
}

fn literal_items<'a>(literal: &'a Literal) -> Collection<'a> {
    match literal {
        Literal::Empty => Vec::new(),
        Literal::Boolean(value) => boolean(*value),
        Literal::Text(text) | Literal::Date(text) => vec![Item::Text(Cow::Borrowed(text))],
        Literal::Number(number) => vec![Item::Number(Cow::Borrowed(number.as_str()))],
    }
}

fn logic<'a>(value: Option<bool>) -> Collection<'a> {
    value.map(Item::Boolean).into_iter().collect()
}

fn and(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

fn or(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

fn type_test<'a>(test: TypeTest, name: &str, items: Collection<'a>) -> Result<Collection<'a>, EvaluationError> {
    let mut kept = Collection::new();
    let mut is = None;
    for item in items {
        let same = is_type(&item, name).ok_or_else(|| EvaluationError::Unsupported(format!("test for type {name}")))?;
        is = Some(is.unwrap_or(true) && same);
        if same {
            kept.push(item);
        }
    }
    Ok(match test {
        TypeTest::Is => logic(is),
        TypeTest::As | TypeTest::OfType => kept,
    })
}

/// Whether the item has the type; none if that cannot be known.
fn is_type(item: &Item<'_>, name: &str) -> Option<bool> {
    match item {
        Item::Boolean(_) => Some(name.eq_ignore_ascii_case("boolean")),
        Item::Text(_) => Some(name.eq_ignore_ascii_case("string")),
        Item::Number(text) if text.contains('.') => Some(name.eq_ignore_ascii_case("decimal")),
        Item::Number(_) => Some(name.eq_ignore_ascii_case("integer")),
        // Suffixes write primitives with a capital: `String` for `string`.
        Item::Node(node) => match (node.known_type(), node.value) {
            (Some(known), _) => Some(known.eq_ignore_ascii_case(name)),
            (None, Value::Bool(_)) => Some(name.eq_ignore_ascii_case("boolean")),
            (None, Value::Object(_)) if name.starts_with(|c: char| c.is_ascii_lowercase()) => Some(false),
            (None, _) => None,
        },
    }
}

/// Equality of single items.
pub(super) fn items_equal(a: &Item<'_>, b: &Item<'_>) -> bool {
    if let (Some(a), Some(b)) = (a.text(), b.text()) {
        return a == b;
    }
    if let (Some(a), Some(b)) = (a.number(), b.number()) {
        return a == b || matches!((a.parse::<f64>(), b.parse::<f64>()), (Ok(a), Ok(b)) if a == b);
    }
    if let (Some(a), Some(b)) = (a.boolean(), b.boolean()) {
        return a == b;
    }
    match (a.node(), b.node()) {
        (Some(a), Some(b)) => crate::validate::equality::same(a.value, b.value) && extras_equal(a.extra, b.extra),
        _ => false,
    }
}

fn extras_equal(a: Option<&Object>, b: Option<&Object>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => crate::validate::equality::same_object(a, b),
        (None, None) => true,
        _ => false,
    }
}

fn collections_equal(a: &Collection<'_>, b: &Collection<'_>) -> Option<bool> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    Some(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| items_equal(a, b)))
}

fn equivalent(a: &Collection<'_>, b: &Collection<'_>) -> bool {
    let fold =
        |item: &Item<'_>| item.text().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase());
    let same = |a: &Item<'_>, b: &Item<'_>| match (fold(a), fold(b)) {
        (Some(a), Some(b)) => a == b,
        _ => items_equal(a, b),
    };
    a.len() == b.len() && a.iter().all(|a| b.iter().any(|b| same(a, b)))
}

fn membership<'a>(needle: &Collection<'_>, hay: &Collection<'_>) -> Collection<'a> {
    match needle.as_slice() {
        [] => Vec::new(),
        [needle] => boolean(hay.iter().any(|item| items_equal(item, needle))),
        _ => boolean(false),
    }
}

fn comparison<'a>(a: &Collection<'_>, b: &Collection<'_>, accept: fn(Ordering) -> bool) -> Collection<'a> {
    let ([a], [b]) = (a.as_slice(), b.as_slice()) else { return Vec::new() };
    logic(order(a, b).map(accept))
}

/// The order of two items; none if they cannot be compared (other kinds, or dates of different precision).
fn order(a: &Item<'_>, b: &Item<'_>) -> Option<Ordering> {
    if let (Some(a), Some(b)) = (a.number(), b.number()) {
        return a.parse::<f64>().ok()?.partial_cmp(&b.parse::<f64>().ok()?);
    }
    let (a, b) = (a.text()?, b.text()?);
    if is_date(a) && is_date(b) { order_dates(a, b) } else { Some(a.cmp(b)) }
}

fn is_date(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.by_ref().take(4).filter(u8::is_ascii_digit).count() == 4 && matches!(bytes.next(), None | Some(b'-'))
}

fn order_dates(a: &str, b: &str) -> Option<Ordering> {
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;
    if let (Ok(a), Ok(b)) = (OffsetDateTime::parse(a, &Rfc3339), OffsetDateTime::parse(b, &Rfc3339)) {
        return Some(a.cmp(&b));
    }
    let day = |text: &str| text.split('T').next().map(str::to_owned);
    let (x, y) = (day(a)?, day(b)?);
    for (x, y) in x.split('-').zip(y.split('-')) {
        match x.cmp(y) {
            Ordering::Equal => {}
            decided => return Some(decided),
        }
    }
    (a == b).then_some(Ordering::Equal)
}

fn concatenation<'a>(a: &Collection<'_>, b: &Collection<'_>) -> Collection<'a> {
    let mut text = String::new();
    for item in a.iter().chain(b) {
        text.push_str(item.text().or_else(|| item.number()).unwrap_or_default());
    }
    vec![Item::Text(Cow::Owned(text))]
}

fn arithmetic<'a>(
    a: &Collection<'_>,
    b: &Collection<'_>,
    apply: fn(i64, i64) -> Option<i64>,
) -> Result<Collection<'a>, EvaluationError> {
    let ([a], [b]) = (a.as_slice(), b.as_slice()) else { return Ok(Vec::new()) };
    let integer = |item: &Item<'_>| item.number().and_then(|text| text.parse::<i64>().ok());
    let unsupported = || EvaluationError::Unsupported("arithmetic on other than integers".to_owned());
    let (a, b) = integer(a).zip(integer(b)).ok_or_else(unsupported)?;
    let result = apply(a, b).ok_or_else(unsupported)?;
    Ok(vec![Item::Number(Cow::Owned(result.to_string()))])
}
