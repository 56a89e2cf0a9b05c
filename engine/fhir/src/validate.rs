//! Whether a resource is what R4 and its profiles say.
//!
//! The endpoint validates every resource before it stores it (`fhir-api.md` 4.4), the gateway the Tasks of partners, the
//! process engine what it sends. Two things are checked: the structure that the tables of R4 describe (unknown elements,
//! cardinality, forms of primitives, required codes, invariants), always; and every profile that `meta.profile` names,
//! with the profiles of extensions and data types that these or the extensions themselves call for. The answers of a
//! QuestionnaireResponse are held against its Questionnaire.
//!
//! Nothing is taken for granted: a profile in `meta.profile` that is not known is an error; slicing that cannot be decided
//! is an error; an invariant outside the FHIRPath subset, and a required value set that cannot be expanded locally, are
//! warnings that say so. Only invariants of R4 itself are left out silently when they need more than the resource (they
//! are listed by [`unchecked_invariants`]). Of R4 are left out as well: extensible bindings, displays, and the narrative
//! beyond its outermost element.
//!
//! What a profile says is compiled once ([`CompiledProfile`]) and kept by the [`ProfileSource`]; [`ProfileRegistry`] is the
//! source that gateway and engine use.

mod base;
mod compile;
mod elements;
pub(crate) mod equality;
mod fhirpath;
mod findings;
mod invariants;
pub(crate) mod limits;
mod primitive;
mod profile;
mod questionnaire;
mod references;
mod registry;
mod slices;
mod terminology;

use std::cell::Cell;
use std::sync::Arc;

pub use crate::outcome::{Issue, IssueCode, Severity};
pub(crate) use compile::core_type;
pub use invariants::unchecked_invariants;
pub use profile::CompiledProfile;
pub use registry::ProfileRegistry;

use crate::{Object, Resource};
use findings::Findings;

/// The slice that takes what no other slice takes.
const DEFAULT_SLICE: &str = "@default";

/// Where conformance resources come from.
///
/// `version` none asks for the highest version. A source that keeps compiled profiles must forget them when one of its
/// resources changes.
pub trait ProfileSource {
    /// The StructureDefinition.
    fn structure_definition(&self, url: &str, version: Option<&str>) -> Option<Arc<Resource>>;

    /// The ValueSet.
    fn value_set(&self, url: &str, version: Option<&str>) -> Option<Arc<Resource>>;

    /// The CodeSystem.
    fn code_system(&self, url: &str, version: Option<&str>) -> Option<Arc<Resource>>;

    /// The Questionnaire.
    fn questionnaire(&self, url: &str, version: Option<&str>) -> Option<Arc<Resource>> {
        let _ = (url, version);
        None
    }

    /// The compiled profile that was kept for the canonical (`url` or `url|version`).
    fn compiled(&self, canonical: &str) -> Option<Arc<CompiledProfile>> {
        let _ = canonical;
        None
    }

    /// Offers a compiled profile for keeping.
    fn keep(&self, canonical: &str, profile: &Arc<CompiledProfile>) {
        let _ = (canonical, profile);
    }
}

/// Validates the resource against R4 and against the profiles that it names; empty if nothing is to be said.
#[must_use]
pub fn validate(resource: &Resource, source: &dyn ProfileSource) -> Vec<Issue> {
    let budget = Cell::new(limits::BUDGET);
    let mut validator = Validator::new(source, resource, &budget);
    validator.resource(resource.tree(), false);
    validator.findings.into_issues()
}

/// Validates against one profile only, whether or not the resource names it, without the structure of R4.
#[must_use]
pub fn validate_profile(resource: &Resource, canonical: &str, source: &dyn ProfileSource) -> Vec<Issue> {
    let budget = Cell::new(limits::BUDGET);
    let mut validator = Validator::new(source, resource, &budget);
    validator.profile(resource.tree(), canonical);
    validator.findings.into_issues()
}

/// Whether the issues refuse the resource.
#[must_use]
pub fn has_errors(issues: &[Issue]) -> bool {
    issues.iter().any(|issue| issue.severity >= Severity::Error)
}

/// Compiles the profile, to be kept by the caller.
pub fn compile(canonical: &str, source: &dyn ProfileSource) -> Result<Arc<CompiledProfile>, Issue> {
    compile::Compiler::new(source)
        .compile(canonical)
        .map_err(|error| Issue::new(Severity::Error, IssueCode::NotFound, error.to_string()))
}

/// One validation.
struct Validator<'a> {
    source: &'a dyn ProfileSource,
    /// The resource that is not contained in another.
    root: &'a Object,
    /// The resource that is looked at: the root or one that it contains.
    resource: &'a Object,
    findings: Findings,
    depth: usize,
    /// What is left of [`limits::BUDGET`].
    budget: &'a Cell<usize>,
}

impl<'a> Validator<'a> {
    fn new(source: &'a dyn ProfileSource, resource: &'a Resource, budget: &'a Cell<usize>) -> Self {
        let root = resource.tree();
        Self { source, root, resource: root, findings: Findings::at(resource.type_name()), depth: 0, budget }
    }

    /// Whether another element may be looked at; says so where not.
    fn may_go_on(&mut self) -> bool {
        if self.findings.is_full() {
            return false;
        }
        if self.depth >= limits::DEPTH {
            self.findings.error(IssueCode::TooCostly, format!("elements are nested more than {} deep", limits::DEPTH));
            return false;
        }
        match self.budget.get().checked_sub(1) {
            Some(left) => {
                self.budget.set(left);
                true
            }
            None => {
                self.findings.exhausted();
                false
            }
        }
    }

    /// Checks a resource: its structure, then its profiles. For a contained one the container stays the root, the
    /// resource of a Bundle entry is a root of its own.
    fn resource(&mut self, resource: &'a Object, is_contained: bool) {
        let outer = (self.root, self.resource);
        self.resource = resource;
        if !is_contained {
            self.root = resource;
        }
        self.structure(resource);
        let profiles = resource.get("meta").map_or(&[][..], |meta| meta.list("profile"));
        for canonical in profiles.iter().filter_map(crate::Value::as_str) {
            self.profile(resource, canonical);
        }
        if resource.str("resourceType") == Some("QuestionnaireResponse") {
            self.answers(resource);
        }
        (self.root, self.resource) = outer;
    }

    /// Checks one profile of a resource.
    fn profile(&mut self, resource: &'a Object, canonical: &str) {
        let profile = match compile::Compiler::new(self.source).compile(canonical) {
            Ok(profile) => profile,
            Err(error) => {
                self.findings.error(IssueCode::NotFound, error.to_string());
                return;
            }
        };
        let type_name = resource.str("resourceType").unwrap_or_default();
        if profile.type_name() != type_name {
            let text = format!("profile {canonical} is for {}, not for {type_name}", profile.type_name());
            self.findings.error(IssueCode::Structure, text);
            return;
        }
        self.element(fhirpath::Node::resource(resource), &profile.root, &profile);
    }
}

#[cfg(test)]
pub(crate) mod tests;
