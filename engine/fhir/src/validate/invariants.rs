//! The invariants of R4 itself, from the tables.
//!
//! Three are checked in the program, because they hold for every element and are cheap there (`ele-1`, `ext-1`) or are
//! left to the sender (`dom-6`, a narrative should be there; the reference server drops it as well). The others are
//! evaluated as FHIRPath. What the subset cannot express is left out and listed.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::fhirpath::{EvaluationError, Expression, Node};
use super::{IssueCode, Validator};
use crate::definitions::{Invariant, TypeDefinition, definitions};

const ELSEWHERE: [&str; 3] = ["ele-1", "ext-1", "dom-6"];

struct Compiled {
    invariant: &'static Invariant,
    expression: Expression,
}

#[derive(Default)]
struct Table {
    /// By type or `Type.element`.
    by_path: HashMap<&'static str, Vec<Compiled>>,
    /// Elements that have invariants of their own, by the type that contains them.
    elements: HashMap<&'static str, Vec<(&'static str, &'static str)>>,
    unchecked: Vec<(&'static str, &'static str)>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::default();
    for definition in definitions().types() {
        table.add(definition.name);
        for element in definition.elements() {
            let suffix = if element.is_choice { "[x]" } else { "" };
            let path = format!("{}.{}{suffix}", definition.name, element.name);
            // Backbone elements are types of their own.
            if definitions().type_(&path).is_none() && !definitions().invariants(&path).is_empty() {
                let path: &'static str = path.leak();
                table.add(path);
                table.elements.entry(definition.name).or_default().push((element.name, path));
            }
        }
    }
    table
});

impl Table {
    fn add(&mut self, path: &'static str) {
        for invariant in definitions().invariants(path) {
            if ELSEWHERE.contains(&invariant.key) {
                continue;
            }
            match Expression::compile(invariant.expression) {
                Ok(expression) => self.by_path.entry(path).or_default().push(Compiled { invariant, expression }),
                Err(_) => self.unchecked.push((path, invariant.key)),
            }
        }
    }
}

/// The invariants of R4 that are not checked: where they stand and their keys.
pub fn unchecked_invariants() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.unchecked.iter().copied()
}

impl<'a> Validator<'a> {
    /// Checks the invariants of the type and of the types that it specialises.
    pub(super) fn type_invariants(&mut self, node: Node<'a>, definition: &'static TypeDefinition) {
        let mut current = Some(definition);
        while let Some(definition) = current {
            self.core_invariants(node, definition.name);
            current = definition.base.and_then(|base| definitions().type_(base));
        }
    }

    /// Checks the invariants that the element `name` of the type has beyond those of its own type.
    pub(super) fn element_invariants(&mut self, node: Node<'a>, parent: &'static TypeDefinition, name: &str) {
        let Some(elements) = TABLE.elements.get(parent.name) else { return };
        for (_, path) in elements.iter().filter(|(element, _)| *element == name) {
            self.core_invariants(node, path);
        }
    }

    fn core_invariants(&mut self, node: Node<'a>, path: &str) {
        for compiled in TABLE.by_path.get(path).into_iter().flatten() {
            let text = || format!("{} ({})", compiled.invariant.human, compiled.invariant.key);
            // Invariants of R4 are written so that nothing (`reference.startsWith('#')` without reference) is no violation.
            match compiled.expression.decide(self.scope(node)) {
                Ok(Some(true) | None) | Err(EvaluationError::Unsupported(_)) => {}
                Ok(Some(false)) if compiled.invariant.is_error => self.findings.error(IssueCode::Invariant, text()),
                Ok(Some(false)) => self.findings.warning(IssueCode::Invariant, text()),
                Err(error @ EvaluationError::TooCostly(_)) => {
                    self.findings.error(IssueCode::TooCostly, format!("{}: {error}", compiled.invariant.key));
                }
            }
        }
    }
}
