//! The pure decision core: who may do what with this node, and by which rule.
//!
//! Gateway and engine use this crate alike; it does no I/O, knows no clock and never waits. A request flows through it as
//! follows: [`request::canonicalize`] brings method and target into the one canonical form, driven by the table of
//! [`interaction`]s; [`AllowList::identify`] turns the thumbprint of the verified certificate into an [`Identity`];
//! [`decide`] judges both, with the body, by the [`Policy`]. Authorisation of messages by `ActivityDefinition`
//! ([`process_authorization`]), the rules of Tasks ([`task`]), read access by tags ([`read_access`]) and conditions of
//! single resources ([`resource_rules`]) are here too, because both processes must agree on them; the engine applies them
//! to what is stored, and its decision counts.
//!
//! Invariants: what nothing allows is denied; rules do not depend on their order; every decision names its rule or its
//! stable code; no input makes the crate panic.
#![warn(missing_docs)]

// Lets the fixtures in `tests/world` use the same paths in unit tests and in integration tests.
#[cfg(test)]
extern crate self as policies;

#[cfg(test)]
#[path = "../tests/world/mod.rs"]
mod world;

pub mod allow_list;
pub mod bundle;
pub mod change;
pub mod clock;
pub mod decision;
pub mod explain;
pub mod fuzz;
pub mod identifier;
pub mod identity;
pub mod interaction;
pub mod limits;
pub mod matrix;
pub mod network;
pub mod policy;
pub mod process_authorization;
pub mod proof;
pub mod read_access;
pub mod replay;
pub mod request;
pub mod resource_rules;
pub mod task;

pub use allow_list::{AllowList, practitioner_identifier};
pub use decision::{
    Charge, ChargeLimit, Context, Decision, Denial, DenyCode, Origin, Permit, decide, deny_by_head, hidden_types,
    is_permitted_on_type, judge_criteria, shown_types,
};
pub use identifier::{
    EndpointIdentifier, OrganizationIdentifier, PractitionerIdentifier, ResourceId, Role, RuleId, Thumbprint, VersionId,
};
pub use identity::{DsfRole, Identity, OrganizationIdentity, PersonIdentity};
pub use interaction::{DsfOperation, Interaction, Method};
pub use policy::Policy;
pub use request::{CanonicalRequest, RequestError, canonicalize};
pub use settings::{Finding, Severity};

/// The files of the policy as shipped, name and text. `schleuse init` writes them, [`Policy::shipped`] loads them.
#[must_use]
pub const fn default_files() -> &'static [(&'static str, &'static str)] {
    &[
        ("allow-list.toml", include_str!("../default/allow-list.toml")),
        ("audit.toml", include_str!("../default/audit.toml")),
        ("identity.toml", include_str!("../default/identity.toml")),
        ("limits.toml", include_str!("../default/limits.toml")),
        ("outbound.toml", include_str!("../default/outbound.toml")),
        ("rules.toml", include_str!("../default/rules.toml")),
        ("tls.toml", include_str!("../default/tls.toml")),
        ("trust.toml", include_str!("../default/trust.toml")),
    ]
}

/// The example of a policy that is narrower than DSF, as one file.
#[must_use]
pub const fn strict_example() -> &'static str {
    include_str!("../examples/strict.toml")
}
