//! What identifies a person, from a FHIR Patient. It becomes a filter at once and is written nowhere.

use fhir::{Resource, Value};
use linkage::{Field, Person};

const INSURANCE: &str = "http://fhir.de/sid/gkv/kvid-10";

/// Reads the fields of linkage: the official name and home address before others.
pub(super) fn person(patient: &Resource) -> Person {
    let mut person = Person::new();
    if let Some(name) = preferred(patient.list("name"), "official") {
        let given: Vec<&str> = name.list("given").iter().filter_map(Value::as_str).collect();
        set(&mut person, Field::GivenName, (!given.is_empty()).then(|| given.join(" ")).as_deref());
        set(&mut person, Field::FamilyName, name.str("family"));
    }
    set(&mut person, Field::BirthDate, patient.str("birthDate"));
    set(&mut person, Field::Sex, patient.str("gender"));
    if let Some(address) = preferred(patient.list("address"), "home") {
        set(&mut person, Field::Street, address.list("line").first().and_then(Value::as_str));
        set(&mut person, Field::PostalCode, address.str("postalCode"));
        set(&mut person, Field::City, address.str("city"));
        set(&mut person, Field::Country, address.str("country"));
    }
    let identifiers = patient.list("identifier").iter();
    let mut insurance = identifiers.filter(|identifier| identifier.str("system") == Some(INSURANCE));
    set(&mut person, Field::InsuranceNumber, insurance.next().and_then(|identifier| identifier.str("value")));
    person
}

fn preferred<'v>(values: &'v [Value], usage: &str) -> Option<&'v Value> {
    values.iter().find(|value| value.str("use") == Some(usage)).or_else(|| values.first())
}

fn set(person: &mut Person, field: Field, value: Option<&str>) {
    if let Some(value) = value.filter(|value| !value.trim().is_empty()) {
        person.set(field, value);
    }
}
