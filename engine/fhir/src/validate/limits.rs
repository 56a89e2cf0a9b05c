//! The limits of validation, with their reasons.
//!
//! Profiles come from process plug-ins and resources from partners; neither may make a validation long or large.

/// Findings that are reported; a resource with more has been refused anyway.
pub(crate) const ISSUES: usize = 200;

/// Elements inside elements. The parser allows 64 levels; a resource that was built in the program may be deeper.
pub(crate) const DEPTH: usize = 100;

/// Profiles in one chain of `baseDefinition`. The deepest published chain has three.
pub(crate) const CHAIN: usize = 16;

/// Profiles that require profiles. The deepest published nesting has four (ActivityDefinition, process authorisation,
/// its coding, the extension of the coding).
pub(crate) const NESTED_PROFILES: usize = 16;

/// Element definitions of one profile with its bases. The largest published snapshot has fewer than 400.
pub(crate) const ELEMENTS: usize = 20_000;

/// Bytes of one FHIRPath expression; the longest in R4 has 1 100.
pub(crate) const EXPRESSION_BYTES: usize = 16 << 10;

/// Nesting of one FHIRPath expression.
pub(crate) const EXPRESSION_DEPTH: usize = 64;

/// Nodes that the evaluation of one expression may touch. `descendants()` of a large Bundle is the worst that R4 has.
pub(crate) const EVALUATION_STEPS: usize = 500_000;

/// Bytes of one compiled regular expression.
pub(crate) const REGEX_BYTES: usize = 1 << 20;

/// Value sets that include value sets.
pub(crate) const VALUE_SETS: usize = 16;

/// Concepts of one expanded value set. Larger ones (LOINC, SNOMED CT) are not expanded and count as not checkable.
pub(crate) const CONCEPTS: usize = 200_000;

/// Elements that one validation may look at, with the nodes of all its expressions. A Bundle of 2 000 laboratory
/// observations needs about a tenth; the limit is reached in about a second.
pub(crate) const BUDGET: usize = 5_000_000;
