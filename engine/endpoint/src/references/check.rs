//! Resolving logical references and checking all others, inside the transaction that stores them.

use std::collections::{BTreeSet, HashMap};

use fhir::reference::{FoundReference, Literal, Logical, Place, Reference, collect, for_each_reference_mut};
use fhir::{Canonical, Resource, ResourceType};
use store::{Found, unique};

use crate::refusal::Refusal;
use crate::session::Session;

impl Session<'_, '_> {
    /// Adds the literal to every logical reference of an identifier system that is marked for it; a target that is not
    /// found, or not alone, refuses the resource.
    pub(crate) fn resolve_logical(&mut self, resource: Resource) -> Result<Resource, Refusal> {
        self.resolve(resource).map(|(resource, _)| resource)
    }

    /// As [`Self::resolve_logical`], with the paths of the literals that were added: what they point to is known to exist.
    pub(crate) fn resolve(&mut self, mut resource: Resource) -> Result<(Resource, BTreeSet<String>), Refusal> {
        let mut literals: HashMap<String, String> = HashMap::new();
        for found in collect(&resource) {
            let Reference::Logical(logical) = found.reference else { continue };
            if !self.profiles.is_checked_system(&logical.system) {
                continue;
            }
            let unresolved = || {
                Refusal::reference(format!("Unknown logical reference at {}", found.path))
                    .because(format!("{} {}", logical.type_name, logical.system))
            };
            let Ok(resource_type) = logical.type_name.parse::<ResourceType>() else { return Err(unresolved()) };
            let is_allowed = found.targets.is_empty()
                || found.targets.iter().any(|target| *target == logical.type_name || *target == "Resource");
            if !is_allowed {
                return Err(unresolved());
            }
            let id = self.resolve_identifier(resource_type, &logical)?.ok_or_else(unresolved)?;
            literals.insert(found.path, format!("{resource_type}/{id}"));
        }
        if !literals.is_empty() {
            for_each_reference_mut(&mut resource, &mut |path, element| {
                if let Some(literal) = literals.get(path) {
                    element.set_at(0, "reference", literal.as_str());
                }
            });
        }
        Ok((resource, literals.into_keys().collect()))
    }

    fn resolve_identifier(
        &mut self,
        resource_type: ResourceType,
        logical: &Logical,
    ) -> Result<Option<String>, Refusal> {
        // The identifiers that every Task carries are unique keys: one look-up instead of a search.
        let kind = match (resource_type, logical.system.as_str()) {
            (ResourceType::Organization, crate::terms::ORGANIZATION_IDENTIFIER) => Some("organization-identifier"),
            (ResourceType::Endpoint, crate::terms::ENDPOINT_IDENTIFIER) => Some("endpoint-identifier"),
            _ => None,
        };
        if let Some(kind) = kind {
            let holder = self.tx.holder(kind, &logical.value)?;
            return Ok(holder.filter(|(found, _)| *found == resource_type).map(|(_, id)| id));
        }
        let criteria = identifier_criteria(&logical.system, &logical.value);
        Ok(self.match_one(resource_type, &criteria).ok().flatten().map(|version| version.id))
    }

    /// Checks every reference of a resource that was just stored.
    pub(crate) fn check_references(&mut self, resource: &Resource, old: Option<&Resource>) -> Result<(), Refusal> {
        self.check_references_besides(resource, old, &BTreeSet::new())
    }

    /// Checks every reference but those at the paths, which were resolved in this transaction.
    pub(crate) fn check_references_besides(
        &mut self,
        resource: &Resource,
        old: Option<&Resource>,
        resolved: &BTreeSet<String>,
    ) -> Result<(), Refusal> {
        let status = resource.str("status").filter(|_| resource.type_name() == "Task");
        if old.is_some() && status == Some("failed") {
            return Ok(());
        }
        for found in collect(resource).iter().filter(|found| !resolved.contains(&found.path)) {
            self.check_reference(resource, found)?;
        }
        Ok(())
    }

    fn check_reference(&mut self, resource: &Resource, found: &FoundReference) -> Result<(), Refusal> {
        let reference = found.reference.clone().relative_to(&self.shared.base_url);
        let unknown = || Refusal::reference(format!("Unknown reference at {}", found.path));
        match (found.place, reference) {
            (Place::Canonical, Reference::Canonical(canonical)) => self.check_canonical(&found.path, &canonical),
            (Place::Reference, Reference::Literal(literal)) => {
                let is_allowed = found.targets.is_empty()
                    || found.targets.iter().any(|target| *target == literal.type_name || *target == "Resource");
                if is_allowed && self.exists(&literal)? {
                    Ok(())
                } else {
                    Err(Refusal::reference(format!("Reference target {literal} at {} not found", found.path)))
                }
            }
            (Place::Attachment | Place::RelatedArtifact, Reference::Literal(literal)) => {
                if self.exists(&literal)? {
                    Ok(())
                } else {
                    Err(Refusal::reference(format!("Reference target {literal} at {} not found", found.path)))
                }
            }
            (Place::Reference, Reference::Contained(id)) => {
                let is_contained = resource.list("contained").iter().any(|inner| inner.str("id") == Some(id.as_str()));
                // `#` alone is the resource itself.
                if id.is_empty() || is_contained { Ok(()) } else { Err(unknown()) }
            }
            // Other servers are asked before the transaction begins, see `crate::external`.
            (_, Reference::Absolute(_)) | (Place::Reference, Reference::Logical(_)) => Ok(()),
            (Place::Reference, Reference::Canonical(_) | Reference::Unknown(_))
            | (_, Reference::Temporary(_) | Reference::Conditional { .. }) => Err(unknown()),
            (
                Place::Attachment | Place::RelatedArtifact | Place::Canonical,
                Reference::Contained(_) | Reference::Logical(_) | Reference::Canonical(_) | Reference::Unknown(_),
            )
            | (Place::Canonical, Reference::Literal(_)) => Ok(()),
        }
    }

    fn check_canonical(&mut self, path: &str, canonical: &Canonical) -> Result<(), Refusal> {
        let is_known = match path {
            "Task.instantiatesCanonical" => match &canonical.version {
                Some(version) => {
                    let mut key = Resource::new("ActivityDefinition");
                    key.set("url", canonical.url.as_str());
                    key.set("version", version.as_str());
                    let mut is_known = false;
                    for key in unique::unique_keys(ResourceType::ActivityDefinition, &key, None) {
                        is_known |= self.tx.holder(key.kind, &key.key)?.is_some();
                    }
                    is_known
                }
                None => false,
            },
            "QuestionnaireResponse.questionnaire" => {
                let version = canonical.version.as_deref();
                self.profiles.count(ResourceType::Questionnaire, &canonical.url, version) == 1
            }
            _ => true,
        };
        if is_known { Ok(()) } else { Err(Refusal::reference(format!("Unknown canonical reference at {path}"))) }
    }

    fn exists(&mut self, literal: &Literal) -> Result<bool, Refusal> {
        let Some(resource_type) = literal.resource_type() else { return Ok(false) };
        if self.tx.current_version(resource_type, &literal.id)?.is_none() {
            return Ok(false);
        }
        match &literal.version {
            None => Ok(true),
            Some(version) => {
                let Ok(version) = version.parse() else { return Ok(false) };
                let found = self.tx.read_version(resource_type, &literal.id, version)?;
                Ok(matches!(found, Found::Current(_)))
            }
        }
    }
}

/// `identifier=system|value`, encoded for a query.
pub(crate) fn identifier_criteria(system: &str, value: &str) -> String {
    format!("identifier={}%7C{}", encode(system), encode(value))
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
