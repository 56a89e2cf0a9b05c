//! What binds resources together: ids, references, identifiers. All of it becomes pseudonyms of the site, equal where the
//! original was equal.

use fhir::Object;
use fhir::reference::{Literal, Reference};

use crate::pseudonym::Pseudonyms;
use crate::rules::Rules;

/// System of identifiers that were something else at the site.
pub(super) const TRANSFER_IDENTIFIER: &str = "http://schleuse.example/sid/transfer-identifier";

/// Domain of ids inside a resource.
pub(super) const CONTAINED: &str = "contained";

/// The transfer id of a resource.
pub(super) fn id_of(pseudonyms: &Pseudonyms, type_name: &str, id: &str) -> String {
    pseudonyms.of(&format!("id/{type_name}"), id).as_str().to_owned()
}

/// An identifier with a pseudonym in place of its value; who assigned it, when and of what kind goes.
pub(super) fn identifier(pseudonyms: &Pseudonyms, identifier: &Object) -> Option<Object> {
    let value = identifier.str("value").filter(|value| !value.is_empty())?;
    let system = identifier.str("system").unwrap_or_default();
    let pseudonym = pseudonyms.of(&format!("identifier/{system}"), value);
    Some(Object::new().with("system", TRANSFER_IDENTIFIER).with("value", pseudonym.as_str()))
}

/// A reference to a resource that is shared too; one to anything else goes, whether it is resolved or by identifier.
pub(super) fn reference(rules: &Rules, pseudonyms: &Pseudonyms, reference: &Object) -> Option<Object> {
    match Reference::parse(reference) {
        Reference::Literal(Literal { type_name, id, .. }) if rules.has_type(&type_name) => {
            let id = id_of(pseudonyms, &type_name, &id);
            Some(Object::new().with("reference", format!("{type_name}/{id}")))
        }
        Reference::Contained(id) if !id.is_empty() => {
            let id = id_of(pseudonyms, CONTAINED, &id);
            Some(Object::new().with("reference", format!("#{id}")))
        }
        Reference::Logical(logical) if rules.has_type(&logical.type_name) => {
            // A reference without a type in the list could be to a person.
            let kept = identifier(pseudonyms, reference.get("identifier")?.as_object()?)?;
            Some(Object::new().with("type", logical.type_name.as_str()).with("identifier", kept))
        }
        _ => None,
    }
}
