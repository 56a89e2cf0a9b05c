//! Tests of consent and definitions.

mod consents;
mod definitions;
mod generated;
mod published;

use fhir::{Format, Limits, Resource};
use time::Date;
use time::macros::date;

pub(super) const TODAY: Date = date!(2026 - 11 - 22);

pub(super) fn resource(json: &str) -> Resource {
    fhir::parse(Format::Json, json.as_bytes(), &Limits::default()).unwrap()
}

/// A Consent with these nested provisions.
pub(super) fn consent(status: &str, provisions: &[String]) -> Resource {
    resource(&format!(
        r#"{{"resourceType":"Consent","id":"c","status":"{status}","patient":{{"reference":"Patient/p"}},"provision":{{"type":"deny","provision":[{}]}}}}"#,
        provisions.join(",")
    ))
}

/// `permit` or `deny` of a policy code in a period.
pub(super) fn provision(kind: &str, code: &str, start: &str, end: &str) -> String {
    format!(
        r#"{{"type":"{kind}","period":{{"start":"{start}","end":"{end}"}},"code":[{{"coding":[{{"system":"urn:oid:2.16.840.1.113883.3.1937.777.24.5.3","code":"2.16.840.1.113883.3.1937.777.24.5.3.{code}"}}]}}]}}"#
    )
}

/// What broad consent permits: 6, 7 and 8.
pub(super) fn broad(start: &str, end: &str) -> Vec<String> {
    ["6", "7", "8"].iter().map(|code| provision("permit", code, start, end)).collect()
}
