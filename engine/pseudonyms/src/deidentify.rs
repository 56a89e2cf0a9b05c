//! A resource without what identifies persons, by the definitions of R4.
//!
//! Every element is judged by its type there, not by its name: what holds free text, contact data or attachments goes;
//! dates move; identifiers, ids and references become pseudonyms; codes stay if their code system is listed. An element
//! that must be there and had to go says so with the data-absent-reason `masked`.

mod codes;
mod links;

use std::collections::BTreeMap;

use fhir::definitions::{Child, TypeDefinition, TypeKind, definitions};
use fhir::{Object, Resource, Value};

use crate::date_shift::DateShift;
use crate::pseudonym::Pseudonyms;
use crate::rules::{self, Rules};

/// Makes transfer resources for one project at one site.
pub struct Deidentifier<'r> {
    rules: &'r Rules,
    pseudonyms: &'r Pseudonyms,
}

/// A resource that may leave, and what went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deidentified {
    /// The resource.
    pub resource: Resource,
    /// What went.
    pub dropped: Dropped,
}

/// How often what went, by its place in the definitions (`Observation.note`, `CodeableConcept.text`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Counts by place.
    pub places: BTreeMap<String, u64>,
}

/// Why a resource cannot leave at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The type is not on the project's list.
    #[error("resources of this type are not shared in this project")]
    Type,
    /// It has no id, so nothing can refer to it and a repetition would not be noticed.
    #[error("the resource has no id")]
    Id,
    /// An element that changes the meaning of the rest would have to go.
    #[error("{place} changes the meaning of the resource and cannot be shared")]
    Modifier {
        /// Place in the definitions.
        place: String,
    },
}

/// One resource at work.
struct Walk<'w> {
    rules: &'w Rules,
    pseudonyms: &'w Pseudonyms,
    shift: DateShift,
    dropped: Dropped,
}

/// What becomes of an element.
enum Verdict {
    Keep(Value),
    Drop,
}

// === impl Deidentifier ===

impl<'r> Deidentifier<'r> {
    /// Works by these rules and with these pseudonyms.
    #[must_use]
    pub const fn new(rules: &'r Rules, pseudonyms: &'r Pseudonyms) -> Self {
        Self { rules, pseudonyms }
    }

    /// The id under which a resource leaves.
    #[must_use]
    pub fn transfer_id(&self, type_name: &str, id: &str) -> String {
        links::id_of(self.pseudonyms, type_name, id)
    }

    /// The resource as it may leave, all its dates moved by the shift of its person.
    pub fn deidentify(&self, resource: &Resource, shift: DateShift) -> Result<Deidentified, Refused> {
        let mut walk = Walk { rules: self.rules, pseudonyms: self.pseudonyms, shift, dropped: Dropped::default() };
        let id = resource.id().filter(|id| fhir::reference::is_id(id)).ok_or(Refused::Id)?;
        let id = self.transfer_id(resource.type_name(), id);
        let resource = walk.resource(resource.tree(), id)?;
        Ok(Deidentified { resource, dropped: walk.dropped })
    }
}

// === impl Dropped ===

impl Dropped {
    /// Adds the counts of another resource.
    pub fn add(&mut self, other: &Self) {
        for (place, count) in &other.places {
            *self.places.entry(place.clone()).or_default() += count;
        }
    }

    fn count(&mut self, place: String) {
        *self.places.entry(place).or_default() += 1;
    }
}

// === impl Walk ===

impl Walk<'_> {
    fn resource(&mut self, tree: &Object, id: String) -> Result<Resource, Refused> {
        let name = tree.str("resourceType").filter(|name| self.rules.has_type(name)).ok_or(Refused::Type)?;
        let definition = definitions().resource(name).ok_or(Refused::Type)?;
        let mut resource = Resource::new(definition.name);
        resource.set("id", id);
        let members = self.members(tree, definition)?;
        for (name, value) in members.into_members() {
            resource.set(&name, value);
        }
        Ok(resource)
    }

    /// The members of an object of the type that stay. `id` of a resource is set by the caller, of an element it goes.
    fn members(&mut self, object: &Object, definition: &'static TypeDefinition) -> Result<Object, Refused> {
        let mut kept = Object::new();
        for (name, value) in object.iter() {
            if name == "resourceType" || (name == "id" && definition.kind == TypeKind::Resource) {
                continue;
            }
            if name.strip_prefix('_').is_some_and(|name| definition.child(name).is_some()) {
                // Extensions of a primitive: all that could stay is why it has no value, and that is said anew.
                self.dropped.count(format!("{}.(extension of a primitive)", definition.name));
                continue;
            }
            let Some(child) = definition.child(name) else {
                self.dropped.count(format!("{}.(unknown element)", definition.name));
                continue;
            };
            let place = || format!("{}.{}", definition.name, child.element.name);
            let is_shared = definition.name != "Patient" || rules::PATIENT.contains(&name);
            let verdict = if is_shared { self.element(value, definition, child)? } else { Verdict::Drop };
            match verdict {
                Verdict::Keep(value) => kept.set(name, value),
                Verdict::Drop => {
                    if is_shared && child.element.is_modifier && !is_plain_modifier(&place()) {
                        return Err(Refused::Modifier { place: place() });
                    }
                    self.dropped.count(place());
                    if child.element.min > 0 {
                        let (name, value) = masked(name, child);
                        kept.set(&name, value);
                    }
                }
            }
        }
        Ok(kept)
    }

    fn element(&mut self, value: &Value, parent: &'static TypeDefinition, child: Child) -> Result<Verdict, Refused> {
        let Value::Array(elements) = value else {
            return self.single(value, parent, child);
        };
        let mut kept = Vec::new();
        for element in elements {
            match self.single(element, parent, child)? {
                Verdict::Keep(value) => kept.push(value),
                // One of several modifiers changes the meaning as the only one does.
                Verdict::Drop if child.element.is_modifier => return Ok(Verdict::Drop),
                Verdict::Drop => {}
            }
        }
        Ok(if kept.is_empty() { Verdict::Drop } else { Verdict::Keep(Value::Array(kept)) })
    }

    fn single(&mut self, value: &Value, parent: &'static TypeDefinition, child: Child) -> Result<Verdict, Refused> {
        let definition = child.definition;
        if definition.kind == TypeKind::Primitive {
            return Ok(self.primitive(value, parent, child).map_or(Verdict::Drop, Verdict::Keep));
        }
        let Value::Object(object) = value else { return Ok(Verdict::Drop) };
        let kept = match definition.name {
            "Coding" => codes::coding(self.rules, object),
            "Reference" => links::reference(self.rules, self.pseudonyms, object),
            "Identifier" => links::identifier(self.pseudonyms, object),
            "Meta" => codes::meta(self.rules, object),
            "Extension" => self.extension(object, definition)?,
            "Resource" | "DomainResource" => self.contained(object)?,
            _ if definition.is_a("Quantity") => codes::quantity(self.rules, object),
            "CodeableConcept" | "Range" | "Ratio" | "Period" | "Timing" | "Dosage" | "Money" => {
                Some(self.members(object, definition)?)
            }
            _ if definition.kind == TypeKind::Backbone => Some(self.members(object, definition)?),
            // Names, addresses, texts, attachments, and what nobody thought of.
            _ => None,
        };
        Ok(match kept.filter(|kept| !kept.is_empty()) {
            Some(kept) => Verdict::Keep(kept.into()),
            None => Verdict::Drop,
        })
    }

    fn primitive(&self, value: &Value, parent: &'static TypeDefinition, child: Child) -> Option<Value> {
        match (child.definition.name, value) {
            ("boolean", Value::Bool(_)) => Some(value.clone()),
            ("integer" | "unsignedInt" | "positiveInt" | "decimal", Value::Number(_)) => Some(value.clone()),
            ("date" | "dateTime" | "instant", Value::String(text)) => self.shift.apply(text).map(Value::from),
            ("time", Value::String(text)) => codes::is_time_of_day(text).then(|| value.clone()),
            ("code", Value::String(code)) => codes::is_bound(child.element, code).then(|| value.clone()),
            ("canonical", Value::String(url)) => {
                (parent.name == "Meta" && self.rules.has_namespace(url)).then(|| value.clone())
            }
            _ => None,
        }
    }

    fn extension(&mut self, object: &Object, definition: &'static TypeDefinition) -> Result<Option<Object>, Refused> {
        let Some(url) = object.str("url").filter(|url| self.rules.has_extension(url)) else { return Ok(None) };
        let mut kept = Object::new().with("url", url);
        let mut rest = object.clone();
        rest.remove("url");
        // Inside an extension that is listed its parts have names of their own.
        let parts = rest.remove("extension");
        let mut kept_parts = Vec::new();
        for part in parts.as_ref().map_or(&[][..], Value::elements).iter().filter_map(Value::as_object) {
            let Some(name) = part.str("url").filter(|name| codes::is_part_name(name)) else { continue };
            let mut inner = part.clone();
            inner.remove("url");
            inner.remove("extension");
            let mut inner = self.members(&inner, definition)?;
            if !inner.is_empty() {
                inner.set_at(0, "url", name);
                kept_parts.push(inner.into());
            }
        }
        if url == rules::DATA_ABSENT_REASON && !object.str("valueCode").is_some_and(codes::is_absence) {
            return Ok(None);
        }
        match object.str("valueCode").filter(|_| url == rules::DATA_ABSENT_REASON) {
            Some(code) => kept.set("valueCode", code),
            None => self.members(&rest, definition)?.into_members().for_each(|(name, value)| kept.set(&name, value)),
        }
        if !kept_parts.is_empty() {
            kept.set("extension", kept_parts);
        }
        Ok((kept.len() > 1).then_some(kept))
    }

    /// A resource inside a resource: it may be of a type that goes, then it goes and the reference to it stays empty.
    fn contained(&mut self, tree: &Object) -> Result<Option<Object>, Refused> {
        let Some(id) = tree.str("id") else { return Ok(None) };
        let id = links::id_of(self.pseudonyms, links::CONTAINED, id);
        match self.resource(tree, id) {
            Ok(resource) => Ok(Some(resource.into_tree())),
            Err(Refused::Type) => Ok(None),
            Err(refused) => Err(refused),
        }
    }
}

/// Modifiers whose loss does not mislead: what they tell apart goes with them.
fn is_plain_modifier(place: &str) -> bool {
    matches!(place, "Identifier.use" | "Meta.security")
}

/// What stands where a value that must be there had to go.
fn masked(name: &str, child: Child) -> (String, Value) {
    let reason = Object::new().with("url", rules::DATA_ABSENT_REASON).with("valueCode", "masked");
    let absent: Value = Object::new().with("extension", vec![reason.into()]).into();
    let is_primitive = child.definition.kind == TypeKind::Primitive;
    let name = if is_primitive { format!("_{name}") } else { name.to_owned() };
    let value = if child.element.is_list() { Value::Array(vec![absent]) } else { absent };
    (name, value)
}
