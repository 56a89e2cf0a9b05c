//! The pure decision core: who may do what.
#![warn(missing_docs)]

pub mod finding;
pub mod identifier;
pub mod identity;
pub mod interaction;
pub mod limits;
pub mod request;

pub use finding::{Finding, Severity};
pub use identifier::{
    EndpointIdentifier, OrganizationIdentifier, PractitionerIdentifier, ResourceId, Role, RuleId, Thumbprint, VersionId,
};
pub use identity::{DsfRole, Identity, OrganizationIdentity, PersonIdentity};
pub use interaction::{DsfOperation, Interaction, Method};
pub use request::{CanonicalRequest, RequestError, canonicalize};
