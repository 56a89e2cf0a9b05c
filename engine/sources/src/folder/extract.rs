//! From a resource to index entries: every code, quantity, date and reference, under the path of its element.
//!
//! Which of them a cohort definition asks for is up to the mapping, which may change without a new index. The type in
//! the name of a choice is left out (`Observation.value`), extensions count under their URL, and a value inside an
//! element with a `code` (an observation, a component) is also entered beside that code. Names, addresses, identifiers,
//! contacts and narrative make no entries.

use crate::date::Days;
use crate::folder::key;
use crate::json::Node;
use crate::limits;

/// What one resource contributes.
#[derive(Debug, Default)]
pub(crate) struct Extracted {
    pub(crate) resource_type: String,
    pub(crate) id: String,
    /// Logical id of the Patient that it is about.
    pub(crate) person: Option<String>,
    pub(crate) entries: Vec<(String, Entry)>,
}

/// An entry of the row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Entry {
    Row,
    Quantity(f64),
    Days(Days),
    Reference(key::ResourceKey),
}

/// Members that say who somebody is, or are for people to read.
const PASSED_OVER: &[&str] = &[
    "resourceType",
    "id",
    "text",
    "contained",
    "identifier",
    "name",
    "telecom",
    "address",
    "photo",
    "contact",
    "note",
    "implicitRules",
    "language",
    "data",
    "attachment",
    "display",
];

/// Elements of type `code` and their like that definitions ask for.
const CODES: &[&str] = &["gender", "status", "intent", "type", "use", "priority", "linkId", "docStatus"];

/// Elements that are choices, and the type names that end theirs.
const CHOICES: &[&str] = &[
    "value",
    "effective",
    "onset",
    "abatement",
    "performed",
    "occurrence",
    "medication",
    "deceased",
    "collected",
    "dose",
    "rate",
    "timing",
    "asNeeded",
    "serviced",
    "allowed",
    "multipleBirth",
    "product",
    "item",
    "reported",
    "occurence",
];
const CHOICE_TYPES: &[&str] = &[
    "Quantity",
    "CodeableConcept",
    "Coding",
    "DateTime",
    "Date",
    "Period",
    "Instant",
    "Reference",
    "Boolean",
    "Integer",
    "Decimal",
    "String",
    "Code",
    "Range",
    "Ratio",
    "Age",
    "Duration",
    "Time",
    "Timing",
    "SimpleQuantity",
];

/// Primitive elements that are dates though nothing in their name says so.
const DATES: &[&str] = &[
    "birthDate",
    "date",
    "issued",
    "authoredOn",
    "recordedDate",
    "dateTime",
    "receivedTime",
    "dateAsserted",
    "recorded",
    "assertedDate",
    "started",
    "whenPrepared",
    "whenHandedOver",
    "time",
    "effective",
    "onset",
    "abatement",
    "performed",
    "occurrence",
    "deceased",
    "collected",
    "created",
    "sent",
    "received",
    "approvalDate",
    "lastUpdated",
    "dateWritten",
];

/// Reads a resource. References have been resolved before, where a Bundle needs that.
pub(crate) fn extract(resource: &Node<'_>) -> Result<Extracted, String> {
    let resource_type = resource.str("resourceType").ok_or("it has no resourceType")?;
    let is_name = !resource_type.is_empty() && resource_type.bytes().all(|byte| byte.is_ascii_alphabetic());
    if !is_name || resource_type.len() > 64 {
        return Err("its resourceType is no type".to_owned());
    }
    let id = resource.str("id").filter(|id| !id.is_empty()).ok_or("it has no id")?;
    if id.len() > limits::ID_BYTES {
        return Err(format!("its id is longer than {} bytes", limits::ID_BYTES));
    }
    let mut walk = Walk { entries: vec![(key::of_type(resource_type), Entry::Row)], contained: resource };
    for profile in resource.get("meta").map_or(&[][..], |meta| meta.items("profile")) {
        let profile = profile.as_str().unwrap_or_default();
        let profile = profile.split('|').next().unwrap_or_default();
        walk.add(key::code(&format!("{resource_type}.meta.profile"), key::BOUND, profile), Entry::Row)?;
    }
    walk.object(resource_type, resource, 0)?;
    if resource_type == "Consent" && resource.str("status") == Some("active") {
        walk.provisions(resource.get("provision"), None, 0)?;
    }
    Ok(Extracted {
        resource_type: resource_type.to_owned(),
        id: id.to_owned(),
        person: person(resource_type, id, resource),
        entries: walk.entries,
    })
}

/// Whom a resource is about.
fn person(resource_type: &str, id: &str, resource: &Node<'_>) -> Option<String> {
    if resource_type == "Patient" {
        return Some(id.to_owned());
    }
    let subject = ["subject", "patient", "individual", "beneficiary", "for"];
    subject.iter().find_map(|name| {
        let reference = resource.get(name)?.str("reference")?;
        target(reference)?.strip_prefix("Patient/").map(str::to_owned)
    })
}

/// `Type/id` of a reference: relative, absolute, versioned.
pub(crate) fn target(reference: &str) -> Option<String> {
    let reference = reference.split_once("/_history/").map_or(reference, |(before, _)| before);
    let mut parts = reference.rsplit('/');
    let id = parts.next().filter(|id| !id.is_empty())?;
    let resource_type = parts.next()?;
    let is_type = resource_type.bytes().next().is_some_and(|byte| byte.is_ascii_uppercase())
        && resource_type.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_type.then(|| format!("{resource_type}/{id}"))
}

struct Walk<'n, 'a> {
    entries: Vec<(String, Entry)>,
    /// The resource, whose contained resources local references mean.
    contained: &'n Node<'a>,
}

/// Codes that stand beside a value.
type Group<'n> = Vec<(&'n str, &'n str)>;

impl<'n, 'a> Walk<'n, 'a> {
    fn add(&mut self, key: String, entry: Entry) -> Result<(), String> {
        if key.len() > limits::KEY_BYTES {
            return Err(format!("an element and its code together are longer than {} bytes", limits::KEY_BYTES));
        }
        if self.entries.len() >= limits::ENTRIES_PER_RESOURCE {
            return Err(format!("it has more than {} codes, values and dates", limits::ENTRIES_PER_RESOURCE));
        }
        self.entries.push((key, entry));
        Ok(())
    }

    /// The members of an element that is no data type of its own.
    fn object(&mut self, path: &str, object: &'n Node<'a>, depth: usize) -> Result<(), String> {
        if depth > 32 {
            return Err("its elements are nested too deeply".to_owned());
        }
        let group = object.get("code").map(codings).unwrap_or_default();
        for (name, value) in object.members() {
            if PASSED_OVER.contains(&name.as_ref()) || name.starts_with('_') || (name == "meta" && depth == 0) {
                continue;
            }
            if name == "extension" || name == "modifierExtension" {
                self.extensions(path, value, depth)?;
                continue;
            }
            let element = format!("{path}.{}", without_type(name));
            let group: &[(&str, &str)] = if without_type(name) == "value" { &group } else { &[] };
            for value in value.list() {
                self.value(&element, value, group, depth)?;
            }
        }
        Ok(())
    }

    fn extensions(&mut self, path: &str, extensions: &'n Node<'a>, depth: usize) -> Result<(), String> {
        for extension in extensions.list() {
            if let Some(url) = extension.str("url") {
                self.object(&format!("{path}.extension({url})"), extension, depth + 1)?;
            }
        }
        Ok(())
    }

    fn value(
        &mut self,
        element: &str,
        value: &'n Node<'a>,
        group: &[(&str, &str)],
        depth: usize,
    ) -> Result<(), String> {
        match value {
            Node::Null | Node::List(_) => Ok(()),
            Node::Bool(value) => self.coded(element, key::BOUND, if *value { "true" } else { "false" }, group),
            Node::Number(number) => self.quantity(element, *number, "", group),
            Node::String(text) => self.text(element, text, group),
            Node::Object(_) => self.complex(element, value, group, depth),
        }
    }

    fn text(&mut self, element: &str, text: &str, group: &[(&str, &str)]) -> Result<(), String> {
        let name = element.rsplit('.').next().unwrap_or_default();
        if let Some(days) = DATES.contains(&name).then(|| Days::parse(text)).flatten() {
            return self.add(key::days(element), Entry::Days(days));
        }
        if CODES.contains(&name) {
            return self.coded(element, key::BOUND, text, group);
        }
        Ok(())
    }

    fn complex(
        &mut self,
        element: &str,
        value: &'n Node<'a>,
        group: &[(&str, &str)],
        depth: usize,
    ) -> Result<(), String> {
        if value.get("coding").is_some() {
            for (system, code) in codings(value) {
                self.coded(element, system, code, group)?;
            }
            return self.extensions_of(element, value, depth);
        }
        if let Some(Node::Number(number)) = value.get("value") {
            let unit = value.str("code").or_else(|| value.str("unit")).unwrap_or_default();
            return self.quantity(element, *number, unit, group);
        }
        if let Some(reference) = value.str("reference") {
            return self.reference(element, reference);
        }
        if let (Some(system), Some(code)) = (value.str("system"), value.str("code")) {
            return self.coded(element, system, code, group);
        }
        let (start, end) = (value.str("start"), value.str("end"));
        if start.is_some() || end.is_some() {
            return match Days::period(start, end) {
                Some(days) => self.add(key::days(element), Entry::Days(days)),
                None => Ok(()),
            };
        }
        self.object(element, value, depth + 1)
    }

    fn extensions_of(&mut self, element: &str, value: &'n Node<'a>, depth: usize) -> Result<(), String> {
        match value.get("extension") {
            Some(extensions) => self.extensions(element, extensions, depth),
            None => Ok(()),
        }
    }

    fn coded(&mut self, element: &str, system: &str, code: &str, group: &[(&str, &str)]) -> Result<(), String> {
        self.add(key::code(element, system, code), Entry::Row)?;
        for beside in group {
            self.add(key::code_of(element, *beside, system, code), Entry::Row)?;
        }
        Ok(())
    }

    fn quantity(&mut self, element: &str, number: f64, unit: &str, group: &[(&str, &str)]) -> Result<(), String> {
        self.add(key::quantity(element, unit), Entry::Quantity(number))?;
        for beside in group {
            self.add(key::quantity_of(element, *beside, unit), Entry::Quantity(number))?;
        }
        Ok(())
    }

    /// A contained resource counts with its code at the element that refers to it.
    fn reference(&mut self, element: &str, reference: &str) -> Result<(), String> {
        let Some(local) = reference.strip_prefix('#') else {
            return match target(reference) {
                Some(target) => self.add(key::reference(element), Entry::Reference(key::resource(&target))),
                None => Ok(()),
            };
        };
        let contained: &'n Node<'a> = self.contained;
        let found = contained.items("contained").iter().find(|resource| resource.str("id") == Some(local));
        for (system, code) in found.and_then(|resource| resource.get("code")).map(codings).unwrap_or_default() {
            self.coded(element, system, code, &[])?;
        }
        Ok(())
    }

    /// Provisions of an active Consent under what they do: `Consent.permit`, `Consent.deny`.
    fn provisions(
        &mut self,
        provision: Option<&'n Node<'a>>,
        inherited: Option<&'n str>,
        depth: usize,
    ) -> Result<(), String> {
        let Some(provision) = provision else { return Ok(()) };
        if depth > 8 {
            return Err("its provisions are nested too deeply".to_owned());
        }
        let kind = provision.str("type").or(inherited);
        if let Some(kind @ ("permit" | "deny")) = kind {
            for code in provision.items("code") {
                for (system, code) in codings(code) {
                    self.add(key::code(&format!("Consent.{kind}"), system, code), Entry::Row)?;
                }
            }
        }
        for nested in provision.items("provision") {
            self.provisions(Some(nested), kind, depth + 1)?;
        }
        Ok(())
    }
}

/// System and code of every coding; one without a system has an empty one.
fn codings<'n>(concept: &'n Node<'_>) -> Group<'n> {
    let coding = |coding: &'n Node<'_>| Some((coding.str("system").unwrap_or_default(), coding.str("code")?));
    concept.list().iter().flat_map(|concept| concept.items("coding")).filter_map(coding).collect()
}

/// Whether the element may have values of several types.
pub(crate) fn is_choice(name: &str) -> bool {
    CHOICES.contains(&name)
}

/// The name of an element without the type of its choice.
fn without_type(name: &str) -> &str {
    for stem in CHOICES {
        if let Some(rest) = name.strip_prefix(stem)
            && CHOICE_TYPES.contains(&rest)
        {
            return stem;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::{Entry, extract, target};
    use crate::date::Days;
    use crate::folder::key;
    use crate::json;

    fn entries(text: &str) -> Vec<(String, Entry)> {
        let node = json::parse(text.as_bytes()).unwrap();
        extract(&node).unwrap().entries
    }

    #[test]
    fn an_observation_has_its_code_its_value_beside_the_code_and_its_date() {
        let found = entries(
            r#"{"resourceType":"Observation","id":"1","subject":{"reference":"Patient/p"},"status":"final",
            "code":{"coding":[{"system":"http://loinc.org","code":"718-7"}]},"effectiveDateTime":"2024-03-01T10:00:00Z",
            "valueQuantity":{"value":12.5,"unit":"g/dl","code":"g/dL"},
            "component":[{"code":{"coding":[{"system":"s","code":"c"}]},"valueCodeableConcept":{"coding":[{"system":"v","code":"w"}]}}]}"#,
        );
        let has = |key: String, entry: Entry| assert!(found.contains(&(key.clone(), entry)), "{key:?} in {found:?}");
        has(key::code("Observation.code", "http://loinc.org", "718-7"), Entry::Row);
        has(key::quantity_of("Observation.value", ("http://loinc.org", "718-7"), "g/dL"), Entry::Quantity(12.5));
        has(key::days("Observation.effective"), Entry::Days(Days::parse("2024-03-01").unwrap()));
        has(key::code_of("Observation.component.value", ("s", "c"), "v", "w"), Entry::Row);
        has(key::code("Observation.status", key::BOUND, "final"), Entry::Row);
    }

    #[test]
    fn names_and_identifiers_make_no_entries() {
        let found = entries(
            r#"{"resourceType":"Patient","id":"1","gender":"female","birthDate":"1980-05-05",
            "identifier":[{"system":"http://x","value":"A1","type":{"coding":[{"system":"t","code":"KVZ10"}]}}],
            "name":[{"family":"Muster","use":"official"}],"address":[{"use":"home","postalCode":"1"}]}"#,
        );
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn a_denied_provision_is_not_permitted_and_an_inactive_consent_permits_nothing() {
        let consent = |status: &str| {
            entries(&format!(
                r#"{{"resourceType":"Consent","id":"1","status":"{status}","provision":{{"type":"deny","provision":[
                {{"type":"permit","code":[{{"coding":[{{"system":"p","code":"8"}}]}}]}},
                {{"type":"deny","code":[{{"coding":[{{"system":"p","code":"9"}}]}}]}}]}}}}"#
            ))
        };
        let permitted = (key::code("Consent.permit", "p", "8"), Entry::Row);
        assert!(consent("active").contains(&permitted));
        assert!(!consent("active").contains(&(key::code("Consent.permit", "p", "9"), Entry::Row)));
        assert!(!consent("inactive").contains(&permitted));
    }

    #[test]
    fn references_of_every_form_name_type_and_id() {
        for text in ["Patient/1", "https://x.example/fhir/Patient/1", "Patient/1/_history/3"] {
            assert_eq!(target(text).as_deref(), Some("Patient/1"), "{text}");
        }
        for text in ["", "1", "urn:uuid:x", "#1", "/1", "Patient/"] {
            assert_eq!(target(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_resource_is_refused_with_the_reason() {
        for text in ["{}", "[]", "3", r#"{"resourceType":"A b","id":"1"}"#, r#"{"resourceType":"Patient"}"#] {
            assert!(extract(&json::parse(text.as_bytes()).unwrap()).is_err(), "{text}");
        }
    }
}
