//! Identifier systems and canonical URLs of DSF that the endpoint itself looks at.

pub(crate) const ORGANIZATION_IDENTIFIER: &str = "http://dsf.dev/sid/organization-identifier";
pub(crate) const ENDPOINT_IDENTIFIER: &str = "http://dsf.dev/sid/endpoint-identifier";
pub(crate) const PROFILE_BASE: &str = "http://dsf.dev/fhir/StructureDefinition/";
pub(crate) const CHECK_LOGICAL_REFERENCE: &str =
    "http://dsf.dev/fhir/StructureDefinition/extension-check-logical-reference";
pub(crate) const WEBSOCKET_EXTENSION: &str = "http://hl7.org/fhir/StructureDefinition/capabilitystatement-websocket";
