//! The tree that a snapshot is made in, and its way to a list of ElementDefinitions.

use crate::definitions::definitions;
use crate::{Object, Value};

/// An element or a slice of one.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The last step of the path, the type at the root.
    pub(super) name: String,
    pub(super) slice: Option<String>,
    /// The ElementDefinition without `id`, `path` and `sliceName`, which follow from the place.
    pub(super) definition: Object,
    /// None: nobody has looked into the element.
    pub(super) children: Option<Vec<Self>>,
    pub(super) slices: Vec<Self>,
}

impl Node {
    pub(super) const fn new(name: String, definition: Object, children: Option<Vec<Self>>) -> Self {
        Self { name, slice: None, definition, children, slices: Vec::new() }
    }

    /// A copy of the element that no slice divides.
    pub(super) fn without_slices(&self) -> Self {
        Self::new(self.name.clone(), self.definition.clone(), self.children.clone())
    }

    /// How many elements the list of this tree has.
    pub(super) fn count(&self) -> usize {
        1 + self.children.iter().flatten().chain(&self.slices).map(Self::count).sum::<usize>()
    }

    /// The elements in the order of a snapshot.
    pub(super) fn into_elements(self) -> Vec<Value> {
        let mut elements = Vec::new();
        self.write("", "", &mut elements);
        elements
    }

    fn write(self, id: &str, path: &str, elements: &mut Vec<Value>) {
        let below =
            |parent: &str| if parent.is_empty() { self.name.clone() } else { format!("{parent}.{}", self.name) };
        let own_path = below(path);
        let own_id = match &self.slice {
            Some(slice) => format!("{}:{slice}", below(id)),
            None => below(id),
        };
        let mut element = Object::new().with("id", own_id.as_str()).with("path", own_path.as_str());
        if let Some(slice) = self.slice {
            element.append_unchecked("sliceName".to_owned(), Value::from(slice));
        }
        for (name, value) in self.definition.iter() {
            element.append_unchecked(name.to_owned(), value.clone());
        }
        elements.push(Value::Object(in_order(element)));
        for child in self.children.into_iter().flatten() {
            child.write(&own_id, &own_path, elements);
        }
        for slice in self.slices {
            slice.write(id, path, elements);
        }
    }
}

/// The members as FHIR orders them.
fn in_order(element: Object) -> Object {
    let type_ = definitions().type_("ElementDefinition");
    let position = |name: &str| {
        let plain = name.strip_prefix('_').unwrap_or(name);
        type_.and_then(|type_| type_.child(plain)).map_or(usize::MAX, |child| child.position)
    };
    let mut members: Vec<_> = element.into_members().collect();
    members.sort_by_key(|(name, _)| position(name));
    let mut ordered = Object::new();
    for (name, value) in members {
        ordered.append_unchecked(name, value);
    }
    ordered
}
