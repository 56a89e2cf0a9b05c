//! At the data management site: the transfer id of a patient becomes the pseudonym that the trusted third party chose.

use fhir::reference::{Literal, Reference, for_each_reference_mut};
use fhir::{Object, Resource};

use crate::pseudonym::Pseudonym;

/// Why a resource cannot be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenameError {
    /// It is of a patient whom the third party does not name.
    #[error("the resource is of a patient for whom there is no pseudonym")]
    Unknown,
    /// It refers to a patient in a way that cannot be replaced.
    #[error("the resource refers to a patient by something else than a transfer id")]
    Form,
}

/// Replaces every id of a patient; nothing of the resource is left if one is unknown.
pub fn rename(
    mut resource: Resource,
    pseudonym_of: &dyn Fn(&str) -> Option<Pseudonym>,
) -> Result<Resource, RenameError> {
    if resource.type_name() == "Patient" {
        let pseudonym = resource.id().and_then(pseudonym_of).ok_or(RenameError::Unknown)?;
        resource.set("id", pseudonym.as_str());
    }
    let mut error = None;
    for_each_reference_mut(&mut resource, &mut |_, reference| {
        if let Err(found) = rename_reference(reference, pseudonym_of) {
            error.get_or_insert(found);
        }
    });
    match error {
        Some(error) => Err(error),
        None => Ok(resource),
    }
}

fn rename_reference(
    reference: &mut Object,
    pseudonym_of: &dyn Fn(&str) -> Option<Pseudonym>,
) -> Result<(), RenameError> {
    match Reference::parse(reference) {
        Reference::Literal(Literal { type_name, id, version }) if type_name == "Patient" => {
            if version.is_some() {
                return Err(RenameError::Form);
            }
            let pseudonym = pseudonym_of(&id).ok_or(RenameError::Unknown)?;
            reference.set("reference", format!("Patient/{pseudonym}"));
            Ok(())
        }
        Reference::Literal(_) | Reference::Contained(_) => Ok(()),
        Reference::Logical(logical) if logical.type_name != "Patient" => Ok(()),
        _ => Err(RenameError::Form),
    }
}
