//! What a node stores about itself before it serves: its own Organization and Endpoint, which go through the endpoint's
//! rules and validation like any request (`access-and-edge.md` 3.2).
//!
//! The own Organization is written once and later only completed with a new thumbprint; what an allow-list added to it
//! stays.

use endpoint::{Endpoint, LocalError};
use fhir::{Object, Resource, ResourceType, Value};
use policies::{EndpointIdentifier, Identity, OrganizationIdentity};
use processes::PluginError;
use store::{ReadFilter, Store, StoreError, StoredResource};

use crate::configuration::Configuration;

const PROFILES: &str = "http://dsf.dev/fhir/StructureDefinition";
const THUMBPRINT: &str = "http://dsf.dev/fhir/StructureDefinition/extension-certificate-thumbprint";
const ORGANIZATION_IDENTIFIER: &str = "http://dsf.dev/sid/organization-identifier";
const ENDPOINT_IDENTIFIER: &str = "http://dsf.dev/sid/endpoint-identifier";

/// Why a node cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The endpoint refused a resource of the node itself.
    #[error("{what} was refused")]
    Refused {
        /// What was to be stored.
        what: String,
        /// Cause.
        #[source]
        source: LocalError,
    },
    /// A plug-in cannot be read.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The node's keys cannot be used.
    #[error("the keys of data sharing cannot be used: {0}")]
    Keys(String),
    /// The packages cannot be had.
    #[error("process plug-ins cannot be loaded: {0}")]
    Packages(String),
    /// The stored Endpoint has another address, which cannot be changed.
    #[error(
        "the stored Endpoint {identifier} has the address {stored}, but base-url is {configured}; an address cannot change: restore base-url, or choose a new endpoint-identifier"
    )]
    OtherAddress {
        /// Identifier of the endpoint.
        identifier: String,
        /// Stored address.
        stored: String,
        /// Configured address.
        configured: String,
    },
}

/// The identity in which the node acts for itself.
pub(crate) fn own_identity(configuration: &Configuration) -> Identity {
    Identity::Local(OrganizationIdentity {
        identifier: configuration.settings.organization_identifier.clone(),
        endpoint: Some(configuration.settings.endpoint_identifier.clone()),
        thumbprint: configuration.thumbprint.clone(),
    })
}

/// Stores what is missing about the node itself.
pub(crate) async fn own_node(
    configuration: &Configuration,
    endpoint: &Endpoint,
    store: &Store,
) -> Result<(), BootstrapError> {
    let settings = &configuration.settings;
    let organization =
        find(store, ResourceType::Organization, ORGANIZATION_IDENTIFIER, settings.organization_identifier.as_str())
            .await?;
    let stored_endpoint =
        find(store, ResourceType::Endpoint, ENDPOINT_IDENTIFIER, settings.endpoint_identifier.as_str()).await?;
    check_address(configuration, stored_endpoint.as_ref(), &settings.endpoint_identifier)?;
    let bundle = match (&organization, &stored_endpoint) {
        (Some(organization), Some(_)) if has_thumbprint(organization, configuration) => return Ok(()),
        (Some(organization), Some(_)) => with_thumbprint(organization, configuration),
        _ => first_bundle(configuration),
    };
    let result = endpoint.execute_own_node(own_identity(configuration), bundle).await;
    result.map(drop).map_err(|source| BootstrapError::Refused {
        what: "the node's own Organization and Endpoint".to_owned(),
        source,
    })
}

fn check_address(
    configuration: &Configuration,
    stored: Option<&StoredResource>,
    identifier: &EndpointIdentifier,
) -> Result<(), BootstrapError> {
    let configured = configuration.settings.base_url.as_str();
    match stored.and_then(|endpoint| endpoint.resource.str("address")) {
        Some(address) if address != configured => Err(BootstrapError::OtherAddress {
            identifier: identifier.to_string(),
            stored: address.to_owned(),
            configured: configured.to_owned(),
        }),
        _ => Ok(()),
    }
}

async fn find(
    store: &Store,
    resource_type: ResourceType,
    system: &str,
    value: &str,
) -> Result<Option<StoredResource>, StoreError> {
    let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let query = fhir::search::parse_query(resource_type, &format!("identifier={system}%7C{value}"));
    let found = store.read(move |tx| tx.search(&query, &ReadFilter::everything())).await?;
    Ok(found.matches.into_iter().next())
}

fn has_thumbprint(organization: &StoredResource, configuration: &Configuration) -> bool {
    organization.resource.list("extension").iter().any(|extension| {
        extension.str("url") == Some(THUMBPRINT)
            && extension.str("valueString") == Some(configuration.thumbprint.as_str())
    })
}

/// A renewed certificate: the stored Organization with one more thumbprint.
fn with_thumbprint(organization: &StoredResource, configuration: &Configuration) -> Resource {
    let mut renewed = (*organization.resource).clone();
    renewed.push("extension", thumbprint(configuration));
    let request = Object::new().with("method", "PUT").with("url", format!("Organization/{}", organization.id));
    transaction(vec![Object::new().with("resource", renewed.into_tree()).with("request", request).into()])
}

/// Organization and Endpoint of a new node, which name each other.
fn first_bundle(configuration: &Configuration) -> Resource {
    let settings = &configuration.settings;
    let urn = || format!("urn:uuid:{}", uuid::Uuid::new_v4());
    let (organization_urn, endpoint_urn) = (urn(), urn());
    let reference = |resource_type: &str, urn: &str| Object::new().with("reference", urn).with("type", resource_type);

    let mut organization = tagged("Organization", "organization");
    organization.push("extension", thumbprint(configuration));
    organization.push("identifier", identifier(ORGANIZATION_IDENTIFIER, settings.organization_identifier.as_str()));
    organization.set("active", true);
    organization.set("name", settings.organization_identifier.as_str());
    organization.push("endpoint", reference("Endpoint", &endpoint_urn));

    let mut endpoint = tagged("Endpoint", "endpoint");
    endpoint.push("identifier", identifier(ENDPOINT_IDENTIFIER, settings.endpoint_identifier.as_str()));
    endpoint.set("status", "active");
    endpoint.set(
        "connectionType",
        coding("http://terminology.hl7.org/CodeSystem/endpoint-connection-type", "hl7-fhir-rest"),
    );
    endpoint.set("name", settings.endpoint_identifier.as_str());
    endpoint.set("managingOrganization", reference("Organization", &organization_urn));
    let task = coding("http://hl7.org/fhir/resource-types", "Task");
    endpoint.push("payloadType", Object::new().with("coding", vec![task.into()]));
    endpoint.push("payloadMimeType", "application/fhir+json");
    endpoint.push("payloadMimeType", "application/fhir+xml");
    endpoint.set("address", settings.base_url.as_str());

    transaction(vec![
        put(
            &organization_urn,
            organization,
            &format!("Organization?identifier={ORGANIZATION_IDENTIFIER}|{}", settings.organization_identifier),
        ),
        put(
            &endpoint_urn,
            endpoint,
            &format!("Endpoint?identifier={ENDPOINT_IDENTIFIER}|{}", settings.endpoint_identifier),
        ),
    ])
}

fn put(full_url: &str, resource: Resource, url: &str) -> Value {
    let request = Object::new().with("method", "PUT").with("url", url);
    Object::new().with("fullUrl", full_url).with("resource", resource.into_tree()).with("request", request).into()
}

pub(crate) fn transaction(entries: Vec<Value>) -> Resource {
    let mut bundle = Resource::new("Bundle");
    bundle.set("type", "transaction");
    bundle.set("entry", entries);
    bundle
}

fn tagged(resource_type: &str, profile: &str) -> Resource {
    let mut resource = Resource::new(resource_type);
    let tag = coding("http://dsf.dev/fhir/CodeSystem/read-access-tag", "ALL");
    let profile = Value::from(format!("{PROFILES}/{profile}"));
    resource.set("meta", Object::new().with("profile", vec![profile]).with("tag", vec![tag.into()]));
    resource
}

fn thumbprint(configuration: &Configuration) -> Object {
    Object::new().with("url", THUMBPRINT).with("valueString", configuration.thumbprint.as_str())
}

fn identifier(system: &str, value: &str) -> Object {
    Object::new().with("system", system).with("value", value)
}

fn coding(system: &str, code: &str) -> Object {
    Object::new().with("system", system).with("code", code)
}
