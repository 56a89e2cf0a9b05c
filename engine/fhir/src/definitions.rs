//! What FHIR R4 says about its types: the compact tables in `definitions/`, read once when first used.
//!
//! The tables hold every data type and every resource of R4, not only the served ones, because resources of other types
//! travel in Bundles and Binaries of the processes. They drive XML reading and writing, reference collection and the base
//! validation. How they were made, and from what, stands in `tools/README.md`.

use std::collections::HashMap;
use std::sync::LazyLock;

mod load;
mod texts;

pub use texts::{ElementTexts, texts};

/// The tables.
#[derive(Debug)]
pub struct Definitions {
    types: Vec<TypeDefinition>,
    by_name: HashMap<&'static str, usize>,
    value_sets: HashMap<String, ValueSetCodes>,
    invariants: HashMap<&'static str, Vec<Invariant>>,
}

/// What a type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeKind {
    /// A JSON string, number or boolean; an XML attribute `value`.
    Primitive,
    /// A data type with elements.
    Complex,
    /// A resource.
    Resource,
    /// An element with elements of its own; its name is its path.
    Backbone,
}

/// A type and its elements.
#[derive(Debug)]
pub struct TypeDefinition {
    /// `Task`, `HumanName`, `Task.restriction`, `dateTime`.
    pub name: &'static str,
    /// What it is.
    pub kind: TypeKind,
    /// The type that it specialises.
    pub base: Option<&'static str>,
    /// Whether instances are always of a specialisation.
    pub is_abstract: bool,
    /// The lexical form of a primitive, where R4 gives one.
    pub regex: Option<&'static str>,
    elements: Vec<ElementDefinition>,
    children: HashMap<String, (usize, usize, usize)>,
}

/// An element of a type.
#[derive(Clone, Debug)]
pub struct ElementDefinition {
    /// The name; of a choice the part before `[x]`.
    pub name: &'static str,
    /// Whether the name in instances ends in the type, as in `valueString`.
    pub is_choice: bool,
    /// The least number of occurrences.
    pub min: u32,
    /// The greatest number of occurrences; `None` is unbounded.
    pub max: Option<u32>,
    /// The types, one unless the element is a choice. A reference to the content of another element is the backbone
    /// type of that element.
    pub types: Vec<TypeReference>,
    /// Whether XML writes an attribute.
    pub is_xml_attribute: bool,
    /// Whether `_summary=true` keeps it.
    pub is_summary: bool,
    /// Whether it may change the meaning of the rest.
    pub is_modifier: bool,
    /// The value set of its codes.
    pub binding: Option<Binding>,
}

/// A type that an element may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeReference {
    /// The name of the type.
    pub code: &'static str,
    /// The resource types that a `Reference` or `canonical` may point to; empty is any.
    pub targets: Vec<&'static str>,
}

/// A binding to a value set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// How binding it is.
    pub strength: BindingStrength,
    /// The canonical of the value set, often with version.
    pub value_set: String,
}

/// `http://hl7.org/fhir/binding-strength`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindingStrength {
    /// Only codes of the value set.
    Required,
    /// Codes of the value set if one fits.
    Extensible,
    /// Encouraged.
    Preferred,
    /// An illustration.
    Example,
}

/// The codes of an enumerated value set.
#[derive(Debug, Default)]
pub struct ValueSetCodes {
    /// System and codes.
    pub groups: Vec<(&'static str, Vec<&'static str>)>,
}

/// A FHIRPath invariant of R4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invariant {
    /// The key, `tim-1`.
    pub key: &'static str,
    /// Whether a violation is an error; otherwise a warning.
    pub is_error: bool,
    /// The FHIRPath expression.
    pub expression: &'static str,
    /// The text for people.
    pub human: &'static str,
}

/// An element as it stands in an instance: found by its name there.
#[derive(Clone, Copy, Debug)]
pub struct Child {
    /// The place of the element in its type, for document order.
    pub position: usize,
    /// The element.
    pub element: &'static ElementDefinition,
    /// The type that the name says, of several.
    pub reference: &'static TypeReference,
    /// The definition of that type.
    pub definition: &'static TypeDefinition,
}

static DEFINITIONS: LazyLock<Definitions> = LazyLock::new(load::definitions);

/// The tables.
#[must_use]
pub fn definitions() -> &'static Definitions {
    &DEFINITIONS
}

/// The lines that say where the tables come from.
pub fn provenance() -> impl Iterator<Item = &'static str> {
    load::TYPES.lines().take_while(|line| line.starts_with('#'))
}

// === impl Definitions ===

impl Definitions {
    /// The type of this name.
    #[must_use]
    pub fn type_(&'static self, name: &str) -> Option<&'static TypeDefinition> {
        self.types.get(*self.by_name.get(name)?)
    }

    /// The resource type of this name that instances can have.
    #[must_use]
    pub fn resource(&'static self, name: &str) -> Option<&'static TypeDefinition> {
        self.type_(name).filter(|definition| definition.kind == TypeKind::Resource && !definition.is_abstract)
    }

    /// Every type.
    #[must_use]
    pub fn types(&'static self) -> &'static [TypeDefinition] {
        &self.types
    }

    /// The codes of a value set of R4 (canonical with or without version), if it is one that is enumerated here.
    #[must_use]
    pub fn codes(&'static self, value_set: &str) -> Option<&'static ValueSetCodes> {
        let url = value_set.split('|').next().unwrap_or_default();
        self.value_sets.get(url)
    }

    /// The invariants at a type or at an element (`Task`, `Task.input`, `Bundle.entry`).
    #[must_use]
    pub fn invariants(&'static self, path: &str) -> &'static [Invariant] {
        self.invariants.get(path).map_or(&[], Vec::as_slice)
    }
}

// === impl TypeDefinition ===

impl TypeDefinition {
    /// The elements in document order, inherited ones first.
    #[must_use]
    pub fn elements(&self) -> &[ElementDefinition] {
        &self.elements
    }

    /// The element that an instance calls `name` (`status`, `valueString`).
    #[must_use]
    pub fn child(&'static self, name: &str) -> Option<Child> {
        let (position, type_in_element, type_) = *self.children.get(name)?;
        let element = self.elements.get(position)?;
        Some(Child {
            position,
            element,
            reference: element.types.get(type_in_element)?,
            definition: DEFINITIONS.types.get(type_)?,
        })
    }

    /// Whether this is `name` or specialises it.
    #[must_use]
    pub fn is_a(&'static self, name: &str) -> bool {
        let mut current = Some(self);
        while let Some(definition) = current {
            if definition.name == name {
                return true;
            }
            current = definition.base.and_then(|base| DEFINITIONS.type_(base));
        }
        false
    }
}

// === impl ElementDefinition ===

impl ElementDefinition {
    /// Whether JSON writes an array.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.max != Some(1)
    }

    /// What instances may call the element: its name, or one name for each type of a choice.
    pub fn instance_names(&self) -> impl Iterator<Item = String> {
        self.types.iter().map(|reference| self.instance_name(reference))
    }

    /// What instances call the element when it has this type.
    #[must_use]
    pub fn instance_name(&self, reference: &TypeReference) -> String {
        if !self.is_choice {
            return self.name.to_owned();
        }
        let mut code = reference.code.chars();
        let first = code.next().map(|first| first.to_ascii_uppercase());
        self.name.chars().chain(first).chain(code).collect()
    }
}

// === impl ValueSetCodes ===

impl ValueSetCodes {
    /// Whether a code of any system is in the set.
    #[must_use]
    pub fn contains(&self, code: &str) -> bool {
        self.groups.iter().any(|(_, codes)| codes.contains(&code))
    }

    /// Whether the code of the system is in the set.
    #[must_use]
    pub fn contains_coding(&self, system: &str, code: &str) -> bool {
        self.groups.iter().any(|(known, codes)| *known == system && codes.contains(&code))
    }
}

#[cfg(test)]
mod tests;
