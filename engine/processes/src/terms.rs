//! Systems, codes and profile URLs of the Data Sharing Framework that processes write (DSF CodeSystem `bpmn-message`,
//! NamingSystems `sid/*`).

/// Coding system of the standard inputs and of error outputs.
pub const BPMN_MESSAGE: &str = "http://dsf.dev/fhir/CodeSystem/bpmn-message";
/// Input: name of the message.
pub const MESSAGE_NAME: &str = "message-name";
/// Input: business key of the instance.
pub const BUSINESS_KEY: &str = "business-key";
/// Input: correlation key of one of several waiting executions.
pub const CORRELATION_KEY: &str = "correlation-key";
/// Output: why a Task failed.
pub const ERROR: &str = "error";

/// Identifier system of organisations.
pub const ORGANIZATION_IDENTIFIER: &str = "http://dsf.dev/sid/organization-identifier";
/// Identifier system of endpoints.
pub const ENDPOINT_IDENTIFIER: &str = "http://dsf.dev/sid/endpoint-identifier";
/// Identifier system of draft Tasks, never used for sent ones.
pub const TASK_IDENTIFIER: &str = "http://dsf.dev/sid/task-identifier";
/// Identifier system of sent Tasks (RFC 3986 URIs).
pub const URI_IDENTIFIER: &str = "urn:ietf:rfc:3986";
