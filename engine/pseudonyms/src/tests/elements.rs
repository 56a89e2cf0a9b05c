//! What becomes of single elements.

use fhir::Format;

use super::{deidentify, names, resource, shared};
use crate::{Deidentifier, Refused, RenameError, Rules, rename};

#[test]
fn a_patient_keeps_sex_and_shifted_dates() {
    let text = shared(
        r#"{"resourceType":"Patient","id":"p1","meta":{"versionId":"3","source":"kis","profile":["http://hl7.org/fhir/Patient","http://klinik.example/Patient"]},
        "text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">Anna</div>"},"active":true,
        "identifier":[{"system":"http://fhir.de/sid/gkv/kvid-10","value":"A123456789"}],"name":[{"family":"Müller"}],
        "gender":"female","birthDate":"1980-02-29","_birthDate":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/patient-birthTime","valueDateTime":"1980-02-29T04:05:06Z"}]},
        "deceasedDateTime":"2020-01-01T00:00:00Z","address":[{"city":"Ulm"}],"maritalStatus":{"text":"ledig"},
        "generalPractitioner":[{"reference":"Practitioner/7"}],"contact":[{"name":{"family":"Vogel"}}]}"#,
    );
    let id = Deidentifier::new(&Rules::default(), &names(1)).transfer_id("Patient", "p1");
    let expected = format!(
        r#"{{"resourceType":"Patient","id":"{id}","meta":{{"profile":["http://hl7.org/fhir/Patient"]}},"active":true,"gender":"female","birthDate":"1979-12-21","deceasedDateTime":"2019-10-23T00:00:00Z"}}"#
    );
    assert_eq!(text, expected);
}

#[test]
fn an_observation_keeps_codes_and_measured_values() {
    let text = shared(
        r#"{"resourceType":"Observation","id":"o1","status":"final","identifier":[{"system":"http://klinik.example/labor","value":"L-4711","assigner":{"display":"Klinik"}}],
        "code":{"coding":[{"system":"http://loinc.org","version":"2.77","code":"718-7","display":"Hb von Anna"},{"system":"http://klinik.example/codes","code":"HB-ANNA"}],"text":"Hb"},
        "subject":{"reference":"Patient/p1","display":"Anna Müller"},"effectiveDateTime":"2020-03-11T08:00:00+01:00",
        "performer":[{"reference":"Practitioner/7"}],"valueQuantity":{"value":7.20,"unit":"g/dL","system":"http://unitsofmeasure.org","code":"g/dL"},
        "note":[{"text":"Anna kommt morgen"}]}"#,
    );
    let names = names(1);
    let rules = Rules::default();
    let ids = Deidentifier::new(&rules, &names);
    let expected = format!(
        concat!(
            r#"{{"resourceType":"Observation","id":"{}","status":"final","identifier":[{{"system":"http://schleuse.example/sid/transfer-identifier","value":"{}"}}],"#,
            r#""code":{{"coding":[{{"system":"http://loinc.org","version":"2.77","code":"718-7"}}]}},"subject":{{"reference":"Patient/{}"}},"#,
            r#""effectiveDateTime":"2020-01-01T08:00:00+01:00","valueQuantity":{{"value":7.20,"system":"http://unitsofmeasure.org","code":"g/dL"}}}}"#
        ),
        ids.transfer_id("Observation", "o1"),
        names.of("identifier/http://klinik.example/labor", "L-4711"),
        ids.transfer_id("Patient", "p1"),
    );
    assert_eq!(text, expected);
}

#[test]
fn what_must_be_there_says_that_it_is_masked() {
    let text = shared(
        r#"{"resourceType":"Observation","id":"o1","status":"final","code":{"text":"nur Text"},"valueString":"Anna Müller"}"#,
    );
    let masked =
        r#"{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"masked"}]}"#;
    assert!(text.contains(&format!(r#""code":{masked}"#)), "{text}");
    assert!(!text.contains("value\"") && !text.contains("valueString"), "{text}");
}

#[test]
fn what_went_is_counted_by_place_and_never_by_content() {
    let outcome = deidentify(
        r#"{"resourceType":"Condition","id":"c1","subject":{"reference":"Patient/p1"},"note":[{"text":"Anna"}],"annaMueller":"x",
        "code":{"coding":[{"system":"http://fhir.de/CodeSystem/bfarm/icd-10-gm","version":"2024","code":"C34.1"}],"text":"Lunge"}}"#,
    )
    .unwrap();
    let places: Vec<(&str, u64)> =
        outcome.dropped.places.iter().map(|(place, count)| (place.as_str(), *count)).collect();
    let expected = [("CodeableConcept.text", 1), ("Condition.(unknown element)", 1), ("Condition.note", 1)];
    assert_eq!(places, expected);
}

#[test]
fn resources_whose_meaning_would_change_are_refused() {
    let refused = |json: &str| deidentify(json).unwrap_err();
    let modifier = |place: &str| Refused::Modifier { place: place.to_owned() };
    let with = |member: &str| {
        format!(r#"{{"resourceType":"Condition","id":"c1",{member},"subject":{{"reference":"Patient/p1"}}}}"#)
    };
    let cases = [
        (
            with(r#""modifierExtension":[{"url":"http://klinik.example/not","valueBoolean":true}]"#),
            "BackboneElement.modifierExtension",
        ),
        (with(r#""implicitRules":"http://klinik.example/rules""#), "implicitRules"),
        (
            with(r#""verificationStatus":{"coding":[{"system":"http://klinik.example/x","code":"refuted"}]}"#),
            "Condition.verificationStatus",
        ),
    ];
    for (json, place) in cases {
        let Refused::Modifier { place: found } = refused(&json) else { panic!("{json}") };
        assert!(found.ends_with(place.rsplit('.').next().unwrap()), "{found} for {place}");
    }
    assert_eq!(
        refused(r#"{"resourceType":"Observation","id":"o","status":"geheim","code":{}}"#),
        modifier("Observation.status")
    );
}

#[test]
fn other_types_and_resources_without_id_are_refused() {
    for name in ["Practitioner", "DocumentReference", "Binary", "Consent", "Bundle", "Person", "Unbekannt"] {
        assert_eq!(deidentify(&format!(r#"{{"resourceType":"{name}","id":"x"}}"#)).unwrap_err(), Refused::Type);
    }
    assert_eq!(deidentify(r#"{"resourceType":"Patient"}"#).unwrap_err(), Refused::Id);
    assert_eq!(deidentify(r#"{"resourceType":"Patient","id":"Anna Müller"}"#).unwrap_err(), Refused::Id);
}

#[test]
fn references_stay_consistent_and_lead_nowhere_else() {
    let names = names(1);
    let rules = Rules::default();
    let ids = Deidentifier::new(&rules, &names);
    let reference = |text: &str| {
        let json = format!(
            r#"{{"resourceType":"Procedure","id":"x","status":"completed","subject":{{"reference":"Patient/p1"}},"encounter":{text}}}"#
        );
        deidentify(&json).unwrap().resource.get("encounter").map(|value| fhir::json::print_value(value, false))
    };
    let shared = format!(r#"{{"reference":"Encounter/{}"}}"#, ids.transfer_id("Encounter", "e1"));
    assert_eq!(reference(r#"{"reference":"Encounter/e1","display":"Anna"}"#), Some(shared.clone()));
    assert_eq!(reference(r#"{"reference":"Encounter/e1/_history/3"}"#), Some(shared));
    for gone in [
        r#"{"reference":"https://kis.klinik.example/fhir/Encounter/e1"}"#,
        r#"{"reference":"urn:uuid:5f2c1a4e-0000-4000-8000-000000000002"}"#,
        r#"{"reference":"Encounter?identifier=4711"}"#,
        r#"{"reference":"Practitioner/7"}"#,
        r#"{"display":"Anna"}"#,
        r#"{"identifier":{"system":"http://klinik.example/fall","value":"4711"}}"#,
        r#"{"type":"Practitioner","identifier":{"system":"s","value":"4711"}}"#,
    ] {
        assert_eq!(reference(gone), None, "{gone}");
    }
    let logical =
        reference(r#"{"type":"Encounter","identifier":{"system":"http://klinik.example/fall","value":"4711"}}"#)
            .unwrap();
    assert!(logical.contains("transfer-identifier") && !logical.contains("4711"), "{logical}");
}

#[test]
fn contained_resources_are_treated_like_others() {
    let text = shared(
        r##"{"resourceType":"MedicationStatement","id":"m1","status":"active","subject":{"reference":"Patient/p1"},
        "contained":[{"resourceType":"Medication","id":"med","code":{"coding":[{"system":"http://fhir.de/CodeSystem/bfarm/atc","code":"B01AB01"}],"text":"Heparin"}},
        {"resourceType":"Practitioner","id":"arzt","name":[{"family":"Vogel"}]}],"medicationReference":{"reference":"#med"},"informationSource":{"reference":"#arzt"}}"##,
    );
    assert!(text.contains("B01AB01") && !text.contains("Heparin") && !text.contains("Vogel"), "{text}");
    assert!(!text.contains("#med") && text.contains("\"#"), "{text}");
}

#[test]
fn listed_extensions_keep_what_is_coded_in_them() {
    let mut rules = Rules::default();
    rules.extensions.push("http://fhir.de/StructureDefinition/stadium".to_owned());
    let json = r#"{"resourceType":"Condition","id":"c1","subject":{"reference":"Patient/p1"},"extension":[
        {"url":"http://fhir.de/StructureDefinition/stadium","extension":[{"url":"grad","valueInteger":2},{"url":"wer","valueString":"Anna"},{"url":"wann","valueDate":"2020-03-11"},{"url":"Anna Müller","valueInteger":3}]},
        {"url":"http://fhir.de/StructureDefinition/anderes","valueInteger":7}]}"#;
    let outcome = Deidentifier::new(&rules, &names(1)).deidentify(&resource(json), super::shift()).unwrap();
    let text = fhir::json::print_value(outcome.resource.get("extension").unwrap(), false);
    let expected = r#"[{"url":"http://fhir.de/StructureDefinition/stadium","extension":[{"url":"grad","valueInteger":2},{"url":"wann","valueDate":"2020-01-01"}]}]"#;
    assert_eq!(text, expected);
}

#[test]
fn numbers_without_a_known_unit_go() {
    let value = |quantity: &str| {
        let json = format!(
            r#"{{"resourceType":"Observation","id":"o","status":"final","code":{{"coding":[{{"system":"http://loinc.org","code":"1-8"}}]}},"valueQuantity":{quantity}}}"#
        );
        deidentify(&json).unwrap().resource.get("valueQuantity").map(|value| fhir::json::print_value(value, false))
    };
    assert_eq!(value(r#"{"value":5,"unit":"mg"}"#).as_deref(), Some(r#"{"value":5,"unit":"mg"}"#));
    assert_eq!(value(r#"{"value":5}"#).as_deref(), Some(r#"{"value":5}"#));
    for gone in [
        r#"{"value":5,"unit":"Stück für Anna"}"#,
        r#"{"value":5,"system":"http://unitsofmeasure.org","code":"Anna Müller"}"#,
        r#"{"value":5,"system":"http://klinik.example/units","code":"mg"}"#,
        r#"{"value":"5 mg für Anna","unit":"mg"}"#,
        r#"{"value":5,"comparator":"Anna","unit":"mg"}"#,
        r#"{"value":5,"code":"mg"}"#,
    ] {
        assert_eq!(value(gone), None, "{gone}");
    }
}

#[test]
fn transfer_ids_of_patients_become_project_pseudonyms() {
    let pseudonym = names(9).of("person", "1");
    let known = |id: &str| (id == "T1").then(|| pseudonym.clone());
    let renamed = |json: &str| rename(resource(json), &known);
    let patient = renamed(r#"{"resourceType":"Patient","id":"T1"}"#).unwrap();
    assert_eq!(patient.id(), Some(pseudonym.as_str()));
    let observation = renamed(r#"{"resourceType":"Observation","id":"O1","subject":{"reference":"Patient/T1"},"encounter":{"reference":"Encounter/E1"}}"#).unwrap();
    let text = fhir::print(Format::Json, &observation, false);
    assert!(text.contains(&format!("Patient/{pseudonym}")) && text.contains("Encounter/E1"));
    let unknown = [
        r#"{"resourceType":"Patient","id":"T2"}"#,
        r#"{"resourceType":"Observation","id":"O1","subject":{"reference":"Patient/T2"}}"#,
    ];
    assert!(unknown.iter().all(|json| renamed(json) == Err(RenameError::Unknown)));
    for other in ["Patient/T1/_history/2", "https://klinik.example/fhir/Patient/T1", "Patient?identifier=T1"] {
        let json = format!(r#"{{"resourceType":"Observation","id":"O1","subject":{{"reference":"{other}"}}}}"#);
        assert_eq!(renamed(&json), Err(RenameError::Form), "{other}");
    }
}
