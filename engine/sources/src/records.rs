//! The reading interface: persons and their resources, for extraction and for everything that looks at consent.
//!
//! What it gives is as the source has it: nothing is filtered by consent and nothing is pseudonymised here.

use std::fmt;

use fhir::Resource;

use crate::date::Days;
use crate::error::ReadError;

/// Logical id of a Patient in its source: `Patient.id`, without the type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonId(String);

/// Which resources of a person are wanted. Every condition that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Resource types; empty means all.
    pub types: Vec<String>,
    /// Profiles (`meta.profile` without version) of which one is claimed; empty means all.
    pub profiles: Vec<String>,
    /// Codes, each of a coded element: `Condition.code`. One of them must be there; empty means all.
    pub codes: Vec<CodedElement>,
    /// Date elements, the first that is there counts (`Observation.effective`), and the days that must overlap.
    pub time: Option<(Vec<String>, Days)>,
}

/// A code at an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodedElement {
    /// Element without the type of a choice: `Observation.value`, not `Observation.valueCodeableConcept`.
    pub element: String,
    /// Code system.
    pub system: String,
    /// Code.
    pub code: String,
}

/// A resource of a person.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The resource.
    pub resource: Resource,
    /// Where it is, for messages: file and line, without content.
    pub origin: String,
}

/// A source whose records can be read.
pub trait Records: Send + Sync {
    /// Every person that has a Patient resource, in a stable order.
    fn persons(&self) -> Result<Vec<PersonId>, ReadError>;

    /// The persons that match a cohort definition, in the same order.
    fn cohort(&self, definition: &crate::ccdl::Definition, today: time::Date) -> Result<Vec<PersonId>, ReadError>;

    /// The resources of a person, the Patient among them. An unknown person has none.
    fn resources_of(&self, person: &PersonId, selection: &Selection) -> Result<Vec<Record>, ReadError>;

    /// A resource that another one refers to (`Medication/1`), such as one that belongs to no person.
    fn referenced(&self, reference: &str) -> Result<Option<Record>, ReadError>;
}

// === impl PersonId ===

impl PersonId {
    /// An id as it stands in `Patient.id`.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PersonId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

// === impl Selection ===

impl Selection {
    /// Everything of a person.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// One resource type.
    #[must_use]
    pub fn of_type(name: impl Into<String>) -> Self {
        Self { types: vec![name.into()], ..Self::default() }
    }
}
