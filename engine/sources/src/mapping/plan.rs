//! The plan of a definition.

use time::Date;

use super::native::{Entry, Kind};
use super::{Mapping, age};
use crate::ccdl::{Attribute, AttributeFilter, Criterion, Definition, Filter, TermCode};
use crate::error::QueryError;
use crate::plan::{Code, Plan, Rows, Test};

impl Mapping {
    /// What a definition means on a day (ages are counted to it).
    pub fn plan(&self, definition: &Definition, today: Date) -> Result<Plan, QueryError> {
        let groups = |groups: &[Vec<Criterion>]| {
            let group =
                |criteria: &Vec<Criterion>| criteria.iter().map(|criterion| self.rows(criterion, today)).collect();
            groups.iter().map(group).collect::<Result<Vec<Vec<Rows>>, QueryError>>()
        };
        Ok(Plan { inclusion: groups(&definition.inclusion)?, exclusion: groups(&definition.exclusion)? })
    }

    fn rows(&self, criterion: &Criterion, today: Date) -> Result<Rows, QueryError> {
        let entry = self.entry(criterion)?;
        let unsupported = |what: &str| QueryError::Unsupported {
            criterion: criterion.codes.first().map(|code| code.code.clone()).unwrap_or_default(),
            what: what.to_owned(),
        };
        let mut tests = Vec::new();
        let mut codes = Vec::new();
        if entry.term.is_none() {
            codes = self.expand(criterion, entry)?;
            tests.push(code_test(entry, &codes));
        } else if criterion.value.is_none() {
            return Err(unsupported("no value filter"));
        }
        if let Some(filter) = &criterion.value {
            tests.push(
                value_test(entry, &codes, filter, today).ok_or_else(|| unsupported("a value filter of this type"))?,
            );
        }
        for attribute in &criterion.attributes {
            let test = self.attribute_test(entry, attribute, today)?;
            tests.push(test.ok_or_else(|| unsupported(&format!("an attribute filter {}", attribute.code.code)))?);
        }
        if let Some(days) = criterion.time {
            if entry.time.is_empty() {
                return Err(unsupported("a time restriction"));
            }
            tests.push(Test::Time { elements: entry.time.clone(), days });
        }
        Ok(Rows { resource_type: entry.resource.clone(), tests })
    }

    fn attribute_test(&self, entry: &Entry, attribute: &Attribute, today: Date) -> Result<Option<Test>, QueryError> {
        let known = entry.attribute.iter().find(|known| known.code == attribute.code);
        let filter = match (&attribute.filter, known) {
            (AttributeFilter::Reference(criteria), Some(known)) if known.kind == Kind::Reference => {
                let linked = |criterion: &Criterion| {
                    let rows = Box::new(self.rows(criterion, today)?);
                    Ok(Test::Linked { element: known.element.clone(), rows })
                };
                let tests = criteria.iter().map(linked).collect::<Result<Vec<Test>, QueryError>>()?;
                return Ok(Some(Test::AnyOf(tests)));
            }
            (AttributeFilter::Reference(_), _) => return Ok(None),
            (AttributeFilter::Value(filter), _) => filter,
        };
        let Some(known) = known else {
            let beside = exact(&attribute.code);
            return Ok(entry.components.as_ref().map(|element| filter_test(element, vec![beside], filter)));
        };
        let fits = matches!(
            (filter, known.kind),
            (Filter::Concept(_), Kind::Concept) | (Filter::Quantity { .. }, Kind::Quantity)
        );
        Ok(fits.then(|| filter_test(&known.element, Vec::new(), filter)))
    }
}

fn code_test(entry: &Entry, codes: &[Code]) -> Test {
    let elements = entry.code.iter();
    let mut tests: Vec<Test> =
        elements.map(|element| Test::Code { element: element.clone(), codes: codes.to_vec() }).collect();
    if let Some(linked) = &entry.linked_code {
        let test = Test::Code { element: linked.code.clone(), codes: codes.to_vec() };
        let rows = Box::new(Rows { resource_type: linked.resource.clone(), tests: vec![test] });
        tests.push(Test::Linked { element: linked.element.clone(), rows });
    }
    match (tests.pop(), tests.is_empty()) {
        (Some(only), true) => only,
        (last, _) => Test::AnyOf(tests.into_iter().chain(last).collect()),
    }
}

fn value_test(entry: &Entry, codes: &[Code], filter: &Filter, today: Date) -> Option<Test> {
    if let Some(element) = &entry.age {
        return match filter {
            Filter::Quantity { bounds, unit: Some(unit) } => age::test(element, *bounds, unit, today),
            Filter::Quantity { unit: None, .. } | Filter::Concept(_) => None,
        };
    }
    let value = entry.value.as_ref()?;
    let kind = match filter {
        Filter::Concept(_) => Kind::Concept,
        Filter::Quantity { .. } => Kind::Quantity,
    };
    let group = if value.beside_code { codes.to_vec() } else { Vec::new() };
    value.kinds.contains(&kind).then(|| filter_test(&value.element, group, filter))
}

fn filter_test(element: &str, group: Vec<Code>, filter: &Filter) -> Test {
    let element = element.to_owned();
    match filter {
        Filter::Quantity { bounds, unit } => {
            Test::Quantity { element, group, unit: unit.clone().unwrap_or_default(), bounds: *bounds }
        }
        Filter::Concept(concepts) => {
            let codes = concepts.iter().map(exact).collect();
            if group.is_empty() { Test::Code { element, codes } } else { Test::CodeOf { element, group, codes } }
        }
    }
}

fn exact(code: &TermCode) -> Code {
    Code::exact(code.system.as_str(), code.code.as_str())
}
