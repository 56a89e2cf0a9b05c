//! A resource: an object tree whose `resourceType` is known.
//!
//! The type is read once, when the resource is made, and kept beside the tree; `resourceType` inside the tree and
//! [`Resource::type_name`] can therefore not disagree. Resources of types that the endpoint does not serve
//! (`OperationOutcome`, `Parameters`, `CapabilityStatement`) are resources too.

use crate::{Object, ResourceType, Value};

/// A FHIR resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    type_name: String,
    tree: Object,
}

/// The tree has no usable `resourceType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the object has no resourceType")]
pub struct NoResourceType;

impl Resource {
    /// An empty resource of the type.
    #[must_use]
    pub fn new(type_name: &str) -> Self {
        Self { type_name: type_name.to_owned(), tree: Object::new().with("resourceType", type_name) }
    }

    /// Takes a tree whose member `resourceType` is a non-empty string.
    pub fn from_tree(tree: Object) -> Result<Self, NoResourceType> {
        match tree.str("resourceType") {
            Some(name) if !name.is_empty() => Ok(Self { type_name: name.to_owned(), tree }),
            _ => Err(NoResourceType),
        }
    }

    /// `resourceType` as sent.
    #[must_use]
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// The type, if the endpoint serves it.
    #[must_use]
    pub fn resource_type(&self) -> Option<ResourceType> {
        self.type_name.parse().ok()
    }

    /// The tree.
    #[must_use]
    pub const fn tree(&self) -> &Object {
        &self.tree
    }

    /// Gives up the tree.
    #[must_use]
    pub fn into_tree(self) -> Object {
        self.tree
    }

    /// The member `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.tree.get(name)
    }

    /// The member `name` as a string.
    #[must_use]
    pub fn str(&self, name: &str) -> Option<&str> {
        self.tree.str(name)
    }

    /// The elements of the array member `name`; empty if there is none.
    #[must_use]
    pub fn list(&self, name: &str) -> &[Value] {
        self.tree.list(name)
    }

    /// Sets a member other than `resourceType`, which never changes.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        if name != "resourceType" {
            self.tree.set(name, value);
        }
    }

    /// Adds to the array member `name`.
    pub fn push(&mut self, name: &str, value: impl Into<Value>) {
        self.tree.push(name, value);
    }

    /// Removes a member other than `resourceType`.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        if name == "resourceType" { None } else { self.tree.remove(name) }
    }

    /// The member `name` for changing; `resourceType` is not handed out.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        if name == "resourceType" { None } else { self.tree.get_mut(name) }
    }

    /// `id`.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.str("id")
    }

    /// `meta.versionId` as a number.
    #[must_use]
    pub fn version_id(&self) -> Option<u64> {
        self.get("meta")?.str("versionId")?.parse().ok()
    }

    /// Sets `id`, `meta.versionId` and `meta.lastUpdated` in the positions where FHIR prints them.
    pub fn set_version(&mut self, id: &str, version: u64, last_updated: &str) {
        self.tree.set_at(1, "id", id);
        if self.tree.get("meta").and_then(Value::as_object).is_none() {
            self.tree.remove("meta");
            self.tree.set_at(2, "meta", Object::new());
        }
        if let Some(meta) = self.tree.get_mut("meta").and_then(Value::as_object_mut) {
            meta.set_at(0, "versionId", version.to_string());
            meta.set_at(1, "lastUpdated", last_updated);
        }
    }

    /// `meta.profile`.
    pub fn profiles(&self) -> impl Iterator<Item = &str> {
        self.get("meta").map_or(&[][..], |meta| meta.list("profile")).iter().filter_map(Value::as_str)
    }
}
