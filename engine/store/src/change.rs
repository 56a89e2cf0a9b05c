//! What is announced after a commit.

use std::sync::Arc;

use fhir::{Resource, ResourceType};

/// What happened to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Version 1 was stored.
    Created,
    /// A later version was stored.
    Updated,
    /// The resource was marked deleted.
    Deleted,
    /// Every version was removed.
    PermanentlyDeleted,
}

/// A durable change of one resource. The changes of one transaction follow each other in their order.
#[derive(Clone, Debug)]
pub struct Change {
    /// The type.
    pub resource_type: ResourceType,
    /// The id.
    pub id: String,
    /// The version that the change made; for a permanent delete the last one there was.
    pub version: u64,
    /// What happened.
    pub kind: ChangeKind,
    /// The new version; `None` for deletions.
    pub resource: Option<Arc<Resource>>,
}
