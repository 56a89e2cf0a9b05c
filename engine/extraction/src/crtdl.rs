//! Extraction definitions (CRTDL): a cohort, and which resources and elements of its persons are asked for.
//!
//! Only what is understood is accepted: an unknown kind of filter, a group without a profile or with an attribute of
//! another type is an error with its place, because leaving a part out would give out more than was asked for. The
//! cohort is handed on as it is; the data source reads it.

use std::collections::BTreeSet;

use fhir::definitions::definitions;
use fhir::{Resource, Value as Tree};
use serde_json::Value;

use crate::consent::Period;
use crate::limits;

/// Search parameters of date filters: those for the date of a resource, which is the same as for consent.
const DATES: [&str; 12] = [
    "date",
    "recorded-date",
    "onset-date",
    "effective",
    "effective-time",
    "authored",
    "authoredon",
    "collected",
    "issued",
    "period",
    "started",
    "occurrence",
];

/// What stays of every resource.
const ALWAYS: [&str; 4] = ["id", "meta", "subject", "patient"];

/// What a project asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// The cohort (CCDL), as JSON.
    pub cohort: Value,
    /// The groups, in their order.
    pub groups: Vec<Group>,
}

/// Resources of one profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Canonical of the profile.
    pub profile: String,
    /// Resource type, from the attributes.
    pub resource_type: String,
    /// What is asked of each resource.
    pub attributes: Vec<Attribute>,
    /// Days in which the date of a resource must be, by the same element as for consent.
    pub period: Option<Period>,
    /// Codes of which one must be there.
    pub codes: Vec<CodeFilter>,
}

/// An element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Names below the resource: `code`, or `collection.collected[x]`.
    pub path: Vec<String>,
    /// Whether a resource without it is left out, and a person without such a resource.
    pub is_required: bool,
}

/// Codes of which a resource must have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeFilter {
    /// Search parameter, such as `code`.
    pub name: String,
    /// System and code.
    pub codes: BTreeSet<(String, String)>,
}

/// Why a definition is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrtdlError {
    /// No JSON, or larger than [`limits::DEFINITION`].
    #[error("the extraction definition is no JSON object of at most {} MiB", limits::DEFINITION >> 20)]
    Json,
    /// A part is missing or of another kind.
    #[error("{place}: {problem}")]
    Part {
        /// `dataExtraction.attributeGroups[2].filter[0]`.
        place: String,
        /// What is wrong, and what would be right.
        problem: &'static str,
    },
}

/// A part of the definition and where it stands.
struct Part<'p> {
    value: &'p Value,
    place: String,
}

// === impl Definition ===

impl Definition {
    /// Reads a definition.
    pub fn parse(bytes: &[u8]) -> Result<Self, CrtdlError> {
        if bytes.len() > limits::DEFINITION {
            return Err(CrtdlError::Json);
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|_| CrtdlError::Json)?;
        if !value.is_object() {
            return Err(CrtdlError::Json);
        }
        let root = Part { value: &value, place: String::new() };
        let cohort = root.get("cohortDefinition").filter(|part| part.value.is_object());
        let cohort = cohort.ok_or_else(|| root.error("cohortDefinition is missing; it is the cohort as CCDL"))?;
        let extraction = root.get("dataExtraction").ok_or_else(|| root.error("dataExtraction is missing"))?;
        let groups = extraction.list("attributeGroups", limits::GROUPS)?;
        let groups: Vec<Group> = groups.iter().map(group).collect::<Result<_, _>>()?;
        let patients = groups.iter().filter(|group| group.resource_type == "Patient").count();
        if patients != 1 {
            return Err(extraction.error("there must be exactly one attribute group of type Patient"));
        }
        Ok(Self { cohort: cohort.value.clone(), groups })
    }

    /// The resource with what is asked of it by the groups that it belongs to: its id, profiles and person, what changes its
    /// meaning or must be there, the attributes, nothing else. `None` if no group asks for it.
    #[must_use]
    pub fn select(&self, resource: &Resource) -> Option<Resource> {
        let groups: Vec<&Group> = self.groups.iter().filter(|group| group.takes(resource)).collect();
        if groups.is_empty() {
            return None;
        }
        let attributes = groups.iter().flat_map(|group| group.attributes.iter());
        let asked: BTreeSet<&str> =
            attributes.filter_map(|attribute| attribute.path.first().map(String::as_str)).collect();
        let definition = definitions().resource(resource.type_name())?;
        let mut selected = Resource::new(resource.type_name());
        for (name, value) in resource.tree().iter() {
            let is_asked = definition.child(name).is_some_and(|child| {
                asked.contains(child.element.name) || child.element.is_modifier || child.element.min > 0
            });
            if is_asked || ALWAYS.contains(&name) {
                selected.set(name, value.clone());
            }
        }
        Some(selected)
    }

    /// Whether the definition asks for this type at all.
    #[must_use]
    pub fn has_type(&self, name: &str) -> bool {
        self.groups.iter().any(|group| group.resource_type == name)
    }

    /// Whether every group with something that must be there has a resource; otherwise the person is left out.
    #[must_use]
    pub fn is_complete(&self, resources: &[Resource]) -> bool {
        let mut required =
            self.groups.iter().filter(|group| group.attributes.iter().any(|attribute| attribute.is_required));
        required.all(|group| resources.iter().any(|resource| group.takes(resource)))
    }
}

// === impl Group ===

impl Group {
    /// Whether the group asks for this resource: type, profile, filters, and all that must be there.
    #[must_use]
    pub fn takes(&self, resource: &Resource) -> bool {
        let bare = |canonical: &str| canonical.split('|').next().unwrap_or_default().to_owned();
        resource.type_name() == self.resource_type
            && (self.resource_type == "Patient"
                || resource.profiles().any(|profile| bare(profile) == bare(&self.profile)))
            && self.period.is_none_or(|wanted| is_in(resource, wanted))
            && self.codes.iter().all(|filter| filter.admits(resource))
            && self.attributes.iter().all(|attribute| !attribute.is_required || attribute.is_in(resource))
    }
}

// === impl Attribute ===

impl Attribute {
    fn is_in(&self, resource: &Resource) -> bool {
        fn has(value: &Tree, path: &[String]) -> bool {
            let Some((first, rest)) = path.split_first() else { return true };
            match value {
                Tree::Array(elements) => elements.iter().any(|element| has(element, path)),
                Tree::Object(object) => {
                    let mut members = object.iter().filter(|(name, _)| is_named(name, first));
                    members.any(|(_, value)| has(value, rest))
                }
                _ => false,
            }
        }
        has(&Tree::Object(resource.tree().clone()), &self.path)
    }
}

/// Whether a member is the element; the name of a choice ends in its type.
fn is_named(member: &str, element: &str) -> bool {
    let rest = member.strip_prefix(element);
    rest.is_some_and(|rest| {
        rest.is_empty() || (element_is_choice(element) && rest.starts_with(|c: char| c.is_ascii_uppercase()))
    })
}

fn element_is_choice(element: &str) -> bool {
    [
        "value",
        "effective",
        "onset",
        "abatement",
        "performed",
        "medication",
        "collected",
        "deceased",
        "occurrence",
        "multipleBirth",
        "time",
    ]
    .contains(&element)
}

// === impl CodeFilter ===

impl CodeFilter {
    fn admits(&self, resource: &Resource) -> bool {
        let element = resource.get(&self.name);
        let codings = |concept: &Tree| -> bool {
            concept.list("coding").iter().any(|coding| match (coding.str("system"), coding.str("code")) {
                (Some(system), Some(code)) => self.codes.contains(&(system.to_owned(), code.to_owned())),
                _ => false,
            })
        };
        match element {
            Some(Tree::Array(concepts)) => concepts.iter().any(codings),
            Some(concept) => codings(concept),
            None => false,
        }
    }
}

fn group(part: &Part<'_>) -> Result<Group, CrtdlError> {
    let profile = part.text("groupReference")?;
    let attributes = part.list("attributes", limits::ATTRIBUTES)?;
    let mut resource_type: Option<String> = None;
    let mut read = Vec::new();
    for attribute in &attributes {
        let reference = attribute.text("attributeRef")?;
        // A slice belongs to its element: `Condition.code.coding:icd10-gm`.
        let mut names = reference.split('.').map(|name| name.split(':').next().unwrap_or_default());
        let of_type = names.next().unwrap_or_default();
        if definitions().resource(of_type).is_none() || resource_type.as_deref().is_some_and(|known| known != of_type) {
            return Err(attribute.error("attributeRef begins with the resource type, the same in the whole group"));
        }
        resource_type = Some(of_type.to_owned());
        let is_required = match attribute.get("mustHave").map(|part| part.value.as_bool()) {
            None => false,
            Some(Some(is_required)) => is_required,
            Some(None) => return Err(attribute.error("mustHave is true or false")),
        };
        let path = names.map(|name| name.trim_end_matches("[x]").to_owned()).collect();
        read.push(Attribute { path, is_required });
    }
    let resource_type = resource_type.ok_or_else(|| part.error("attributes must name at least one element"))?;
    let mut group = Group { profile, resource_type, attributes: read, period: None, codes: Vec::new() };
    let filters = if part.get("filter").is_some() { part.list("filter", limits::GROUPS)? } else { Vec::new() };
    for filter in &filters {
        match filter.text("type")?.as_str() {
            "date" if group.period.is_some() => return Err(filter.error("there is at most one filter of type date")),
            "date" => group.period = Some(date_filter(filter)?),
            "token" => group.codes.push(code_filter(filter, &group.resource_type)?),
            _ => return Err(filter.error("type is date or token")),
        }
    }
    Ok(group)
}

fn is_in(resource: &Resource, wanted: Period) -> bool {
    crate::consent::period_of(resource).is_some_and(|period| period.within(wanted).is_some())
}

fn date_filter(filter: &Part<'_>) -> Result<Period, CrtdlError> {
    if !DATES.contains(&filter.text("name")?.as_str()) {
        return Err(
            filter.error("name is a search parameter for the date of the resource, such as date or recorded-date")
        );
    }
    let (start, end) = (filter.optional_text("start")?, filter.optional_text("end")?);
    if start.is_none() && end.is_none() {
        return Err(filter.error("a date filter has start, end or both"));
    }
    let period = Period::read(start.as_deref(), end.as_deref());
    period.ok_or_else(|| filter.error("start and end are dates, the start not after the end"))
}

fn code_filter(filter: &Part<'_>, resource_type: &str) -> Result<CodeFilter, CrtdlError> {
    let name = filter.text("name")?;
    let child = definitions().resource(resource_type).and_then(|definition| definition.child(&name));
    if child.is_none_or(|child| child.definition.name != "CodeableConcept") {
        return Err(filter.error("name is an element of the resource with codes, such as code or category"));
    }
    let mut codes = BTreeSet::new();
    for code in filter.list("codes", limits::CODES)? {
        codes.insert((code.text("system")?, code.text("code")?));
    }
    if codes.is_empty() {
        return Err(filter.error("codes is empty: nothing would be found"));
    }
    Ok(CodeFilter { name, codes })
}

// === impl Part ===

impl<'p> Part<'p> {
    fn get(&self, name: &str) -> Option<Self> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        let place = if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) };
        Some(Self { value, place })
    }

    fn list(&self, name: &str, most: usize) -> Result<Vec<Self>, CrtdlError> {
        let part = self.get(name).ok_or_else(|| self.error("a list is missing here"))?;
        let elements = part.value.as_array().ok_or_else(|| part.error("this must be a list"))?;
        if elements.len() > most {
            return Err(part.error("the list is too long"));
        }
        let place = |index: usize| format!("{}[{index}]", part.place);
        Ok(elements.iter().enumerate().map(|(index, value)| Self { value, place: place(index) }).collect())
    }

    fn optional_text(&self, name: &str) -> Result<Option<String>, CrtdlError> {
        let Some(part) = self.get(name) else { return Ok(None) };
        let text = part.value.as_str().filter(|text| !text.is_empty() && text.len() <= limits::TEXT);
        text.map(|text| Some(text.to_owned())).ok_or_else(|| part.error("this must be a text"))
    }

    fn text(&self, name: &str) -> Result<String, CrtdlError> {
        self.optional_text(name)?.ok_or_else(|| self.error("a text is missing here"))
    }

    fn error(&self, problem: &'static str) -> CrtdlError {
        let place = if self.place.is_empty() { "extraction definition".to_owned() } else { self.place.clone() };
        CrtdlError::Part { place, problem }
    }
}
