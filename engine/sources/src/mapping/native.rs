//! The form of the mapping that comes with the program.

use serde::Deserialize;

use super::code_system::Form;
use crate::ccdl::TermCode;

/// Why a mapping is not usable.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// It is no TOML of this form.
    #[error("the mapping cannot be read: {0}")]
    Toml(#[from] toml::de::Error),
    /// A file with code trees cannot be used.
    #[error("{path}: {reason}")]
    Tree {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An entry cannot be used.
    #[error("entry {number} of the mapping ({resource}): {reason}")]
    Entry {
        /// Place in the file, from 1.
        number: usize,
        /// Its resource type.
        resource: String,
        /// What is wrong.
        reason: &'static str,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Native {
    pub(super) system: Vec<System>,
    pub(super) criterion: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct System {
    pub(super) url: Vec<String>,
    pub(super) form: Form,
}

/// Criteria of some contexts and code systems.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) contexts: Vec<String>,
    /// The one code of the criterion, which says what is asked, not which resources.
    pub(super) term: Option<TermCode>,
    /// Systems of its codes.
    #[serde(default)]
    pub(super) systems: Vec<String>,
    pub(super) resource: String,
    /// Elements of which one has the code.
    #[serde(default)]
    pub(super) code: Vec<String>,
    /// The resource with the code is another one.
    pub(super) linked_code: Option<LinkedCode>,
    pub(super) value: Option<ValueElement>,
    /// The value is an age, counted from this element.
    pub(super) age: Option<String>,
    /// Elements of the time, the first that is there counts.
    #[serde(default)]
    pub(super) time: Vec<String>,
    /// Values of components, by their code.
    pub(super) components: Option<String>,
    #[serde(default)]
    pub(super) attribute: Vec<AttributeElement>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinkedCode {
    pub(super) element: String,
    pub(super) resource: String,
    pub(super) code: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct ValueElement {
    pub(super) element: String,
    pub(super) kinds: Vec<Kind>,
    /// The value belongs to the code beside it.
    #[serde(default)]
    pub(super) beside_code: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AttributeElement {
    pub(super) code: TermCode,
    pub(super) element: String,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Concept,
    Quantity,
    Reference,
}

// === impl Native ===

impl Native {
    pub(super) fn parse(text: &str) -> Result<Self, MappingError> {
        let native: Self = toml::from_str(text)?;
        for (index, entry) in native.criterion.iter().enumerate() {
            if let Err(reason) = entry.check() {
                return Err(MappingError::Entry { number: index + 1, resource: entry.resource.clone(), reason });
            }
        }
        Ok(native)
    }
}

// === impl Entry ===

impl Entry {
    /// Whether the code can be asked here.
    pub(super) fn knows(&self, code: &TermCode) -> bool {
        match &self.term {
            Some(term) => term == code,
            None => self.systems.contains(&code.system),
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        let below = |element: &String| element.strip_prefix(&self.resource).is_some_and(|rest| rest.starts_with('.'));
        let elements = self.code.iter().chain(&self.time).chain(&self.components).chain(&self.age);
        let elements = elements.chain(self.value.iter().map(|value| &value.element));
        let mut elements = elements.chain(self.attribute.iter().map(|attribute| &attribute.element));
        if self.contexts.is_empty() {
            Err("it has no contexts")
        } else if self.term.is_some() != self.systems.is_empty() {
            Err("it must have either term or systems")
        } else if self.term.is_none() && self.code.is_empty() {
            Err("it has systems, but no element with the code")
        } else if !elements.all(below) {
            Err("an element is not of its resource")
        } else {
            Ok(())
        }
    }
}
