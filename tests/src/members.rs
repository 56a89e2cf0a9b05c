//! Members of a network that are not there: organisation, endpoint and affiliation as an allow-list brings them.

use serde_json::{Value, json};

const PARENT: &str = "consortium.example";
const ORGANIZATION: &str = "http://dsf.dev/sid/organization-identifier";
const ENDPOINT: &str = "http://dsf.dev/sid/endpoint-identifier";

fn tagged(kind: &str, profile: &str) -> Value {
    json!({
        "resourceType": kind,
        "meta": {
            "profile": [format!("http://dsf.dev/fhir/StructureDefinition/{profile}")],
            "tag": [{ "system": "http://dsf.dev/fhir/CodeSystem/read-access-tag", "code": "ALL" }],
        },
    })
}

fn entry(full_url: &str, resource: &Value, url: &str) -> Value {
    json!({ "fullUrl": full_url, "resource": resource, "request": { "method": "PUT", "url": url } })
}

/// Conditional update of an organisation with one certificate.
#[must_use]
pub fn organization_entry(identifier: &str, thumbprint: &str) -> Value {
    let mut organization = tagged("Organization", "organization");
    organization["extension"] = json!([{
        "url": "http://dsf.dev/fhir/StructureDefinition/extension-certificate-thumbprint",
        "valueString": thumbprint,
    }]);
    organization["identifier"] = json!([{ "system": ORGANIZATION, "value": identifier }]);
    organization["active"] = json!(true);
    organization["name"] = json!(identifier);
    organization["endpoint"] = json!([{ "reference": urn(identifier, 2), "type": "Endpoint" }]);
    entry(&urn(identifier, 1), &organization, &format!("Organization?identifier={ORGANIZATION}|{identifier}"))
}

fn urn(identifier: &str, part: usize) -> String {
    format!("urn:uuid:00000000-0000-4000-8000-{:08}{part:04}", identifier.len())
}

/// A further data integration centre, as entries of one transaction.
#[must_use]
pub fn member(identifier: &str, thumbprint: &str) -> Vec<Value> {
    let mut endpoint = tagged("Endpoint", "endpoint");
    endpoint["identifier"] = json!([{ "system": ENDPOINT, "value": format!("dsf.{identifier}") }]);
    endpoint["status"] = json!("active");
    endpoint["connectionType"] =
        json!({ "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type", "code": "hl7-fhir-rest" });
    endpoint["managingOrganization"] = json!({ "reference": urn(identifier, 1), "type": "Organization" });
    endpoint["payloadType"] = json!([{ "coding": [{
        "system": "http://hl7.org/fhir/resource-types", "code": "Task" }] }]);
    endpoint["payloadMimeType"] = json!(["application/fhir+json", "application/fhir+xml"]);
    endpoint["address"] = json!(format!("https://dsf.{identifier}/fhir"));
    let mut affiliation = tagged("OrganizationAffiliation", "organization-affiliation");
    affiliation["active"] = json!(true);
    affiliation["organization"] =
        json!({ "type": "Organization", "identifier": { "system": ORGANIZATION, "value": PARENT } });
    affiliation["participatingOrganization"] = json!({ "reference": urn(identifier, 1), "type": "Organization" });
    affiliation["code"] = json!([{ "coding": [{
        "system": "http://dsf.dev/fhir/CodeSystem/organization-role", "code": "DIC" }] }]);
    affiliation["endpoint"] = json!([{ "reference": urn(identifier, 2), "type": "Endpoint" }]);
    vec![
        organization_entry(identifier, thumbprint),
        entry(&urn(identifier, 2), &endpoint, &format!("Endpoint?identifier={ENDPOINT}|dsf.{identifier}")),
        entry(
            &urn(identifier, 3),
            &affiliation,
            &format!(
                "OrganizationAffiliation?primary-organization:identifier={ORGANIZATION}|{PARENT}&participating-organization:identifier={ORGANIZATION}|{identifier}"
            ),
        ),
    ]
}

/// A transaction.
#[must_use]
pub fn transaction(entries: &[Value]) -> Value {
    json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries })
}
