//! Cohort definitions in the Clinical Cohort Definition Language (CCDL), earlier called structured query.
//!
//! The version in the document is not looked at, because those in use are of many forms; properties that are not known
//! are passed over, as the language's schema asks. What is known must have the right form.

use serde::Deserialize;

use crate::date::Days;
use crate::error::QueryError;
use crate::limits;
use crate::plan::Bounds;

/// A cohort definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Groups that all must hold; of each one criterion.
    pub inclusion: Vec<Vec<Criterion>>,
    /// Groups of which none may hold; a group holds if all its criteria do.
    pub exclusion: Vec<Vec<Criterion>>,
}

/// A criterion.
#[derive(Clone, Debug, PartialEq)]
pub struct Criterion {
    /// Module of the criterion.
    pub context: Option<TermCode>,
    /// Synonyms.
    pub codes: Vec<TermCode>,
    /// Condition on the value.
    pub value: Option<Filter>,
    /// Conditions on attributes; all must hold.
    pub attributes: Vec<Attribute>,
    /// Days that the resource must overlap.
    pub time: Option<Days>,
}

/// A code. Version and display say nothing about identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
pub struct TermCode {
    /// Code system.
    pub system: String,
    /// Code.
    pub code: String,
}

/// A condition on a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// One of the codes.
    Concept(Vec<TermCode>),
    /// A number in a unit; no unit means a number without.
    Quantity {
        /// Bounds.
        bounds: Bounds,
        /// Unit code.
        unit: Option<String>,
    },
}

/// A condition on an attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// Which attribute.
    pub code: TermCode,
    /// What must hold.
    pub filter: AttributeFilter,
}

/// What must hold of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeFilter {
    /// Its value.
    Value(Filter),
    /// It refers to a resource that one of the criteria selects.
    Reference(Vec<Criterion>),
}

// === impl Definition ===

impl Definition {
    /// Reads a document.
    pub fn parse(bytes: &[u8]) -> Result<Self, QueryError> {
        if bytes.len() > limits::DEFINITION_BYTES {
            return Err(QueryError::TooLarge { what: "bytes", limit: limits::DEFINITION_BYTES });
        }
        let raw: RawDefinition =
            serde_json::from_slice(bytes).map_err(|error| QueryError::Unreadable(error.to_string()))?;
        let mut count = 0;
        let inclusion = groups(raw.inclusion_criteria, "inclusionCriteria", &mut count)?;
        let exclusion = groups(raw.exclusion_criteria.unwrap_or_default(), "exclusionCriteria", &mut count)?;
        if inclusion.is_empty() {
            return Err(unreadable("inclusionCriteria is empty"));
        }
        Ok(Self { inclusion, exclusion })
    }
}

fn groups(raw: Vec<Vec<RawCriterion>>, name: &str, count: &mut usize) -> Result<Vec<Vec<Criterion>>, QueryError> {
    let group = |criteria: Vec<RawCriterion>| {
        if criteria.is_empty() {
            return Err(unreadable(&format!("a group of {name} is empty")));
        }
        criteria.into_iter().map(|criterion| criterion.read(true, count)).collect()
    };
    raw.into_iter().map(group).collect()
}

fn unreadable(reason: &str) -> QueryError {
    QueryError::Unreadable(reason.to_owned())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDefinition {
    inclusion_criteria: Vec<Vec<RawCriterion>>,
    exclusion_criteria: Option<Vec<Vec<RawCriterion>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawCriterion {
    term_codes: Vec<TermCode>,
    context: Option<TermCode>,
    value_filter: Option<RawFilter>,
    attribute_filters: Option<Vec<RawFilter>>,
    time_restriction: Option<RawTime>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawFilter {
    #[serde(rename = "type")]
    kind: String,
    attribute_code: Option<TermCode>,
    selected_concepts: Option<Vec<TermCode>>,
    comparator: Option<String>,
    value: Option<f64>,
    min_value: Option<f64>,
    max_value: Option<f64>,
    unit: Option<RawUnit>,
    criteria: Option<Vec<RawCriterion>>,
}

#[derive(Deserialize)]
struct RawUnit {
    code: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawTime {
    after_date: Option<String>,
    before_date: Option<String>,
}

// === impl RawCriterion ===

impl RawCriterion {
    fn read(self, may_refer: bool, count: &mut usize) -> Result<Criterion, QueryError> {
        *count += 1;
        if *count > limits::CRITERIA {
            return Err(QueryError::TooLarge { what: "criteria", limit: limits::CRITERIA });
        }
        if self.term_codes.is_empty() {
            return Err(unreadable("a criterion has no termCodes"));
        }
        let attributes = self.attribute_filters.unwrap_or_default().into_iter();
        Ok(Criterion {
            context: self.context,
            codes: self.term_codes,
            value: self.value_filter.map(RawFilter::value).transpose()?,
            attributes: attributes.map(|filter| filter.attribute(may_refer, count)).collect::<Result<_, _>>()?,
            time: self.time_restriction.map(RawTime::read).transpose()?,
        })
    }
}

impl RawFilter {
    fn attribute(mut self, may_refer: bool, count: &mut usize) -> Result<Attribute, QueryError> {
        let code = self.attribute_code.take().ok_or_else(|| unreadable("an attribute filter has no attributeCode"))?;
        if self.kind != "reference" {
            return Ok(Attribute { code, filter: AttributeFilter::Value(self.value()?) });
        }
        let criteria = self.criteria.unwrap_or_default();
        if criteria.is_empty() || !may_refer {
            return Err(unreadable("a reference has no criteria, or stands inside another reference"));
        }
        let criteria = criteria.into_iter().map(|criterion| criterion.read(false, count));
        Ok(Attribute { code, filter: AttributeFilter::Reference(criteria.collect::<Result<_, _>>()?) })
    }

    fn value(self) -> Result<Filter, QueryError> {
        let unit = self.unit.map(|unit| unit.code);
        match self.kind.as_str() {
            "concept" => match self.selected_concepts {
                Some(concepts) if !concepts.is_empty() => Ok(Filter::Concept(concepts)),
                _ => Err(unreadable("a concept filter has no selectedConcepts")),
            },
            "quantity-comparator" => {
                let value = self.value.ok_or_else(|| unreadable("a quantity-comparator has no value"))?;
                let bounds = match self.comparator.as_deref() {
                    Some("gt") => Bounds::Above(value),
                    Some("ge") => Bounds::AtLeast(value),
                    Some("lt") => Bounds::Below(value),
                    Some("le") => Bounds::AtMost(value),
                    Some("eq") => Bounds::Equal(value),
                    Some("ne") => Bounds::Other(value),
                    _ => return Err(unreadable("a quantity-comparator has none of gt, ge, lt, le, eq, ne")),
                };
                Ok(Filter::Quantity { bounds, unit })
            }
            "quantity-range" => match (self.min_value, self.max_value) {
                (Some(low), Some(high)) if low <= high => {
                    Ok(Filter::Quantity { bounds: Bounds::Between(low, high), unit })
                }
                _ => Err(unreadable("a quantity-range has no minValue and maxValue in this order")),
            },
            _ => Err(unreadable("a filter is none of concept, quantity-comparator, quantity-range, reference")),
        }
    }
}

impl RawTime {
    fn read(self) -> Result<Days, QueryError> {
        let day = |text: &str| Days::parse(text).ok_or_else(|| unreadable("a date of a timeRestriction is no date"));
        let first = self.after_date.as_deref().map(day).transpose()?.map(|days| days.first);
        let last = self.before_date.as_deref().map(day).transpose()?.map(|days| days.last);
        match (first, last) {
            (None, None) => Err(unreadable("a timeRestriction has neither afterDate nor beforeDate")),
            (Some(first), Some(last)) if first > last => Err(unreadable("a timeRestriction ends before it begins")),
            _ => Ok(Days { first: first.unwrap_or(i32::MIN), last: last.unwrap_or(i32::MAX) }),
        }
    }
}

#[cfg(test)]
mod tests;
