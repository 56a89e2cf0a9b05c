//! A profile in the form that is applied: the constraints of a whole chain of StructureDefinitions, merged into one tree,
//! with everything that they name (value sets, profiles of data types and extensions, expressions) resolved.

use std::sync::Arc;

use super::fhirpath::Expression;
use super::terminology::CodeSet;
use crate::Value;

/// A compiled profile. Making one costs milliseconds, applying it microseconds; keep it as long as no StructureDefinition,
/// ValueSet or CodeSystem changes.
#[derive(Debug)]
pub struct CompiledProfile {
    pub(crate) url: String,
    pub(crate) version: Option<String>,
    pub(crate) type_name: String,
    /// Where an extension may stand, as element paths and types; empty is anywhere.
    pub(crate) contexts: Vec<String>,
    pub(crate) root: Constraints,
}

/// What must hold at one element, or at the elements of one slice.
#[derive(Debug, Default)]
pub(crate) struct Constraints {
    pub(crate) min: u32,
    /// None: no further limit than the base definition has.
    pub(crate) max: Option<u32>,
    /// Empty: no further limit than the base definition has.
    pub(crate) types: Vec<TypeConstraint>,
    pub(crate) fixed: Option<Value>,
    pub(crate) pattern: Option<Value>,
    pub(crate) max_length: Option<usize>,
    pub(crate) binding: Option<RequiredBinding>,
    pub(crate) invariants: Vec<Invariant>,
    pub(crate) children: Vec<(String, Self)>,
    pub(crate) slicing: Option<Slicing>,
    pub(crate) slices: Vec<Slice>,
    /// What of the definition cannot be checked, reported where the element occurs.
    pub(crate) problems: Vec<Problem>,
}

/// A part of a definition that cannot be checked.
#[derive(Debug)]
pub(crate) struct Problem {
    /// Whether leaving it unchecked could accept what the profile refuses in structure; such elements are refused.
    pub(crate) is_error: bool,
    pub(crate) text: String,
}

/// A type that the element may have.
#[derive(Debug)]
pub(crate) struct TypeConstraint {
    pub(crate) code: String,
    /// One of these must hold, if there are any.
    pub(crate) profiles: Vec<ProfileLink>,
    pub(crate) targets: Vec<Target>,
}

/// A profile of a data type or extension.
#[derive(Debug)]
pub(crate) struct ProfileLink {
    pub(crate) canonical: String,
    /// None: the profile is not known or not usable, for the reason beside it.
    pub(crate) profile: Option<Arc<CompiledProfile>>,
    pub(crate) reason: Option<String>,
}

/// What a reference may point to.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) canonical: String,
    /// The resource type, if the profile is known.
    pub(crate) type_name: Option<String>,
}

#[derive(Debug)]
pub(crate) struct RequiredBinding {
    pub(crate) value_set: String,
    /// None: the value set is not known.
    pub(crate) codes: Option<Arc<CodeSet>>,
}

#[derive(Debug)]
pub(crate) struct Invariant {
    pub(crate) key: String,
    pub(crate) is_error: bool,
    pub(crate) human: String,
    /// The expression, or why it cannot be evaluated.
    pub(crate) expression: Result<Expression, String>,
}

#[derive(Debug)]
pub(crate) struct Slicing {
    pub(crate) discriminators: Vec<Discriminator>,
    pub(crate) rules: Rules,
    pub(crate) is_ordered: bool,
}

#[derive(Debug)]
pub(crate) struct Discriminator {
    pub(crate) kind: DiscriminatorKind,
    pub(crate) path: String,
    /// The path as expression, or why it cannot be evaluated.
    pub(crate) expression: Result<Expression, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiscriminatorKind {
    /// `value` and `pattern`.
    Value,
    Exists,
    Type,
    /// `profile`, which would need validation to decide.
    Unsupported,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    Open,
    Closed,
    OpenAtEnd,
}

#[derive(Debug)]
pub(crate) struct Slice {
    pub(crate) name: String,
    /// One for each discriminator of the slicing.
    pub(crate) criteria: Vec<Criterion>,
    pub(crate) constraints: Constraints,
}

/// What the value of a discriminator must be for an element to belong to a slice.
#[derive(Debug)]
pub(crate) enum Criterion {
    Fixed(Value),
    Pattern(Value),
    Member(Arc<CodeSet>),
    Present,
    Absent,
    Types(Vec<String>),
    /// The slice says nothing about it.
    Any,
}

impl Problem {
    pub(crate) const fn error(text: String) -> Self {
        Self { is_error: true, text }
    }

    pub(crate) const fn warning(text: String) -> Self {
        Self { is_error: false, text }
    }
}

impl CompiledProfile {
    /// The canonical URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The business version.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// The type that is constrained.
    #[must_use]
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// `url|version`.
    #[must_use]
    pub fn canonical(&self) -> String {
        match &self.version {
            Some(version) => format!("{}|{version}", self.url),
            None => self.url.clone(),
        }
    }
}

impl Constraints {
    /// The constraints of the child element, made if there are none yet.
    pub(crate) fn child_mut(&mut self, name: &str) -> &mut Self {
        let index = match self.children.iter().position(|(child, _)| child == name) {
            Some(index) => index,
            None => {
                self.children.push((name.to_owned(), Self::default()));
                self.children.len() - 1
            }
        };
        #[expect(clippy::indexing_slicing, reason = "the index was found or made in the lines above")]
        &mut self.children[index].1
    }

    /// The constraints of the slice, made if there are none yet.
    pub(crate) fn slice_mut(&mut self, name: &str) -> &mut Self {
        let index = match self.slices.iter().position(|slice| slice.name == name) {
            Some(index) => index,
            None => {
                self.slices.push(Slice { name: name.to_owned(), criteria: Vec::new(), constraints: Self::default() });
                self.slices.len() - 1
            }
        };
        #[expect(clippy::indexing_slicing, reason = "the index was found or made in the lines above")]
        &mut self.slices[index].constraints
    }

    /// The constraints of the child element, if there are any.
    pub(crate) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|(child, _)| child == name).map(|(_, constraints)| constraints)
    }
}
