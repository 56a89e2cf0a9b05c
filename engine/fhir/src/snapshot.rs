//! Snapshots: what a StructureDefinition says about every element of its type, made from its differential.
//!
//! Validation does not need them ([`crate::validate`] merges differentials only); clients that show or check profiles do,
//! and `$snapshot` and change events carry them (`fhir-api.md` 1.10). The chain of `baseDefinition` is followed to a type of
//! R4, whose elements come from the tables; on the way back each differential is laid over the tree. Where a differential
//! goes into an element, its children are those of the element's type, of the profile of that type, or of the element that
//! it refers to. A slice starts as a copy of its element as far as that has been constrained, without its slicing.
//!
//! Invariants: every element of a snapshot has `id`, `path`, `base`, `definition`, `min` and `max` (sdf-3); ids follow from
//! paths and slice names; the order is that of the base, slices behind their element. Of R4 a snapshot leaves out what is
//! only for editors (comments, requirements, mappings, aliases, XPath); `docs/decisions/012` says why.
//!
//! A slice never inherits what another slice or the element of its base fixes for one slice, so the values that the
//! reference has to take out again for profiles on `task` (`fhir-api.md` 4.4) do not get in here.

mod core;
mod generate;
mod merge;
mod node;

use crate::outcome::Issue;
use crate::validate::ProfileSource;
use crate::{Resource, Value};

/// A StructureDefinition with its snapshot.
#[derive(Clone, Debug)]
pub struct Generated {
    /// The definition; its snapshot stands before its differential.
    pub definition: Resource,
    /// What is doubtful, none of it an error.
    pub warnings: Vec<Issue>,
}

/// Makes the snapshot of a StructureDefinition from its differential, in the place of one that it has.
///
/// Answers what is wrong with the definition if there is no snapshot that would be true.
pub fn generate(definition: &Resource, source: &dyn ProfileSource) -> Result<Generated, Vec<Issue>> {
    generate::Generator::new(source).run(definition)
}

/// Takes the snapshot off a StructureDefinition.
pub fn cut(definition: &mut Resource) -> Option<Value> {
    if definition.type_name() == "StructureDefinition" { definition.remove("snapshot") } else { None }
}

/// Puts a snapshot where FHIR has it, before the differential.
pub fn put(definition: &mut Resource, snapshot: Value) {
    let mut tree = crate::Object::new();
    let mut snapshot = Some(snapshot);
    for (name, value) in definition.tree().iter().filter(|(name, _)| !matches!(*name, "snapshot" | "_snapshot")) {
        if name == "differential"
            && let Some(snapshot) = snapshot.take()
        {
            tree.append_unchecked("snapshot".to_owned(), snapshot);
        }
        tree.append_unchecked(name.to_owned(), value.clone());
    }
    if let Some(snapshot) = snapshot {
        tree.append_unchecked("snapshot".to_owned(), snapshot);
    }
    if let Ok(with) = Resource::from_tree(tree) {
        *definition = with;
    }
}

#[cfg(test)]
mod tests;
