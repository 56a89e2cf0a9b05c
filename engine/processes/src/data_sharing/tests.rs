//! The pure parts of data sharing; the processes as a whole are tested between real nodes (`tests/tests/data_sets.rs`).

use fhir::{Limits, Resource, Value};
use linkage::{Encoder, Field};
use secrets::Key;

use super::{failure, inputs, person, rows};

pub(super) fn key(seed: u8) -> Key {
    let bytes: Vec<u8> = (0..32).map(|place: u8| place.wrapping_mul(7).wrapping_add(seed)).collect();
    Key::new(&bytes).unwrap()
}

pub(super) fn resource(json: &str) -> Resource {
    fhir::json::parse(json.as_bytes(), &Limits::default()).unwrap()
}

/// The filter of a person with this family name.
pub(super) fn filter(family: &str, birth: &str) -> String {
    let patient = resource(&format!(
        r#"{{"resourceType":"Patient","id":"1","name":[{{"family":"{family}","given":["Ada"]}}],"birthDate":"{birth}",
        "gender":"female","address":[{{"line":["Weg 1"],"city":"Jena","postalCode":"07743","country":"DE"}}]}}"#
    ));
    Encoder::new(&linkage::parameters::HARDENED, &key(1)).encode(&person::person(&patient)).unwrap().to_base64()
}

#[test]
fn a_person_has_the_official_name_and_the_insurance_number() {
    let patient = resource(
        r#"{"resourceType":"Patient","id":"1","birthDate":"1970-02-03","gender":"male",
        "identifier":[{"system":"urn:mrn","value":"7"},{"system":"http://fhir.de/sid/gkv/kvid-10","value":"A123456780"}],
        "name":[{"use":"nickname","given":["Kalle"]},{"use":"official","family":"Groß","given":["Karl","Otto"]}],
        "address":[{"use":"temp","city":"Ulm"},{"use":"home","city":"Jena","line":["Weg 1","Hof"],"postalCode":"07743"}]}"#,
    );
    let person = person::person(&patient);
    let fields = [
        (Field::GivenName, Some("Karl Otto")),
        (Field::FamilyName, Some("Groß")),
        (Field::BirthDate, Some("1970-02-03")),
        (Field::Sex, Some("male")),
        (Field::Street, Some("Weg 1")),
        (Field::PostalCode, Some("07743")),
        (Field::City, Some("Jena")),
        (Field::Country, None),
        (Field::InsuranceNumber, Some("A123456780")),
    ];
    for (field, value) in fields {
        assert_eq!(person.get(field), value, "{field:?}");
    }
    assert_eq!(person::person(&resource(r#"{"resourceType":"Patient","id":"1"}"#)).get(Field::GivenName), None);
}

#[test]
fn what_is_written_into_a_task_is_read_from_it() {
    let mut task = Resource::new("Task");
    task.push("input", inputs::string("project", "p"));
    task.push("input", inputs::url("delivery", "https://a.example/fhir/Binary/1"));
    task.push("input", inputs::code("failure", "declined"));
    task.push("input", inputs::unsigned("persons", 7));
    task.push("input", inputs::unsigned("resources", u64::MAX));
    task.push("input", inputs::organization_input("trusted-third-party", "ttp.example"));
    task.push("input", inputs::site("a.example", "key-a"));
    task.push("input", inputs::site("b.example", "key-b"));
    task.push("input", inputs::outcome("a.example", "merged"));
    assert_eq!(inputs::text(&task, "project"), Some("p"));
    assert_eq!(inputs::text(&task, "delivery"), Some("https://a.example/fhir/Binary/1"));
    assert_eq!(inputs::text(&task, "failure"), Some("declined"));
    assert_eq!((inputs::count(&task, "persons"), inputs::count(&task, "project")), (Some(7), None));
    assert_eq!(inputs::count(&task, "resources"), Some(i32::MAX.unsigned_abs().into()));
    assert_eq!(inputs::organization(&task, "trusted-third-party"), Some("ttp.example"));
    let pair = |one: &str, two: &str| (one.to_owned(), two.to_owned());
    assert_eq!(inputs::sites(&task), [pair("a.example", "key-a"), pair("b.example", "key-b")]);
    assert_eq!(inputs::outcomes(&task), [pair("a.example", "merged")]);
    // An identifier of another system names no organisation.
    task.set("input", vec![Value::from(inputs::organization_input("site", "x"))]);
    let text = fhir::json::print(&task, false).replace("organization-identifier", "endpoint-identifier");
    assert_eq!(inputs::organization(&resource(&text), "site"), None);
}

#[test]
fn a_code_of_a_partner_is_one_of_ours_or_the_general_one() {
    assert_eq!(failure::known("cohort-too-small"), "cohort-too-small");
    assert_eq!(failure::known("<script>"), "failed");
    assert!(failure::is_decision("declined") && !failure::is_decision("failed"));
}

#[test]
fn a_line_that_is_none_is_told_by_its_number() {
    let row = |id: &str| rows::print(&rows::ShiftRow { id: id.to_owned(), days: -63 }).unwrap();
    assert_eq!(rows::read::<rows::ShiftRow>(&[row("a"), row("b")].join("\n")).unwrap().len(), 2);
    let error =
        rows::read::<rows::ShiftRow>(&[row("a"), r#"{"id":"secret"}"#.to_owned()].join("\n")).unwrap_err().to_string();
    assert!(error.contains("line 2") && !error.contains("secret"), "{error}");
    let more = r#"{"id":"a","days":7,"name":"Ada"}"#.to_owned();
    assert!(rows::read::<rows::ShiftRow>(&more).is_err(), "what is not known is not taken");
}
