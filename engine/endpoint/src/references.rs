//! References: rewriting on the way in, resolving and checking in the transaction, hiding on the way out
//! (`fhir-api` 4.1).

pub(crate) mod check;
pub(crate) mod rewrite;

use fhir::Resource;

/// What leaves: a reference that carries an identifier loses its literal, which is this node's own knowledge.
pub(crate) fn clean(mut resource: Resource) -> Resource {
    fhir::reference::hide_resolved_literals(&mut resource);
    resource
}
